"""`make demo`: a scenario played through the real topics, step by step, which checks itself."""
