"""`avoir policy show`: the policy values in force, since when, and who set them."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, refuse
from avoir.cli.base.options import AsJson, Moment, OwnerArgument
from avoir.cli.base.output import add_rows, amount, print_json, rfc3339, say, short_time, show, table
from avoir.cli.base.words import scope_words
from avoir.cli.policy.query import PolicyInForce, PolicyMessage, PolicyTarget, ValueInForce, read_policy
from avoir.core.model.policy import PolicyVersion, stated
from avoir.settings import PolicySettings, Settings, policy_of

policy = App(name="policy", help="The policies that govern how credit is given and used.")


@policy.command(name="show")
async def show_policy(
    *,
    tenant: Annotated[
        str | None,
        Parameter(name=["--tenant", "-t"], help="The tenant; default: the values of the settings."),
    ] = None,
    owner: OwnerArgument | None = None,
    invoice: Annotated[
        str | None, Parameter(help="An invoice; a known one also has its owner's policy.")
    ] = None,
    at: Annotated[
        Moment | None, Parameter(help="Values in force for what occurred at this moment; default: now.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Show the policy values in force, where each comes from, and every message that set one.

    An invoice's value goes before its owner's, the owner's before the tenant's, and the tenant's before the settings of
    this command's environment (AVOIR_POLICY_*), which match the service's if both are set alike. A fact follows the
    value in force when it occurred.

    Example: `avoir policy show --tenant t1 --owner user/u1 --at 2025-06-01`
    """
    if tenant is None:
        if owner is not None or invoice is not None or at is not None:
            refuse("--owner, --invoice and --at need --tenant.")
        return _show_settings(load_settings(), json=json)
    settings = load_settings(DSN)
    async with connected(settings) as connection:
        in_force = await read_policy(
            connection, policy_of(settings), PolicyTarget(tenant, owner, invoice), at
        )
    if json:
        print_json(policy_json(in_force))
    else:
        print_policy(in_force)
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


def policy_json(in_force: PolicyInForce) -> dict[str, Any]:
    """The documented shape of `avoir policy show --tenant T --json`."""
    return {
        "tenant_id": in_force.target.tenant_id,
        "owner": in_force.target.owner._asdict() if in_force.target.owner else None,
        "invoice_id": in_force.target.invoice_id,
        "at": rfc3339(in_force.at),
        "values": [
            {
                "key": each.key,
                "value": _plain(each),
                "currency": each.currency,
                "from": each.set_by.key.scope if each.set_by else "setting",
                "set_by": _message(each.set_by) if each.set_by else None,
            }
            for each in in_force.values
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
            for each in in_force.history
        ],
    }


def _message(version: PolicyVersion) -> dict[str, Any]:
    return {"event_id": version.event_id, "occurred_at": rfc3339(version.occurred_at)}


def _plain(each: ValueInForce) -> Any:
    return each.value if each.currency is None or each.value is None else amount(each.value, each.currency)


def print_policy(in_force: PolicyInForce) -> None:
    """Print the values in force and the messages that set policies, as tables."""
    owner, invoice_id = in_force.target.owner, in_force.target.invoice_id
    parts = [
        f"tenant {in_force.target.tenant_id}",
        *([f"{owner.type}/{owner.id}"] if owner else []),
        *([f"invoice {invoice_id}"] if invoice_id else []),
    ]
    title = f"Policy of {', '.join(parts)}, as in force at {short_time(in_force.at)} UTC"
    made = table("Policy", "Value", "Source", title=title)
    show(add_rows(made, (_row(each) for each in in_force.values)))
    if not in_force.history:
        say("No message has set any policy.")
        return
    columns = ("From (UTC)", "Of", "Sets", "Message", "By")
    history = table(*columns, whole=("From (UTC)",), title="Set by messages")
    show(add_rows(history, (_set_row(each, in_force) for each in in_force.history)))


def _row(each: ValueInForce) -> tuple[str, ...]:
    currency = f" {each.currency}" if each.currency and each.value is not None else ""
    value = f"{_value(_plain(each))}{currency}"
    if each.set_by is None:
        return each.key, value, f"setting {_setting(each.key)}"
    key = each.set_by.key
    when = short_time(each.set_by.occurred_at)
    return each.key, value, f"{scope_words(key.scope, key.id)}: message {each.set_by.event_id} of {when}"


def _set_row(each: PolicyMessage, in_force: PolicyInForce) -> tuple[str, ...]:
    keys = stated(each.version.keys)
    currency = keys.pop("currency", None)
    parts = [f"{key} {_set_value(key, value, currency)}" for key, value in keys.items()]
    is_later = each.version.occurred_at > in_force.at
    return (
        short_time(each.version.occurred_at),
        scope_words(each.version.key.scope, each.version.key.id),
        f"{', '.join(parts)}{' (later)' if is_later else ''}",
        each.version.event_id,
        (each.by or "").replace("/", " ", 1),
    )


def _set_value(key: str, value: object, currency: str | None) -> str:
    if value is None:
        return "from the wider scope"
    return f"{_value(value)} {currency}" if key.startswith("refill_") else _value(value)
