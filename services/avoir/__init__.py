"""Avoir keeps the credit of a booking business's customers."""
