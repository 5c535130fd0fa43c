"""How much of a worker's memory bodies may take while they arrive, and how much of it one subscription."""


class Arriving:
    """
    Bytes of bodies that have begun to arrive, of all requests of a worker.

    A connection may send slowly, and there are many: the sum of what each is allowed would be gigabytes. A subscription
    may hold half of what nobody holds (a third of all while it is alone), so that no tenant can shut the others out.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._held: dict[str, int] = {}

    def take(self, uid: str, size: int) -> bool:
        """Whether the subscription *uid* may hold *size* bytes more; if so, they are to be given back."""
        held = self._held.get(uid, 0) + size
        if 2 * held > self._free - size:
            return False
        self._held[uid] = held
        self._free -= size
        return True

    def give_back(self, uid: str, size: int) -> None:
        """*size* bytes of *uid* do not arrive any more: they are whole, or given up."""
        self._free += size
        left = self._held.get(uid, 0) - size
        if left > 0:
            self._held[uid] = left
        else:
            self._held.pop(uid, None)
