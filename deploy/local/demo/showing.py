"""Prints the demo: each step with its input, the decision with its reason, and the output."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from avoir.cli.base.words import outcome_words, reason_words, recorded_words
from avoir.cli.explain.view import RecordedDecision
from avoir.wire.topics import COMMANDS
from deploy.local.demo.scenario import CURRENCY, Json, Message, Step
from deploy.local.demo.session import Seen

WIDTH = 100
LEGEND = """
Each step shows what went in to Kafka (in), what Avoir decided and why (decided, because), and what
came out of Kafka (out). If anything is not as expected, the demo ends in red."""
ONE_CUSTOMER = """
Now one customer, u5: a plan, bookings, credit and a credit note, prepaid credit, and how each ends.
Commands, by an admin or a service, ask for something; they take effect when they arrive."""

PATTERNS = {
    "credit-issued": "{amount} of credit given",
    "credit-applied": "{amount} of credit used on invoice {invoice_id}{slices}, {amount_due} still due",
    "credit-declined": "no credit: {reason}",
    "credit-dead-letter": "dead letter: {avoir-reason}",
    "credit-reserved": "{amount} of credit reserved for {invoice}",
    "credit-reinstated": "{amount} of credit back from invoice {invoice_id}: {reason}",
    "credit-voided": "{amount} of credit taken back: {reason}",
    "credit-refunded": "{amount} of credit paid out{slices}: {reference}",
    "credit-expired": "{amount} of credit expired",
    "credit-drawn": "{amount} of credit drawn: {reference}",
    "credit-refill-requested": "a refill of {amount} requested, because less than {threshold} is left",
    "credit-note-issued": "credit note {credit_note} for {amount}",
}
"""credit note {n} for {amount}"""

console = Console(width=WIDTH, highlight=False, markup=False)


def say(text: str = "", style: str = "") -> None:
    """A line."""
    console.print(text, style=style or None)


def title(number: int, step: Step) -> None:
    """Print the title of a step, and its point."""
    console.print()
    console.print(Text.assemble((f"{number:>2}  ", "bold cyan"), (step.title, "bold")))
    console.print(Padding(Text(step.point, style="italic"), (0, 0, 0, 4)))


def message(message: Message, decision: RecordedDecision, out: Sequence[Seen], wrong: Sequence[str]) -> None:
    """One message: in, decided and why, out."""
    grid, row = _grid()
    row("in", Text.assemble((f"{message.topic}  ", "dim"), message.words))
    good = decision.outcome in ("issued", "applied", "recorded")
    outcome = Text.assemble((decision.outcome, "bold green" if good else "bold yellow"))
    why = " ".join(_why(decision))
    outcome.append(f": {why if decision.outcome == 'recorded' else _outcome(decision)}")
    row("decided", outcome)
    if why and decision.outcome != "recorded":
        row("because", why)
    if decision.would_change_it and decision.outcome != "rejected":
        row("to change it", decision.would_change_it)
    for each in out:
        row("out", Text.assemble((f"{each.topic}  ", "dim"), event_words(each)))
    for fault in wrong:
        row("NOT AS EXPECTED", Text(fault, style="red"), "bold red")
    console.print(Padding(grid, (0, 0, 0, 2)))


def by_time(out: Sequence[Seen]) -> None:
    """Print events that no message caused."""
    grid, row = _grid()
    for each in out:
        row("in", "no message: it has expired")
        row("out", Text.assemble((f"{each.topic}  ", "dim"), event_words(each)))
    if out:
        console.print(Padding(grid, (0, 0, 0, 2)))


def _grid() -> tuple[Table, Callable[..., None]]:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=12, justify="right")
    grid.add_column()

    def row(name: str, words: str | Text, style: str = "dim") -> None:
        grid.add_row(Text(name, style=style), words)

    return grid, row


def _outcome(decision: RecordedDecision) -> str:
    is_refused = decision.outcome == "declined" and decision.topic in COMMANDS
    return "The command was refused." if is_refused else outcome_words(decision.outcome)


def _why(decision: RecordedDecision) -> Iterator[str]:
    facts = decision.facts
    if decision.outcome != "recorded" and decision.reason != decision.outcome:
        yield reason_words(decision.reason)
    if decision.outcome == "recorded" and decision.topic in COMMANDS:
        yield recorded_words(decision.topic, decision.reason)
    for line in facts.get("lines", ()):
        yield (
            f"Invoice {line['invoice_id']}: cost {line['cost']}, worth {line['target']} of credit, "
            f"{_due(line['due_on_invoice'])}."
        )
    if "available" in facts:
        yield f"{facts['available']} {CURRENCY} was available."
    elif "due" in facts:
        yield f"Invoice {facts['invoice_id']}: {_due(facts['due'])}."
    if "left" in facts:
        yield f"{facts['settled']} of it pays invoices, {facts['left']} is left over."
    if by_message := decision.policy.get("set_by"):
        yield f"Policy: {', '.join(f'{key} {decision.policy[key]}' for key in by_message)}."


def _due(amount: str) -> str:
    return f"{amount} {CURRENCY} due" if amount.strip("0.") else "nothing due"


def event_words(seen: Seen) -> str:
    """An event in plain words."""
    body = seen.body
    invoice_id = body.get("invoice_id")
    invoice = f"invoice {invoice_id}" if invoice_id else "the next invoice"
    fields = _Fields(body | {"invoice": invoice, "slices": _slices(body.get("slices", ()))})
    words = PATTERNS.get(seen.topic, "{amount}").format_map(fields)
    balance = body.get("balance")
    held = f"; {_holder(body)} has {balance['available']} {CURRENCY}" if balance else ""
    if balance and balance["reserved"].strip("0."):
        held += f" and {balance['reserved']} reserved"
    return f"{words}{_more(body)}{held}"


class _Fields(dict[str, object]):
    """Names what an event lacks instead of failing on it."""

    def __missing__(self, key: str) -> str:
        return f"(no {key})"


def _slices(slices: Sequence[Json]) -> str:
    if len(slices) < 2:
        return ""
    parts = ", ".join(f"{each['amount']} {each['source']}" for each in slices)
    return f" ({parts})"


def _more(body: Json) -> str:
    item, note = body.get("line_item"), body.get("note")
    if item:
        return f", as a line of {item['amount']} and tax {item['tax']}"
    return f": {note}" if note else ""


def _holder(body: Json) -> str:
    return str(body["account"]["owner"]["id"])


def faults(wrong: Sequence[str]) -> None:
    """Print what is not as expected at the end of a step."""
    for fault in wrong:
        console.print(Padding(Text(f"NOT AS EXPECTED {fault}", style="bold red"), (0, 0, 0, 4)))


def comparison(rows: Iterable[Sequence[str]]) -> None:
    """The balances of the two tenants, side by side."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "in order", "in another order"):
        made.add_column(column, justify="right" if column else "left")
    for row in rows:
        made.add_row(*row)
    console.print(Padding(made, (0, 0, 0, 4)))


def command(words: str, output: str) -> None:
    """Print a command as typed, and its output."""
    console.print()
    console.print(Text.assemble(("$ ", "dim"), (words, "bold")))
    console.print(Text.from_ansi(output.rstrip()))


def how_to_go_on(seconds: Mapping[str, float]) -> None:
    """The end: next steps for the viewer."""
    times = ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items())
    console.print()
    console.print(Text(f"({times})", style="dim"))
    console.print(
        "Nothing is left running. make up starts the same stack and keeps it running, with addresses and\n"
        "first commands; docs/upstream.md publishes a first message of your own."
    )
