"""Decisions on commands, and what became of credit, in words that can be read out to a customer."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from avoir.cli.explain.prose.decisions import paragraph
from avoir.cli.explain.prose.explanation import prose_of
from avoir.cli.explain.view import Explanation, GrantEntry, GrantState, GrantUse, RecordedDecision, Subject
from avoir.core.model.events import AccountKey
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import PolicyVersion, ScopeKey
from avoir.core.model.rows import (
    Application,
    ApplicationKey,
    Grant,
    GrantKey,
    InvoiceKey,
    Reservation,
    ReservationKey,
)

AT = datetime(2025, 6, 2, 10, tzinfo=UTC)
EUR = 1_000_000
GRANT, USE = UUID(int=1), UUID(int=2)
ACCOUNT = AccountKey("t1", "user", "u1", "EUR")
WHO = {"by": "admin/a1", "currency": "EUR"}


def decided(
    topic: str, outcome: str, reason: str, *, would: str | None = None, **facts: Any
) -> RecordedDecision:
    subject = Subject("invoice", "i2") if topic == "apply-credit" else Subject("owner", "user/u1")
    policy = facts.pop("policy", {})
    return RecordedDecision(topic, "e1", 0, 7, AT, AT, outcome, reason, facts, policy, would, subject)


def explained(decision: RecordedDecision, **parts: Any) -> str:
    return paragraph(Explanation("t1", Subject("event", "e1"), AT, (decision,), **parts), decision)


def entry(event: str, counter: str, amount: str, day: int = 2, **more: Any) -> GrantEntry:
    at = AT + timedelta(days=day - 2)
    facts: dict[str, Any] = {
        "ledger_account": "available",
        "reason": "other",
        "invoice_id": None,
        "application_id": None,
        "topic": "draw-credit",
        "event_id": f"d{day}",
        "occurred_at": at,
        "recorded_at": at,
    }
    micros = parse_decimal(amount)
    return GrantEntry(grant_id=GRANT, counter_account=counter, amount=micros, event=event, **(facts | more))


def grant(
    *entries: GrantEntry, uses: tuple[GrantUse, ...] = (), held: tuple[Reservation, ...] = (), **more: Any
) -> GrantState:
    facts: dict[str, Any] = {
        "available": 20 * EUR,
        "reserved": 0,
        "spent": 0,
        "lost": 0,
        "taken": 0,
        "pending": 0,
        "reference": None,
        "source": "granted",
        "reason": "goodwill",
        "note": "sorry",
        "effective_at": AT,
        "expires_at": None,
    }
    given = Grant(
        key=GrantKey("t1", GRANT),
        account=ACCOUNT,
        amount=20 * EUR,
        priority=50,
        paid_for=False,
        entitlement=None,
        ordinal=0,
        topic="grant-credit",
        event_id="e1",
        **(facts | more),
    )
    return GrantState(given, AT, is_expired=False, uses=uses, held=held, entries=entries)


def stands(credit: GrantState) -> str:
    return prose_of(Explanation("t1", Subject("grant", str(GRANT)), AT, grants=(credit,))).now[0]


def test_a_refused_command_is_told_as_refused() -> None:
    words = explained(
        decided(
            "apply-credit",
            "declined",
            "insufficient_credit",
            would="An amount of at most what is available, or more credit.",
            amount="50.00",
            available="20.00",
            due_on_invoice="80.00",
            **WHO,
        )
    )
    assert words == (
        "On 2 June 2025 50.00 EUR was to be used on invoice i2 by admin a1. 20.00 EUR was available for it, and "
        "80.00 EUR was due on it. It was refused. There was less credit available than was asked for. What would "
        "change this: an amount of at most what is available, or more credit."
    )


def test_a_grant_by_hand_says_who_gave_it_and_why() -> None:
    words = explained(decided("grant-credit", "issued", "goodwill", amount="20.00", **WHO), grants=(grant(),))
    assert words == (
        "On 2 June 2025 credit of 20.00 EUR was granted to user/u1 by admin a1. Credit of 20.00 EUR was given. "
        'It was granted as goodwill. The note on it: "sorry".'
    )


def test_a_grant_to_come_says_when() -> None:
    decision = decided(
        "grant-credit",
        "waiting",
        "not_effective",
        would="Its effective date: the credit is given then.",
        amount="20.00",
        effective_at="2025-07-01T00:00:00+00:00",
        **WHO,
    )
    credit = grant(pending=20 * EUR, available=0, effective_at=AT + timedelta(days=29))
    assert explained(decision, grants=(credit,)).endswith(
        "by admin a1. It was to take effect on 1 July 2025."
    )
    assert stands(credit).endswith("takes effect on 1 July 2025 as goodwill. Of it: 20.00 EUR pending.")


def test_a_draw_of_less_than_was_asked_says_so_and_where_it_came_from() -> None:
    credit = grant(entry("drawn", "drawn", "-0.30", event_id="e1"))
    words = explained(
        decided("draw-credit", "recorded", "drawn", amount="0.50", drawn="0.30", reference="usage 1", **WHO),
        grants=(credit,),
    )
    assert "Only 0.30 EUR of it was drawn: that was all the credit available." in words
    assert words.endswith("It came from 0.30 EUR of the credit of 2 June 2025 given as goodwill.")


def test_settings_that_counted_name_the_message_that_set_them() -> None:
    policy = {"unpaid_change": "never", "credit_as": "balance", "set_by": {"unpaid_change": "p1"}}
    decision = decided("booking-cancelled", "declined", "unpaid", policy=policy)
    version = PolicyVersion(ScopeKey("t1", "owner", "user/u1"), "p1", AT, {"unpaid_change": "never"})
    assert explained(decision, policies=(version,)).endswith(
        "Settings that counted: a change to something unpaid gives no credit (set for user/u1 by "
        "message p1 of 2 June 2025)."
    )


def test_a_change_of_settings_is_told_in_words() -> None:
    keys = {"auto_apply": False, "refill_threshold": "5.00", "currency": "EUR", "credit_as": None}
    words = explained(
        decided(
            "set-credit-policy", "recorded", "policy_set", scope="tenant", of="", keys=keys, by="admin/a1"
        )
    )
    assert "the credit settings of all customers were set by admin a1." in words
    assert "new invoices use no credit automatically; a refill is requested when less than 5.00 EUR" in words
    assert "how new credit is kept: from the wider scope again." in words


def test_where_a_credit_went_is_told_part_by_part() -> None:
    key = ReservationKey("t1", USE, GRANT)
    held = Reservation(key, ACCOUNT, "i9", "command", 7, 4 * EUR, "apply-credit", "a1")
    uses = (
        GrantUse("applied", "i2", 5 * EUR),
        GrantUse("refunded", None, 3 * EUR),
        GrantUse("voided", None, EUR),
    )
    credit = grant(uses=uses, held=(held,), available=7 * EUR, reserved=4 * EUR, spent=8 * EUR, lost=EUR)
    assert stands(credit).endswith(
        "Of it: 7.00 EUR available, 4.00 EUR reserved for invoice i9, 5.00 EUR used on invoice i2, 3.00 EUR paid "
        "out in money and 1.00 EUR voided."
    )


def test_what_was_voided_before_its_time_is_told_so() -> None:
    assert stands(grant(available=0, lost=20 * EUR)).endswith("Of it: 20.00 EUR voided before it was given.")


def test_draws_of_one_day_are_told_together_and_setting_aside_once() -> None:
    aside = {"topic": "apply-credit", "event_id": "a1", "invoice_id": "i9"}
    credit = grant(
        entry("drawn", "drawn", "-0.10", 3),
        entry("drawn", "drawn", "-0.20", 3, event_id="other"),
        entry("reserved", "reserved", "-4", 4, **aside),
        entry("reserved", "available", "4", 4, **aside, ledger_account="reserved"),
        entry("reinstated", "available", "-4", 5, **aside, ledger_account="reserved", reason="not_needed"),
        entry("reinstated", "reserved", "4", 5, **aside, reason="not_needed"),
    )
    words = prose_of(Explanation("t1", Subject("grant", str(GRANT)), AT, grants=(credit,)))
    assert words.since == (
        "On 3 June 2025 0.30 EUR of it was drawn for usage, in 2 draws.",
        "On 4 June 2025 4.00 EUR of it was reserved for invoice i9.",
        "On 5 June 2025 4.00 EUR of it, reserved for invoice i9, became available again: the invoice did not need it.",
    )


def test_a_use_names_the_credits_that_it_came_from() -> None:
    use = Application(
        ApplicationKey("t1", USE),
        ACCOUNT,
        InvoiceKey("t1", "i2"),
        5 * EUR,
        "command",
        AT,
        reinstated=True,
        slices=((GRANT, 5 * EUR),),
        topic="apply-credit",
        event_id="a1",
    )
    subject = Subject("application", str(USE))
    assert prose_of(Explanation("t1", subject, AT, applications=(use,))).now == (
        f"Application {USE}: 5.00 EUR of credit was used on invoice i2 on 2 June 2025, by hand: 5.00 EUR of credit "
        f"{GRANT}. It has been undone since.",
    )


def test_a_void_of_credit_to_come_says_that_it_will_not_be_given() -> None:
    void = decided("void-credit", "recorded", "voided", amount="20.00", remaining="0.00", **WHO)
    assert explained(void).endswith("It had not taken effect yet, so its 20.00 EUR will not be given.")
    void = decided(
        "void-credit", "recorded", "voided", amount="20.00", remaining="7.00", voided="7.00", **WHO
    )
    assert explained(void).endswith(
        "20.00 EUR had been given, and 7.00 EUR was left of it. 7.00 EUR was taken back."
    )


def test_an_invoice_that_said_so_itself_is_not_told_to_follow_the_settings() -> None:
    facts = {"currency": "EUR", "total": "5.00", "paid": "0.00", "credit_applied": "0.00", "due": "5.00"}
    policy = {"auto_apply": True}
    decision = decided("invoice-finalized", "recorded", "recorded", automatic=False, policy=policy, **facts)
    assert "The message turned automatic use of credit off for it." in explained(decision)
    assert "Settings that counted" not in explained(decision)
