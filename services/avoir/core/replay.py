"""Decides a history again: each message at its recorded moment, and time where it took effect."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from avoir.core.decide import Decided, decide, expire
from avoir.core.model.events import AccountKey, Event
from avoir.core.model.message import Message
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import Policy
from avoir.core.simulate import learned
from avoir.core.state.draft import Moment
from avoir.core.state.state import State


class Replay(Struct, eq=False):
    """State so far; `policy` is the widest as far as decisions recorded it, and events are of the epoch."""

    epoch: int
    policy: Policy
    state: State = field(default_factory=State.empty)

    def pass_time(self, account: AccountKey, now: datetime) -> list[Event]:
        """Let an account's grants begin and expire at a recorded moment."""
        return expire(self.state, [account], Moment(now, self.epoch, self.policy)).events

    def decide(self, message: Message, now: datetime, policy_used: Mapping[str, Any]) -> Decided:
        """Decide a message at its moment, under the policy recorded in its decision. Raises what decide raises."""
        self.policy = _with_refills(learned(self.policy, policy_used), policy_used, message)
        # A decision on a use of credit records the refill keys in force; without them there were none.
        policy = self.policy if "refill_threshold" in policy_used else _without_refills(self.policy)
        return decide(self.state, message, Moment(now, self.epoch, policy))


def _with_refills(policy: Policy, policy_used: Mapping[str, Any], message: Message) -> Policy:
    if "refill_threshold" not in policy_used or "refill_threshold" in policy_used.get("set_by", ()):
        return policy
    return replace(
        policy,
        refill_threshold=parse_decimal(policy_used["refill_threshold"]),
        refill_amount=parse_decimal(policy_used["refill_amount"]),
        refill_currency=getattr(message.body, "currency", None) or policy.refill_currency,
    )


def _without_refills(policy: Policy) -> Policy:
    return replace(policy, refill_threshold=None, refill_amount=None, refill_currency=None)
