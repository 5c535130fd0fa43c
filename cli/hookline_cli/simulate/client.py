"""
HTTP/1.1 POSTs over kept-alive connections.

A library would be a dependency for one verb on one URL, and would hide what is wanted here: that nothing is tried
again in silence, and that an answer given before the body was taken (413) is seen.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_ANSWER_BYTES = 64 * 1024
"""Of an answer's body so much is kept; a webhook's sender has no use for more."""


class BadAnswer(Exception):
    """What came back is not HTTP. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Url:
    """Where to POST."""

    host: str
    port: int
    target: str
    """Path and query, as they go into the request line."""
    secure: bool

    @property
    def authority(self) -> str:
        """What goes into `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Read an http or https URL; raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http:// or https:// URL: {text}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL holds credentials: give them as --user, so that they stay out of reports")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or any(char.isspace() for char in target):
        raise ValueError(f"the URL holds characters that must be percent-encoded: {text}")
    return Url(parts.hostname, parts.port or (443 if secure else 80), target, secure)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class Client:
    """POSTs to one URL; idle connections are used again, as CometChat's proxies do."""

    def __init__(self, url: Url, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._tls = tls or (ssl.create_default_context() if url.secure else None)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Send *body* once and return the answer; raises OSError or BadAnswer.

        The caller sets the time limit by cancelling; the connection is then closed.
        """
        reader, writer = self._reusable() or await self._connect()
        try:
            writer.write(self._head(len(body), headers) + body)
            # Not waiting until all is written: an answer may come before the body was taken.
            answer, keep = await _answer(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if keep:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return answer

    async def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                continue

    def _reusable(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or reader.exception() or writer.is_closing()):
                return reader, writer
            writer.transport.abort()
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = self._url.host if self._tls else None
        return await asyncio.open_connection(self._url.host, self._url.port, ssl=self._tls, server_hostname=name)

    def _head(self, length: int, headers: Mapping[str, str]) -> bytes:
        lines = [
            f"POST {self._url.target} HTTP/1.1",
            f"Host: {self._url.authority}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _answer(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    """The next final answer, and whether the connection can be used again."""
    while True:
        version, status, headers = await _answer_head(reader)
        if status >= 200:
            break
    keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    if status == 204 or status == 304:
        return Answer(status, headers, b""), keep
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, headers, await _chunks(reader)), keep
    if (length := headers.get("content-length")) is not None:
        if not length.isdecimal():
            raise BadAnswer(f"Content-Length is not a number: {length[:40]!r}")
        return Answer(status, headers, await _exactly(reader, int(length))), keep
    return Answer(status, headers, await reader.read(MAX_ANSWER_BYTES)), False


async def _answer_head(reader: asyncio.StreamReader) -> tuple[str, int, dict[str, str]]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise ConnectionResetError("connection closed without an answer") from error
        raise BadAnswer("connection closed within the head of the answer") from error
    except asyncio.LimitOverrunError as error:
        raise BadAnswer("the head of the answer is above 64 KiB") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdecimal():
        raise BadAnswer(f"no HTTP answer: {first[:80]!r}")
    fields = (line.partition(":") for line in lines if line)
    return version, int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in fields}


async def _exactly(reader: asyncio.StreamReader, length: int) -> bytes:
    """A body of known length; beyond MAX_ANSWER_BYTES it is read and dropped."""
    kept, missing = bytearray(), length
    while missing:
        piece = await reader.read(min(missing, MAX_ANSWER_BYTES))
        if not piece:
            raise BadAnswer(f"connection closed {missing} bytes before the end of the answer")
        missing -= len(piece)
        kept += piece[: MAX_ANSWER_BYTES - len(kept)]
    return bytes(kept)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    kept = bytearray()
    while True:
        line = await reader.readline()
        size = line.split(b";")[0].strip()
        try:
            length = int(size, 16)
        except ValueError:
            raise BadAnswer(f"not the size of a chunk: {line[:40]!r}") from None
        kept += (await _exactly(reader, length))[: MAX_ANSWER_BYTES - len(kept)]
        if await reader.readline() not in (b"\r\n", b"\n"):
            raise BadAnswer("a chunk does not end where it said")
        if length == 0:
            return bytes(kept)
