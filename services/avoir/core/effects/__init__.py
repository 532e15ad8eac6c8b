"""Effects of a change: issue, take back, settle, reserve, undo."""
