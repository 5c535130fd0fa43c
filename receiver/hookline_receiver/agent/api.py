"""The two calls that the agent makes of the API server: a consistent list in pages, and a watch."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.connector import AddrInfoType

PATH = "/apis/hookline.dev/v1alpha1/namespaces"
PAGE = 16
"""Objects in a page of a list, of up to 700 KB each: what is in memory at once."""

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Of one event of a watch; an object has 1.5 MiB at most."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""How long a page of a list may take."""

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""PERF: the data is compressed already; packing it once more takes longer than to send it."""

Object = Mapping[str, Any]


class ApiUnavailable(Exception):
    """The API server can't be asked, or refuses; to be tried again later."""


class Expired(Exception):
    """The version to watch from is too old (410): to be listed anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch."""

    type: str
    """"ADDED", "MODIFIED", "DELETED" or "BOOKMARK"."""
    object: Object

    @property
    def version(self) -> str:
        """Where a watch may go on after it."""
        return str(self.object["metadata"]["resourceVersion"])


class TableApi:
    """Lists and watches the tables of one plane."""

    def __init__(self, server: str, namespace: str, selector: str, token: Callable[[], str], authorities: Path) -> None:
        """*token* is asked for each call: mounted ones are renewed every hour."""
        self._base = f"{server.rstrip('/')}{PATH}/{namespace}"
        self._selector = selector
        self._token = token
        self._authorities = authorities
        self._session: aiohttp.ClientSession | None = None

    async def list(self, plural: str) -> AsyncIterator[tuple[list[Object], str]]:
        """Pages of all tables, each with the version to watch from. Raises ApiUnavailable or Expired."""
        query = {"labelSelector": self._selector, "limit": str(PAGE)}
        while True:
            async with self._get(plural, query, ANSWER_SECONDS) as answer:
                page = await _json(answer)
            metadata = page.get("metadata", {})
            yield page.get("items") or [], str(metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def watch(
        self, plural: str, version: str, *, length: float, silence: float, opened: Callable[[], None]
    ) -> AsyncIterator[Event]:
        """
        Events after *version*, until the API server ends the watch, after *length* seconds or earlier.

        *opened* is called once it has begun: the first event may take a minute. Raises ApiUnavailable also after *silence* seconds without a byte, Expired where *version* is too old.
        """
        query = {
            "labelSelector": self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(length))),
        }
        async with self._get(plural, query, silence) as answer:
            opened()
            async for line in _lines(answer):
                yield _event(line)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _get(
        self, plural: str, query: Mapping[str, str], silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            # Never by way of a proxy that the environment names: trust_env is off.
            self._session = aiohttp.ClientSession(connector=self._connector(), headers=_HEADERS)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        headers = {"Authorization": f"Bearer {self._token()}"}
        url = URL(f"{self._base}/{plural}").with_query(query)
        with _translated():
            async with self._session.get(url, timeout=timeout, headers=headers) as answer:
                if answer.status != 200:
                    _refused(answer.status, (await answer.text())[:200])
                yield answer

    def _connector(self) -> aiohttp.TCPConnector:
        if not self._base.startswith("https:"):
            return aiohttp.TCPConnector(socket_factory=_keepalive)
        try:
            context = ssl.create_default_context(cafile=str(self._authorities))
            return aiohttp.TCPConnector(ssl=context, socket_factory=_keepalive)
        except OSError as error:
            raise ApiUnavailable(f"{self._authorities}: {error}") from error


def _refused(status: int, said: str) -> NoReturn:
    if status == 410:
        raise Expired(said)
    raise ApiUnavailable(f"the API server answered {status}: {said}")


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the connection, and of what came over it, in our words."""
    try:
        yield
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError) as error:
        raise ApiUnavailable(f"{type(error).__name__}: {error}") from error


def _keepalive(info: "AddrInfoType") -> socket.socket:
    """A connection whose other end is gone ends in 20 seconds, whoever waits for an answer."""
    made = socket.socket(info[0], info[1], info[2])
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 2),
        (socket.TCP_USER_TIMEOUT, 20_000),
    ):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


async def _json(answer: aiohttp.ClientResponse) -> Mapping[str, Any]:
    read: Any = json.loads(await answer.read())
    if not isinstance(read, dict):
        raise ApiUnavailable("the answer is no object")
    return read


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = bytearray()
    while True:
        piece = await answer.content.readany()
        if not piece:
            return
        rest += piece
        if b"\n" in piece:
            *lines, last = rest.split(b"\n")
            rest = last
            for line in filter(None, lines):
                yield bytes(line)
        if len(rest) > MAX_LINE_BYTES:
            raise ApiUnavailable(f"an event has more than {MAX_LINE_BYTES} bytes")
        await asyncio.sleep(0)


def _event(line: bytes) -> Event:
    read = json.loads(line)
    kind, thing = read["type"], read["object"]
    if kind == "ERROR":
        _refused(int(thing.get("code", 0)), str(thing.get("message", "")))
    if not isinstance(thing, dict) or "resourceVersion" not in thing.get("metadata", {}):
        raise ApiUnavailable("an event without an object")
    return Event(str(kind), thing)
