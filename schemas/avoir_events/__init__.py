"""The messages that Avoir reads and publishes."""
