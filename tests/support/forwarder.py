"""What tests of carrier and forwarder build with: events, routes, tables, handlers on a real gRPC server, the process."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health, health_pb2_grpc

from hookline.handler.v1 import handler_pb2 as pb
from hookline.handler.v1 import handler_pb2_grpc as rpc
from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.carrying.routebook import RouteBook, compile_book
from hookline_receiver.event import Envelope, Event, Identity, RouteRef, SubscriptionRef
from hookline_receiver.forwarder.files import replace_file
from hookline_receiver.store.port import Claimed

CHAT = SubscriptionRef("uid-chat", "acme", "chat")
SECOND = 1_000_000_000
_numbers = itertools.count(1)


def an_event(
    body: bytes = b"",
    *,
    subscription: SubscriptionRef = CHAT,
    trigger: str = "message_sent",
    partition_key: str = "",
    received_at_ns: int | None = None,
    strong: bool = True,
    time_ms: int = 0,
    traceparent: str = "",
) -> Event:
    """An accepted event, unlike every other one."""
    number = next(_numbers)
    return Event(
        ingest_id=UUID(int=(os.getpid() << 64) | number).bytes,
        subscription=subscription,
        received_at_ns=received_at_ns or time.time_ns(),
        body=body or b'{"trigger":"%s","data":{"n":%d}}' % (trigger.encode(), number),
        envelope=Envelope(trigger, "message", "app", "user"),
        identity=Identity(
            key=((os.getpid() << 64) | number).to_bytes(16, "big"),
            strong=strong,
            partition_key=partition_key,
            subject=f"message/{number}",
            time_ms=time_ms,
        ),
        traceparent=traceparent,
    )


def a_claim(
    event: Event | None = None,
    *,
    delivery_id: int = 1,
    fence: int = 1,
    route: str = "notify",
    attempts: int = 0,
    age: int = 0,
    replay: bool = False,
    ordering_key: str | None = None,
) -> Claimed:
    """A delivery under a lease."""
    event = event or an_event()
    return Claimed(
        delivery_id=delivery_id,
        fence=fence,
        route=RouteRef(event.subscription, route),
        event=event,
        event_id="event-id",
        stored_at=event.received_at_ns,
        attempts=attempts,
        age=age,
        replay=replay,
        ordering_key=ordering_key,
    )


def duration(seconds: float) -> Duration:
    """As messages have it."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def a_route(
    name: str = "notify",
    *,
    service: str = "notifier",
    port: int = 9000,
    timeout: float = 2.0,
    triggers: Sequence[str] = (),
    expression: str = "",
    ordering: routing.DeliveryPolicy.Ordering.ValueType = routing.DeliveryPolicy.ORDERING_NONE,
    max_in_flight: int = 64,
    batch: int = 1,
    wait: float = 0.0,
    initial_backoff: float = 0.05,
    max_backoff: float = 0.2,
    max_age: float = 3600,
    max_attempts: int = 0,
    paused: bool = False,
    tls: routing.TLS | None = None,
    payload: routing.Handler.PayloadForm.ValueType = routing.Handler.PAYLOAD_FORM_UNSPECIFIED,
) -> routing.Route:
    """A route to `acme/{service}:{port}`."""
    return routing.Route(
        name=name,
        match=routing.Match(triggers=triggers, expression=expression),
        handler=routing.Handler(
            namespace="acme", service=service, port=port, timeout=duration(timeout), tls=tls, payload=payload
        ),
        delivery=routing.DeliveryPolicy(
            ordering=ordering,
            max_in_flight=max_in_flight,
            batch_max_events=batch,
            batch_max_wait=duration(wait),
            initial_backoff=duration(initial_backoff),
            max_backoff=duration(max_backoff),
            max_age=duration(max_age),
            max_attempts=max_attempts,
        ),
        paused=paused,
    )


def a_subscription(
    *routes: routing.Route, ref: SubscriptionRef = CHAT, window: float = 3600, keep: float = 86400
) -> routing.Subscription:
    """A subscription with *routes*."""
    return routing.Subscription(
        ref=routing.SubscriptionRef(uid=ref.uid, namespace=ref.namespace, name=ref.name),
        deduplication_window=duration(window),
        retain_delivered=duration(keep),
        retain_dead=duration(keep),
        routes=routes,
    )


def a_snapshot(*subscriptions: routing.Subscription) -> routing.ForwarderSnapshot:
    """A forwarder's table."""
    return routing.ForwarderSnapshot(format=1, version="v", subscriptions=subscriptions)


def a_book(*subscriptions: routing.Subscription) -> RouteBook:
    """The same, compiled."""
    return compile_book(a_snapshot(*subscriptions))


def an_endpoint_table(addresses: dict[str, Sequence[str]], *, port: int = 9000) -> routing.EndpointTable:
    """Where the services of namespace acme are."""
    return routing.EndpointTable(
        format=1,
        services=[
            routing.ServiceEndpoints(namespace="acme", service=service, port=port, addresses=sorted(where))
            for service, where in sorted(addresses.items())
        ],
    )


@dataclass
class DataFolder:
    """The folder that receiver and forwarder share."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("journal", "routes", "store", "share", "run"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def journal(self) -> Path:
        """Journals."""
        return self.root / "journal"

    def route(self, *subscriptions: routing.Subscription) -> None:
        """Put the route table in place."""
        replace_file(self.root / "routes" / "forwarder.binpb", a_snapshot(*subscriptions).SerializeToString())

    def endpoints(self, port: int = 9000, **addresses: Sequence[str]) -> None:
        """Put the endpoint table in place."""
        table = an_endpoint_table(addresses, port=port)
        replace_file(self.root / "routes" / "endpoints.binpb", table.SerializeToString())


@dataclass
class ForwarderProcess:
    """`python -m hookline_receiver.forwarder` on a data folder."""

    data: DataFolder
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    program: Sequence[str] = ("-m", "hookline_receiver.forwarder")
    """What Python is started with."""

    def start(self) -> None:
        """Start it; its log goes to `forwarder.log`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")}
        environment |= {
            "HOOKLINE_FORWARDER_DATA_DIR": str(self.data.root),
            "HOOKLINE_FORWARDER_OPS_BIND": "127.0.0.1:0",
        }
        environment |= {f"HOOKLINE_FORWARDER_{name}": value for name, value in self.settings.items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> Path:
        """What it says."""
        return self.data.root / "forwarder.log"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)


Behaviour = Callable[[pb.DeliverRequest], "pb.DeliverResponse | Awaitable[pb.DeliverResponse]"]


def outcomes(request: pb.DeliverRequest, **result: object) -> pb.DeliverResponse:
    """The same outcome for each delivery."""
    return pb.DeliverResponse(
        outcomes=[pb.Outcome(delivery_id=one.delivery_id, **result) for one in request.deliveries]  # type: ignore[arg-type]
    )


def accept(request: pb.DeliverRequest) -> pb.DeliverResponse:
    """Take everything."""
    return outcomes(request, accepted=pb.Accepted())


def reject(request: pb.DeliverRequest) -> pb.DeliverResponse:
    """Take nothing, ever."""
    return outcomes(request, rejected=pb.Rejected(reason="not for us"))


class Status(Exception):
    """End the call with a status."""

    def __init__(self, code: grpc.StatusCode, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Handler(rpc.EventHandlerServiceServicer):
    """A real handler that does as it is told and remembers what it saw."""

    def __init__(self, behaviour: Behaviour = accept) -> None:
        self.behaviour = behaviour
        self.requests: list[pb.DeliverRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.peers: list[str] = []

    @property
    def deliveries(self) -> list[pb.Delivery]:
        """All that came, repetitions too."""
        return [one for request in self.requests for one in request.deliveries]

    @property
    def bodies(self) -> list[bytes]:
        """Their raw bodies."""
        return [one.event.binary_data for one in self.deliveries]

    async def Deliver(self, request: pb.DeliverRequest, context: grpc.aio.ServicerContext) -> pb.DeliverResponse:  # type: ignore[override, type-arg]
        """Remember, then behave."""
        self.requests.append(request)
        self.peers.append(context.peer())
        try:
            answer = self.behaviour(request)
            return await answer if isinstance(answer, Awaitable) else answer
        except Status as status:
            await context.abort(status.code, status.detail)
            raise AssertionError("abort raises") from status


@dataclass
class Serving:
    """A handler's server."""

    address: str
    server: grpc.aio.Server
    health: health.aio.HealthServicer


@asynccontextmanager
async def serving(
    handler: rpc.EventHandlerServiceServicer | None,
    *,
    address: str = "127.0.0.1:0",
    with_health: bool = True,
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Serving]:
    """Serve *handler* on a port of its own (None: the port serves other things only)."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = health.aio.HealthServicer()
    if handler is not None:
        rpc.add_EventHandlerServiceServicer_to_server(handler, server)
    if with_health:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = (
        server.add_secure_port(address, credentials) if credentials is not None else server.add_insecure_port(address)
    )
    await server.start()
    try:
        yield Serving(f"{address.rpartition(':')[0]}:{port}", server, servicer)
    finally:
        await server.stop(0)
