"""`avoir statement`: the movements of an account."""
