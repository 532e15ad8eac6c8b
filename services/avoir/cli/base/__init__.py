"""Shared by commands: connections, options, output, exit codes, stored messages."""
