"""`avoir simulate --tenant`: a tenant's history under another policy, compared with what happened."""

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
from avoir.cli.simulate.comparison import ChangedDecision, Compared, Refused
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
    """Result for a tenant: its accounts as they are and as they would be, in total and by currency."""

    tenant_id: str
    as_of: datetime
    policy: Mapping[str, Any]
    recorded: int = 0
    messages: int = 0
    unknown: int = 0
    of_others: int = 0
    shown: dict[AccountKey, Both] = field(default_factory=dict)
    totals: dict[str, Both] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    changed: Counter[ChangedDecision] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)

    @property
    def without_account(self) -> int:
        """Number of messages that concern no account; 0 with --owner, since it is unknown."""
        return max(0, self.recorded - self.messages - self.unknown)

    def add(self, compared: Compared, owner: Owner | None, *, all_: bool) -> None:
        """Add a group of accounts; with --owner, only that owner's accounts are shown."""
        self.messages += compared.messages
        self.unknown += compared.unknown
        self.changed += compared.changed
        self.refused += compared.refused
        for key, both in compared.accounts.items():
            if owner is not None and key.owner != owner:
                self.of_others += 1
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
    """Decide a tenant's history again and print the differences; without another policy there should be none."""
    settings = load_settings(DSN)
    widest = with_keys(policy_of(settings), given.keys)
    with bars("messages") as progress:
        task = progress.add_task("messages", total=None)
        async with connected(settings, patience_s=PATIENCE_S) as connection, snapshot(connection) as now:
            comparison = Comparison(tenant_id, now, given.fields)
            if owner is None:
                comparison.recorded = await connection.fetchval(*queries.history_size(tenant_id=tenant_id))
                progress.update(task, total=comparison.recorded)
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
                comparison.add(compared, owner, all_=all_)
    if not comparison.counted:
        not_found(
            f"{f'{owner.type}/{owner.id}' if owner else 'No owner'} has no account in tenant {tenant_id}."
        )
    if json:
        print_json(comparison_json(comparison))
    else:
        _print(comparison)
    return Exit.FOUND if comparison.differing.total() and not given.keys else Exit.OK


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The documented shape of `avoir simulate --tenant --json`."""
    return {
        "tenant_id": comparison.tenant_id,
        "as_of": rfc3339(comparison.as_of),
        "policy": dict(comparison.policy),
        "messages": comparison.messages,
        "messages_apart": comparison.without_account,
        "commands_not_kept": comparison.unknown,
        "accounts": [
            {**account_json(key), **_both_json(both, key.currency)} for key, both in comparison.shown.items()
        ],
        "totals": [
            {
                "currency": currency,
                "accounts": comparison.counted[currency],
                "differing": comparison.differing[currency],
                **_both_json(both, currency),
            }
            for currency, both in sorted(comparison.totals.items())
        ],
        "otherwise": [
            {
                "topic": each.topic,
                "was": dict(zip(("outcome", "reason"), each.was, strict=True)),
                "would_be": dict(zip(("outcome", "reason"), each.would_be, strict=True)),
                "messages": count,
            }
            for each, count in sorted(comparison.changed.items())
        ],
        "refused": [each._asdict() for each in comparison.refused],
    }


def _both_json(both: Both, currency: str) -> dict[str, Any]:
    happened, simulated = both
    return {
        "happened": figures_json(happened, currency),
        "simulated": figures_json(simulated, currency),
        "difference": figures_json(add_figures(simulated, happened, -1), currency),
    }


def _print(comparison: Comparison) -> None:
    policy = ", ".join(f"{key}={_value(value)}" for key, value in comparison.policy.items())
    say(f"Tenant {comparison.tenant_id} under {policy or 'the same policy'}, compared with what happened")
    right = ("Happened", "Simulated", "Difference")
    made = table("Account", "Figure", *right, right=right)
    for key, both in comparison.shown.items():
        add_rows(made, _rows(account_name(key), both, key.currency))
        made.add_section()
    for currency, both in sorted(comparison.totals.items()):
        if comparison.counted[currency] > 1:
            add_rows(made, _rows(f"all accounts {currency}", both, currency))
            made.add_section()
    if made.row_count:
        show(made)
    if comparison.changed:
        _print_changed(comparison)
    for each in comparison.refused[:MAX_REFUSED]:
        say(f"{_refusal(each)}: {each.topic} {each.event_id} on {each.about} ({_plain(each.reason)}).")
    if len(comparison.refused) > MAX_REFUSED:
        say(f"... and {len(comparison.refused) - MAX_REFUSED} more: --json lists all of them.")
    _print_end(comparison)


def _refusal(refused: Refused) -> str:
    is_invoice = refused.topic == "invoice-finalized"
    return "Would use credit lines without credit" if is_invoice else "Would be refused"


def _value(value: Any) -> str:
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


def _print_changed(comparison: Comparison) -> None:
    title = "Messages that would be decided differently"
    made = table("Message", "Was", "Would be", "Messages", right=("Messages",), title=title)
    for each, count in sorted(comparison.changed.items()):
        made.add_row(each.topic, _decided(each.was), _decided(each.would_be), str(count))
    show(made)


def _decided(decided: tuple[str, str]) -> str:
    outcome, reason = decided
    return outcome if outcome == reason else f"{outcome}: {_plain(reason)}"


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _print_end(comparison: Comparison) -> None:
    differing, accounts = comparison.differing.total(), comparison.counted.total()
    say(
        f"{comparison.messages} messages were decided again: {differing} of {accounts} account(s) differ. "
        f"As of {short_time(comparison.as_of)} UTC. Nothing was written."
    )
    if comparison.of_others:
        hint(
            f"Decided together with {comparison.of_others} account(s) of owners who share bookings or invoices."
        )
    if comparison.without_account:
        hint(
            f"{comparison.without_account} message(s) concern no account: "
            "their booking, plan or invoice was never billed or is unknown, "
            "or they set a tenant-wide policy."
        )
    if comparison.unknown:
        hint(
            f"{comparison.unknown} command(s) were decided by a version that did not keep them: they are not simulated."
        )
    if differing and not comparison.policy:
        hint(
            "Without --policy nothing should differ: check that the AVOIR_POLICY_... settings here match the service's."
        )
