"""The list of reasons: each has words, in the form in which they are put together, and none is listed twice."""

import typing
from typing import Any, get_args

import pytest

from avoir.cli.base.words import APPLIED_BY, GIVEN_FOR, RECORDED
from avoir.core.model import reasons
from avoir.core.model.decision import OUTCOMES, Outcome
from avoir.core.model.reasons import REASONS, AppliedBy, GrantReason, Reason, Source
from avoir_events import CreditApplied, CreditDeclined, CreditIssued, CreditShortfall, GrantCredit


def test_every_reason_has_a_meaning_and_every_meaning_a_reason() -> None:
    assert REASONS.keys() == set(get_args(Reason))


def test_every_outcome_has_a_meaning_and_every_meaning_an_outcome() -> None:
    assert OUTCOMES.keys() == {*get_args(Outcome), "skipped"}


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_meaning_is_made_of_sentences(reason: Reason) -> None:
    each = REASONS[reason]
    refused = each.refused
    texts = [each.words, each.remedy, each.declined, each.moved, each.note]
    texts += [refused.words, refused.remedy, refused.note] if refused else []
    for text in filter(None, texts):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")


@pytest.mark.parametrize("kind", [reasons.NothingGiven, reasons.Refusal, reasons.Waiting])
def test_what_withholds_something_has_a_remedy(kind: Any) -> None:
    for reason in get_args(kind):
        assert REASONS[reason].remedy
        refused = REASONS[reason].refused
        assert refused is None or refused.remedy


def test_what_is_said_of_credit_is_said_for_every_reason_it_can_have() -> None:
    assert GIVEN_FOR.keys() == {*get_args(Source), *get_args(GrantReason)} - {"granted"}
    assert APPLIED_BY.keys() == set(get_args(AppliedBy))
    assert {reason for _, reason in RECORDED} <= set(get_args(reasons.Recorded))


@pytest.mark.parametrize(
    ("model", "field", "kind"),
    [
        (CreditIssued, "source", Source),
        (CreditApplied, "by", AppliedBy),
        (CreditShortfall, "reason", reasons.ShortfallReason),
        (GrantCredit, "reason", GrantReason),
    ],
)
def test_the_contract_lists_the_same(model: Any, field: str, kind: Any) -> None:
    assert get_args(typing.get_type_hints(model)[field]) == get_args(kind)


def test_the_contract_knows_every_reason_for_declining() -> None:
    known = set(get_args(typing.get_type_hints(CreditDeclined)["reason"]))
    # Published as reasons once, and kept, since only optional fields are ever added: these end as dead letters.
    assert known - {"duplicate", "conflict", "malformed"} == {
        *get_args(reasons.NothingGiven),
        *get_args(reasons.Refusal),
    }
