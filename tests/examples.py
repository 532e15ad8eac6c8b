"""How many examples property tests try: all of them, or a tenth under the Hypothesis profile `check`."""

from hypothesis import settings

_USUAL = 100
settings.register_profile("check", max_examples=_USUAL // 10)


def examples(number: int) -> int:
    """The number, or the share of it that the profile asks for."""
    return number * settings().max_examples // _USUAL
