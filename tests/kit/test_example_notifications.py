import asyncio
import importlib.util
import json
from pathlib import Path

import pytest

from hookline_kit import Accepted, Reject, RetryAfter, SeenInMemory
from hookline_kit.testing import HandlerClient, a_delivery
from support.handlers import SAMPLES, a_body

FOLDER = Path(__file__).parent.parent.parent / "examples" / "handlers" / "notifications"
DIRECTORY = {"cometchat-uid-2": "george@example.com"}


@pytest.fixture(scope="module")
def example():
    """The example as a module; it is a script that people copy, and no part of a package."""
    spec = importlib.util.spec_from_file_location("notifications_example", FOLDER / "notifications.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MailServer:
    """As much of SMTP as it takes to be handed a mail."""

    def __init__(self, refuse: bool = False) -> None:
        self.mails: list[str] = []
        self._refuse = refuse

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _talk(self, reader, writer):
        writer.write(b"220 hello\r\n")
        while line := await reader.readline():
            match line.split()[0].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    writer.write(b"250 taken\r\n")
                case b"RCPT" if self._refuse:
                    writer.write(b"550 nobody here\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 ok\r\n")
        writer.close()


def a_handler(example, port, seen=None):
    return example.notifications(example.Mailer("127.0.0.1", port, "chat@example.com"), DIRECTORY, seen)


@pytest.mark.parametrize(
    ("sample", "subject", "text"),
    [
        ("message_sent.json", "cometchat-uid-1 wrote to you", "hi"),
        ("user_mentioned.json", "cometchat-uid-1 mentioned you", "Hi <@uid:cometchat-uid-2>"),
    ],
)
async def test_who_is_written_to_or_mentioned_gets_a_mail(example, sample, subject, text):
    """The use that most people come for."""
    async with MailServer() as server, HandlerClient(a_handler(example, server.port)) as client:
        assert await client.deliver(a_delivery(SAMPLES / sample)) == [Accepted()]

    (mail,) = server.mails
    assert "To: george@example.com" in mail
    assert f"Subject: {subject}" in mail
    assert text in mail


async def test_a_repeated_delivery_mails_nobody_twice(example):
    """At least once means repetitions."""
    async with MailServer() as server, HandlerClient(a_handler(example, server.port, SeenInMemory())) as client:
        for attempt in (1, 2):
            delivery = a_delivery(SAMPLES / "message_sent.json", event_id="e-1", attempt=attempt)
            assert await client.deliver(delivery) == [Accepted()]

    assert len(server.mails) == 1


async def test_a_mail_server_that_is_away_means_again_later(example):
    """A mail that can't be sent now is not lost."""
    async with MailServer() as server:
        port = server.port
    async with HandlerClient(a_handler(example, port)) as client:
        (outcome,) = await client.deliver(a_delivery(SAMPLES / "message_sent.json"))

    assert outcome == RetryAfter(30.0, "the mail server is away: ConnectionRefusedError")


async def test_an_address_that_is_refused_becomes_a_dead_letter(example):
    """Trying again would not help."""
    async with MailServer(refuse=True) as server, HandlerClient(a_handler(example, server.port)) as client:
        (outcome,) = await client.deliver(a_delivery(SAMPLES / "message_sent.json"))

    assert outcome == Reject("the mail server does not take mail for this person")


async def test_whatever_else_comes_is_taken_and_mails_nobody(example):
    """A route that is wider than the handler must not fill the dead letters."""
    everything = [a_delivery(sample) for sample in SAMPLES.glob("*.json") if sample.stem not in _MAILED]
    async with MailServer() as server, HandlerClient(a_handler(example, server.port)) as client:
        assert set(await client.deliver(*everything)) == {Accepted()}

    assert server.mails == []


async def test_an_odd_payload_is_rejected_and_not_tried_for_ever(example):
    """A person can look at the dead letter."""
    async with HandlerClient(a_handler(example, 9)) as client:
        (outcome,) = await client.deliver(a_delivery(a_body("message_sent", message={})))

    assert outcome == Reject("the payload is not that of a message")


async def test_a_line_break_in_a_name_does_not_break_the_mail(example):
    """It goes into a header."""
    payload = json.loads((SAMPLES / "message_sent.json").read_bytes())
    payload["data"]["message"]["sender"] = "eve\r\nBcc: everybody@example.com"
    async with MailServer() as server, HandlerClient(a_handler(example, server.port)) as client:
        assert await client.deliver(a_delivery(payload)) == [Accepted()]

    assert "Subject: eve Bcc: everybody@example.com wrote to you" in server.mails[0]


_MAILED = ("message_sent", "user_mentioned")
