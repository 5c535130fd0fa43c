"""Which function handles which event, and what its result means."""

import asyncio
import inspect
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar, cast, overload

from google.protobuf.message import Message

from hookline_kit.batch import run_batch
from hookline_kit.event import Event
from hookline_kit.outcome import Accepted, Outcome, Reject, RetryAfter
from hookline_kit.seen import Seen
from hookline_kit.server import Server, ServerSettings, run_until_signalled
from hookline_kit.typed import FIELDS, fields_of_trigger

Result: TypeAlias = Outcome | None
Function: TypeAlias = Callable[[Event], Result] | Callable[[Event], Awaitable[Result]]
F = TypeVar("F", bound=Callable[[Event], Result | Awaitable[Result]])

M = TypeVar("M", bound=Message)
M2 = TypeVar("M2", bound=Message)
M3 = TypeVar("M3", bound=Message)
R = TypeVar("R", bound=Result | Awaitable[Result])
TypedFunction: TypeAlias = Callable[[Event, M], R]
Registers: TypeAlias = Callable[[TypedFunction[M, R]], TypedFunction[M, R]]
"""A decorator of functions that take the event and its typed message."""

LEFT_OUT = ("NOT_WANTED", "UNKNOWN_TRIGGER")
"""Reasons for a missing typed form that lie with a route's setting or an older gateway: mended there, not in the event."""

log = logging.getLogger("hookline_kit")


class Handler:
    """
    The functions that handle events, and the server that brings the events to them.

    The function registered for the class of an event's typed message gets it, else the one for its trigger, else the
    one for its category, else the default. An event that none of them takes is rejected, so that it stays visible as a
    dead letter: whoever wants to ignore the rest says so with a default that does nothing.

    A function registered by class is never called without its message. Where the typed form is missing, the function
    for the trigger gets the event, and if there is none nobody does, not even the default: a broken payload is rejected
    with the reason that names the field; a form that was left out by the route (`payload: Raw`) or by an older gateway
    has the event come again, until that is mended.
    """

    def __init__(self, *, seen: Seen | None = None, threads: int = 32, in_order: bool = True) -> None:
        """
        *seen* remembers what was handled: a repetition is accepted without running its function again, unless a
        person had it sent again. *threads* run the plain functions. *in_order*: a batch's events of one partition key
        run one after another, and one that asks to come again takes the later ones along.
        """
        self._by_message: dict[str, Callable[[Event, Any], Result | Awaitable[Result]]] = {}
        self._by_trigger: dict[str, Function] = {}
        self._by_category: dict[str, Function] = {}
        self._default: Function | None = None
        self._seen = seen
        self._in_order = in_order
        self._running: set[tuple[str, str]] = set()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")

    @overload
    def on(self, *events: str) -> Callable[[F], F]: ...
    @overload
    def on(self, events: type[M], /) -> Registers[M, R]: ...
    @overload
    def on(self, events: type[M], other: type[M2], /) -> Registers[M | M2, R]: ...
    @overload
    def on(self, events: type[M], other: type[M2], another: type[M3], /) -> Registers[M | M2 | M3, R]: ...
    @overload
    def on(self, *events: type[Message]) -> Registers[Any, R]: ...

    def on(self, *events: Any) -> Callable[[Any], Any]:
        """
        Register the decorated function, async or plain, for these events; each has one function.

        By class of the typed message, `@handler.on(MessageSent)`, the function takes the event and its message:
        `async def notify(event: Event, message: MessageSent) -> None`. By trigger, `@handler.on("message_sent")`, it
        takes the event.
        """
        if not any(isinstance(event, type) for event in events):
            return self._register(self._by_trigger, "trigger", events)
        for event in events:
            if event not in FIELDS:
                raise ValueError(f"{getattr(event, '__name__', repr(event))} is no event's message")
        return self._register(self._by_message, "message", [FIELDS[event] for event in events])

    def on_category(self, *categories: str) -> Callable[[F], F]:
        """Register the decorated function for these categories' events that no function for a trigger takes."""
        return self._register(self._by_category, "category", categories)

    def default(self, function: F) -> F:
        """Register the decorated function for every event that no other function takes."""
        if self._default is not None:
            raise ValueError("a default function is already registered")
        self._default = cast("Function", function)
        return function

    async def handle(self, events: Sequence[Event]) -> dict[str, Outcome]:
        """The outcome of each event of a batch by its delivery id."""
        return await run_batch(events, self._handle_once, in_order=self._in_order)

    @asynccontextmanager
    async def serving(
        self, port: int = 0, host: str = "127.0.0.1", settings: ServerSettings | None = None
    ) -> AsyncIterator[Server]:
        """Serve inside the `async with`, at `server.address`; port 0 takes a free one. For tests and larger programs."""
        settings = settings or ServerSettings(notice=0.0)
        server = Server(self.handle, replace(settings, host=host, port=port))
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    def run(self, port: int = 9000, host: str = "0.0.0.0", settings: ServerSettings | None = None) -> None:
        """
        Serve until SIGTERM or SIGINT, then stop gracefully: not ready, in-flight events finished, gone.

        Logs the address that it listens on; where logging is not configured, says it on standard error.
        """
        settings = replace(settings or ServerSettings(), host=host, port=port)
        asyncio.run(run_until_signalled(Server(self.handle, settings), _announce))

    def _register(self, table: dict[str, Any], kind: str, names: Sequence[str]) -> Callable[[Any], Any]:
        if not names:
            raise ValueError(f"name at least one {kind}")

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            for name in names:
                if name in table:
                    raise ValueError(f"{kind} {name!r} already has a function")
                table[name] = function
            return function

        return register

    async def _handle_once(self, event: Event) -> Outcome:
        """Run the event's function unless it has accepted the event before, or is at it in another call."""
        if self._seen is None:
            return await self._handle(event)
        key = (event.source, event.id)
        if key in self._running:
            return RetryAfter(1.0, "the same event is being handled")
        self._running.add(key)
        try:
            return await self._handle_remembering(event, self._seen)
        finally:
            self._running.discard(key)

    async def _handle_remembering(self, event: Event, seen: Seen) -> Outcome:
        if not event.replay and await self._in_thread(seen.known, event):
            return Accepted()
        outcome = await self._handle(event)
        if isinstance(outcome, Accepted):
            await self._in_thread(seen.remember, event)
        return outcome

    async def _handle(self, event: Event) -> Outcome:
        chosen = self._choose(event)
        if not isinstance(chosen, _Chosen):
            fields = {"delivery_id": event.delivery_id, "type": event.type, "reason": chosen.reason}
            log.warning("no function takes this event: %s", event.type, extra=fields)
            return chosen
        try:
            return _outcome(event, await self._call(chosen))
        except Exception as error:  # noqa: BLE001  the author's code may raise anything, and none of it is an outcome
            return _failed(event, error)

    def _choose(self, event: Event) -> "_Chosen | RetryAfter | Reject":
        """The function that takes *event*, and with what; what becomes of an event that none takes."""
        field = event.payload.WhichOneof("event") if event.payload else None
        if field in self._by_message:
            return _Chosen(self._by_message[field], (event, event.message))
        if function := self._by_trigger.get(event.trigger):
            return _Chosen(function, (event,))
        if field is None and any(name in self._by_message for name in fields_of_trigger(event.trigger)):
            return _without_message(event)
        if function := self._by_category.get(event.category) or self._default:
            return _Chosen(function, (event,))
        return Reject(f"the handler has no function for trigger {event.trigger!r}")

    async def _call(self, chosen: "_Chosen") -> object:
        if inspect.iscoroutinefunction(chosen.function):
            return await chosen.function(*chosen.arguments)
        result = await self._in_thread(chosen.function, *chosen.arguments)
        return await result if inspect.isawaitable(result) else result

    async def _in_thread(self, function: Callable[..., object], *arguments: object) -> object:
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, function, *arguments)


def _announce(server: Server) -> None:
    if not log.hasHandlers():
        print(f"handler listens on {server.address}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A function and what it is called with."""

    function: Callable[..., Any]
    arguments: tuple[object, ...]


def _without_message(event: Event) -> RetryAfter | Reject:
    """What becomes of an event whose function wants the typed message, which is not there."""
    reason = f"the handler needs the typed payload, and it is missing: {event.untyped or 'UNKNOWN'}"
    return RetryAfter(None, reason) if event.untyped.startswith(LEFT_OUT) else Reject(reason)


def _outcome(event: Event, result: object) -> Outcome:
    """A result of another type is a mistake in the function: better seen than taken for success."""
    if result is None:
        return Accepted()
    if isinstance(result, Accepted | RetryAfter | Reject):
        return result
    reason = f"the function returned {type(result).__name__}, not None, Accepted, RetryAfter or Reject"
    log.error("handler function returned no outcome", extra={"delivery_id": event.delivery_id, "error": reason})
    return RetryAfter(None, reason)


def _failed(event: Event, error: Exception) -> RetryAfter:
    """
    Have the event come again, and tell the author where it failed.

    SECURITY: an exception's message may quote the payload, so only its type and place are logged and sent; the whole
    traceback is logged at level DEBUG.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    fields = {"delivery_id": event.delivery_id, "type": event.type, "error": type(error).__name__, "place": place}
    log.warning(
        "handler function failed with %s at %s, the event will come again", type(error).__name__, place, extra=fields
    )
    log.debug("handler function's traceback", exc_info=error, extra={"delivery_id": event.delivery_id})
    return RetryAfter(None, f"{type(error).__name__} at {place}")
