"""
What can go wrong between a program and the API server, at a test's command.

    with fault_proxy.inject(Answer(429, retry_after=1), matching(verb="patch"), times=3) as rule:
        ...
    assert rule.hits == 3

| fault | what the client meets |
|---|---|
| `Reset()` | the connection is reset, nothing reached the API server |
| `LoseAnswer()` | the API server did it, the answer is lost in a reset |
| `Cut(1000)` | a reset in the middle of the answer |
| `Stall()` | silence on an open connection, until the fault is lifted |
| `Delay(2.0)` | everything later |
| `Answer(504)` | an error of the API server's own kind: 409, 410, 429, 500, 503, 504, ... |
| `WatchError(410)` | a watch that begins and says ERROR at once |
| `Hold()` | what an answer consists of is held back, also of watches that run already: they lag |
| `Lag(60.0)` | the same for so many seconds |
| `Mixed(...)` | one of several, by chance |

`proxy.reset()`, `proxy.end_watches()` hit what is open now; `proxy.away()` and `proxy.back()` are a whole outage.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from support.kubernetes.call import Match, Request

REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Exchange(Protocol):
    """A request in the proxy's hands."""

    request: Request

    async def forward(self, *, at_most: int | None = None) -> None:
        """Ask the API server and pass its answer on; after *at_most* bytes of it reset the connection."""

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer without the API server."""

    def reset(self) -> None:
        """Reset the client's connection."""


class Fault(Protocol):
    """One way to go wrong."""

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """Serve the exchange, badly."""


@dataclass(frozen=True)
class Reset:
    """Reset the connection."""

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """At once."""
        exchange.reset()


@dataclass(frozen=True)
class LoseAnswer:
    """Let the API server do it, and reset instead of passing the answer on."""

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """After it is done."""
        await exchange.forward(at_most=0)


@dataclass(frozen=True)
class Cut:
    """Reset after so many bytes of the answer's content."""

    after: int

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """In the middle."""
        await exchange.forward(at_most=self.after)


@dataclass(frozen=True)
class Stall:
    """Stay silent until lifted, then serve."""

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """If the client is still there by then."""
        await lifted.wait()
        await exchange.forward()


@dataclass(frozen=True)
class Delay:
    """Serve so many seconds later."""

    seconds: float

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """Then."""
        await asyncio.sleep(self.seconds)
        await exchange.forward()


@dataclass(frozen=True)
class Answer:
    """An error as the API server words it."""

    status: int
    retry_after: int | None = None
    """Seconds."""
    message: str = "injected by the test"

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """Without asking the API server."""
        headers = [] if self.retry_after is None else [("Retry-After", str(self.retry_after))]
        status = failure(self.status, self.message, self.retry_after)
        await exchange.answer(self.status, json.dumps(status).encode(), headers)


@dataclass(frozen=True)
class WatchError:
    """A watch whose only event is an error; for requests other than watches the error itself."""

    status: int = 410

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """As the API server does when a resource version is too old."""
        if exchange.request.verb == "watch":
            await exchange.answer(200, watch_error(self.status))
        else:
            await Answer(self.status).play(exchange, lifted)


@dataclass(frozen=True)
class Hold:
    """Hold back the content of answers until lifted; what came meanwhile follows then, in order."""

    async def wait(self, came: float, lifted: asyncio.Event) -> None:
        """Until then."""
        await lifted.wait()


@dataclass(frozen=True)
class Lag:
    """Pass the content of answers on so many seconds late; the rest at once when lifted."""

    seconds: float

    async def wait(self, came: float, lifted: asyncio.Event) -> None:
        """Until its time has come."""
        left = came + self.seconds - asyncio.get_running_loop().time()
        with suppress(TimeoutError):
            await asyncio.wait_for(lifted.wait(), max(0.0, left))


StreamFault = Hold | Lag
"""Ways for an answer's content to come late."""


@dataclass
class Mixed:
    """With some probability one of several faults; otherwise nothing goes wrong. Print the seed of *chance*."""

    chance: random.Random
    probability: float
    faults: Sequence[Fault]

    async def play(self, exchange: Exchange, lifted: asyncio.Event) -> None:
        """By chance."""
        if self.chance.random() < self.probability:
            await self.chance.choice(self.faults).play(exchange, lifted)
        else:
            await exchange.forward()


@dataclass
class Rule:
    """A fault in force for the requests that match, until it is lifted or has been met so many times."""

    fault: Fault | StreamFault
    match: Match
    times: int | None
    lift_it: "Lift"
    lifted: asyncio.Event = field(default_factory=asyncio.Event)
    hits: int = 0
    """How many requests have met it (or whose content has)."""

    def lift(self) -> None:
        """From now on everything passes, also what has been waiting."""
        self.lift_it(self)

    def __enter__(self) -> Self:
        """In force."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Lifted."""
        self.lift()


class Lift(Protocol):
    """What takes a rule out of force."""

    def __call__(self, rule: Rule, /) -> None:
        """Do so."""


def failure(status: int, message: str, retry_after: int | None = None) -> dict[str, object]:
    """The API server's object for an error."""
    details = {} if retry_after is None else {"details": {"retryAfterSeconds": retry_after}}
    said = {"status": "Failure", "message": message, "reason": REASONS.get(status, "Unknown"), "code": status}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **said, **details}


def watch_error(status: int) -> bytes:
    """The event by which a watch says that it can't go on."""
    message = "too old resource version: 1 (2)" if status == 410 else "injected by the test"
    return json.dumps({"type": "ERROR", "object": failure(status, message)}).encode() + b"\n"
