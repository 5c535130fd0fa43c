"""
The way of a request, top to bottom: read, judge, store, answer.

This is the hot path. It knows ASGI's `receive` and nothing else of HTTP servers and frameworks, so that a leaner program
around it, or it itself, can be replaced with `judge` and the journal untouched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hookline_receiver.auth.authenticate import Closed, Gate, Opened, Way
from hookline_receiver.event import Event, SubscriptionRef
from hookline_receiver.ingest_id import IngestIds
from hookline_receiver.journal.port import Journal, JournalUnavailable
from hookline_receiver.judge import UNAUTHORIZED, admit, judge, measure, without_credentials
from hookline_receiver.limits.arriving import Arriving
from hookline_receiver.limits.rate import RateLimit
from hookline_receiver.limits.share import Shares
from hookline_receiver.patience import Patience
from hookline_receiver.record import encode
from hookline_receiver.request import Receive, RequestHead, Room, read_body
from hookline_receiver.routes import Endpoint, Routes
from hookline_receiver.verdict import RETRY_SOON, Reason, Refused


class RouteSource(Protocol):
    """Where the routes of this moment are."""

    @property
    def current(self) -> Routes | None:
        """None: none were ever loaded."""


class Rates(Protocol):
    """Charges requests to subscriptions that have a limit."""

    def take(self, uid: str, limit: RateLimit) -> float:
        """0 if the subscription may send now (and a token is gone), else seconds until it may."""


class Observer(Protocol):
    """Told of what takes time, and of who was let in."""

    def authenticated(self, way: Way, seconds: float) -> None:
        """A header was judged."""

    def appended(self, seconds: float) -> None:
        """An event became durable."""


class CredentialUse(Protocol):
    """Told which credentials are in use."""

    def mark(self, credential: str, now_ns: int) -> None:
        """*credential* was right, at *now_ns* (nanoseconds since the epoch)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks of the path."""

    wall_ns: Callable[[], int]
    """Nanoseconds since the epoch."""
    monotonic: Callable[[], float]
    """Seconds, for durations and for what the journal has carried: the machine's monotonic clock."""


class Answered(NamedTuple):
    """What became of a request, and whose it was."""

    verdict: Event | Refused
    subscription: SubscriptionRef | None
    """None where the path is unknown, or nobody showed that it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The path with everything it needs; one in each worker."""

    routes: RouteSource
    gate: Gate
    rates: Rates
    shares: Shares
    arriving: Arriving
    journal: Journal
    ingest_ids: IngestIds
    clock: Clock
    observer: Observer
    used: CredentialUse
    patience: Patience
    """How long an event may take to become durable."""

    async def accept(self, head: RequestHead, receive: Receive) -> Answered:
        """
        Read, judge and store one request.

        Returns an `Event` only once it is on stable storage. Nothing of the body is read before its sender is known.
        """
        routes = self.routes.current
        if routes is None:
            return Answered(Refused(Reason.NO_ROUTES, "this receiver has no routes yet", RETRY_SOON), None)
        endpoint = routes.find(head.host, head.path)
        limit = endpoint.max_body_bytes if endpoint else routes.unknown_path_limit
        if (refused := measure(head, limit)) is not None:
            return Answered(refused, None)

        authenticated = await self._authenticate(head, endpoint, routes)
        if isinstance(authenticated, Refused) or endpoint is None:
            return Answered(authenticated or UNAUTHORIZED, None)

        subscription = endpoint.subscription
        admitted = admit(head, endpoint, self.shares.pending(subscription.uid) if endpoint.max_pending_bytes else 0)
        if isinstance(admitted, Refused):
            return Answered(admitted, subscription)
        if endpoint.rate_limit is not None and (wait := self.rates.take(subscription.uid, endpoint.rate_limit)):
            return Answered(_rate_limited(endpoint.rate_limit, wait), subscription)

        body = await read_body(receive, head, admitted, Room(limit, subscription.uid, self.arriving))
        if isinstance(body, Refused):
            return Answered(body, subscription)
        now_ns = self.clock.wall_ns()
        verdict = judge(body, head, endpoint, ingest_id=self.ingest_ids.new(now_ns), now_ns=now_ns)
        if isinstance(verdict, Event):
            verdict = await self._store(verdict)
        return Answered(verdict, subscription)

    async def _authenticate(self, head: RequestHead, endpoint: Endpoint | None, routes: Routes) -> Refused | None:
        """None if the sender showed a credential of the endpoint, else the refusal."""
        began = self.clock.monotonic()
        header = head.authorization
        verifiers = endpoint.verifiers if endpoint else ()
        opened: Opened | Closed | None = self.gate.known(verifiers, header)
        if opened is None:
            opened = await self.gate.verify(verifiers, header, head.path, routes.tags)
        if isinstance(opened, Opened):
            self.observer.authenticated(opened.way, self.clock.monotonic() - began)
            self.used.mark(opened.credential, self.clock.wall_ns())
            return None
        self.observer.authenticated(Way.FAILED, self.clock.monotonic() - began)
        if opened.busy:
            return Refused(Reason.BUSY, "too many credentials wait to be verified", RETRY_SOON)
        if endpoint is not None and not verifiers and opened.shown:
            return without_credentials(endpoint)
        return UNAUTHORIZED

    async def _store(self, event: Event) -> Event | Refused:
        """*event*, once it is on stable storage."""
        began = self.clock.monotonic()
        record = encode(event)
        try:
            await self.patience.wait(self.journal.append(record))
        except JournalUnavailable as exc:
            return Refused(Reason.JOURNAL_UNAVAILABLE, "the event could not be made durable", RETRY_SOON, str(exc))
        except TimeoutError:
            detail = f"the event was not durable within {self.patience.seconds:g} s"
            return Refused(Reason.JOURNAL_SLOW, detail, RETRY_SOON)
        self.observer.appended(self.clock.monotonic() - began)
        self.shares.appended(event.subscription.uid, len(event.body), int(began * 1e9))
        return event


def _rate_limited(limit: RateLimit, wait: float) -> Refused:
    detail = f"the subscription may send {limit.requests_per_second:g} requests/s, {limit.burst} at once"
    return Refused(Reason.RATE_LIMITED, detail, max(1, int(wait + 0.999)))
