"""`avoir balance`: the balances of owners."""
