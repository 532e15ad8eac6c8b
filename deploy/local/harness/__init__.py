"""The harness of tests, demo and benchmark: databases and topics of a run's own, records, commands, processes."""
