"""`avoir explain`: why credit was given or not."""
