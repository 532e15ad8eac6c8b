"""Each message has one handler, and says what it is about."""

from typing import get_args

from avoir.core.decide import HANDLERS
from avoir.core.handlers import (
    apply_credit,
    changes,
    grants,
    invoices,
    payments,
    reinstate,
    set_policy,
    spend,
)
from avoir.core.model.commands import Command
from avoir.core.model.facts import Fact

MODULES = (apply_credit, changes, grants, invoices, payments, reinstate, set_policy, spend)


def test_every_fact_and_command_has_a_handler() -> None:
    assert HANDLERS.keys() == {*get_args(Fact), *get_args(Command)}


def test_no_message_has_two_handlers() -> None:
    assert sum(len(module.HANDLERS) for module in MODULES) == len(HANDLERS)
