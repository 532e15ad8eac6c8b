"""Kafka and Postgres on this machine, for tests, the demo and a first look."""
