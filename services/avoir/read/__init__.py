"""What people ask of the ledger: from a connection to frozen values, and never a write."""
