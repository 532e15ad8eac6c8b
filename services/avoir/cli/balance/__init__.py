"""`avoir balance`: what owners have."""
