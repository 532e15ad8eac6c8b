"""The reader that docs/upstream.md shows to those who add amounts up: the code as it stands there."""

import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acceptance.events import Heard
from tests.acceptance.service import Service

UPSTREAM = Path(__file__).parents[2] / "docs" / "upstream.md"


def sums(heard: Iterable[Heard]) -> Any:
    """The documented reader after all these records."""
    (shown,) = re.findall(
        r"```python\n((?:(?!```).)*?^class Sums:.*?)```", UPSTREAM.read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    exec(shown, names)
    reader = names["Sums"]()
    for each in heard:
        reader.take(each.topic, each.key, each.value)
    return reader


def in_the_ledger(service: Service, tenant: str) -> dict[bytes, Decimal]:
    """What each account of a tenant holds, by the key of its records."""
    accounts = service.ask("balance", "--tenant", tenant)["accounts"]
    return {
        f"{tenant}/{each['owner']['type']}/{each['owner']['id']}/{each['currency']}".encode(): Decimal(
            each["available"]
        )
        + Decimal(each["reserved"])
        for each in accounts
    }
