"""Effects of a void: the amount due, the credit used on the invoice and given for it, and the payments."""

from collections.abc import Iterator, Mapping
from typing import Any

from avoir.cli.base.words import is_zero

UNDONE: Mapping[str, str] = {
    "due": "{amount} was still due on it.",
    "credit_used": "{amount} of credit used on it became available again.",
    "credit_given": "{amount} of credit was taken back.",
    "short": "{amount} of credit could not be taken back, because it had been spent.",
    "payments": "{amount} paid for it was freed, for other amounts due or as credit.",
}
"""Meaning of each amount in the facts of a void."""


def void_words(facts: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each thing that a void undid, from the facts of its decision; nothing on what was zero."""
    currency, undone = facts["currency"], facts["undone"]
    for key, words in UNDONE.items():
        if not is_zero(undone[key]):
            yield words.format(amount=f"{undone[key]} {currency}")
    if not is_zero(facts["paid"]):
        yield f"{facts['paid']} {currency} of the payments for it was withheld, for credit that had been spent."
    yield "Nothing is due on it any more."
