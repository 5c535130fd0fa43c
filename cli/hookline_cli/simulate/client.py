"""
HTTP/1.1 POSTs over kept-alive connections.

A client library would hide what is wanted here: that nothing is tried again in silence, and that an answer given before
the body was taken (413) is seen. The answers are parsed by httptools, which the receiver brings along.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

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


class _Parsing:
    """One final answer, from the bytes of a connection."""

    def __init__(self) -> None:
        self.complete = False
        self._keep = False
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what came; raises BadAnswer if that is not HTTP."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BadAnswer(f"no HTTP answer: {error}") from error

    def end(self) -> None:
        """The connection was closed: the end of an answer that says of no other."""
        if not self._status:
            raise ConnectionResetError("connection closed without an answer")
        if {"content-length", "transfer-encoding"} & self._headers.keys():
            raise BadAnswer("connection closed before the end of the answer")
        self.complete = True

    def result(self) -> tuple[Answer, bool]:
        """The answer, and whether the connection can be used again."""
        return Answer(self._status, self._headers, bytes(self._body)), self._keep

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body += data[: MAX_ANSWER_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        """Called by the parser; an interim answer (1xx) is none."""
        if self._status >= 200:
            self.complete = True
            self._keep = bool(self._parser.should_keep_alive())
        else:
            self._status, self._headers = 0, {}


async def _answer(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    """The next final answer, and whether the connection can be used again."""
    parsing = _Parsing()
    while not parsing.complete:
        if data := await reader.read(MAX_ANSWER_BYTES):
            parsing.feed(data)
        else:
            parsing.end()
    return parsing.result()
