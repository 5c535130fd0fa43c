"""
What order Hookline promises, in as few words as it takes: which deliveries may be out now, given what has ended.

A route's deliveries with equal ordering keys stand in a *line*. A line's first has the *turn*: it alone may be with the
handler, be tried again, and wait for its next try. Only an end passes the turn on. Deliveries without a key stand in no
line and wait for nobody.

    arrives    nobody has the turn: it has it; else it waits
    ends       (delivered or dead, whatever made it so) the earliest accepted of those that wait has the turn
    comes back (redriven, replayed) as one that arrives; where it waits, it does so at the place of its acceptance
"""

from collections.abc import Collection
from dataclasses import dataclass, field

Key = tuple[str, str] | None
"""Route and ordering key; None: in no line."""


@dataclass
class Line:
    """Deliveries of one key, by the number of their acceptance."""

    turn: int | None = None
    waiting: set[int] = field(default_factory=set)

    def joins(self, number: int) -> None:
        """It stands in line."""
        if self.turn is None:
            self.turn = number
        else:
            self.waiting.add(number)

    def leaves(self, number: int) -> None:
        """It has ended, whether it was its turn or not."""
        self.waiting.discard(number)
        if self.turn == number:
            self.turn = min(self.waiting, default=None)
            self.waiting.discard(self.turn or 0)


class OrderSpecification:
    """Told what arrives, ends and comes back; says what may be out. A delivery is (number of acceptance, route)."""

    def __init__(self) -> None:
        self._lines: dict[Key, Line] = {}
        self._keys: dict[tuple[int, str], Key] = {}
        self._unended: set[tuple[int, str]] = set()

    def arrives(self, number: int, route: str, ordering_key: str | None) -> None:
        """Accepted as the *number*th, from 1; or sent again, all its life's ends forgotten: the routes of now say its key."""
        self._keys[number, route] = None if ordering_key is None else (route, ordering_key)
        self.is_redriven(number, route)

    def is_redriven(self, number: int, route: str) -> None:
        """It comes back under the key it had."""
        assert (number, route) not in self._unended
        self._unended.add((number, route))
        if key := self._keys[number, route]:
            self._lines.setdefault(key, Line()).joins(number)

    def ends(self, number: int, route: str) -> None:
        """Delivered or dead."""
        self._unended.remove((number, route))
        if key := self._keys[number, route]:
            self._lines[key].leaves(number)

    def may_be_out(self, number: int, route: str) -> bool:
        """Whether a handler may be given it now."""
        key = self._keys[number, route]
        return (number, route) in self._unended and (key is None or self._lines[key].turn == number)

    def must_wait(self, number: int, route: str) -> bool:
        """Whether it has not ended and it is another's turn."""
        return (number, route) in self._unended and not self.may_be_out(number, route)

    def key(self, number: int, route: str) -> Key:
        """The line it stands in."""
        return self._keys[number, route]

    @property
    def deliveries(self) -> Collection[tuple[int, str]]:
        """All there ever were."""
        return self._keys.keys()

    @property
    def unended(self) -> Collection[tuple[int, str]]:
        """What is left to do."""
        return self._unended
