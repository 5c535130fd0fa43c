"""Functions registered by the class of an event's typed message."""

import subprocess
import sys
from pathlib import Path

import pytest

from hookline.cometchat.v1 import payload_pb2
from hookline_kit import Accepted, Event, Handler, Reject, RetryAfter, messages
from hookline_kit.messages import (
    LegacyMessageReadReceipt,
    Message,
    MessageEdited,
    MessageReadReceipt,
    MessageSent,
    Payload,
    User,
)
from hookline_kit.testing import HandlerClient, a_delivery
from hookline_kit.typed import FIELDS

ROOT = Path(__file__).parents[2]
BODY = {"trigger": "message_sent", "appId": "a"}
SENT = MessageSent(message=Message(id="42", text="hello"))


async def test_a_function_registered_by_class_gets_the_event_and_its_message():
    """That is the whole point: no digging in JSON, and an editor that knows the fields."""
    handler, taken = Handler(), []

    @handler.on(MessageSent)
    async def notify(event: Event, message: MessageSent) -> None:
        taken.append((event.trigger, message.message.text))

    async with HandlerClient(handler) as client:
        outcomes = await client.deliver(a_delivery(BODY, payload=SENT))

    assert outcomes == [Accepted()]
    assert taken == [("message_sent", "hello")]


async def test_a_plain_function_registered_by_class_runs_too():
    """Most libraries that handlers call block."""
    handler = Handler()

    @handler.on(MessageSent)
    def notify(event: Event, message: MessageSent) -> Reject:
        return Reject(message.message.id)

    async with HandlerClient(handler) as client:
        assert await client.deliver(a_delivery(BODY, payload=SENT)) == [Reject("42")]


async def test_one_function_can_take_several_classes():
    """Sent and edited messages often want the same."""
    handler, taken = Handler(), []

    @handler.on(MessageSent, MessageEdited)
    async def index(event: Event, message: MessageSent | MessageEdited) -> None:
        taken.append((type(message).__name__, message.message.id))

    edited = a_delivery({"trigger": "message_edited"}, payload=MessageEdited(message=Message(id="43")))
    async with HandlerClient(handler) as client:
        await client.deliver(a_delivery(BODY, payload=SENT), edited)

    assert sorted(taken) == [("MessageEdited", "43"), ("MessageSent", "42")]


async def test_the_class_goes_before_trigger_category_and_default():
    """It is the most exact rule; whoever has both means the other one for events without a typed form."""
    handler, taken = Handler(), []
    handler.on(MessageSent)(lambda event, message: taken.append("class"))
    handler.on("message_sent")(lambda event: taken.append("trigger"))
    handler.on_category("message")(lambda event: taken.append("category"))

    async with HandlerClient(handler) as client:
        await client.deliver(a_delivery(BODY, payload=SENT))
        await client.deliver(a_delivery(BODY, untyped="MALFORMED"))
        await client.deliver(a_delivery({"trigger": "message_pinned"}, category="message"))

    assert taken == ["class", "trigger", "category"]


@pytest.mark.parametrize(
    ("untyped", "outcome"),
    [("MALFORMED", Reject), ("TOO_LARGE", Reject), ("NOT_WANTED", RetryAfter), ("UNKNOWN_TRIGGER", RetryAfter)],
)
async def test_without_a_message_its_function_is_not_called_and_nobody_swallows_the_event(untyped, outcome):
    """A default that ignores the rest must not ignore a broken message_sent; a wrong setting must not bury a backlog."""
    handler, taken = Handler(), []
    handler.on(MessageSent)(lambda event, message: taken.append("class"))
    handler.default(lambda event: taken.append("default"))

    async with HandlerClient(handler) as client:
        (result,) = await client.deliver(a_delivery(BODY, untyped=untyped))

    assert taken == []
    assert isinstance(result, outcome)
    assert result.reason == f"the handler needs the typed payload, and it is missing: {untyped}"


async def test_modern_and_legacy_receipts_are_told_apart():
    """They share a trigger, and their shapes have little in common."""
    handler, taken = Handler(), []
    handler.on(MessageReadReceipt)(lambda event, message: taken.append("modern"))
    handler.default(lambda event: taken.append("default"))
    body = {"trigger": "message_read_receipt"}

    async with HandlerClient(handler) as client:
        await client.deliver(a_delivery(body, payload=MessageReadReceipt()))
        await client.deliver(a_delivery(body, payload=LegacyMessageReadReceipt()))
        (missing,) = await client.deliver(a_delivery(body, untyped="MALFORMED"))

    assert taken == ["modern", "default"]
    assert isinstance(missing, Reject)


async def test_an_event_offers_its_message_to_match_on():
    """For one function that takes many events."""
    handler, taken = Handler(), []

    @handler.default
    def everything(event: Event) -> None:
        match event.message:
            case MessageSent(message=Message(text=text)):
                taken.append(text)
            case None:
                taken.append(event.untyped)

    async with HandlerClient(handler) as client:
        await client.deliver(a_delivery(BODY, payload=Payload(app_id="a", message_sent=SENT)))
        await client.deliver(a_delivery(BODY, untyped="NOT_WANTED"))

    assert taken == ["hello", "NOT_WANTED"]


def test_what_is_no_event_can_not_be_registered():
    """A function for `User` would wait for ever."""
    handler = Handler()

    with pytest.raises(ValueError, match="User is no event's message"):
        handler.on(User)
    with pytest.raises(ValueError, match="is no event's message"):
        handler.on(MessageSent, "message_sent")
    handler.on(MessageSent)(lambda event, message: None)
    with pytest.raises(ValueError, match="message 'message_sent' already has a function"):
        handler.on(MessageSent)(lambda event, message: None)
    with pytest.raises(ValueError, match="User is no event of a payload"):
        a_delivery(BODY, payload=User())


def test_every_event_and_shape_of_the_contract_can_be_imported_from_messages():
    """Nobody should have to know which .proto file a message stands in."""
    events = {type(getattr(Payload(), name)) for name in (f.name for f in _event_fields())}

    assert set(FIELDS) == events
    assert {each.__name__ for each in events} <= set(messages.__all__)
    files = {field.message_type.file for field in _event_fields()} | set(payload_pb2.DESCRIPTOR.dependencies)
    assert {name for file in files for name in file.message_types_by_name} <= set(messages.__all__)


def _event_fields():
    return payload_pb2.Payload.DESCRIPTOR.oneofs_by_name["event"].fields


RIGHT = """
@handler.on(MessageSent)
async def notify(event: Event, message: MessageSent) -> RetryAfter | None:
    reveal_type(message.message.text)
    return None

@handler.on(MessageSent, MessageEdited)
def both(event: Event, message: MessageSent | MessageEdited) -> None: ...

@handler.on("message_sent")
async def raw(event: Event) -> None: ...
"""

WRONG = """
@handler.on(MessageSent)
async def other(event: Event, message: MessageEdited) -> None: ...

@handler.on(MessageSent)
async def no_outcome(event: Event, message: MessageSent) -> int:
    return 1

@handler.on(MessageSent)
async def one_argument(event: Event) -> None: ...
"""


@pytest.mark.parametrize(
    ("source", "errors", "says"),
    [(RIGHT, 0, 'Revealed type is "str"'), (WRONG, 3, "incompatible type")],
    ids=["right", "wrong"],
)
def test_a_type_checker_knows_which_message_a_function_takes(tmp_path, source, errors, says):
    """Completion in an editor comes from the same types; a function for the wrong class is found before it runs."""
    file = tmp_path / "program.py"
    imports = "from hookline_kit import Event, Handler, RetryAfter\nfrom hookline_kit.messages import *\n"
    file.write_text(f"{imports}\nhandler = Handler()\n{source}")

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    found = [line for line in done.stdout.splitlines() if str(file.name) in line]
    assert len([line for line in found if ": error:" in line]) == errors, done.stdout + done.stderr
    assert any(says in line for line in found), done.stdout
