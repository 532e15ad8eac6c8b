"""What a void undid: what was due, the credit used on the invoice and given for it, and what had been paid."""

from collections.abc import Iterator, Mapping
from typing import Any

from avoir.cli.base.words import is_zero

UNDONE: Mapping[str, str] = {
    "due": "{amount} was still due on it.",
    "credit_used": "{amount} of credit that had been used on it went back.",
    "credit_given": "{amount} of credit was taken back.",
    "short": "{amount} of credit could not be taken back, as it had been spent.",
    "payments": "{amount} that had been paid for it was freed: for what else is due, else as credit.",
}
"""What each amount of what a void undid means."""


def void_words(facts: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each thing that a void undid, from the facts of its decision; nothing on what was zero."""
    currency, undone = facts["currency"], facts["undone"]
    for key, words in UNDONE.items():
        if not is_zero(undone[key]):
            yield words.format(amount=f"{undone[key]} {currency}")
    if not is_zero(facts["paid"]):
        yield f"{facts['paid']} {currency} of what had been paid for it was kept, for credit that had been spent."
    yield "Nothing is due on it any more."
