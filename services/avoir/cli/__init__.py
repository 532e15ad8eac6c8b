"""The command line: a file or folder for each command, named like the command."""
