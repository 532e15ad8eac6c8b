"""`avoir report`: outstanding credit."""
