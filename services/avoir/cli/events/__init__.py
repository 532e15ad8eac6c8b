"""`avoir events`: events that were lost, published again."""
