"""Builders for the receiver's own values, valid by default, and ports played in memory."""

import time
from collections.abc import Mapping
from typing import Any

from hookline.routing.v1.snapshot_pb2 import Endpoint as EndpointMessage
from hookline_receiver.accept import Acceptance, Clock
from hookline_receiver.auth.authenticate import Gate, Way
from hookline_receiver.auth.slow_hash import SlowHashes
from hookline_receiver.event import Event
from hookline_receiver.ingest_id import IngestIds
from hookline_receiver.journal.memory import MemoryJournal
from hookline_receiver.limits.arriving import Arriving
from hookline_receiver.limits.rate import RateLimit
from hookline_receiver.limits.share import Shares
from hookline_receiver.patience import Patience
from hookline_receiver.record import decode
from hookline_receiver.request import Receive, RequestHead
from hookline_receiver.routes import Endpoint, Routes
from support.receiver import a_snapshot, an_endpoint, basic

NOON_NS = 1_795_435_200_000_000_000
INGEST_ID = bytes(range(16))


def a_head(**fields: Any) -> RequestHead:
    """The head of a valid request."""
    given: dict[str, Any] = {
        "method": "POST",
        "path": b"/acme/chat",
        "host": b"hooks.example.com",
        "authorization": basic().encode(),
        "content_length": None,
        "content_encoding": None,
        "traceparent": "",
    }
    return RequestHead(**{**given, **fields})


def endpoint_of(message: EndpointMessage) -> Endpoint:
    """*message* as the receiver reads it."""
    found = Routes(a_snapshot(message)).find(b"", message.path.encode())
    assert found is not None
    return found


def receiving(*pieces: bytes, ends: bool = True) -> Receive:
    """ASGI's `receive` of a body that comes in *pieces*; not *ends*: its sender goes away after them."""
    messages: list[Mapping[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": not ends or n < len(pieces) - 1}
        for n, piece in enumerate(pieces or (b"",))
    ]
    waiting = iter(messages)

    async def receive() -> Mapping[str, Any]:
        return next(waiting, {"type": "http.disconnect"})

    return receive


class NoLimits:
    """Rates that are never reached."""

    def take(self, uid: str, limit: RateLimit) -> float:
        """Always now."""
        return 0.0


class Notes:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.ways: list[Way] = []
        self.appends = 0
        self.used: list[str] = []

    def authenticated(self, way: Way, seconds: float) -> None:
        """A header was judged."""
        self.ways.append(way)

    def appended(self, seconds: float) -> None:
        """An event became durable."""
        self.appends += 1

    def mark(self, credential: str, now_ns: int) -> None:
        """A credential was right."""
        self.used.append(credential)


class Rig:
    """The path of a request with everything around it in memory."""

    def __init__(self, *endpoints: EndpointMessage, **fields: Any) -> None:
        self.current: Routes | None = Routes(a_snapshot(*(endpoints or (an_endpoint(),)), **fields))
        self.journal = MemoryJournal()
        self.notes = Notes()
        self.shares = Shares(slack=0)
        self.arriving = Arriving(1 << 20)
        self.slow_hashes = SlowHashes(48, 8)
        self.rates: Any = NoLimits()
        self.append_timeout = 1.5
        self.gate = Gate(self.slow_hashes, remembered=100)

    @property
    def acceptance(self) -> Acceptance:
        """The path."""
        return Acceptance(
            routes=self,
            gate=self.gate,
            rates=self.rates,
            shares=self.shares,
            arriving=self.arriving,
            journal=self.journal,
            ingest_ids=IngestIds(),
            clock=Clock(lambda: NOON_NS, lambda: 0.0),
            observer=self.notes,
            used=self.notes,
            patience=Patience(self.append_timeout, time.monotonic),
        )

    @property
    def events(self) -> list[Event]:
        """What was stored."""
        return [decode(payload) for payload in self.journal.payloads]
