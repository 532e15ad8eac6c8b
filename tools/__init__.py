"""Scripts for those who change the service; nothing of it needs them."""
