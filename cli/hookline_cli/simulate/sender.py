"""
Sends a plan as CometChat would: two seconds of patience, three attempts, then the event is gone.

A shot is tried again when it is not answered as it should be: events after any answer but 2xx, others when the refusal
was not the expected one.
"""

import asyncio
import base64
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest

from hookline_cli.simulate.client import BadAnswer, Client, parse_url
from hookline_cli.simulate.plan import Credentials, Shot
from hookline_cli.simulate.report import Attempt, Report, Sent


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events go, and what opens the door there."""

    url: str
    user: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None
    """None: the system's authorities."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a plan is sent."""

    rate: float = 0.0
    """Shots a second; 0: as fast as they are answered."""
    burst: int = 1
    """So many leave at once, at the same rate on average."""
    concurrency: int = 16
    """Requests under way at once."""
    timeout: float = 2.0
    """Seconds until an attempt has failed: CometChat's are 2."""
    attempts_at: tuple[float, ...] = (0.0, 10.0, 30.0)
    """Seconds after the first attempt began; only the first of them without `retryOnFailure`."""
    time_scale: float = 1.0
    """The waits between attempts are so many times as long."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that was not answered as it should have been."""

    shot: Shot
    attempt: Attempt
    again_in: float | None
    """Seconds until the next attempt; None: there is none."""


class Simulator:
    """A CometChat of one's own."""

    def __init__(
        self,
        endpoint: Endpoint,
        manner: Manner | None = None,
        on_sent: Callable[[Sent], None] | None = None,
        on_failed: Callable[[Failed], None] | None = None,
    ) -> None:
        """*on_sent* is told of each shot when its last attempt has ended, *on_failed* of each attempt that failed."""
        self._endpoint = endpoint
        self._manner = manner or Manner()
        self._on_sent = on_sent
        self._on_failed = on_failed
        self._client = Client(parse_url(endpoint.url), endpoint.tls)
        self._slots = asyncio.Semaphore(self._manner.concurrency)

    async def send(self, plan: Iterable[Shot]) -> Report:
        """Send all shots of *plan* and return when each was answered or given up."""
        started = time.monotonic()
        ended: dict[int, asyncio.Task[Sent]] = {}
        try:
            for place, shot in enumerate(plan):
                await self._until_turn(started, place, shot.at)
                ended[shot.number] = asyncio.create_task(self._see_through(shot, ended, started))
            records = await asyncio.gather(*ended.values())
        finally:
            await self._stop(ended.values())
        return Report(self._endpoint.url, self._manner.timeout, time.monotonic() - started, records)

    async def _until_turn(self, started: float, place: int, at: float | None) -> None:
        """Wait until the shot at *place* may leave: for its time, or where it has none for room."""
        manner = self._manner
        if at is not None:
            await asyncio.sleep(max(0.0, started + at - time.monotonic()))
            return
        if not manner.rate:
            async with self._slots:
                return
        due = started + place // manner.burst * manner.burst / manner.rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _stop(self, tasks: Iterable[asyncio.Task[Sent]]) -> None:
        for task in tasks:
            task.cancel()
        await self._client.close()

    async def _see_through(self, shot: Shot, others: dict[int, asyncio.Task[Sent]], started: float) -> Sent:
        """All attempts of one shot."""
        await _first_done(shot, others)
        attempts: list[Attempt] = []
        first = time.monotonic()
        for at, later in zip_longest(self._manner.attempts_at, self._manner.attempts_at[1:]):
            await asyncio.sleep(max(0.0, first + at * self._manner.time_scale - time.monotonic()))
            async with self._slots:
                first = first if attempts else time.monotonic()
                attempts.append(await self._attempt(shot, started))
            if _as_it_should_be(shot, attempts[-1]):
                break
            self._tell_failed(shot, attempts[-1], None if later is None else first + later * self._manner.time_scale)
        sent = Sent(shot, tuple(attempts))
        if self._on_sent:
            self._on_sent(sent)
        return sent

    def _tell_failed(self, shot: Shot, attempt: Attempt, again_at: float | None) -> None:
        if self._on_failed:
            again = None if again_at is None else max(0.0, again_at - time.monotonic())
            self._on_failed(Failed(shot, attempt, again))

    async def _attempt(self, shot: Shot, started: float) -> Attempt:
        begun = time.monotonic()
        status, error, body = 0, "", b""
        try:
            async with asyncio.timeout(self._manner.timeout):
                answer = await self._client.post(shot.body, self._headers(shot.credentials))
            status, body = answer.status, answer.body
        except TimeoutError:
            error = "time-out"
        except (OSError, BadAnswer) as failure:
            error = f"{type(failure).__name__}: {failure}"
        return Attempt(begun - started, time.monotonic() - begun, status, error, body)

    def _headers(self, credentials: Credentials) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "hookline-simulate"}
        if authorization := self._authorization(credentials):
            headers["Authorization"] = authorization
        return headers

    def _authorization(self, credentials: Credentials) -> str:
        user, password = self._endpoint.user, self._endpoint.password
        match credentials:
            case Credentials.RIGHT:
                return _basic(user, password) if user or password else ""
            case Credentials.WRONG_PASSWORD:
                return _basic(user, password + "x")
            case Credentials.WRONG_USER:
                return _basic(user + "x", password)
            case Credentials.MALFORMED:
                return "Basic !!!"
            case Credentials.NONE:
                return ""


async def _first_done(shot: Shot, others: dict[int, asyncio.Task[Sent]]) -> None:
    """A duplicate comes after what it repeats was answered, if that is on its way already."""
    if shot.repeats is not None and (first := others.get(shot.repeats)):
        await asyncio.wait([first])


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _as_it_should_be(shot: Shot, attempt: Attempt) -> bool:
    return 200 <= attempt.status < 300 if shot.expected == 200 else attempt.status == shot.expected
