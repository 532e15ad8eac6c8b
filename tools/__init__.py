"""Programs for those who work on Avoir."""
