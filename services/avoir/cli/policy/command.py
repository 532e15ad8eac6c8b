"""`avoir policy show`: which settings of credit count, since when, and who set them."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, refuse
from avoir.cli.base.options import AsJson, Moment, OwnerArgument
from avoir.cli.base.output import add_rows, amount, print_json, rfc3339, say, short_time, show, table
from avoir.cli.base.words import scope_words
from avoir.cli.policy.query import PolicyInForce, Set, ValueInForce, Whom, read_policy
from avoir.core.model.policy import PolicyVersion, stated
from avoir.settings import PolicySettings, Settings, policy_of

policy = App(name="policy", help="The settings that decide how credit comes and goes.")


@policy.command(name="show")
async def show_policy(
    *,
    tenant: Annotated[
        str | None,
        Parameter(
            name=["--tenant", "-t"], help="The operator to ask for; without one, what the settings say."
        ),
    ] = None,
    owner: OwnerArgument | None = None,
    invoice: Annotated[
        str | None, Parameter(help="An invoice; one that is known has its owner's policy too.")
    ] = None,
    at: Annotated[
        Moment | None, Parameter(help="What was in force for what occurred at this moment; else now.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Show the policy values in force, where each comes from, and every message that set some.

    An invoice's value comes before its owner's, that before the tenant's, and all of them before the settings of this
    command's environment (AVOIR_POLICY_*), which are the service's if they are set alike. What counts for a fact is
    the value in force when it occurred.

    Example: `avoir policy show --tenant t1 --owner user/u1 --at 2025-06-01`
    """
    if tenant is None:
        if owner is not None or invoice is not None or at is not None:
            refuse("--owner, --invoice and --at need --tenant.")
        return _show_settings(load_settings(), json=json)
    settings = load_settings(DSN)
    async with connected(settings) as connection:
        found = await read_policy(connection, policy_of(settings), Whom(tenant, owner, invoice), at)
    if json:
        print_json(policy_json(found))
    else:
        print_policy(found)
    return Exit.OK


def _show_settings(settings: Settings, *, json: bool) -> int:
    values = {name: getattr(settings, name) for name in PolicySettings.model_fields}
    plain = {
        name.removeprefix("policy_"): value if isinstance(value, bool | int | None) else str(value)
        for name, value in values.items()
    }
    if json:
        print_json(plain)
        return Exit.OK
    made = table("Policy", "Value", "Setting")
    rows = ((name, _value(value), _setting(name)) for name, value in plain.items())
    show(add_rows(made, rows))
    return Exit.OK


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else str(value)


def _setting(key: str) -> str:
    return f"AVOIR_POLICY_{key.upper()}"


def policy_json(found: PolicyInForce) -> dict[str, Any]:
    """The documented shape of `avoir policy show --tenant T --json`."""
    return {
        "tenant_id": found.whom.tenant_id,
        "owner": found.whom.owner._asdict() if found.whom.owner else None,
        "invoice_id": found.whom.invoice_id,
        "at": rfc3339(found.at),
        "values": [
            {
                "key": each.key,
                "value": _plain(each),
                "currency": each.currency,
                "from": each.set_by.key.scope if each.set_by else "setting",
                "set_by": _message(each.set_by) if each.set_by else None,
            }
            for each in found.values
        ],
        "history": [
            {
                **_message(each.version),
                "scope": each.version.key.scope,
                "of": each.version.key.id,
                "recorded_at": rfc3339(each.recorded_at),
                "by": each.by,
                "keys": stated(each.version.keys),
            }
            for each in found.history
        ],
    }


def _message(version: PolicyVersion) -> dict[str, Any]:
    return {"event_id": version.event_id, "occurred_at": rfc3339(version.occurred_at)}


def _plain(each: ValueInForce) -> Any:
    return each.value if each.currency is None or each.value is None else amount(each.value, each.currency)


def print_policy(found: PolicyInForce) -> None:
    """The values in force and the history of what was set, as tables."""
    owner, invoice_id = found.whom.owner, found.whom.invoice_id
    parts = [
        f"tenant {found.whom.tenant_id}",
        *([f"{owner.type}/{owner.id}"] if owner else []),
        *([f"invoice {invoice_id}"] if invoice_id else []),
    ]
    title = f"Policy of {', '.join(parts)}, as in force at {short_time(found.at)} UTC"
    made = table("Policy", "Value", "Where it comes from", title=title)
    show(add_rows(made, (_row(each) for each in found.values)))
    if not found.history:
        say("No message has set any of it.")
        return
    columns = ("From (UTC)", "Of", "Sets", "Message", "By")
    history = table(*columns, whole=("From (UTC)",), title="What messages set")
    show(add_rows(history, (_set_row(each, found) for each in found.history)))


def _row(each: ValueInForce) -> tuple[str, ...]:
    currency = f" {each.currency}" if each.currency and each.value is not None else ""
    value = f"{_value(_plain(each))}{currency}"
    if each.set_by is None:
        return each.key, value, f"setting {_setting(each.key)}"
    key = each.set_by.key
    when = short_time(each.set_by.occurred_at)
    return each.key, value, f"{scope_words(key.scope, key.id)}: message {each.set_by.event_id} of {when}"


def _set_row(each: Set, found: PolicyInForce) -> tuple[str, ...]:
    keys = stated(each.version.keys)
    currency = keys.pop("currency", None)
    told = [f"{key} {_set_value(key, value, currency)}" for key, value in keys.items()]
    is_later = each.version.occurred_at > found.at
    return (
        short_time(each.version.occurred_at),
        scope_words(each.version.key.scope, each.version.key.id),
        f"{', '.join(told)}{' (later)' if is_later else ''}",
        each.version.event_id,
        (each.by or "").replace("/", " ", 1),
    )


def _set_value(key: str, value: object, currency: str | None) -> str:
    if value is None:
        return "as wider"
    return f"{_value(value)} {currency}" if key.startswith("refill_") else _value(value)
