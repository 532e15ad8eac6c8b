"""`avoir simulate --tenant`: a tenant's history under another policy, beside what happened."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, not_found
from avoir.cli.base.output import (
    add_rows,
    amount,
    bars,
    hint,
    print_json,
    rfc3339,
    say,
    short_time,
    show,
    signed,
    table,
)
from avoir.cli.base.snapshot import snapshot
from avoir.cli.simulate.comparison import Compared, Otherwise, Refused
from avoir.cli.simulate.comparison import compare as decide_again
from avoir.cli.simulate.figures import LABELS, account_json, account_name, figures_json, flat
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner
from avoir.core.simulate import Figures, add_figures, with_keys
from avoir.postgres import queries
from avoir.settings import policy_of

if TYPE_CHECKING:
    from avoir.cli.base.messages import PolicyGiven

PATIENCE_S = 3600.0
MAX_REFUSED = 20

Both = tuple[Figures, Figures]


@dataclass(slots=True)
class Comparison:
    """What is shown of a tenant: its accounts as they are and as they would be, in all and by currency."""

    tenant_id: str
    as_of: datetime
    policy: Mapping[str, Any]
    recorded: int = 0
    messages: int = 0
    unknown: int = 0
    together: int = 0
    shown: dict[AccountKey, Both] = field(default_factory=dict)
    totals: dict[str, Both] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    otherwise: Counter[Otherwise] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)

    @property
    def apart(self) -> int:
        """How many messages concern no account; unknown, and so zero, where one owner was asked for."""
        return max(0, self.recorded - self.messages - self.unknown)

    def add(self, compared: Compared, owner: Owner | None, *, all_: bool) -> None:
        """Take in a group of accounts; of a group that an owner was asked for in only that owner is shown."""
        self.messages += compared.messages
        self.unknown += compared.unknown
        self.otherwise += compared.otherwise
        self.refused += compared.refused
        for key, both in compared.accounts.items():
            if owner is not None and key.owner != owner:
                self.together += 1
                continue
            happened, simulated = self.totals.get(key.currency, (Figures(), Figures()))
            self.totals[key.currency] = add_figures(happened, both[0]), add_figures(simulated, both[1])
            self.counted[key.currency] += 1
            self.differing[key.currency] += both[0] != both[1]
            if all_ or both[0] != both[1]:
                self.shown[key] = both


async def compare(
    tenant_id: str, owner: Owner | None, given: "PolicyGiven", *, all_: bool, json: bool
) -> int:
    """Decide a tenant's history again and print what differs; without another policy nothing should."""
    settings = load_settings(DSN)
    widest = with_keys(policy_of(settings), given.keys)
    with bars("messages") as progress:
        task = progress.add_task("messages", total=None)
        async with connected(settings, patience_s=PATIENCE_S) as connection, snapshot(connection) as now:
            told = Comparison(tenant_id, now, given.said)
            if owner is None:
                told.recorded = await connection.fetchval(*queries.history_size(tenant_id=tenant_id))
                progress.update(task, total=told.recorded)
            groups = decide_again(
                connection,
                tenant_id,
                owner,
                widest,
                given.keys,
                now,
                lambda more: progress.advance(task, more),
            )
            async for compared in groups:
                told.add(compared, owner, all_=all_)
    if not told.counted:
        not_found(
            f"No account of {f'{owner.type}/{owner.id}' if owner else 'anybody'} in tenant {tenant_id}."
        )
    if json:
        print_json(comparison_json(told))
    else:
        _print(told)
    return Exit.FOUND if told.differing.total() and not given.keys else Exit.OK


def comparison_json(told: Comparison) -> dict[str, Any]:
    """The documented shape of `avoir simulate --tenant --json`."""
    return {
        "tenant_id": told.tenant_id,
        "as_of": rfc3339(told.as_of),
        "policy": dict(told.policy),
        "messages": told.messages,
        "messages_apart": told.apart,
        "commands_not_kept": told.unknown,
        "accounts": [
            {**account_json(key), **_both_json(both, key.currency)} for key, both in told.shown.items()
        ],
        "totals": [
            {
                "currency": currency,
                "accounts": told.counted[currency],
                "differing": told.differing[currency],
                **_both_json(both, currency),
            }
            for currency, both in sorted(told.totals.items())
        ],
        "otherwise": [
            {
                "topic": each.topic,
                "was": dict(zip(("outcome", "reason"), each.was, strict=True)),
                "would_be": dict(zip(("outcome", "reason"), each.would_be, strict=True)),
                "messages": count,
            }
            for each, count in sorted(told.otherwise.items())
        ],
        "refused": [each._asdict() for each in told.refused],
    }


def _both_json(both: Both, currency: str) -> dict[str, Any]:
    happened, simulated = both
    return {
        "happened": figures_json(happened, currency),
        "simulated": figures_json(simulated, currency),
        "difference": figures_json(add_figures(simulated, happened, -1), currency),
    }


def _print(told: Comparison) -> None:
    policy = ", ".join(f"{key}={_said(value)}" for key, value in told.policy.items())
    say(f"Tenant {told.tenant_id} under {policy or 'the same policy'}, beside what happened")
    right = ("Happened", "Simulated", "Difference")
    made = table("Account", "Figure", *right, right=right)
    for key, both in told.shown.items():
        add_rows(made, _rows(account_name(key), both, key.currency))
        made.add_section()
    for currency, both in sorted(told.totals.items()):
        if told.counted[currency] > 1:
            add_rows(made, _rows(f"all accounts {currency}", both, currency))
            made.add_section()
    if made.row_count:
        show(made)
    if told.otherwise:
        _print_otherwise(told)
    for each in told.refused[:MAX_REFUSED]:
        say(f"{_refused_as(each)}: {each.topic} {each.event_id} on {each.about} ({_plain(each.reason)}).")
    if len(told.refused) > MAX_REFUSED:
        say(f"... and {len(told.refused) - MAX_REFUSED} more: --json names them all.")
    _print_end(told)


def _refused_as(refused: Refused) -> str:
    is_invoice = refused.topic == "invoice-finalized"
    return "Would have lines of credit that is not there" if is_invoice else "Would be refused"


def _said(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _rows(name: str, both: Both, currency: str) -> Iterator[tuple[str, ...]]:
    sources = sorted({source for figures in both for source in figures.given})
    happened, simulated = (flat(figures, sources) for figures in both)
    for label, was in happened.items():
        would_be = simulated[label]
        if was or would_be or label == LABELS["available"]:
            difference = signed(would_be - was, currency) if would_be != was else ""
            yield name, label, amount(was, currency), amount(would_be, currency), difference
            name = ""


def _print_otherwise(told: Comparison) -> None:
    title = "Messages that would be decided otherwise"
    made = table("Message", "Was", "Would be", "Messages", right=("Messages",), title=title)
    for each, count in sorted(told.otherwise.items()):
        made.add_row(each.topic, _decided(each.was), _decided(each.would_be), str(count))
    show(made)


def _decided(decided: tuple[str, str]) -> str:
    outcome, reason = decided
    return outcome if outcome == reason else f"{outcome}: {_plain(reason)}"


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _print_end(told: Comparison) -> None:
    differing, accounts = told.differing.total(), told.counted.total()
    say(
        f"{told.messages} messages were decided again: {differing} of {accounts} account(s) differ. "
        f"As of {short_time(told.as_of)} UTC. Nothing was written."
    )
    if told.together:
        hint(f"Decided together with {told.together} account(s) of owners who share bookings or invoices.")
    if told.apart:
        hint(
            f"{told.apart} message(s) concern no account: what they name was never billed or is not known, "
            "or they set a policy of the whole tenant."
        )
    if told.unknown:
        hint(
            f"{told.unknown} command(s) were decided before their contents were kept: they are not simulated."
        )
    if differing and not told.policy:
        hint("Without --policy nothing should differ: is AVOIR_POLICY_... here what the service has?")
