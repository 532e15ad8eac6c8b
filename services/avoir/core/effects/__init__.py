"""What follows from a change: issue, take back, settle, reserve, undo."""
