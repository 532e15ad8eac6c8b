"""How fast the service is on this machine, beside a floor below it and the handler that one would write first."""
