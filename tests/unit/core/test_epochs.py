"""Under a raised epoch events say from which number on nothing of earlier epochs counts."""

from avoir.core.decide import decide
from avoir.core.model.events import AccountKey, Event
from avoir.core.model.ledger import GENESIS
from avoir.core.model.policy import Policy
from avoir.core.model.rows import Account
from avoir.core.state.draft import Moment
from avoir.core.state.state import State
from tests.unit.core.commands import granted
from tests.unit.core.world import at, message

KEY = AccountKey("t1", "user", "u1", "EUR")


def test_nothing_is_void_in_the_first_epoch() -> None:
    account = Account(KEY, 0, 0, 0, GENESIS)
    assert account.voids_from(1) is None
    assert account.following(1).voids_from(1) is None


def test_all_events_of_an_epoch_say_where_it_began() -> None:
    account = Account(KEY, 0, 0, 5, GENESIS)
    assert account.voids_from(2) == 6
    first = account.following(2)
    assert (first.seq, first.voids_from(2)) == (6, 6)
    second = first.following(2)
    assert (second.seq, second.voids_from(2)) == (7, 6)
    assert (second.voids_from(4), second.following(4).voids_from(4)) == (8, 8)


def test_the_events_of_a_message_say_it() -> None:
    state, events = State.empty(), list[Event]()
    for number, epoch in ((1, 1), (2, 2), (3, 2)):
        asked = message(f"g{number}", "06-01", granted("5"))
        decided = decide(state, asked, Moment(at("06-03"), epoch, Policy()))
        events += decided.events
    assert [(event.epoch, event.seq, event.voids_from) for event in events] == [
        (1, 1, None),
        (2, 2, 2),
        (2, 3, 2),
    ]
