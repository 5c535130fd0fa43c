"""The listening sockets: made before the workers are, shared by them, and closed without resetting anyone."""

import contextlib
import errno
import os
import socket
import stat
import struct
import time
from collections.abc import Callable
from ctypes import addressof, create_string_buffer
from pathlib import Path

from hookline_receiver.edge.settings import EdgeSettings, address

_SO_ATTACH_FILTER = 26
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
_SYN, _ACK = 0x02, 0x10
_DROP_SYN = [
    # A classic BPF program; on a listening TCP socket it sees packets from the TCP header on: byte 13 holds the flags.
    (_LOAD_BYTE, 0, 0, 13),
    (_JUMP_IF_SET, 0, 2, _SYN),
    (_JUMP_IF_SET, 1, 0, _ACK),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
]
_BIND_ATTEMPTS = 25
_BIND_PAUSE = 0.2


class CannotListen(Exception):
    """The address can't be listened on: it is in use, not this machine's, or not allowed."""


def listen(settings: EdgeSettings) -> socket.socket:
    """
    A listening socket as *settings* say, or CannotListen.

    An address in use is tried for 5 s: a receiver that was killed leaves workers that notice it a moment later.
    """
    for attempt in range(_BIND_ATTEMPTS):
        try:
            return _listen(settings)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == _BIND_ATTEMPTS - 1:
                raise CannotListen(f"cannot listen on {settings.bind}: {error.strerror}") from error
            time.sleep(_BIND_PAUSE)
    raise AssertionError("unreachable")


def _listen(settings: EdgeSettings) -> socket.socket:
    where = address(settings.bind)
    if isinstance(where, str):
        return _listen_on_path(Path(where), settings.backlog)
    listener, where = _unbound(where)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted connections inherit it: an answer's packets do not wait for each other.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(where)
        listener.listen(settings.backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _unbound(where: tuple[str, int]) -> tuple[socket.socket, tuple[str, int]]:
    """A socket of the address's family. "::" is every address, IPv4's too, also where the kernel knows no IPv6."""
    if ":" not in where[0]:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM), where
    try:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT or where[0] != "::":
            raise
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM), ("0.0.0.0", where[1])
    if where[0] == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return listener, where


def _listen_on_path(path: Path, backlog: int) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, "the path exists and is no socket")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def turn_newcomers_away(listener: socket.socket) -> None:
    """
    Let no new connection begin on *listener*, while those whose handshake is under way are finished and can be accepted.

    Closing a listening socket resets what waits in its queue. So first the kernel is told to drop the packets that open
    a connection (SYN without ACK): their senders repeat them a second later, and meet the successor or a clear refusal.
    What is then accepted until the queue is empty was all there was. Only meant for all workers' end: they share it.
    """
    if listener.family == socket.AF_UNIX:
        # The master has taken its path away already.
        return
    code = create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    # A sandbox may forbid filters; then the close is as abrupt as it is without one.
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), addressof(code)))


def accept_waiting(listener: socket.socket, take: Callable[[socket.socket], None], limit: int) -> int:
    """Give *take* up to *limit* connections that wait on *listener*; returns how many there were."""
    for taken in range(limit):
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return taken
        connection.setblocking(False)
        take(connection)
    return limit
