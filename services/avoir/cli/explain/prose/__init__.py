"""The words of `avoir explain`."""
