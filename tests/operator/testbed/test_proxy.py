"""Each fault is what its name says, against the real API server."""

import http.client
import json
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from support.kubernetes.api import Api, Object, Refused
from support.kubernetes.call import anything, matching, read, writing
from support.kubernetes.faults import (
    Answer,
    Cut,
    Delay,
    Hold,
    Lag,
    LoseAnswer,
    Mixed,
    Reset,
    Stall,
    WatchError,
)
from support.kubernetes.network import Network
from support.kubernetes.plane import ADMIN_TOKEN, ControlPlane
from support.kubernetes.proxy import FaultProxy
from support.waiting import until_sync


@pytest.fixture
def api(plane: ControlPlane, fault_proxy: FaultProxy) -> Iterator[Api]:
    """A client by way of the proxy. Does not try again, unlike those of the test bed."""
    made = Api(fault_proxy.url, plane.authority, ADMIN_TOKEN, {"Connection": "close"})
    yield made
    made.close()


class Watch:
    """A watch of ConfigMaps, read on a thread."""

    def __init__(self, plane: ControlPlane, proxy: FaultProxy, namespace: str) -> None:
        self.events: list[Any] = []
        self.ended_by: BaseException | None = None
        plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
        self._socket = plane.tls.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self._connection = http.client.HTTPSConnection("127.0.0.1", proxy.port)
        self._connection.sock = self._socket
        path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&resourceVersion=0"
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def names(self) -> list[str]:
        """Of the objects seen."""
        return [event["object"]["metadata"]["name"] for event in list(self.events)]

    def end(self) -> None:
        """Wait until it has ended."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.end()
        self._answer.close()
        self._connection.close()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                self.events.append(json.loads(line))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.ended_by = error


def a_map(namespace: str, name: str, size: int = 1) -> Object:
    """A ConfigMap of so many bytes."""
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b" * size}}


def test_without_faults_everything_passes(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """Large bodies, long lists, a watch, kubectl itself: a proxy that adds faults of its own would be worse than none."""
    api = plane.api()
    for number in range(8):
        api.apply(a_map(namespace, f"m-{number}", size=300_000))

    config = plane.kubeconfig(server=fault_proxy.url)
    through = Api(fault_proxy.url, plane.authority, ADMIN_TOKEN)
    through.apply(a_map(namespace, "large", size=900_000))
    listed = through.objects("v1", "ConfigMap", namespace)
    through.close()

    assert listed == api.objects("v1", "ConfigMap", namespace)
    command = [str(plane.programs["kubectl"]), f"--kubeconfig={config}", "get", "cm", f"-n{namespace}", "-oname"]
    assert len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()) == 9
    assert all(seen.ended for seen in fault_proxy.calls())


def test_it_says_who_did_what(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """An assertion on calls needs verb, resource, person and answer, not URLs."""
    api = Api(fault_proxy.url, plane.authority, ADMIN_TOKEN, {"Impersonate-User": "alice"})
    mark = fault_proxy.mark()

    with pytest.raises(Refused, match='User "alice" cannot patch'):
        api.request(
            "PATCH", f"/api/v1/namespaces/{namespace}/configmaps/one", {}, content_type="application/merge-patch+json"
        )
    api.close()

    (seen,) = fault_proxy.calls(mark, writing)
    request = seen.request
    assert (request.verb, request.resource, request.namespace, request.name) == (
        "patch",
        "configmaps",
        namespace,
        "one",
    )
    assert (request.user, request.agent, request.size, seen.status) == ("alice", "test", 2, 403)


def test_a_reset_reaches_the_client_and_not_the_server(api: Api, fault_proxy: FaultProxy, namespace: str) -> None:
    """A write that was reset before it was sent on is not done."""
    api.resource("v1", "ConfigMap")

    with fault_proxy.inject(Reset(), matching(verb="patch"), times=1) as rule, pytest.raises(ConnectionResetError):
        api.apply(a_map(namespace, "one"))

    assert rule.hits == 1
    assert api.objects("v1", "ConfigMap", namespace) == []
    api.apply(a_map(namespace, "one"))


def test_a_lost_answer_is_of_something_done(api: Api, fault_proxy: FaultProxy, namespace: str) -> None:
    """The client must find out by itself, not try again blindly."""
    api.resource("v1", "ConfigMap")
    fault_proxy.inject(LoseAnswer(), matching(verb="create"), times=1)

    with pytest.raises(ConnectionResetError):
        api.create(a_map(namespace, "one"))

    assert [one["metadata"]["name"] for one in api.objects("v1", "ConfigMap", namespace)] == ["one"]


def test_an_answer_can_break_off(api: Api, fault_proxy: FaultProxy, namespace: str) -> None:
    """Half a list is no list."""
    api.apply(a_map(namespace, "one", size=50_000))

    fault_proxy.inject(Cut(10_000), matching(verb="list"), times=1)

    with pytest.raises((OSError, http.client.IncompleteRead)):
        api.objects("v1", "ConfigMap", namespace)
    assert fault_proxy.calls(0, matching(verb="list"))[-1].sent == 10_000


def test_a_stalled_request_waits_until_the_fault_is_lifted(api: Api, fault_proxy: FaultProxy) -> None:
    """Silence is what time limits are for."""
    rule = fault_proxy.inject(Stall())
    with pytest.raises(TimeoutError):
        api.request("GET", "/version", timeout=0.3)

    lifting = threading.Timer(0.3, rule.lift)
    lifting.start()
    begin = time.monotonic()

    assert api.request("GET", "/version")["major"] == "1"
    assert time.monotonic() - begin > 0.2
    lifting.join()


def test_a_delay_delays(api: Api, fault_proxy: FaultProxy) -> None:
    """A slow API server is the usual case on a bad day."""
    fault_proxy.inject(Delay(0.4))
    begin = time.monotonic()

    api.request("GET", "/version")

    assert time.monotonic() - begin > 0.35


@pytest.mark.parametrize(
    ("status", "reason"),
    [(409, "Conflict"), (410, "Expired"), (429, "TooManyRequests"), (500, "InternalError"), (504, "Timeout")],
    ids=["409", "410", "429", "500", "504"],
)
def test_errors_are_worded_as_the_api_servers(api: Api, fault_proxy: FaultProxy, status: int, reason: str) -> None:
    """Clients decide by code and reason."""
    fault_proxy.inject(Answer(status, retry_after=1), times=2)

    for _ in range(2):
        with pytest.raises(Refused) as refused:
            api.request("GET", "/version")
        assert (refused.value.status, refused.value.reason) == (status, reason)
        assert refused.value.answer["details"] == {"retryAfterSeconds": 1}
    assert api.request("GET", "/version")["major"] == "1"


def test_retry_after_is_a_header_too(plane: ControlPlane, fault_proxy: FaultProxy) -> None:
    """That is where clients look."""
    fault_proxy.inject(Answer(429, retry_after=7))
    connection = http.client.HTTPSConnection("127.0.0.1", fault_proxy.port, context=plane.tls, timeout=10)
    connection.request("GET", "/version")

    assert connection.getresponse().headers["Retry-After"] == "7"
    connection.close()


def test_a_watch_can_be_refused_as_too_old(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """In the middle of everything else going well: the way to a gap without restarting what others use."""
    fault_proxy.inject(WatchError(410), matching(verb="watch", resource="configmaps"), times=1)

    with Watch(plane, fault_proxy, namespace) as watch:
        watch.end()

    (event,) = watch.events
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_an_open_watch_can_end_in_410(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """As when the API server's cache has moved on."""
    with Watch(plane, fault_proxy, namespace) as watch:
        plane.api().apply(a_map(namespace, "one"))
        until_sync(lambda: "one" in watch.names())

        assert fault_proxy.end_watches(matching(namespace=namespace)) == 1
        watch.end()

    assert [event["type"] for event in watch.events] == ["ADDED", "ERROR"]
    assert watch.ended_by is None


def test_a_held_watch_lags_and_catches_up_in_order(
    plane: ControlPlane, fault_proxy: FaultProxy, namespace: str
) -> None:
    """A replica that lags by minutes believes in what is long gone; nothing tells it so."""
    with Watch(plane, fault_proxy, namespace) as watch:
        rule = fault_proxy.inject(Hold(), matching(verb="watch"))
        for number in range(5):
            plane.api().apply(a_map(namespace, f"m-{number}"))
        until_sync(lambda: rule.hits > 0, what="something is held back")
        through = Api(fault_proxy.url, plane.authority, ADMIN_TOKEN)

        assert len(through.objects("v1", "ConfigMap", namespace)) == 5
        through.close()
        assert watch.names() == []
        rule.lift()
        until_sync(lambda: watch.names() == [f"m-{number}" for number in range(5)])


def test_a_lagging_watch_is_late_by_so_much(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """By the same for each event, not by more and more: that would be 20 s here."""
    with Watch(plane, fault_proxy, namespace) as watch, fault_proxy.inject(Lag(0.5), matching(verb="watch")):
        begin = time.monotonic()
        for number in range(40):
            plane.api().apply(a_map(namespace, f"m-{number}"))
        until_sync(lambda: len(watch.names()) == 40)

        assert 0.45 < time.monotonic() - begin < 10


def test_open_connections_can_be_reset(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """A watch that breaks without a word."""
    with Watch(plane, fault_proxy, namespace) as watch:
        assert fault_proxy.reset(matching(verb="watch", namespace=namespace)) == 1
        watch.end()

    assert isinstance(watch.ended_by, OSError), "it has ended as if it were over"


def test_away_is_refused_and_back_is_as_before(
    plane: ControlPlane, fault_proxy: FaultProxy, namespace: str, api: Api
) -> None:
    """An outage for one client, while others work on."""
    url = fault_proxy.url
    with Watch(plane, fault_proxy, namespace) as watch:
        fault_proxy.away()
        watch.end()
    assert watch.ended_by is not None
    with pytest.raises(ConnectionRefusedError):
        api.request("GET", "/version")

    fault_proxy.back()

    assert fault_proxy.url == url
    assert api.request("GET", "/version")["major"] == "1"


def test_a_client_that_goes_away_ends_its_watch(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """Or the API server would hold it for an hour."""
    with Watch(plane, fault_proxy, namespace):
        (seen,) = fault_proxy.calls(0, matching(verb="watch"))
        assert not seen.ended

    until_sync(lambda: seen.ended, what="the proxy has noticed")


def test_faults_by_chance_hit_some_and_spare_some(api: Api, fault_proxy: FaultProxy) -> None:
    """Random faults are the ones nobody thought of."""
    chance = random.Random(7)
    rule = fault_proxy.inject(Mixed(chance, 0.5, [Reset(), Answer(500), LoseAnswer()]))
    outcomes: list[str | int] = []
    for _ in range(40):
        try:
            outcomes.append(api.request("GET", "/version")["major"])
        except Refused as refused:
            outcomes.append(refused.status)
        except ConnectionResetError:
            outcomes.append("reset")

    assert rule.hits == 40
    assert set(outcomes) == {"1", 500, "reset"}


def test_many_clients_at_once(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """Two operators and their agents hold some sixty watches."""
    watches = [Watch(plane, fault_proxy, namespace) for _ in range(60)]
    try:
        plane.api().apply(a_map(namespace, "one"))
        until_sync(lambda: all(watch.names() == ["one"] for watch in watches), what="all have heard")
    finally:
        fault_proxy.away()
        for watch in watches:
            with watch:
                pass


def test_inside_the_network_it_has_the_same_address(
    network: Network, fault_proxy: FaultProxy, plane: ControlPlane
) -> None:
    """Programs that run there are given the same kubeconfig."""
    with network.connect("127.0.0.1", fault_proxy.port) as inside:
        tls = plane.tls.wrap_socket(inside, server_hostname="127.0.0.1")
        tls.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 200")
        tls.close()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("GET /api/v1/namespaces/a/secrets/b", ("get", "", "secrets", "", "a", "b")),
        ("GET /api/v1/secrets?watch=true", ("watch", "", "secrets", "", "", "")),
        ("GET /api/v1/namespaces", ("list", "", "namespaces", "", "", "")),
        ("GET /api/v1/namespaces/a", ("get", "", "namespaces", "", "", "a")),
        ("PATCH /apis/hookline.dev/v1alpha1/namespaces/a/webhooksubscriptions/b/status",
         ("patch", "hookline.dev", "webhooksubscriptions", "status", "a", "b")),
        ("DELETE /apis/apps/v1/namespaces/a/statefulsets", ("deletecollection", "apps", "statefulsets", "", "a", "")),
        ("POST /api/v1/namespaces/a/serviceaccounts/b/token", ("create", "", "serviceaccounts", "token", "a", "b")),
        ("GET /apis/apps/v1", ("get", "", "", "", "", "")),
        ("GET /readyz", ("get", "", "", "", "", "")),
    ],
    ids=lambda value: value.replace("/", "_") if isinstance(value, str) else "",
)  # fmt: skip
def test_calls_are_read_as_the_api_server_reads_them(call: str, expected: tuple[str, ...]) -> None:
    """A rule that matches the wrong calls would prove nothing."""
    method, _, target = call.partition(" ")

    seen = read(method, target, {}, 0)

    assert (seen.verb, seen.group, seen.resource, seen.subresource, seen.namespace, seen.name) == expected
    assert anything(seen)


def test_its_certificate_is_the_api_servers(plane: ControlPlane, fault_proxy: FaultProxy) -> None:
    """A client that checks whom it speaks to does so here as well."""
    with (
        socket.create_connection(("127.0.0.1", fault_proxy.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
