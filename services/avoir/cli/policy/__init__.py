"""`avoir policy`: the settings in force."""
