"""Numbers of the rules by which facts are judged: a fact keeps those under which it was recorded (ADR 0039)."""

REAL_LIFE = 2
"""Time that is moved counts as used; the first moment of a day does not use it; discounts lower tax by tax; the days
until an expiry are those of the policy's time zone."""

TODAY = REAL_LIFE
"""Rules of what is recorded now."""
