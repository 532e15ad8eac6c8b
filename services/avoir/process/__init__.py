"""The running service: how it is built, watched and stopped."""
