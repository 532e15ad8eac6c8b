"""The cases of the help pages and of real life: read, put into orders, played side by side, and checked."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, permutations, zip_longest
from pathlib import Path
from typing import Any

from tests.acceptance.accounts import applied, checked_accounts, credited, declined, once
from tests.acceptance.events import Heard
from tests.acceptance.publishing import Sending, sending
from tests.acceptance.service import Service

FOLDER = Path(__file__).resolve().parents[1] / "cases"
HELP_PAGES = ("optix", "nexudus", "invoiced")
ALL_PAGES = (*HELP_PAGES, "real-life")
ALL_ORDERS_UP_TO = 4
DRAWN_ORDERS = 24
NAMED = {
    "grant": (("credit-issued",), "grant_id"),
    "application": (("credit-applied", "credit-reserved"), "application_id"),
}
PLACEHOLDER = re.compile(r"[$@](grant|application):([\w-]+)")


@dataclass(frozen=True, slots=True)
class Case:
    """One promise: messages in, and what must come out."""

    name: str
    order: str
    steps: tuple[dict[str, Any], ...]
    waves: tuple[int, ...]
    expect: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A case in one order of delivery, in a tenant of its own; each wave is handled before the next is published."""

    case: Case
    tenant: str
    waves: tuple[tuple[dict[str, Any], ...], ...]
    in_given_order: bool

    def __str__(self) -> str:
        ids = ["+".join(step["value"]["event_id"] for step in wave) for wave in self.waves]
        return f"{self.tenant}: {' then '.join(ids)}"


def load_cases(pages: Sequence[str]) -> list[Case]:
    """The cases of these files, in their order."""
    found = []
    for page in pages:
        for each in json.loads((FOLDER / f"{page}.json").read_text()):
            assert not each.keys() - {"name", "from", "order", "steps", "waves", "expect"}, each
            steps = tuple(each["steps"])
            waves = tuple(each.get("waves", (1,) * len(steps)))
            found.append(Case(each["name"], each["order"], steps, waves, each["expect"]))
    return found


def runs_of(case: Case, tenant: str) -> Iterator[Run]:
    """The case in every order it is promised for; where that is any, with repeats and all at once too."""
    if case.order == "given":
        yield Run(case, f"{tenant}-given", _cut(case.steps, case.waves), in_given_order=True)
        return
    for number, order in enumerate(_orders(case.steps)):
        single = tuple((step,) for step in order)
        repeated = (*((step, step) for step in order), order[::-1])
        yield Run(case, f"{tenant}-{number}", single, in_given_order=order == case.steps)
        yield Run(case, f"{tenant}-{number}-repeated", repeated, in_given_order=order == case.steps)
    yield Run(case, f"{tenant}-at-once", (case.steps,), in_given_order=False)


def _orders(steps: tuple[dict[str, Any], ...]) -> list[tuple[dict[str, Any], ...]]:
    if len(steps) <= ALL_ORDERS_UP_TO:
        return list(permutations(steps))
    draw = random.Random(len(steps))
    return [steps, *(tuple(draw.sample(steps, len(steps))) for _ in range(DRAWN_ORDERS - 1))]


def _cut(steps: tuple[dict[str, Any], ...], sizes: Sequence[int]) -> tuple[tuple[dict[str, Any], ...], ...]:
    ends = list(accumulate(sizes))
    assert ends[-1] == len(steps)
    return tuple(steps[end - size : end] for end, size in zip(ends, sizes, strict=True))


def play(service: Service, runs: Sequence[Run]) -> None:
    """Publish the first wave of all runs, wait until it was handled, then the second, and so on."""
    for waves in zip_longest(*(run.waves for run in runs), fillvalue=()):
        service.publish(
            _sending(service, run, step) for run, wave in zip(runs, waves, strict=True) for step in wave
        )
        service.settle()


def _sending(service: Service, run: Run, step: dict[str, Any]) -> Sending:
    return sending(step["topic"], filled(service.events.of(run.tenant), run.tenant, step["value"]))


def filled(heard: Sequence[Heard], tenant: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A message for a tenant, with the ids that it heard of where it says `$grant:e1` or `$application:e1`."""

    def given(match: re.Match[str]) -> str:
        topics, name = NAMED[match[1]]
        return next(
            str(each.body[name])
            for each in heard
            if each.topic in topics and each.body["caused_by"]["event_id"] == match[2]
        )

    found: dict[str, Any] = json.loads(PLACEHOLDER.sub(given, json.dumps({**value, "tenant_id": tenant})))
    return found


def check(run: Run, heard: Sequence[Heard]) -> None:
    """Check everything that the case expects, and what holds on every run."""
    expect = run.case.expect
    accounts = {
        key: (account.available, account.reserved) for key, account in checked_accounts(heard).items()
    }
    expected = {
        f"{run.tenant}/{each['owner']['type']}/{each['owner']['id']}/{each['currency']}": (
            Decimal(each["available"]),
            Decimal(each["reserved"]),
        )
        for each in expect["accounts"]
    }
    nothing = (Decimal(0), Decimal(0))
    assert {key: held for key, held in accounts.items() if held != nothing or key in expected} == expected
    for each in expect.get("lines", ()):
        assert credited(heard, each["invoice_id"], each["line_id"]) == Decimal(each["credited"])
    for each in expect.get("applied", ()):
        assert applied(heard, each["invoice_id"]) == Decimal(each["amount"])
    found = declined(heard)
    if run.in_given_order:
        assert {(each["event_id"], each["reason"]) for each in expect.get("declined", ())} <= set(found)
    if "declined_count" in expect:
        assert len(found) == expect["declined_count"]
    events = once(heard)
    if "refills" in expect:
        assert sum(each.topic == "credit-refill-requested" for each in events) == expect["refills"]
    if "credit_notes" in expect:
        notes = [each.body for each in events if each.topic == "credit-note-issued"]
        names = ("credit_note", "invoice_id")
        assert [[*(note[name] for name in names), Decimal(note["amount"])] for note in notes] == [
            [*(each[name] for name in names), Decimal(each["amount"])] for each in expect["credit_notes"]
        ]
