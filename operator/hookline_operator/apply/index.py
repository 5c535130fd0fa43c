"""Which keys have which values, and the other way round."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Index(Generic[K, V]):
    """Which keys have which values, both ways."""

    def __init__(self) -> None:
        self._values: dict[K, frozenset[V]] = {}
        self._keys: dict[V, set[K]] = {}

    def put(self, key: K, values: Iterable[V]) -> None:
        """These are all the values that *key* has."""
        before, after = self._values.pop(key, frozenset()), frozenset(values)
        for value in after - before:
            self._keys.setdefault(value, set()).add(key)
        for value in before - after:
            self._keys[value].discard(key)
            if not self._keys[value]:
                del self._keys[value]
        if after:
            self._values[key] = after

    def of(self, value: V) -> tuple[K, ...]:
        """The keys that have it."""
        return tuple(self._keys.get(value, ()))

    def values(self) -> Iterable[V]:
        """All that some key has."""
        return self._keys.keys()
