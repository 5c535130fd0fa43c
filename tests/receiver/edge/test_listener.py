"""Listening ends without a reset: what the kernel has accepted is served, what comes later is clearly turned away."""

import asyncio
import socket
from typing import Any

import pytest

from hookline_receiver.edge.lifecycle import Draining, EdgeCounters
from hookline_receiver.edge.listener import CannotListen, accept_waiting, listen, turn_newcomers_away
from hookline_receiver.edge.server import Server
from hookline_receiver.edge.settings import EdgeSettings
from support.edge import a_post, read_answers


async def _greet(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def a_server(listener: socket.socket, **settings: Any) -> Server:
    """A server that has not begun to accept."""
    return Server(
        EdgeSettings(**{"idle_grace": 0.1, **settings}),
        _greet,
        [listener],
        draining=Draining(),
        counters=EdgeCounters(),
        state={},
    )


def a_client(listener: socket.socket) -> socket.socket:
    """A connection that waits in the listener's queue."""
    return socket.create_connection(listener.getsockname(), timeout=5)


async def test_connections_that_wait_when_listening_ends_are_served() -> None:
    """They were accepted by the kernel, and have sent a request perhaps: closing the socket would reset them."""
    listener = listen(EdgeSettings(bind="127.0.0.1:0"))
    listener.setblocking(False)
    clients = [a_client(listener) for _ in range(20)]
    for client in clients[:10]:
        client.sendall(a_post())
    server = a_server(listener, idle_grace=2.0)

    stopping = asyncio.create_task(server.stop(whole=True))
    for client in clients[10:]:
        client.sendall(a_post())
    answers = [await asyncio.to_thread(read_answers, client) for client in clients]
    await stopping

    assert [(one.only.status, one.only.closes) for one in answers] == [(200, True)] * 20
    for client in clients:
        client.close()


def test_newcomers_are_neither_served_nor_reset_but_refused_in_the_end() -> None:
    """Their first packet is dropped: they repeat it, and then meet a successor, or a refusal that is no half promise."""
    with listen(EdgeSettings(bind="127.0.0.1:0")) as listener:
        listener.setblocking(False)
        where = listener.getsockname()
        early = a_client(listener)
        turn_newcomers_away(listener)
        with socket.socket() as late:
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.connect(where)
        taken: list[socket.socket] = []
        assert accept_waiting(listener, taken.append, 10) == 1

    early.sendall(b"x" * 500_000 if early.send(b"y") else b"")
    assert taken[0].recv(1) == b"y", "the filter must not touch connections that are there"
    received = b""
    taken[0].settimeout(5)
    while len(received) < 500_000:
        received += taken[0].recv(1 << 20)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=5)
    early.close()
    taken[0].close()


def test_an_address_that_is_not_ours_is_a_clear_error() -> None:
    """The message names the address and what is wrong with it."""
    with pytest.raises(CannotListen, match=r"cannot listen on 203\.0\.113\.1:80: Cannot assign requested address"):
        listen(EdgeSettings(bind="203.0.113.1:80"))


@pytest.mark.parametrize("bind", ["8080", "host:", "host:x", "host:70000", "host:-1", ""])
def test_a_bind_that_is_no_address_is_refused(bind: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match="bind must be"):
        EdgeSettings(bind=bind)


@pytest.mark.parametrize(
    ("field", "value"),
    [("workers", 0), ("header_timeout", 0), ("body_timeout", -1), ("max_connections", 0), ("drain_seconds", -1)],
)
def test_a_setting_without_sense_is_refused_by_name(field: str, value: Any) -> None:
    """A limit of nothing would refuse everybody, or nobody."""
    with pytest.raises(ValueError, match=f"{field} must.*got {value}"):
        EdgeSettings(**{field: value})


def test_a_trusted_proxy_that_is_no_network_is_refused() -> None:
    """A typing error here would let anyone invent addresses, or count all clients as one."""
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/33"):
        EdgeSettings(trusted_proxies=("10.0.0.0/33",))
