"""What commands share: connections, options, output, exit codes, stored messages."""
