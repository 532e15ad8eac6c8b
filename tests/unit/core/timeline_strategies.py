"""Random timelines of facts for property tests: few things, so that they meet."""

from collections.abc import Sequence

from hypothesis import strategies as st

from avoir.core.model.facts import Fact, InvoiceFinalized, InvoiceLine, Owner, PaymentReversed
from avoir.core.model.message import Message
from tests.unit.core.world import (
    cancelled,
    invoice,
    line,
    message,
    payment,
    plan_cancelled,
    reversal,
    shortened,
    voided,
)

OWNERS = [Owner("user", "u1"), Owner("team", "u1")]
BOOKINGS = ["b1", "b2", "b3"]
PERIOD = ("06-10T09:00", "06-10T13:00")
PLAN_PERIODS = [("06-01", "07-01"), ("07-01", "08-01")]

days = st.integers(1, 9).map(lambda day: f"06-0{day}")
cents = st.one_of(
    st.sampled_from(["30.00", "50.00", "100.00", "300.00"]),
    st.integers(1, 30_000).map(lambda amount: f"{amount // 100}.{amount % 100:02d}"),
)
owners = st.sampled_from([*OWNERS, OWNERS[0], OWNERS[0]])
invoice_ids = st.sampled_from(["i1", "i2", "i3", "i4"])


@st.composite
def lines(draw: st.DrawFn) -> tuple[InvoiceLine, ...]:
    found = []
    for n in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(["booking", "booking", "booking", "plan", "prepaid", "other", "discount"])
        )
        tax = draw(st.sampled_from(["0", "0.21", "1.37", "21.00"]))
        amount = draw(cents)
        match kind:
            case "booking":
                period = draw(st.sampled_from([None, PERIOD]))
                booking = draw(st.sampled_from(BOOKINGS))
                found.append(line(f"l{n}", amount, tax=tax, booking=booking, period=period))
            case "plan":
                found.append(
                    line(f"l{n}", amount, tax=tax, plan="p1", period=draw(st.sampled_from(PLAN_PERIODS)))
                )
            case "discount":
                found.append(line(f"l{n}", f"-{amount}", kind="other"))
            case _:
                found.append(line(f"l{n}", amount, tax=tax, kind=kind))
    return tuple(found)


@st.composite
def invoices(draw: st.DrawFn, invoice_id: str, owners: st.SearchStrategy[Owner] = owners) -> InvoiceFinalized:
    drawn = draw(lines())
    total = sum(each.amount + each.tax for each in drawn)
    part = draw(st.sampled_from([0, 0, 1, 2]))
    paid = max(total, 0) * part // 2 // 10_000 * 10_000
    return invoice(
        invoice_id,
        *drawn,
        paid=f"{paid // 1_000_000}.{paid % 1_000_000:06d}",
        owner=draw(owners),
        automatic=draw(st.booleans()),
        auto_apply=draw(st.sampled_from([None, None, False])),
    )


@st.composite
def changes(draw: st.DrawFn, booking_id: str) -> Fact:
    by = draw(st.sampled_from(["customer", "customer", "admin"]))
    ask = draw(st.sampled_from([None, True]))
    revision = draw(st.sampled_from([None, None, 1, 2, 3]))
    match draw(st.sampled_from(["cancel", "fee", "period", "price", "dollars"])):
        case "cancel":
            return cancelled(booking_id, by=by, ask=ask, revision=revision)
        case "fee":
            return cancelled(booking_id, by=by, ask=ask, revision=revision, fee=draw(cents))
        case "dollars":
            return cancelled(booking_id, by=by, ask=ask, revision=revision, fee="1.00", currency="USD")
        case "period":
            end = draw(st.sampled_from(["09:00", "10:20", "12:00", "13:00"]))
            remaining = ("06-10T08:00", f"06-10T{end}")
            return shortened(
                booking_id, billed=PERIOD, remaining=remaining, by=by, ask=ask, revision=revision
            )
        case _:
            prices = ("90.00", draw(st.sampled_from(["0", "30.00", "89.99", "90.00", "120.00"])))
            return shortened(booking_id, prices=prices, by=by, ask=ask, revision=revision)


@st.composite
def timelines(draw: st.DrawFn) -> Sequence[Message]:
    """Facts of all kinds, each business key once, without conflicts."""
    messages = []
    owners = st.sampled_from(draw(st.sampled_from([[*OWNERS, OWNERS[0]], OWNERS[:1]])))
    ids = draw(st.lists(invoice_ids, unique=True, max_size=4))
    messages += [message(f"f-{each}", draw(days), draw(invoices(each, owners))) for each in ids]
    for booking_id in draw(st.lists(st.sampled_from(BOOKINGS), max_size=4)):
        messages.append(message(f"c{len(messages)}", draw(days), draw(changes(booking_id))))
    if draw(st.booleans()):
        unused = draw(st.sampled_from(["whole_periods", "prorate"]))
        messages.append(
            message(
                "plan", draw(days), plan_cancelled("p1", draw(st.sampled_from(["06-05", "06-16"])), unused)
            )
        )
    for n in range(draw(st.integers(0, 3))):
        named = draw(st.lists(invoice_ids, max_size=2))
        messages.append(
            message(f"p{n}", draw(days), payment(f"p{n}", draw(cents), *named, owner=draw(owners)))
        )
    for n in range(draw(st.integers(0, 2))):
        messages.append(message(f"r{n}", draw(days), draw(reversals(n))))
    for invoice_id in draw(st.lists(invoice_ids, unique=True, max_size=2)):
        messages.append(message(f"v-{invoice_id}", draw(days), voided(invoice_id)))
    return messages


@st.composite
def reversals(draw: st.DrawFn, n: int) -> PaymentReversed:
    currency = draw(st.sampled_from(["EUR", "EUR", "EUR", "USD"]))
    return reversal(f"r{n}", draw(st.sampled_from(["p0", "p1", "p2"])), draw(cents), currency)
