"""`make demo`: a story told through the real topics, step by step, which checks itself."""
