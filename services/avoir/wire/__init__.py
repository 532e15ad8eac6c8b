"""Bytes to core values and back, without I/O: the only place that knows wire names."""
