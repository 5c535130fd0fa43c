"""
What is remembered of tries that failed, in memory only: how often in a row, and who is tried with whom.

A batch that fails is halved at the next try, and each half that fails again, until the event that makes it fail is
alone. Deliveries without a group go together as they come.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from hookline_receiver.store.port import Claimed


@dataclass(frozen=True, slots=True)
class _Memory:
    failures: int
    group: int | None


class Tries:
    """
    Memory of at most *limit* deliveries, the least recently tried forgotten first.

    Forgetting one costs a shorter backoff and another split, never a delivery.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._known: OrderedDict[int, _Memory] = OrderedDict()
        self._numbers = count(1)

    def failures(self, delivery_id: int) -> int:
        """Tries in a row that ended without an answer for it."""
        known = self._known.get(delivery_id)
        return known.failures if known else 0

    def failed(self, delivery_ids: Sequence[int], *, split: bool) -> None:
        """A call with these failed; with *split* each half goes apart from now on."""
        if not split:
            for each in delivery_ids:
                known = self._known.get(each)
                self._remember(each, known.group if known else None)
            return
        middle = (len(delivery_ids) + 1) // 2
        for half in (delivery_ids[:middle], delivery_ids[middle:]):
            group = next(self._numbers)
            for each in half:
                self._remember(each, group)

    def forget(self, delivery_ids: Iterable[int]) -> None:
        """These were answered, or ended."""
        for each in delivery_ids:
            self._known.pop(each, None)

    def arrange(self, claimed: Iterable[Claimed]) -> list[list[Claimed]]:
        """Split *claimed* into those that may share a call, in order of their first."""
        calls: dict[int | None, list[Claimed]] = {}
        for one in claimed:
            known = self._known.get(one.delivery_id)
            calls.setdefault(known.group if known else None, []).append(one)
        return list(calls.values())

    def __len__(self) -> int:
        return len(self._known)

    def _remember(self, delivery_id: int, group: int | None) -> None:
        self._known[delivery_id] = _Memory(self.failures(delivery_id) + 1, group)
        self._known.move_to_end(delivery_id)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
