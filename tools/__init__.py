"""Programs for working on Avoir."""
