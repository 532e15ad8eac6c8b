"""The broker: the consumer loop, the relay, topics and dead letters."""
