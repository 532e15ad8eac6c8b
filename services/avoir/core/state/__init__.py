"""The rows that deciding works on, and the changes of one message."""
