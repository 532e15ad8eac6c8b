"""`avoir report`: credit that is owed to customers."""
