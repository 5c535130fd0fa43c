import asyncio
import base64
import json

import pytest

from hookline.cometchat.v1 import payload_pb2
from hookline_kit import Accepted, Reject, RetryAfter
from hookline_kit.testing import HandlerClient, a_delivery
from support.cli import hookline, listening
from support.handlers import SAMPLES, a_body


async def test_json_has_exactly_the_promised_members_and_the_exact_bytes():
    """Scripts and end-to-end checks read these lines."""
    body = b'{ "trigger":"message_sent", "data":{"text":"\\u00e4 \xc3\xa4"} }\n'
    delivery = a_delivery(body, event_id="e-1", namespace="acme", subscription="chat", route="notify", attempt=2)

    with listening("--json") as (command, address):
        async with HandlerClient(address) as client:
            assert await client.deliver(delivery) == [Accepted()]
        line = json.loads(command.line("e-1"))

    assert base64.b64decode(line.pop("body")) == body
    assert line == {
        "id": "e-1",
        "type": "com.cometchat.message_sent",
        "subscription": "acme/chat",
        "route": "notify",
        "attempt": 2,
        "typed": None,
    }


async def test_every_delivery_is_one_line_of_json_and_nothing_else_is():
    """Standard output must be safe to pipe into a script: the address goes to standard error."""
    deliveries = [a_delivery(sample) for sample in sorted(SAMPLES.glob("*.json"))]

    with listening("--json") as (command, address):
        async with HandlerClient(address) as client:
            await client.deliver(*deliveries)
        assert command.stop() == 0

    objects = [json.loads(line) for line in command.out]
    assert [item["id"] for item in objects] == [delivery.event.id for delivery in deliveries]


async def test_a_typed_payload_is_shown_as_json():
    """Absent (null) must stay distinguishable from empty."""
    with listening("--json") as (command, address):
        async with HandlerClient(address) as client:
            await client.deliver(a_delivery(a_body(), payload=payload_pb2.Payload()))
        assert json.loads(command.line("{"))["typed"] == {}


@pytest.mark.parametrize(("answer", "kind"), [("accept", Accepted), ("retry", RetryAfter), ("reject", Reject)])
async def test_it_plays_the_handler_it_is_asked_to(answer, kind):
    """How else would one see retries and dead letters."""
    with listening("--json", "--answer", answer) as (command, address):
        async with HandlerClient(address) as client:
            same_key = [a_delivery(a_body(), partition_key="a") for _ in range(3)]
            outcomes = await client.deliver(*same_key)
        assert command.stop() == 0

    assert [type(outcome) for outcome in outcomes] == [kind] * 3
    assert len(command.out) == 3


async def test_delay_holds_the_answer_back_but_not_the_line():
    """A slow handler is one that has the event and does not answer."""
    with listening("--json", "--delay", "0.5") as (command, address):
        async with HandlerClient(address) as client:
            answer = asyncio.create_task(client.deliver(a_delivery(a_body(), event_id="e-1")))
            await asyncio.to_thread(command.line, "e-1")

            assert not answer.done()
            assert await answer == [Accepted()]


async def test_a_person_sees_what_came_even_if_it_is_not_text():
    """Broken bodies are what one looks at."""
    delivery = a_delivery(b"\xff{not json", trigger="message_sent", event_id="e-9", route="notify", attempt=3)

    with listening() as (command, address):
        async with HandlerClient(address) as client:
            await client.deliver(delivery)
        assert "attempt 3" in command.line("message_sent acme/chat/notify e-9")
        command.line("\\xff{not json")


def test_a_port_in_use_is_one_line_and_exit_3():
    """No traceback for what a user can mend."""
    with listening() as (_, address):
        port = address.rpartition(":")[2]
        failed = hookline("listen", "--port", port)

    assert failed.returncode == 3
    assert failed.stdout == ""
    assert failed.stderr == f"hookline: can't listen on 127.0.0.1:{port}: in use, or not an address of this machine\n"
