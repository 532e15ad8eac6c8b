"""Plays the story: sends, waits, compares with what was told, shows."""

from collections import Counter
from collections.abc import Sequence

from avoir.cli.explain.view import DecisionMade
from avoir.core.model.money import format_decimal
from avoir.wire.topics import DEAD_LETTER
from deploy.local.demo import showing
from deploy.local.demo.stage import Place, Seen, Stage, owner_of
from deploy.local.demo.story import in_another_order
from deploy.local.demo.told import CURRENCY, Step, Told


async def play(
    stage: Stage, facts: Sequence[Step], customer: Sequence[Step], in_order: str, otherwise: str
) -> list[str]:
    """Tell all steps to one tenant, then the facts in another order to another; what was not as told."""
    expected: Counter[str] = Counter()
    showing.say(showing.LEGEND)
    for number, step in enumerate([*facts, *customer], 1):
        if number == len(facts) + 1:
            showing.say(showing.ONE_CUSTOMER)
        showing.title(number, step)
        if wrong := await _play_step(stage, in_order, step, expected):
            return wrong
    return await _again(stage, facts, in_order, otherwise, len(facts) + len(customer) + 1)


async def _play_step(stage: Stage, tenant_id: str, step: Step, expected: Counter[str]) -> list[str]:
    wrong = []
    before = len(stage.by_time(tenant_id))
    for told in step.told:
        expected.update(topic for topic, _ in told.out)
        wrong += await _tell(stage, tenant_id, told, expected)
    expected.update(topic for topic, _ in step.by_time)
    await stage.published(tenant_id, expected)
    passed = stage.by_time(tenant_id)[before:]
    faults = _not_as_told("as time passes", passed, step.by_time)
    faults += await _balances(stage, tenant_id, step)
    showing.by_time(passed)
    showing.faults(faults)
    return wrong + faults


async def _tell(stage: Stage, tenant_id: str, told: Told, expected: Counter[str]) -> list[str]:
    before = len(stage.seen_of(tenant_id))
    place = await stage.send(tenant_id, told)
    decision = await stage.decision(tenant_id, told, place)
    await stage.published(tenant_id, expected)
    new = stage.seen_of(tenant_id)[before:]
    caused = [each for each in stage.caused_by(tenant_id, place, told.event_id) if each in new]
    wrong = _differences(told, place, decision, caused)
    showing.message(told, decision, caused, wrong)
    return wrong


def _differences(told: Told, place: Place, decision: DecisionMade, caused: Sequence[Seen]) -> list[str]:
    wrong = []
    found = (decision.outcome, decision.reason)
    if found != (told.outcome, told.reason):
        wrong.append(f"{place.topic} {told.event_id}: expected {told.outcome}, {told.reason}; got {found}")
    return wrong + _not_as_told(f"{place.topic} {told.event_id}", caused, told.out)


def _not_as_told(what: str, seen: Sequence[Seen], expected: Sequence[tuple[str, str | None]]) -> list[str]:
    out = [(each.topic, each.body.get("amount")) for each in seen]
    if out == list(expected):
        return []
    return [f"{what}: expected {list(expected)} to come out; got {out}"]


async def _balances(stage: Stage, tenant_id: str, step: Step) -> list[str]:
    has = {
        owner_of(each): format_decimal(each.available, CURRENCY) for each in await stage.accounts(tenant_id)
    }
    return [
        f"{owner} should have {amount} {CURRENCY}, and has {has.get(owner)}"
        for owner, amount in step.balances.items()
        if has.get(owner) != amount
    ]


async def _again(
    stage: Stage, steps: Sequence[Step], in_order: str, otherwise: str, number: int
) -> list[str]:
    told = in_another_order(steps)
    title = f"The {len(told)} messages of 1 to {len(steps)} for another business, back to front"
    point = "Cancellations come before payments, and everything before the invoices, which come last."
    showing.title(number, Step(title, point, ()))
    places = [(each, await stage.send(otherwise, each)) for each in told]
    for each, place in places:
        await stage.decision(otherwise, each, place)
    letters = sum(topic == DEAD_LETTER for each in told for topic, _ in each.out)
    await stage.published(otherwise, Counter({DEAD_LETTER: letters}))
    rows = await _side_by_side(stage, steps, in_order, otherwise)
    showing.comparison(rows)
    showing.say("    The same in both orders." if all(first == other for _, first, other in rows) else "")
    return [
        f"in another order {name} is {other}, not {first}" for name, first, other in rows if first != other
    ]


async def _side_by_side(
    stage: Stage, steps: Sequence[Step], in_order: str, otherwise: str
) -> list[tuple[str, str, str]]:
    has: list[dict[str, str]] = []
    messages = [each.value for step in steps for each in step.told]
    owners = {f"{each['owner']['type']}/{each['owner']['id']}" for each in messages if "owner" in each}
    invoices = [each["invoice_id"] for each in messages if "lines" in each]
    for tenant_id in (in_order, otherwise):
        shown = {
            f"{owner_of(each)} has credit of": f"{format_decimal(each.available, CURRENCY)} {CURRENCY}"
            for each in await stage.accounts(tenant_id)
            if owner_of(each) in owners
        }
        due = [await stage.due(tenant_id, each) for each in invoices]
        shown["still due, on all invoices"] = f"{format_decimal(sum(due), CURRENCY)} {CURRENCY}"
        has.append(shown)
    return [(name, amount, has[1].get(name, "nothing")) for name, amount in sorted(has[0].items())]
