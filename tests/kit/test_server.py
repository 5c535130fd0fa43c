import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hookline.handler.v1 import handler_pb2, handler_pb2_grpc
from hookline_kit import TLS, Accepted, Event, Handler, ServerSettings
from hookline_kit.testing import HandlerClient, a_delivery
from support.certificates import make_certificates
from support.handlers import a_body

SERVICE = "hookline.handler.v1.EventHandlerService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def an_accepting_handler() -> Handler:
    handler = Handler()
    handler.default(lambda event: None)
    return handler


@pytest.mark.parametrize("service", ["", SERVICE], ids=["server", "service"])
async def test_health_says_serving(service):
    """The gateway sends nothing to a handler that does not say so."""
    async with an_accepting_handler().serving() as server, aio.insecure_channel(server.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))

    assert answer.status == SERVING


async def test_a_stop_says_not_serving_first_and_finishes_what_is_under_way():
    """A rolling update of a handler must not cost a delivery."""
    handler = Handler()
    running, may_end = asyncio.Event(), asyncio.Event()

    @handler.default
    async def slow(event: Event) -> None:
        running.set()
        await may_end.wait()

    serving = handler.serving(settings=ServerSettings(notice=0.2, grace=10.0))
    server = await serving.__aenter__()
    async with HandlerClient(server.address) as client, aio.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        states = aiter(watch)
        assert (await anext(states)).status == SERVING
        delivery = asyncio.create_task(client.deliver(a_delivery(a_body())))
        await running.wait()

        stopping = asyncio.create_task(serving.__aexit__(None, None, None))
        assert (await anext(states)).status == NOT_SERVING
        assert not delivery.done()
        watch.cancel()
        may_end.set()

        assert await delivery == [Accepted()]
        await stopping


async def test_reflection_names_the_contract_s_service():
    """So that grpcurl works without the .proto files."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with an_accepting_handler().serving() as server, aio.insecure_channel(server.address) as channel:
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        names = [service.name async for answer in answers for service in answer.list_services_response.service]

    assert SERVICE in names
    assert "grpc.health.v1.Health" in names


async def test_a_port_in_use_is_an_error_that_names_it():
    """With SO_REUSEPORT, gRPC's default, two handlers would share the events by lot."""
    async with an_accepting_handler().serving() as first:
        with pytest.raises(OSError, match=f"can't listen on 127.0.0.1:{first.port}"):
            async with an_accepting_handler().serving(port=first.port):
                pass


async def test_a_request_over_the_limit_fails_as_a_call_and_the_server_lives_on():
    """A wrong limit on one side must not take the handler down."""
    settings = ServerSettings(max_message_bytes=100_000, notice=0.0)
    async with an_accepting_handler().serving(settings=settings) as server, HandlerClient(server.address) as client:
        with pytest.raises(aio.AioRpcError) as failure:
            await client.deliver(a_delivery(a_body(text="x" * 200_000)))
        assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

        assert await client.deliver(a_delivery(a_body())) == [Accepted()]


async def test_mutual_tls_lets_in_only_callers_with_a_certificate(tmp_path):
    """By the gateway's client certificate handlers know their caller."""
    made = make_certificates(tmp_path)
    tls = TLS(made.server.certificate, made.server.key, client_ca=made.authority)
    async with an_accepting_handler().serving(settings=ServerSettings(tls=tls, notice=0.0)) as server:
        known = await call_over_tls(server.port, made.authority, made.client)
        with pytest.raises(aio.AioRpcError) as stranger:
            await call_over_tls(server.port, made.authority, None)

    assert [outcome.WhichOneof("result") for outcome in known.outcomes] == ["accepted"]
    assert stranger.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_is_served_without_a_restart(tmp_path):
    """Certificates in a cluster live for weeks; handlers live longer."""
    old = make_certificates(tmp_path / "old")
    new = make_certificates(tmp_path / "new")
    tls = TLS(old.server.certificate, old.server.key)
    async with an_accepting_handler().serving(settings=ServerSettings(tls=tls, notice=0.0)) as server:
        await call_over_tls(server.port, old.authority, None)
        new.server.certificate.replace(old.server.certificate)
        new.server.key.replace(old.server.key)

        answer = await call_over_tls(server.port, new.authority, None)

    assert len(answer.outcomes) == 1


async def call_over_tls(port, authority, pair):
    """One delivery to the handler on *port*, with *pair* as client certificate."""
    credentials = grpc.ssl_channel_credentials(
        authority.read_bytes(),
        private_key=pair.key.read_bytes() if pair else None,
        certificate_chain=pair.certificate.read_bytes() if pair else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "localhost")]
    async with aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        stub = handler_pb2_grpc.EventHandlerServiceStub(channel)
        return await stub.Deliver(handler_pb2.DeliverRequest(deliveries=[a_delivery(a_body())]), timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_run_ends_gracefully_on_a_signal(tmp_path: Path, number: signal.Signals):
    """What Kubernetes and Ctrl-C send must end a handler with status 0 and in time."""
    program = tmp_path / "handler.py"
    program.write_text(
        textwrap.dedent("""
        import logging, sys
        from hookline_kit import Handler, ServerSettings
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
        Handler().run(port=0, host="127.0.0.1", settings=ServerSettings(notice=0.0))
        """)
    )
    process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("handler listens on 127.0.0.1:")
        process.send_signal(number)

        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_run_says_where_it_listens_where_nobody_configured_logs(tmp_path: Path):
    """With the shortest program that there is one must see that it runs, and on which port."""
    program = tmp_path / "handler.py"
    program.write_text(
        "from hookline_kit import Handler, ServerSettings\n"
        "Handler().run(port=0, host='127.0.0.1', settings=ServerSettings(notice=0.0))\n"
    )
    process = subprocess.Popen([sys.executable, program], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("handler listens on 127.0.0.1:")
    finally:
        process.terminate()
        assert process.communicate(timeout=10)[1] == ""
