"""The rules of set-credit-policy: one scope, known keys, and null is not the same as left out."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from avoir_events import SetCreditPolicy, describe, read
from avoir_events.examples import EXAMPLES
from avoir_events.json_schemas import json_schema

POLICY = EXAMPLES["set-credit-policy"]
OWNER = {"type": "team", "id": "u1"}
SCHEMA = Draft202012Validator(json_schema("set-credit-policy"))


def accepted(message: dict[str, Any]) -> Any:
    return read(SetCreditPolicy, json.dumps(message).encode())


def refusal(message: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        accepted(message)
    return describe(caught.value)


@pytest.mark.parametrize("scope", [{"tenant": True}, {"owner": OWNER}, {"owner": OWNER, "tenant": None}])
def test_a_policy_has_one_scope(scope: dict[str, Any]) -> None:
    assert accepted(POLICY | {"scope": scope})
    assert SCHEMA.is_valid(POLICY | {"scope": scope})


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"tenant": False},
        {"tenant": 1},
        {"tenant": True, "owner": OWNER},
        {"owner": OWNER, "invoice_id": "i1"},
    ],
)
def test_never_none_and_never_two(scope: dict[str, Any]) -> None:
    assert refusal(POLICY | {"scope": scope}).startswith("scope")
    assert not SCHEMA.is_valid(POLICY | {"scope": scope})


def test_for_one_invoice_only_auto_apply_can_be_set() -> None:
    scope = {"invoice_id": "i1"}
    for value in (True, False, None):
        assert accepted(POLICY | {"scope": scope, "policy": {"auto_apply": value}})
    message = POLICY | {"scope": scope, "policy": {"auto_apply": True, "credit_as": None}}
    assert refusal(message) == "policy.credit_as: not allowed in the scope of an invoice"


def test_a_policy_key_set_to_null_is_another_thing_than_one_left_out() -> None:
    message = accepted(POLICY | {"policy": {"auto_apply": None}})
    assert json.loads(message.model_dump_json())["policy"] == {"auto_apply": None}


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        ({"auto_apply": "true"}, "auto_apply"),
        ({"credit_as": "cash"}, "credit_as"),
        ({"unpaid_change": "later"}, "unpaid_change"),
        ({"expires_after_days": 0}, "expires_after_days"),
        ({"expires_after_days": 36_501}, "expires_after_days"),
        ({"expires_after_days": True}, "expires_after_days"),
        ({"proration": "hours"}, "proration"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": "Europe"}, "time_zone"),
        ({"time_zone": "localtime"}, "time_zone"),
        ({"time_zone": "posixrules"}, "time_zone"),
        ({"time_zone": "Factory"}, "time_zone"),
        ({"refill_threshold": "-1", "currency": "EUR"}, "refill_threshold"),
        ({"refill_amount": "0", "currency": "EUR"}, "refill_amount"),
        ({"refill_threshold": "1"}, "currency"),
        ({"refill_amount": "1", "currency": "XAU"}, "currency"),
    ],
)
def test_policy_values_are_checked(policy: dict[str, Any], place: str) -> None:
    assert refusal(POLICY | {"policy": policy}).startswith(f"policy.{place}")
