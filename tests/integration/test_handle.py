"""The batch transaction on a real database: bad neighbours, conflicts, fencing, parking, two processes at once."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock, patch

import asyncpg
import pytest

from avoir.batch.batch import Rules
from avoir.batch.claims import lock
from avoir.core.decide import HANDLERS, expire
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner, PaymentRecorded
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from avoir.core.state.draft import Draft, Moment
from avoir.core.state.references import References
from avoir.core.state.state import State
from avoir.postgres.connect import Connection
from avoir.postgres.headers import unpacked
from avoir.postgres.load import Loader
from avoir.postgres.rows import PAYMENTS
from avoir.postgres.session import Session
from avoir.record import Fenced, Record, TopicPartition
from deploy.local.harness.databases import connection_to
from tests.integration.delivery import GROUP, delivering
from tests.integration.records import value
from tests.unit.core.commands import granted, take_away, use_on
from tests.unit.core.world import World, cancelled, invoice, line, message, payment, reversal, voided


def finalized(n: int, paid: str = "100") -> Message:
    return message(f"f{n}", "06-01", invoice(f"i{n}", line("l1", "100", booking=f"b{n}"), paid=paid))


def cancellation(n: int) -> Message:
    return message(f"c{n}", "06-02", cancelled(f"b{n}"))


async def decisions(connection: Connection) -> list[tuple[str, str, str]]:
    rows = await connection.fetch(
        "SELECT event_id, outcome, reason FROM decisions ORDER BY recorded_at, kafka_offset, topic"
    )
    return [tuple(row) for row in rows]


async def test_bad_messages_are_dead_lettered_and_their_neighbours_handled(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        bad = b'{"event_id": "x", "tenant_id": "t1", "amount": NaN'
        invoice_value, cancel_value = value(finalized(1)), value(cancellation(1))
        report = await deliverer.deliver_values(
            [
                ("invoice-finalized", invoice_value),
                ("booking-cancelled", bad),
                ("booking-cancelled", cancel_value),
            ]
        )
        assert report.decisions == {
            ("invoice-finalized", "recorded"): 1,
            ("booking-cancelled", "rejected"): 1,
            ("booking-cancelled", "issued"): 1,
        }
        async with kept.use() as connection:
            kept_bytes = await connection.fetchrow(
                "SELECT value, header_names, header_values FROM dead_letters"
            )
            out = await connection.fetchrow("SELECT * FROM outbox WHERE topic = 'credit-dead-letter'")
        assert kept_bytes is not None and out is not None
        assert (kept_bytes["value"], kept_bytes["header_names"], kept_bytes["header_values"]) == (
            bad,
            [b"h"],
            [b"\xff"],
        )
        headers = dict(unpacked(out["headers"]))
        assert (
            out["value"] == bad and headers["h"] == b"\xff" and headers["avoir-topic"] == b"booking-cancelled"
        )


async def test_a_message_ahead_of_the_clock_is_dead_lettered(database: str) -> None:
    async with delivering(database, Rules(GROUP, max_future=timedelta(days=-10_000))) as (deliverer, _):
        report = await deliverer.deliver([finalized(1)])
        assert report.decisions == {("invoice-finalized", "rejected"): 1}


async def test_a_conflict_does_not_use_up_its_event_id(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        first = finalized(1)
        same_invoice = message("other", "06-01", invoice("i1", line("l1", "70", booking="b1")))
        another = message("other", "06-01", invoice("i2", line("l1", "70", booking="b2")))
        await deliverer.deliver([first])
        await deliverer.deliver([same_invoice, another])
        await deliverer.deliver([another])
        async with kept.use() as connection:
            assert [row[1] for row in await decisions(connection)] == [
                "recorded",
                "conflict",
                "recorded",
                "duplicate",
            ]


async def test_positions_that_moved_on_fence_the_batch(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        await deliverer.deliver([finalized(1)])
        deliverer._offsets[TopicPartition("invoice-finalized", 0)] = 0
        with pytest.raises(Fenced, match="1 of 1 partitions"):
            await deliverer.deliver([finalized(2)])
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT count(*) FROM decisions") == 1


async def test_a_message_that_the_code_fails_on_is_parked_alone(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        with patch.dict(HANDLERS, {PaymentRecorded: Mock(side_effect=RuntimeError("a defect"))}):
            report = await deliverer.deliver(
                [finalized(1, paid="0"), message("p1", "06-03", payment("p1", "100", "i1")), cancellation(1)]
            )
        assert report.decisions == {
            ("invoice-finalized", "recorded"): 1,
            ("payment-recorded", "parked"): 1,
            ("booking-cancelled", "waiting"): 1,
        }
        again = await deliverer.deliver([message("p1", "06-03", payment("p1", "100", "i1"))])
        assert again.decisions == {("payment-recorded", "issued"): 1}
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT reason FROM dead_letters") == "RuntimeError: a defect"


async def test_a_defect_parks_eleven_messages_and_leaves_the_rest_alone(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        payments = [message(f"p{n}", "06-03", payment(f"p{n}", "100")) for n in range(40)]
        with patch.dict(HANDLERS, {PaymentRecorded: Mock(side_effect=RuntimeError("a defect"))}):
            report = await deliverer.deliver([finalized(1), *payments])
        assert report.halted and report.messages == 12
        assert report.decisions["payment-recorded", "parked"] == 11
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == 12


def failing(state: State, accounts: Iterable[AccountKey], moment: Moment) -> Draft:
    """Expiry with a defect that shows in the account of `bad`."""
    if any(account.owner_id == "bad" for account in accounts):
        raise RuntimeError("a defect")
    return expire(state, accounts, moment)


async def test_a_defect_outside_of_the_decision_parks_its_message_alone(database: str) -> None:
    """Expiring what is overdue in an account comes before its messages: a failure there is theirs."""

    async with delivering(database) as (deliverer, _):
        bad = message("p1", "06-03", payment("p1", "100", owner=Owner("user", "bad")))
        with patch("avoir.batch.batch.expire", side_effect=failing):
            report = await deliverer.deliver([finalized(1), bad, cancellation(1)])
        assert report.decisions == {
            ("invoice-finalized", "recorded"): 1,
            ("payment-recorded", "parked"): 1,
            ("booking-cancelled", "issued"): 1,
        }


@pytest.mark.parametrize("error", [RuntimeError("a defect"), MemoryError(), asyncpg.QueryCanceledError("x")])
async def test_an_account_that_fails_in_the_sweep_leaves_the_others_expired(
    database: str, error: Exception
) -> None:
    def failing(state: State, accounts: Iterable[AccountKey], moment: Moment) -> Draft:
        if any(account.owner_id == "bad" for account in accounts):
            raise error
        return expire(state, accounts, moment)

    async with delivering(database) as (deliverer, kept):
        for owner in ("good", "bad"):
            bill = invoice(
                owner,
                line("l1", "10", kind="prepaid", expires="06-20"),
                paid="10",
                owner=Owner("user", owner),
            )
            with (
                patch("avoir.core.effects.settle._expire"),
                patch("avoir.core.effects.settle.expire_overdue"),
            ):
                await deliverer.deliver([message(f"f-{owner}", "06-01", bill)])
        with patch("avoir.batch.batch.expire", side_effect=failing):
            report = await deliverer._handler.expire(100)
        assert (report.messages, report.alarms) == (1, {"expiry_failed": 1})
        async with kept.use() as connection:
            found = await connection.fetch("SELECT owner_id FROM accounts WHERE available > 0")
        assert [row["owner_id"] for row in found] == ["bad"]


async def test_an_account_that_is_locked_is_left_to_the_next_sweep(database: str) -> None:
    async with delivering(database) as (deliverer, kept), connection_to(database) as outsider:
        for owner in ("free", "locked"):
            lines = [line("l1", "10", kind="prepaid", expires="06-20")]
            bill = invoice(owner, *lines, paid="10", owner=Owner("user", owner))
            with (
                patch("avoir.core.effects.settle._expire"),
                patch("avoir.core.effects.settle.expire_overdue"),
            ):
                await deliverer.deliver([message(f"f-{owner}", "06-01", bill)])
        async with outsider.transaction():
            await outsider.execute("SELECT FROM accounts WHERE owner_id = 'locked' FOR UPDATE")
            assert (await deliverer._handler.expire(100)).messages == 1
            assert (await deliverer._handler.expire(100)).messages == 0
        assert (await deliverer._handler.expire(100)).messages == 1
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT sum(available) FROM accounts") == 0


async def test_a_message_that_the_database_refuses_is_parked_alone(database: str) -> None:
    """An error of the data: the batch is split until that message is alone."""
    async with connection_to(database) as superuser:
        await superuser.execute("ALTER TABLE avoir.payments ADD CHECK (payment_id NOT IN ('p3', 'p7'))")
    async with delivering(database) as (deliverer, kept):
        paid = [message(f"p{n}", "06-03", payment(f"p{n}", "10")) for n in range(12)]
        report = await deliverer.deliver([finalized(1), *paid, cancellation(1)])
        assert report.decisions["payment-recorded", "parked"] == 2
        assert report.decisions["payment-recorded", "issued"] == 10
        assert report.decisions["booking-cancelled", "issued"] == 1
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT available FROM accounts") == 200_000_000
            assert await connection.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == 14


async def test_what_no_account_can_hold_is_rejected_by_name(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        huge = [message(f"g{n}", "06-03", granted("100000000000.00")) for n in range(12)]
        report = await deliverer.deliver([finalized(1), *huge, cancellation(1)])
        assert report.decisions["grant-credit", "rejected"] == 3
        assert report.decisions["grant-credit", "issued"] == 9
        assert report.decisions["booking-cancelled", "issued"] == 1
        async with kept.use() as connection:
            reasons = {row[0] for row in await connection.fetch("SELECT reason FROM dead_letters")}
            assert await connection.fetchval("SELECT count(*) FROM inbox WHERE topic = 'grant-credit'") == 9
    assert reasons == {"amount: the account would hold more than 999999999999.999999 EUR"}


async def test_a_cancellation_and_its_invoice_at_the_same_moment_in_two_processes(database: str) -> None:
    async with delivering(database) as (one, kept), delivering(database, partition=1) as (other, _):
        for n in range(12):
            await asyncio.gather(one.deliver([finalized(n)]), other.deliver([cancellation(n)]))
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT available FROM accounts") == 12 * 100_000_000
            outcomes = {row[0]: row[1] for row in await decisions(connection)}
        assert all({outcomes[f"f{n}"], outcomes[f"c{n}"]} & {"issued"} for n in range(12))


async def test_the_same_message_in_two_processes_at_the_same_moment_counts_once(database: str) -> None:
    async with delivering(database) as (one, kept), delivering(database, partition=1) as (other, _):
        for n in range(12):
            batch = [finalized(n), cancellation(n)]
            await asyncio.gather(one.deliver(batch), other.deliver(batch))
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT available FROM accounts") == 12 * 100_000_000
            found = await connection.fetch("SELECT outcome, count(*) AS n FROM decisions GROUP BY outcome")
        assert {row["outcome"]: row["n"] for row in found} == {"recorded": 12, "issued": 12, "duplicate": 24}


async def test_batches_over_the_same_things_in_opposite_orders_do_not_deadlock(database: str) -> None:
    async with delivering(database) as (one, kept), delivering(database, partition=1) as (other, _):
        invoices = [finalized(n) for n in range(60)]
        changes = [cancellation(n) for n in reversed(range(60))]
        await asyncio.gather(
            *(deliver_in_parts(one, invoices), deliver_in_parts(other, changes)),
        )
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT available FROM accounts") == 60 * 100_000_000


async def deliver_in_parts(deliverer: object, messages: list[Message]) -> None:
    for start in range(0, len(messages), 7):
        await deliverer.deliver(messages[start : start + 7])  # type: ignore[attr-defined]


@pytest.mark.parametrize("spent", [False, True], ids=["grant that has all left", "grant that is spent"])
async def test_a_void_of_a_grant_that_comes_up_while_locks_are_waited_for(spent: bool, database: str) -> None:
    """Its account is not locked, so it counts as unknown, and nothing of the account is written."""
    given = [message("g1", "06-01", granted("100"))]
    used = [message("i1", "06-02", invoice("i1", line("l1", "130")))] if spent else []
    no = message("v1", "06-03", take_away(World().handle_all(given).grant_id("g1")))
    async with delivering(database) as (one, kept), delivering(database, partition=1) as (other, _):
        await other.deliver([message("g0", "06-01", granted("30"))])

        async def locking_late(session: Session, references: References) -> list[AccountKey]:
            locked = await lock(session, references)
            if no.event_id in {key.event_id for key in references.inbox}:
                await other.deliver([*given, *used])
            return locked

        with patch("avoir.batch.handle.lock", side_effect=locking_late):
            report = await one.deliver([no])
        assert report.decisions == {("void-credit", "declined"): 1}
        async with kept.use() as connection:
            found = await connection.fetchrow("SELECT available, seq FROM accounts")
            assert tuple(found or ()) == ((0, 3) if spent else (130_000_000, 2))
            assert ("v1", "declined", "unknown_grant") in await decisions(connection)


async def test_overdue_credit_expires_in_the_sweep_once(database: str) -> None:
    expires = invoice("i1", line("l1", "10", kind="prepaid", expires="06-20"), paid="10")
    async with delivering(database) as (deliverer, kept):
        await deliverer.deliver([message("f1", "06-01", expires)])
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT available FROM accounts") == 0
            topics = await connection.fetch("SELECT topic FROM outbox ORDER BY outbox_id")
        assert [row["topic"] for row in topics] == ["credit-issued", "credit-expired", "credit-balance"]
        assert (await deliverer._handler.expire(100)).messages == 0


async def test_ten_thousand_lines_leave_small_facts(database: str) -> None:
    lines = [line(f"l{n}", "1", booking="b1") for n in range(4_000)]
    async with delivering(database) as (deliverer, kept):
        await deliverer.deliver([message("f1", "06-01", invoice("i1", *lines, paid="4000")), cancellation(1)])
        async with kept.use() as connection:
            facts = await connection.fetchval("SELECT facts FROM decisions WHERE outcome = 'issued'")
            assert await connection.fetchval("SELECT available FROM accounts") == 4_000_000_000
        assert len(facts) <= 2_048 and json.loads(facts)["lines_in_all"] == 4_000


async def test_overpayment_that_comes_back_settles_the_invoice_that_its_payment_names(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        for each in (
            message("p1", "06-01", payment("p1", "100", "iA")),
            message("fB", "06-02", invoice("iB", line("l1", "100", kind="other"))),
            message("fA", "06-03", invoice("iA", line("l1", "100", kind="other"), automatic=False)),
            message("vB", "06-04", voided("iB")),
        ):
            await deliverer.deliver([each])
        async with kept.use() as connection:
            assert (
                await connection.fetchval("SELECT settled FROM invoices WHERE invoice_id = 'iA'")
                == 100_000_000
            )
            assert await connection.fetchval("SELECT available FROM accounts") == 0


async def test_credit_that_came_to_rest_costs_no_later_message_anything(database: str) -> None:
    """A thousand lines whose credit never came, since they were paid too late, are not read again."""
    never = Rules(GROUP, Policy(unpaid_change="never"))
    lines = [line(f"l{n}", "1", booking=f"b{n}") for n in range(1_000)]
    async with delivering(database, never) as (deliverer, kept):
        await deliverer.deliver([message("f1", "06-01", invoice("i1", *lines))])
        await deliverer.deliver([message(f"c{n}", "06-02", cancelled(f"b{n}")) for n in range(1_000)])
        await deliverer.deliver([message("p1", "06-03", payment("p1", "1000", "i1"))])
        async with kept.use() as connection, connection.transaction():
            account = AccountKey("t1", "user", "u1", "EUR")
            state = await Loader(Session(connection), References(), [account]).load(datetime.now(UTC))
        assert len(state.entitlements.rows) == len(state.lines.rows) == 0


async def test_what_was_set_aside_and_used_of_a_grant_is_not_read_again(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        await deliverer.deliver([message("g", "06-01", granted("500"))])
        await deliverer.deliver([message("u", "06-01", use_on("to come", "1"))])
        for n in range(100):
            used = message(f"u{n}", "06-02", use_on(f"i{n}", "1"))
            await deliverer.deliver([used, message(f"f{n}", "06-03", invoice(f"i{n}", line("l1", "1")))])
        async with kept.use() as connection, connection.transaction():
            assert await connection.fetchval("SELECT count(*) FROM reservations") == 101
            account = AccountKey("t1", "user", "u1", "EUR")
            state = await Loader(Session(connection), References(), [account]).load(datetime.now(UTC))
        assert len(state.reservations.rows) == 1


HOSTILE = {
    "a NUL in a header's name": Record("booking-cancelled", 0, 0, 1_000, b"k", b"{}", (("a\0b", b"x"),)),
    "a NUL in a name that is reported": Record(
        "booking-cancelled", 0, 0, 1_000, b"k", b"{}", (("ce_\0", b"\xff"),)
    ),
    "a very long name": Record(
        "booking-cancelled", 0, 0, 1_000, b"k", b"{}", (("ce_" + "x" * 5_000, b"\xff"),)
    ),
    "a time beyond the year 9999": Record("booking-cancelled", 0, 0, 2**62, None, b"{}"),
    "a time before time": Record("booking-cancelled", 0, 0, -1, None, None),
    "a key and a value that are no text": Record("booking-cancelled", 0, 0, 1, b"\0\xff", b"\0\xff"),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_record_is_kept_whole(what: str, database: str) -> None:
    record = HOSTILE[what]
    async with delivering(database) as (deliverer, kept):
        report = await deliverer._handler.handle([record], {TopicPartition("booking-cancelled", 0): 0})
        assert report.decisions == {("booking-cancelled", "rejected"): 1}
        async with kept.use() as connection:
            row = await connection.fetchrow("SELECT * FROM dead_letters")
        assert row is not None and (row["key"], row["value"]) == (record.key, record.value)
        names = [name.decode() for name in row["header_names"]]
        assert list(zip(names, row["header_values"], strict=True)) == list(record.headers)


async def test_a_record_that_cannot_be_kept_whole_is_kept_without_its_headers(database: str) -> None:
    """The last resort: whatever makes the whole dead letter fail, its place, key and value are kept."""
    record = Record("booking-cancelled", 0, 0, 1_000, b"k", b"{}", (("h", b"x"),))

    def failing(headers: Iterable[tuple[str, bytes | None]]) -> tuple[list[bytes], list[bytes | None]]:
        pairs = list(headers)
        if any(name == "h" for name, _ in pairs):
            raise ValueError("a defect")
        return [name.encode() for name, _ in pairs], [held for _, held in pairs]

    async with delivering(database) as (deliverer, kept):
        with patch("avoir.batch.batch.headers_columns", side_effect=failing):
            await deliverer._handler.handle([record], {TopicPartition("booking-cancelled", 0): 0})
        async with kept.use() as connection:
            row = await connection.fetchrow("SELECT key, value, header_names FROM dead_letters")
        assert row is not None and tuple(row) == (b"k", b"{}", [])


async def test_a_known_row_that_is_not_there_is_an_error_and_not_lost(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        await deliverer.deliver([message("p", "06-01", payment("p1", "10"))])
        async with kept.use() as connection:
            session = Session(connection)
            known, unknown = ("t1", "payment", "p1", 0, 0), ("t1", "payment", "p2", 0, 0)
            assert PAYMENTS.update is not None
            await session.update(PAYMENTS.update, [known])
            with pytest.raises(LookupError, match="UPDATE 1 instead of 2"):
                await session.update(PAYMENTS.update, [known, unknown])


@pytest.mark.parametrize("first", ["payment", "reversal"])
async def test_a_reversal_in_another_currency_than_its_payment_is_an_alarm(database: str, first: str) -> None:
    both = [
        message("p", "06-02", payment("p1", "60.00")),
        message("r", "06-03", reversal("r1", "p1", "20.00", "USD")),
    ]
    async with delivering(database) as (deliverer, _):
        report = await deliverer.deliver(both if first == "payment" else both[::-1])
    assert report.alarms == {"currency_mismatch": 1}
