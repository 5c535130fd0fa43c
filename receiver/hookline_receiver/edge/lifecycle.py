"""What the edge tells the application of itself, and what master and workers tell each other."""

import mmap
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Draining:
    """Whether this receiver has been told to stop: readiness says no from that moment, while requests are still served."""

    def __init__(self) -> None:
        self.active = False

    def begin(self) -> None:
        """From now on."""
        self.active = True


@dataclass(slots=True)
class EdgeCounters:
    """What the edge of this worker has seen since it began."""

    connections: int = 0
    """Open now."""
    accepted: int = 0
    """Connections, in all."""
    requests: int = 0
    """Whose head was read and that the application got."""
    truncated: int = 0
    """Requests whose body ended before what was announced had arrived."""
    refused: Counter[str] = field(default_factory=Counter)
    """What the edge answered itself, by reason."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What an application is made with, once in each worker, after the fork."""

    number: int
    """1 for the master's first worker; never used twice by one master."""
    draining: Draining
    counters: EdgeCounters


AppFactory = Callable[[WorkerContext], ASGIApp]
"""Makes the application of one worker; what it opens it opens in the lifespan's start."""


class SharedFlags:
    """Two facts that the master and its workers share: a page of memory that survives the fork."""

    _STOPPING, _BOOTED = 0, 1

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def stopping(self) -> bool:
        """Whether the master stops as a whole, rather than retiring one worker."""
        return self._page[self._STOPPING] == 1

    def set_stopping(self) -> None:
        """Said by the master, before it tells the workers to end."""
        self._page[self._STOPPING] = 1

    @property
    def booted(self) -> bool:
        """Whether any worker of this master has ever started well."""
        return self._page[self._BOOTED] == 1

    def set_booted(self) -> None:
        """Said by a worker once its application has started."""
        self._page[self._BOOTED] = 1
