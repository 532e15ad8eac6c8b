"""`avoir policy`: the policies in force."""
