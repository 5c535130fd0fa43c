"""
A network of the test run's own, in which every address of 198.18.0.0/15 is local: the addresses of pods and Services.

The API server refuses endpoints with loopback addresses, and what plays the receiver's pods has to listen on the ports of
the product, each "pod" on an address of its own. Both would need addresses that this machine does not have and should not
be given. So there is a network namespace, made and held by one small process and gone with it, with a loopback device only:
nothing in it can leave it. As root it is a plain one, otherwise one inside a user namespace.

What runs where:

- The control plane runs outside, on 127.0.0.1, like kubectl and the test itself.
- Operator, agents, receivers and forwarders run inside: `network.command([...])`, `Processes(..., network=network)`.
- A socket belongs to the namespace that it was made in, whoever uses it: `network.listen` and `network.connect` give the
  test itself, which stays outside, sockets that are inside. By these it joins both sides with relays:
  `mirror(port)`: 127.0.0.1:port is the same inside as outside (the API server, a fault proxy);
  `expose(port)`: what listens outside on 127.0.0.1:port gets an address inside (a handler that runs in the test);
  `reach(address, port)`: what listens inside gets a port outside (a receiver that the test POSTs to).
"""

import array
import asyncio
import functools
import itertools
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self

from support.kubernetes.background import Background

LOCALHOST = "127.0.0.1"
FIRST_ADDRESS = IPv4Address("198.18.0.10")
HOLDER = Path(__file__).with_name("holder.py")


@dataclass(frozen=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in a setting."""
        return f"{self.host}:{self.port}"


@functools.cache
def how() -> tuple[str, ...] | None:
    """The command that runs a program in a new network namespace here; None where there is no way."""
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return None
    ways = (("unshare", "--net"), ("unshare", "--user", "--map-root-user", "--net"))
    return next((way for way in ways if works([*way, "true"])), None)


def works(command: Sequence[str]) -> bool:
    """Whether *command* ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def at_once(made: socket.socket) -> socket.socket:
    """
    The same socket, sending small pieces at once.

    asyncio sees to that only for sockets that were made with the protocol's number; others wait 40 ms for an answer.
    """
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Network:
    """One namespace, its sockets and the relays into it and out of it."""

    def __init__(self) -> None:
        way = how()
        assert way is not None, "no network namespaces here: needs root, or user namespaces"
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._holder = subprocess.Popen(
                [*way, sys.executable, "-I", "-S", str(HOLDER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._lock = threading.Lock()
        self._user = "--user" in way
        self._addresses = itertools.count(int(FIRST_ADDRESS))
        self._relays = Relays()
        try:
            self.new_socket().close()  # answered once its device is up
        except BaseException:
            self.close()
            raise

    def command(self, command: Sequence[str]) -> list[str]:
        """*command*, to run inside. The process keeps its number."""
        at = f"/proc/{self._holder.pid}/ns"
        user = [f"--user={at}/user", "--preserve-credentials"] if self._user else []
        return ["nsenter", f"--net={at}/net", *user, "--", *command]

    def address(self) -> str:
        """A fresh address for a pod or a Service; everything inside can listen on it and connect to it."""
        return str(IPv4Address(next(self._addresses)))

    def new_socket(self) -> socket.socket:
        """A TCP socket that belongs to the inside, to be bound or connected by the caller."""
        ancillary: list[tuple[int, int, bytes]] = []
        with self._lock:
            self._asking.send(b"?")
            with suppress(ConnectionResetError):
                ancillary = self._asking.recvmsg(1, socket.CMSG_SPACE(4))[1]
        assert ancillary, f"the holder of the namespace has ended with {self._holder.poll()}"
        descriptor = array.array("i", ancillary[0][2])[0]
        return at_once(socket.socket(fileno=descriptor))

    def listen(self, host: str, port: int = 0) -> socket.socket:
        """A listening socket inside; accept from it anywhere."""
        made = self.new_socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, port))
            made.listen(512)
        except OSError:
            made.close()
            raise
        return made

    def connect(self, host: str, port: int, timeout: float = 10.0) -> socket.socket:
        """A socket connected to what listens inside."""
        made = self.new_socket()
        made.settimeout(timeout)
        try:
            made.connect((host, port))
        except OSError:
            made.close()
            raise
        made.settimeout(None)
        return made

    def mirror(self, port: int) -> None:
        """Let 127.0.0.1:*port* inside lead to 127.0.0.1:*port* outside."""
        self._relays.add(self.listen(LOCALHOST, port), self._outside(port))

    def expose(self, port: int, host: str = "", at_port: int = 0) -> Address:
        """
        Let an address inside lead to 127.0.0.1:*port* outside.

        Without *host* a fresh one, without *at_port* any free port. `close` ends it.
        """
        listener = self.listen(host or self.address(), at_port)
        found = Address(*listener.getsockname())
        self._relays.add(listener, self._outside(port))
        return found

    def reach(self, host: str, port: int) -> int:
        """The port of 127.0.0.1 outside that leads to *host*:*port* inside."""
        listener = at_once(socket.create_server((LOCALHOST, 0), backlog=512))

        async def inside() -> socket.socket:
            made = self.new_socket()
            made.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(made, (host, port))
            except OSError:
                made.close()
                raise
            return made

        found = int(listener.getsockname()[1])
        self._relays.add(listener, inside)
        return found

    def end(self, address: Address) -> None:
        """Stop listening at an address given by `expose`, and break its connections: refused from now on."""
        self._relays.remove((address.host, address.port))

    def close(self) -> None:
        """Remove all of it."""
        self._relays.close()
        self._asking.close()
        self._holder.wait(30)

    def __enter__(self) -> Self:
        """This."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing."""
        self.close()

    @staticmethod
    def _outside(port: int) -> Callable[[], Awaitable[socket.socket]]:
        async def connect() -> socket.socket:
            made = at_once(socket.socket())
            made.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(made, (LOCALHOST, port))
            except OSError:
                made.close()
                raise
            return made

        return connect


class Relays:
    """Passes bytes between connections, on a thread of its own."""

    def __init__(self) -> None:
        self._background = Background("relays")
        self._servers: dict[tuple[str, int], tuple[asyncio.Server, set[asyncio.Task[None]]]] = {}

    def add(self, listener: socket.socket, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        """Pass each connection to *listener* on to what *connect* gives."""
        self._background.run(self._add(listener, connect))

    def remove(self, name: tuple[str, int]) -> None:
        """End the listener of that address and its connections."""
        self._background.run(self._remove(name))

    def close(self) -> None:
        """End all."""
        for name in list(self._servers):
            self.remove(name)
        self._background.close()

    async def _add(self, listener: socket.socket, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await relay(reader, writer, connect)
            finally:
                tasks.discard(task)

        name = listener.getsockname()
        self._servers[name] = await asyncio.start_server(serve, sock=listener, backlog=512), tasks

    async def _remove(self, name: tuple[str, int]) -> None:
        server, tasks = self._servers.pop(name)
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Callable[[], Awaitable[socket.socket]]
) -> None:
    """Pass bytes both ways until both ends have ended; a broken one breaks the other."""
    far_writer = None
    try:
        far_reader, far_writer = await asyncio.open_connection(sock=await connect())
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
    except (OSError, asyncio.CancelledError):
        writer.transport.abort()
        if far_writer is not None:
            far_writer.transport.abort()
    finally:
        for end in (writer, far_writer):
            if end is not None:
                end.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way, to its end."""
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
