"""`avoir simulate`: messages or stored histories decided without being written."""
