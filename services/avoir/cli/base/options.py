"""The options that commands share: tenant, owner, moments and JSON."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from avoir.cli.base.exits import refuse
from avoir.core.model.facts import Owner

OWNER_TYPES = ("user", "team", "customer")
COUNT = Number(gte=1, lt=2**31)
PARTITION = Number(gte=0, lt=2**31)
OFFSET = Number(gte=0, lt=2**63)


def parse_owner(text: str) -> Owner:
    """An owner as people write it: user/u1."""
    kind, slash, id_ = text.partition("/")
    if kind not in OWNER_TYPES or not slash or not id_:
        raise ValueError(f"{text!r} is not an owner: write {'|'.join(OWNER_TYPES)}/ID, for example user/u1")
    return Owner(kind, id_)


def owner_name(owner: Owner) -> str:
    """An owner as people write it."""
    return f"{owner.type}/{owner.id}"


def parse_moment(text: str) -> datetime:
    """A moment: RFC 3339, or a date for its first instant in UTC."""
    try:
        if len(text) == len("2025-06-01"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a date or time: write 2025-06-01 or 2025-06-01T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: write {text}Z for UTC")
    return moment.astimezone(UTC)


def as_uuid(text: str) -> UUID | None:
    """Parse the id of a grant or an application; None if the text can't be one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def refuse_two_formats(json: bool, csv: bool) -> None:
    """End with exit code 2 if both formats were given."""
    if json and csv:
        refuse("--json and --csv can't be combined: choose one.")


def _owner(_type: Any, tokens: Sequence[Token]) -> Owner:
    return parse_owner(tokens[0].value)


def _moment(_type: Any, tokens: Sequence[Token]) -> datetime:
    return parse_moment(tokens[0].value)


Tenant = Annotated[
    str, Parameter(name=["--tenant", "-t"], help="The tenant: the operator whose customers these are.")
]
AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON document instead of tables.")
]
AsCsv = Annotated[
    bool,
    Parameter(name="--csv", negative=(), help="Print CSV with a header line instead of tables."),
]
OwnerArgument = Annotated[
    Owner,
    Parameter(
        converter=_owner, n_tokens=1, accepts_keys=False, help="The owner of the credit: user/u1, team/t7."
    ),
]
Moment = Annotated[datetime, Parameter(converter=_moment, n_tokens=1)]
