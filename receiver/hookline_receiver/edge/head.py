"""
What a request's head must be, beyond being HTTP: our rules on what llhttp has read. Pure.

SECURITY: strict on purpose. llhttp refuses what breaks HTTP (two lengths, a length beside a coding, folded lines, space
before a colon, bare CR or LF, NUL); the rules here refuse what it lets pass though two readers could understand it
differently: codings other than exactly "chunked", targets that are not a path, two hosts or none, lines with more than
one space. Nothing is repaired. tests/receiver/edge/test_head.py holds what is accepted against h11's reading.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from hookline_receiver.edge.refusal import Refusal
from hookline_receiver.edge.settings import EdgeSettings

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_PATH = rb"/(?:[!-\"$&->@-~]|%(?!00)[0-9A-Fa-f]{2})*+"
_REQUEST_LINE = re.compile(rb"%b++ ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])" % _TOKEN)
_TARGET = re.compile(rb"(%b)(?:\?([!-\"$-~]*+))?" % _PATH)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*+")
_LENGTH_DIGITS = 18
_SAYS_MORE = frozenset([b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"])
"""Fields that the edge itself must understand."""


class Head(NamedTuple):
    """A request's head, and what it means for the bytes after it."""

    # PERF: a NamedTuple; a frozen dataclass of this size takes four times as long to make.

    method: str
    """As sent; methods are case-sensitive."""
    path: str
    """Percent-decoded."""
    raw_path: bytes
    """As sent, without the query."""
    query: bytes
    version: str
    """"1.0" or "1.1"."""
    fields: list[tuple[bytes, bytes]]
    """Names in lower case, in the order they came."""
    content_length: int | None
    """None: no length given, so no body unless chunked."""
    chunked: bool
    keep_alive: bool
    expects_continue: bool


class RequestLine(NamedTuple):
    """What the first line says, but for the method."""

    path: str
    raw_path: bytes
    query: bytes
    version: str


# PERF: a sender keeps to its path, so the same line comes again and again.
@lru_cache(maxsize=512)
def judge_request_line(line: bytes) -> RequestLine | Refusal:
    """What *line* asks for, or why it may not."""
    matched = _REQUEST_LINE.fullmatch(line)
    if matched is None:
        return malformed("the request line is not METHOD PATH HTTP/1.1")
    target, version = matched.groups()
    if version not in (b"1.1", b"1.0"):
        return Refusal(505, "http_version", "HTTP/1.1 and HTTP/1.0 are spoken here")
    place = _TARGET.fullmatch(target)
    if place is None:
        return malformed("the request target is not a path that begins with /")
    raw_path, query = place.groups()
    path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
    return RequestLine(path, raw_path, query or b"", version.decode("ascii"))


def judge_fields(
    method: str, line: RequestLine, fields: list[tuple[bytes, bytes]], settings: EdgeSettings
) -> Head | Refusal:
    """The whole head, if *fields* agree with each other and are within the limits, or why they are not."""
    if len(fields) > settings.header_max_count:
        return Refusal(431, "too_many_headers", f"at most {settings.header_max_count} header fields are read")
    # PERF: one pass, and nothing kept of the fields that say nothing to the edge.
    hosts, length, chunked, keep_alive, expects_continue = 0, None, False, line.version == "1.1", False
    for name, value in fields:
        if name not in _SAYS_MORE:
            continue
        if name == b"host":
            hosts += 1
            if not _is_host(value):
                return malformed("the Host field is not a host")
        elif name == b"content-length":
            if length is not None or chunked or not _is_length(value):
                return malformed("a length is one Content-Length, a number, and excludes Transfer-Encoding")
            length = int(value)
        elif name == b"transfer-encoding":
            if length is not None or chunked or value.lower() != b"chunked" or line.version == "1.0":
                return malformed("the only Transfer-Encoding read here is chunked, in HTTP/1.1, without Content-Length")
            chunked = True
        elif name == b"connection":
            keep_alive = keep_alive and not _says_close(value)
        elif line.version == "1.1":
            if value.lower() != b"100-continue":
                return Refusal(417, "expectation", "the only expectation met here is 100-continue")
            expects_continue = True
    if hosts != 1 and (hosts or line.version == "1.1"):
        return malformed("one Host field is needed")
    if length is not None and length > settings.body_max_bytes:
        return body_too_large(settings)
    return Head(method, *line, fields, length, chunked, keep_alive, expects_continue)


@lru_cache(maxsize=512)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _is_length(value: bytes) -> bool:
    return value.isdigit() and len(value) <= _LENGTH_DIGITS


def _says_close(connection: bytes) -> bool:
    return b"close" in [token.strip() for token in connection.lower().split(b",")]


def malformed(detail: str) -> Refusal:
    """The request breaks HTTP, or could be understood in two ways."""
    return Refusal(400, "malformed_request", detail)


def body_too_large(settings: EdgeSettings) -> Refusal:
    """The body is, or says it will be, over the edge's own limit."""
    return Refusal(413, "too_large", f"at most {settings.body_max_bytes} bytes of body are read")


def request_line_too_long(settings: EdgeSettings) -> Refusal:
    """The first line is over its limit."""
    return Refusal(414, "request_line_too_long", f"a request line has at most {settings.request_line_max_bytes} bytes")


def head_too_large(settings: EdgeSettings) -> Refusal:
    """Request line and fields together are over their limit."""
    return Refusal(431, "headers_too_large", f"at most {settings.header_max_bytes} bytes of headers are read")
