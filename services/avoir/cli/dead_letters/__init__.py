"""`avoir dead-letters`: messages that could not be handled."""
