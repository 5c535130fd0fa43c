"""Calling real gRPC servers that come and go."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from hookline.handler.v1 import handler_pb2 as pb
from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.routebook import Handler, Tls
from hookline_receiver.forwarder.call import METHOD, Answers, read_answers
from hookline_receiver.forwarder.channel import CertificateFiles, ChannelMaker, target
from hookline_receiver.forwarder.decide import Accepted, CallFailed, NoOutcome
from hookline_receiver.forwarder.endpoints import EndpointLimits, GrpcCaller
from hookline_receiver.forwarder.tables import Addresses
from support.certificates import make_certificates
from support.forwarder import Handler as RealHandler
from support.forwarder import Status, accept, an_endpoint_table, serving
from support.waiting import until

NOTIFIER = Handler("acme", "notifier", 9000)
REQUEST = pb.DeliverRequest(deliveries=[pb.Delivery(delivery_id="d-1")]).SerializeToString()
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


class Table:
    """The endpoint table, as a test changes it."""

    def __init__(self, *addresses: str) -> None:
        self.reachable: list[Handler] = []
        self.set(*addresses)

    def set(self, *addresses: str) -> None:
        """The notifier's endpoints."""
        self.now = Addresses(an_endpoint_table({"notifier": addresses}))

    def __call__(self) -> Addresses:
        """The table in force."""
        return self.now


@asynccontextmanager
async def calling(
    table: Table, *, limits: EndpointLimits | None = None, certificate: CertificateFiles | None = None
) -> AsyncIterator[GrpcCaller]:
    """A caller, closed at the end."""
    limits = limits or EndpointLimits(patience=1.5)
    caller = GrpcCaller(ChannelMaker(certificate), table, table.reachable.append, limits)
    try:
        yield caller
    finally:
        await caller.close()


async def code_of(caller: GrpcCaller, timeout: float = 5, handler: Handler = NOTIFIER) -> str:
    """How a call went: OK or the status."""
    reply = await caller.call(handler, REQUEST, timeout)
    return reply.result.code if isinstance(reply.result, CallFailed) else "OK"


async def test_a_call_brings_back_what_the_handler_said() -> None:
    """The plain case, with the endpoint's name for the event's story."""
    async with serving(RealHandler()) as server, calling(Table(server.address)) as caller:
        reply = await caller.call(NOTIFIER, REQUEST, 5)

        assert reply.endpoint == server.address
        assert read_answers(reply, ["d-1"]) == Answers({"d-1": Accepted()}, strangers=0)


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED]
)
async def test_a_status_comes_back_with_its_detail(code: grpc.StatusCode) -> None:
    """The detail is what a person has to go by."""

    def refuse(request: pb.DeliverRequest) -> pb.DeliverResponse:
        raise Status(code, "because")

    async with serving(RealHandler(refuse)) as server, calling(Table(server.address)) as caller:
        reply = await caller.call(NOTIFIER, REQUEST, 5)

        assert reply.result == CallFailed(code.name, "because", reached=True)


async def test_a_handler_that_hangs_is_given_up_at_the_deadline() -> None:
    """Deadlines are always set: a lease must outlast the call."""

    async def hang(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await asyncio.sleep(60)
        return accept(request)

    async with serving(RealHandler(hang)) as server, calling(Table(server.address)) as caller:
        started = time.monotonic()

        assert await code_of(caller, timeout=0.3) == "DEADLINE_EXCEEDED"
        assert 0.25 < time.monotonic() - started < 3


async def test_a_server_without_the_service_is_unimplemented() -> None:
    """A half-rolled deploy: known by its status, so that the breaker opens."""
    async with serving(None) as server, calling(Table(server.address)) as caller:
        assert await code_of(caller) == "UNIMPLEMENTED"


async def test_a_response_that_is_none_is_a_failed_call() -> None:
    """Another service listens there, or a proxy made it up."""
    server = grpc.aio.server()

    async def junk(request: bytes, context: object) -> bytes:
        return b"\xff\xff\xff"

    handler = grpc.unary_unary_rpc_method_handler(junk)
    service, _, method = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with calling(Table(address)) as caller:
            answers = read_answers(await caller.call(NOTIFIER, REQUEST, 5), ["d-1"])
            assert isinstance(answers, CallFailed)
            assert answers.code == "INTERNAL"
    finally:
        await server.stop(0)


async def test_deliveries_that_the_response_does_not_mention_have_no_outcome() -> None:
    """They are tried again."""
    silent = RealHandler(lambda request: pb.DeliverResponse())
    async with serving(silent) as server, calling(Table(server.address)) as caller:
        answers = read_answers(await caller.call(NOTIFIER, REQUEST, 5), ["d-1"])

        assert answers == Answers({"d-1": NoOutcome()}, strangers=0)


async def test_a_handler_that_dies_and_comes_back_is_found_without_being_asked() -> None:
    """The channel reconnects by itself and says so: whoever restarts a handler does not wait for a timer."""
    table = Table()
    async with serving(RealHandler()) as server:
        address = server.address
        table.set(address)
        caller = GrpcCaller(ChannelMaker(), table, table.reachable.append, EndpointLimits(patience=0.3))
        assert await code_of(caller) == "OK"
    try:
        assert await code_of(caller) == "UNAVAILABLE"
        table.reachable.clear()
        async with serving(RealHandler(), address=address):
            await until(lambda: bool(table.reachable))
            assert await code_of(caller) == "OK"
    finally:
        await caller.close()


async def test_an_endpoint_that_is_not_serving_gets_nothing() -> None:
    """A handler that drains says so by its health service."""
    draining, other = RealHandler(), RealHandler()
    async with (
        serving(draining) as first,
        serving(other) as second,
        calling(Table(first.address, second.address)) as caller,
    ):
        caller.warm(NOTIFIER)
        await until(lambda: caller.ready(NOTIFIER) == 2)
        await first.health.set("", NOT_SERVING)
        await until(lambda: caller.ready(NOTIFIER) == 1)
        draining.requests.clear()
        assert [await code_of(caller) for _ in range(20)] == ["OK"] * 20
        assert (len(draining.requests), len(other.requests)) == (0, 20)

        await first.health.set("", SERVING)
        await until(lambda: caller.ready(NOTIFIER) == 2)
        assert [await code_of(caller) for _ in range(20)] == ["OK"] * 20
        assert len(draining.requests) == 10


async def test_a_call_begun_in_the_moment_an_endpoint_stops_serving_goes_to_another_one() -> None:
    """A rolling update must not count as failures of a handler whose other pod is there."""
    draining, other = RealHandler(), RealHandler()
    async with (
        serving(draining) as first,
        serving(other) as second,
        calling(Table(first.address, second.address)) as caller,
    ):
        caller.warm(NOTIFIER)
        for _ in range(8):
            await first.health.set("", SERVING)
            await until(lambda: caller.ready(NOTIFIER) == 2)
            await first.health.set("", NOT_SERVING)
            codes: list[str] = []
            while caller.ready(NOTIFIER) == 2 or len(codes) < 20:
                codes += await asyncio.gather(*(code_of(caller) for _ in range(4)))

            assert set(codes) == {"OK"}


async def test_a_call_that_no_endpoint_was_sent_says_so() -> None:
    """None of its events can be at fault, so they need not be tried apart."""
    async with (
        serving(RealHandler()) as server,
        calling(Table(server.address), limits=EndpointLimits(patience=0.1)) as caller,
    ):
        unsent: list[CallFailed] = []
        for _ in range(50):
            await server.health.set("", SERVING)
            await until(lambda: caller.ready(NOTIFIER) == 1 or bool(caller.warm(NOTIFIER)))
            await server.health.set("", NOT_SERVING)
            while caller.ready(NOTIFIER):
                reply = await caller.call(NOTIFIER, REQUEST, 5)
                unsent += [reply.result] if isinstance(reply.result, CallFailed) else []
            if unsent:
                break

        assert {(one.code, one.reached) for one in unsent} == {("UNAVAILABLE", False)}


async def test_a_handler_without_health_service_counts_as_serving() -> None:
    """The contract asks for one; a handler that has none should still get its events."""
    async with serving(RealHandler(), with_health=False) as server, calling(Table(server.address)) as caller:
        assert await code_of(caller) == "OK"


async def test_endpoints_follow_the_table() -> None:
    """Pods come and go all day; what is under way at one that goes is finished."""
    release = asyncio.Event()

    async def slowly(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await release.wait()
        return accept(request)

    old, new = RealHandler(slowly), RealHandler()
    async with serving(old) as first, serving(new) as second:
        table = Table(first.address)
        async with calling(table) as caller:
            under_way = asyncio.ensure_future(code_of(caller))
            await until(lambda: len(old.requests) == 1)

            table.set(second.address)
            await caller.maintain()
            assert [await code_of(caller) for _ in range(5)] == ["OK"] * 5
            assert (len(old.requests), len(new.requests)) == (1, 5)

            release.set()
            assert await under_way == "OK"
            await caller.maintain()
            assert caller.open_channels == 1


async def test_the_endpoint_with_the_least_under_way_is_picked() -> None:
    """One slow pod must not collect what the others could have handled."""
    release = asyncio.Event()

    async def slowly(request: pb.DeliverRequest) -> pb.DeliverResponse:
        await release.wait()
        return accept(request)

    slow, quick = RealHandler(slowly), RealHandler()
    async with (
        serving(slow) as first,
        serving(quick) as second,
        calling(Table(first.address, second.address)) as caller,
    ):
        caller.warm(NOTIFIER)
        await until(lambda: caller.ready(NOTIFIER) == 2)
        stuck = [asyncio.ensure_future(code_of(caller)) for _ in range(2)]
        await until(lambda: len(slow.requests) + len(quick.requests) == 2)

        assert [await code_of(caller) for _ in range(20)] == ["OK"] * 20
        assert len(slow.requests) == 1
        release.set()
        assert [await one for one in stuck] == ["OK", "OK"]


async def test_without_an_endpoint_the_tables_reason_is_given_at_once() -> None:
    """Selectorless Services, no ready pod: the person reads it in the event's story."""
    table = Table()
    table.now = Addresses(
        routing.EndpointTable(
            services=[routing.ServiceEndpoints(namespace="acme", service="notifier", port=9000, reason="no ready pod")]
        )
    )
    async with calling(table) as caller:
        started = time.monotonic()
        reply = await caller.call(NOTIFIER, REQUEST, 5)

        assert reply.result == CallFailed("UNAVAILABLE", "no ready pod", reached=False)
        assert time.monotonic() - started < 1


async def test_without_a_channel_the_reason_is_the_true_one() -> None:
    """Whoever reads "all are in use" looks for a leak, or raises a limit that is not the matter."""
    tables = iter([Table(), Table("127.0.0.1:1")])
    caller = GrpcCaller(ChannelMaker(), lambda: next(tables).now, lambda _: None)
    changed = await caller.call(NOTIFIER, REQUEST, 5)
    await caller.close()
    async with calling(Table("127.0.0.1:1"), limits=EndpointLimits(channels=0)) as caller:
        full = await caller.call(NOTIFIER, REQUEST, 5)

    assert isinstance(changed.result, CallFailed)
    assert changed.result.detail == "the endpoints of acme/notifier:9000 changed while the call waited for one"
    assert isinstance(full.result, CallFailed)
    assert full.result.detail == "no channel to acme/notifier:9000: all 0 are in use"


async def test_an_endpoint_that_refuses_connections_is_unavailable_within_our_patience() -> None:
    """Not after the handler's whole timeout: the call holds a place that others could use."""
    async with calling(Table("127.0.0.1:1"), limits=EndpointLimits(patience=0.3)) as caller:
        started = time.monotonic()
        reply = await caller.call(NOTIFIER, REQUEST, 30)

        assert isinstance(reply.result, CallFailed)
        assert (reply.result.code, reply.result.reached) == ("UNAVAILABLE", False)
        assert time.monotonic() - started < 3


async def test_names_are_resolved() -> None:
    """Without Kubernetes handlers are given by name."""
    async with serving(RealHandler()) as server:
        _, _, port = server.address.rpartition(":")
        async with calling(Table(f"localhost:{port}")) as caller:
            assert await code_of(caller) == "OK"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.7:9000", "ipv4:10.0.0.7:9000"),
        ("[fd00::7]:9000", "ipv6:[fd00::7]:9000"),
        ("notifier.acme.svc:9000", "dns:///notifier.acme.svc:9000"),
    ],
    ids=["ipv4", "ipv6", "name"],
)
def test_addresses_are_taken_as_what_they_are(address: str, expected: str) -> None:
    """An address must not be looked up, and a tenant's name must not be taken for a scheme."""
    assert target(address) == expected


async def test_unused_channels_are_closed_and_their_number_is_bounded() -> None:
    """Ten thousand subscriptions may name as many handlers; most are idle."""
    handlers = [Handler("acme", f"h{number}", 9000) for number in range(6)]
    async with serving(RealHandler()) as server:
        table = Table()
        table.now = Addresses(an_endpoint_table({one.service: [server.address] for one in handlers}))
        limits = EndpointLimits(channels=3, idle=0.2, patience=1)
        async with calling(table, limits=limits) as caller:
            for handler in handlers:
                assert await code_of(caller, handler=handler) == "OK"
                await caller.maintain()
                assert caller.open_channels <= 3

            await until(_maintained(caller, lambda: caller.open_channels == 0))


def _maintained(caller: GrpcCaller, holds: Callable[[], bool]) -> Callable[[], "asyncio.Future[bool]"]:
    async def look() -> bool:
        await caller.maintain()
        return holds()

    return lambda: asyncio.ensure_future(look())


async def test_tls_verifies_the_handlers_certificate_by_the_routes_authority_and_name(tmp_path: Path) -> None:
    """Events hold private data: a wrong authority or name must get none of them."""
    ours, theirs = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "theirs")
    credentials = grpc.ssl_server_credentials([(ours.server.key.read_bytes(), ours.server.certificate.read_bytes())])
    good = Tls(ours.authority.read_bytes(), "localhost")
    async with serving(RealHandler(), credentials=credentials) as server:
        table = Table(server.address)
        async with calling(table, limits=EndpointLimits(patience=0.7)) as caller:
            wrong_authority = Tls(theirs.authority.read_bytes(), "localhost")
            wrong_name = Tls(ours.authority.read_bytes(), "notifier.acme.svc")
            for tls, expected in ((good, "OK"), (wrong_authority, "UNAVAILABLE"), (wrong_name, "UNAVAILABLE")):
                assert await code_of(caller, handler=Handler("acme", "notifier", 9000, tls)) == expected


async def test_the_forwarders_own_certificate_is_shown_and_renewed_without_a_restart(tmp_path: Path) -> None:
    """Certificates are renewed every few weeks; handlers know their caller by it."""
    ours, theirs = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "theirs")
    credentials = grpc.ssl_server_credentials(
        [(ours.server.key.read_bytes(), ours.server.certificate.read_bytes())],
        root_certificates=ours.authority.read_bytes(),
        require_client_auth=True,
    )
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    chain.write_bytes(theirs.client.certificate.read_bytes())
    key.write_bytes(theirs.client.key.read_bytes())
    handler = Handler("acme", "notifier", 9000, Tls(ours.authority.read_bytes(), "localhost"))
    async with (
        serving(RealHandler(), credentials=credentials) as server,
        calling(
            Table(server.address), limits=EndpointLimits(patience=0.7), certificate=CertificateFiles(chain, key)
        ) as caller,
    ):
        assert await code_of(caller, handler=handler) == "UNAVAILABLE"

        chain.write_bytes(ours.client.certificate.read_bytes())
        key.write_bytes(ours.client.key.read_bytes())
        await caller.maintain()

        assert await code_of(caller, handler=handler) == "OK"
