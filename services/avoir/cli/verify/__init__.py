"""`avoir verify`: proof that the ledger is right."""
