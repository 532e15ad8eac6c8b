"""Runs the scenario: sends, waits, compares with what is expected, shows."""

from collections import Counter
from collections.abc import Sequence

from avoir.cli.explain.view import RecordedDecision
from avoir.core.model.money import format_decimal
from avoir.wire.topics import DEAD_LETTER
from deploy.local.demo import showing
from deploy.local.demo.facts import in_another_order
from deploy.local.demo.scenario import CURRENCY, Message, Step
from deploy.local.demo.session import Place, Seen, Session, owner_of


async def play(
    session: Session, facts: Sequence[Step], customer: Sequence[Step], in_order: str, otherwise: str
) -> list[str]:
    """Send all steps to one tenant, then the facts in another order to another; returns what was not as expected."""
    expected: Counter[str] = Counter()
    showing.say(showing.LEGEND)
    for number, step in enumerate([*facts, *customer], 1):
        if number == len(facts) + 1:
            showing.say(showing.ONE_CUSTOMER)
        showing.title(number, step)
        if wrong := await _play_step(session, in_order, step, expected):
            return wrong
    return await _again(session, facts, in_order, otherwise, len(facts) + len(customer) + 1)


async def _play_step(session: Session, tenant_id: str, step: Step, expected: Counter[str]) -> list[str]:
    wrong = []
    before = len(session.by_time(tenant_id))
    for message in step.messages:
        expected.update(topic for topic, _ in message.out)
        wrong += await _send(session, tenant_id, message, expected)
    expected.update(topic for topic, _ in step.by_time)
    await session.published(tenant_id, expected)
    passed = session.by_time(tenant_id)[before:]
    faults = _unexpected("as time passes", passed, step.by_time)
    faults += await _balances(session, tenant_id, step)
    showing.by_time(passed)
    showing.faults(faults)
    return wrong + faults


async def _send(session: Session, tenant_id: str, message: Message, expected: Counter[str]) -> list[str]:
    before = len(session.seen_of(tenant_id))
    place = await session.send(tenant_id, message)
    decision = await session.decision(tenant_id, message, place)
    await session.published(tenant_id, expected)
    new = session.seen_of(tenant_id)[before:]
    caused = [each for each in session.caused_by(tenant_id, place, message.event_id) if each in new]
    wrong = _differences(message, place, decision, caused)
    showing.message(message, decision, caused, wrong)
    return wrong


def _differences(
    message: Message, place: Place, decision: RecordedDecision, caused: Sequence[Seen]
) -> list[str]:
    wrong = []
    actual = (decision.outcome, decision.reason)
    if actual != (message.outcome, message.reason):
        wrong.append(
            f"{place.topic} {message.event_id}: expected {message.outcome}, {message.reason}; got {actual}"
        )
    return wrong + _unexpected(f"{place.topic} {message.event_id}", caused, message.out)


def _unexpected(what: str, seen: Sequence[Seen], expected: Sequence[tuple[str, str | None]]) -> list[str]:
    out = [(each.topic, each.body.get("amount")) for each in seen]
    if out == list(expected):
        return []
    return [f"{what}: expected {list(expected)} to come out; got {out}"]


async def _balances(session: Session, tenant_id: str, step: Step) -> list[str]:
    has = {
        owner_of(each): format_decimal(each.available, CURRENCY) for each in await session.accounts(tenant_id)
    }
    return [
        f"{owner} should have {amount} {CURRENCY}, and has {has.get(owner)}"
        for owner, amount in step.balances.items()
        if has.get(owner) != amount
    ]


async def _again(
    session: Session, steps: Sequence[Step], in_order: str, otherwise: str, number: int
) -> list[str]:
    messages = in_another_order(steps)
    title = f"The {len(messages)} messages of 1 to {len(steps)} for another business, in reverse order"
    point = "Cancellations come before payments, and everything before the invoices, which come last."
    showing.title(number, Step(title, point, ()))
    places = [(each, await session.send(otherwise, each)) for each in messages]
    for each, place in places:
        await session.decision(otherwise, each, place)
    dead_letters = sum(topic == DEAD_LETTER for each in messages for topic, _ in each.out)
    await session.published(otherwise, Counter({DEAD_LETTER: dead_letters}))
    rows = await _side_by_side(session, steps, in_order, otherwise)
    showing.comparison(rows)
    showing.say("    The same in both orders." if all(first == other for _, first, other in rows) else "")
    return [
        f"in another order {name} is {other}, not {first}" for name, first, other in rows if first != other
    ]


async def _side_by_side(
    session: Session, steps: Sequence[Step], in_order: str, otherwise: str
) -> list[tuple[str, str, str]]:
    has: list[dict[str, str]] = []
    messages = [each.value for step in steps for each in step.messages]
    owners = {f"{each['owner']['type']}/{each['owner']['id']}" for each in messages if "owner" in each}
    invoices = [each["invoice_id"] for each in messages if "lines" in each]
    for tenant_id in (in_order, otherwise):
        shown = {
            f"{owner_of(each)} has credit of": f"{format_decimal(each.available, CURRENCY)} {CURRENCY}"
            for each in await session.accounts(tenant_id)
            if owner_of(each) in owners
        }
        due = [await session.due(tenant_id, each) for each in invoices]
        shown["still due, on all invoices"] = f"{format_decimal(sum(due), CURRENCY)} {CURRENCY}"
        has.append(shown)
    return [(name, amount, has[1].get(name, "nothing")) for name, amount in sorted(has[0].items())]
