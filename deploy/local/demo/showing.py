"""What the demo prints: each step with what went in, what was decided and why, and what came out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from avoir.read.story import DecisionMade
from avoir.read.words import OUTCOMES, REASONS
from deploy.local.demo.stage import Seen
from deploy.local.demo.story import CURRENCY, Json, Step, Told

WIDTH = 100
LEGEND = """
Each step shows what went in to Kafka (in), what Avoir decided and why (decided, because), and what
came out of Kafka (out). Whatever differs from what the story says it must be ends the demo in red."""

console = Console(width=WIDTH, highlight=False, markup=False)


def say(text: str = "", style: str = "") -> None:
    """A line."""
    console.print(text, style=style or None)


def title(number: int, step: Step) -> None:
    """What happens, and the point of it."""
    console.print()
    console.print(Text.assemble((f"{number:>2}  ", "bold cyan"), (step.title, "bold")))
    console.print(Padding(Text(step.point, style="italic"), (0, 0, 0, 4)))


def message(told: Told, decision: DecisionMade, out: Sequence[Seen], wrong: Sequence[str]) -> None:
    """One message: in, decided and why, out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=12, justify="right")
    grid.add_column()

    def row(name: str, words: str | Text, style: str = "dim") -> None:
        grid.add_row(Text(name, style=style), words)

    row("in", Text.assemble((f"{told.topic}  ", "dim"), told.words))
    good = decision.outcome in ("issued", "applied", "recorded")
    outcome = Text.assemble((decision.outcome, "bold green" if good else "bold yellow"))
    why = " ".join(_why(decision))
    outcome.append(f": {why if decision.outcome == 'recorded' else OUTCOMES[decision.outcome]}")
    row("decided", outcome)
    if why and decision.outcome != "recorded":
        row("because", why)
    if decision.would_change_it and decision.outcome != "rejected":
        row("to change it", decision.would_change_it)
    for each in out:
        row("out", Text.assemble((f"{each.topic}  ", "dim"), event_words(each)))
    for fault in wrong:
        row("NOT AS TOLD", Text(fault, style="red"), "bold red")
    console.print(Padding(grid, (0, 0, 0, 2)))


def _why(decision: DecisionMade) -> Iterator[str]:
    facts = decision.facts
    if decision.outcome != "recorded" and decision.reason in REASONS:
        yield REASONS[decision.reason]
    for line in facts.get("lines", ()):
        yield (
            f"Invoice {line['invoice_id']}: cost {line['cost']}, worth {line['target']} of credit, "
            f"{_due(line['due_on_invoice'])}."
        )
    if "due" in facts:
        yield f"Invoice {facts['invoice_id']}: {_due(facts['due'])}."
    if "left" in facts:
        yield f"{facts['settled']} of it pays invoices, {facts['left']} is left over."


def _due(amount: str) -> str:
    return f"{amount} {CURRENCY} due" if amount.strip("0.") else "nothing due"


def event_words(seen: Seen) -> str:
    """An event in plain words."""
    body = seen.body
    pattern = {
        "credit-issued": "{amount} of credit given",
        "credit-applied": "{amount} of credit used on invoice {invoice_id}, {amount_due} still due",
        "credit-reinstated": "{amount} of credit back from invoice {invoice_id}",
        "credit-declined": "no credit: {reason}",
        "credit-dead-letter": "set aside: {avoir-reason}",
    }.get(seen.topic, "{amount}")
    words = pattern.format_map(_Named(body))
    balance = body.get("balance")
    held = f"; {_holder(body)} has {balance['available']} {CURRENCY}" if balance else ""
    return f"{words}{_line(body)}{held}"


class _Named(dict[str, object]):
    """Names what an event lacks instead of failing on it."""

    def __missing__(self, key: str) -> str:
        return f"(no {key})"


def _line(body: Json) -> str:
    item = body.get("line_item")
    return f", as a line of {item['amount']} and tax {item['tax']}" if item else ""


def _holder(body: Json) -> str:
    return str(body["account"]["owner"]["id"])


def balances(wrong: Sequence[str]) -> None:
    """What of a step's balances is not as told; nothing when all is."""
    for fault in wrong:
        console.print(Padding(Text(f"NOT AS TOLD {fault}", style="bold red"), (0, 0, 0, 4)))


def comparison(rows: Iterable[Sequence[str]]) -> None:
    """The balances of the two tenants, side by side."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "in order", "in another order"):
        made.add_column(column, justify="right" if column else "left")
    for row in rows:
        made.add_row(*row)
    console.print(Padding(made, (0, 0, 0, 4)))


def command(words: str, output: str) -> None:
    """A command of `avoir` as one would type it, and what it said."""
    console.print()
    console.print(Text.assemble(("$ ", "dim"), (words, "bold")))
    console.print(Text.from_ansi(output.rstrip()))


def how_to_go_on(seconds: Mapping[str, float]) -> None:
    """The end: what comes next for whoever watched."""
    times = ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items())
    console.print()
    console.print(Text(f"({times})", style="dim"))
    console.print(
        "Nothing is left running. To go on: make up starts the same and leaves it running, with the\n"
        "addresses and first commands; docs/upstream.md publishes a first message of your own."
    )
