"""Addresses for pods, inside a network that leads nowhere."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.kubernetes.api import Refused
from support.kubernetes.network import Address, Network
from support.kubernetes.objects import a_pod, a_slice, make_service
from support.kubernetes.plane import ControlPlane


@contextmanager
def echo() -> Iterator[int]:
    """Something that listens outside and says everything back; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def said(connection: socket.socket, what: bytes) -> bytes:
    """What comes back."""
    with connection:
        connection.settimeout(10)
        connection.sendall(what)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_nothing_inside_can_leave(network: Network) -> None:
    """Traffic of tests stays on this machine, whatever they try."""
    with pytest.raises(OSError, match="unreachable"):
        network.connect("192.0.2.77", 80)


def test_a_handler_outside_has_an_address_inside(network: Network) -> None:
    """A test hears in its own process what the forwarder delivers to a pod's address."""
    with echo() as port:
        address = network.expose(port, at_port=50051)

        assert said(network.connect(address.host, 50051), b"hello") == b"hello"
        network.end(address)
        with pytest.raises(ConnectionRefusedError):
            network.connect(address.host, 50051)


def test_what_listens_inside_can_be_reached(network: Network) -> None:
    """A test POSTs to a receiver that plays a pod."""
    listener = network.listen(network.address(), 8080)
    port = network.reach(*listener.getsockname())

    with socket.create_connection(("127.0.0.1", port)) as ours, listener, listener.accept()[0] as theirs:
        ours.sendall(b"hello")
        assert theirs.recv(100) == b"hello"


def test_every_pod_has_all_ports(network: Network) -> None:
    """Two receiver pods listen on the same port, each on an address of its own."""
    with network.listen(network.address(), 8080) as one, network.listen(network.address(), 8080) as other:
        assert one.getsockname()[0] != other.getsockname()[0]


def test_a_program_inside_reaches_the_control_plane(network: Network, plane: ControlPlane) -> None:
    """The same kubeconfig serves inside and outside."""
    kubectl = str(plane.programs["kubectl"])
    command = network.command([kubectl, f"--kubeconfig={plane.kubeconfig()}", "get", "namespace", "default", "-oname"])

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "namespace/default\n"


def test_a_service_by_hand_is_what_controllers_would_make(
    network: Network, plane: ControlPlane, namespace: str
) -> None:
    """The operator believes an endpoint only if a running Pod has its address."""
    addresses = [Address(network.address(), 50051), Address(network.address(), 50051)]

    made = make_service(plane.api(), namespace, "chat", addresses)

    first, second = made["endpoints"]
    pods = {pod["metadata"]["uid"]: pod for pod in plane.api().objects("v1", "Pod", namespace)}
    assert [first["addresses"], second["addresses"]] == [[address.host] for address in addresses]
    assert pods[first["targetRef"]["uid"]]["status"]["podIP"] == addresses[0].host
    assert made["ports"][0]["port"] == 50051


def test_loopback_endpoints_are_refused(plane: ControlPlane, namespace: str) -> None:
    """If this ever passes, handlers of tests can listen on 127.0.0.1 and all of this is not needed."""
    pod = a_pod(namespace, "one")

    with pytest.raises(Refused, match="loopback"):
        plane.api().create(a_slice("chat", [pod], [Address("127.0.0.1", 50051)]))


async def test_an_event_loop_can_listen_inside(network: Network) -> None:
    """A fake of an agent or a handler needs no relay."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    host = network.address()
    async with await asyncio.start_server(serve, sock=network.listen(host, 8443)):
        reader, writer = await asyncio.open_connection(sock=network.connect(host, 8443))
        writer.write(b"hello")
        assert await reader.read(100) == b"hello"
        writer.close()
