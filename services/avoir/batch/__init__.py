"""One batch of messages in one transaction: claim, lock, load, decide, write, commit."""
