"""`avoir explain`: why there is credit, or none."""
