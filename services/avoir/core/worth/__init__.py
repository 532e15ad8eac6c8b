"""Pure arithmetic: what a line is worth after its changes."""
