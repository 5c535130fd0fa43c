"""The handler over gRPC, its command, and the whole way from CometChat's POST to a row."""

import json
from contextlib import closing

import pytest
import yaml

from hookline_cli.simulate.payloads import DOCUMENTED
from hookline_kit import Accepted, Reject
from hookline_kit.testing import HandlerClient
from support.chat_history import Chat
from support.examples import EXAMPLES, SAMPLES, an_event, delivered, serving, simulate, write_samples
from support.gateway import gateway
from sync.__main__ import main, make_handler
from sync.facts import Aspect, facts
from sync.mirror import Mirror

USER = "sync:b5NfGx7PqRw3JtUy"


def shown(capsys, folder, table, *arguments):
    assert main(["show", table, "--data", str(folder), "--json", "--limit", "1000", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_every_documented_payload_can_be_mirrored(file, tmp_path):
    """None may end as an exception; each aspect of a row is told once."""
    found = facts(an_event(file.stem))

    assert len({(fact.aspect, fact.key) for fact in found}) == len(found)
    with closing(Mirror(tmp_path / "sync.db")) as mirror:
        mirror.apply(found)


def test_what_nobody_wrote_is_no_message():
    """An edit makes three action messages, each with a message_sent of its own."""
    assert facts(an_event("message_sent", message__category="action")) == ()


def test_a_message_that_does_not_tell_its_origin_does_not_wipe_it_out():
    """A delete leaves out almost everything."""
    aspects = {fact.aspect for fact in facts(an_event("message_deleted"))}

    assert aspects == {Aspect.MESSAGE_REMOVAL, Aspect.MESSAGE_CONTENT}


async def test_a_batch_in_disorder_is_mirrored(tmp_path, capsys):
    """Over gRPC, in threads."""
    chat = Chat()
    for number in range(10):
        chat.wait(1)
        chat.send("anna", "bert", f"text {number}")
        chat.edit(str(number + 1), "better", flat=number % 2 == 0)
    deliveries = [delivered(payload) for payload in chat.payloads]
    with closing(Mirror(tmp_path / "sync.db")) as mirror:
        async with HandlerClient(make_handler(mirror)) as client:
            assert set(await client.deliver(*reversed(deliveries), *deliveries[:3])) == {Accepted()}

    rows = shown(capsys, tmp_path, "messages")
    assert [(row["id"], row["state"], row["text"]) for row in rows] == [
        (str(number), "edited", "better") for number in range(10, 0, -1)
    ]


async def test_what_it_can_t_read_is_a_dead_letter_and_what_it_does_not_know_is_not(tmp_path):
    """A message missing from the mirror must be seen; a new kind of event is no mistake."""
    malformed = delivered("message_sent", message="no object")
    unknown = delivered({"trigger": "message_foretold", "data": {}, "appId": "app1"})
    unknown.event.attributes["hooklinecategory"].ce_string = "message"
    with closing(Mirror(tmp_path / "sync.db")) as mirror:
        async with HandlerClient(make_handler(mirror)) as client:
            rejected, accepted = await client.deliver(malformed, unknown)

    assert isinstance(rejected, Reject)
    assert "MALFORMED" in rejected.reason
    assert accepted == Accepted()


def test_the_command_shows_rows_as_lines(tmp_path, capsys):
    """Nothing in them that a terminal would obey."""
    with closing(Mirror(tmp_path / "sync.db")) as mirror:
        mirror.apply(facts(an_event("message_sent", message__data__text="hi\x1b[2J")))

    assert main(["show", "messages", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "id=1  conversation=cometchat-uid-1_user_cometchat-uid-2  sender=cometchat-uid-1"
        "  sent=2023-10-10 10:48:32  text=hi?[2J\n"
    )
    assert main(["show", "users", "--data", str(tmp_path / "nowhere")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_a_chat_that_comet_chat_tells_in_disorder_is_mirrored(tmp_path, capsys):
    """The manifest, the flags and the program are those of the page in the docs; the payloads come out of order."""
    manifest = list(yaml.safe_load_all((EXAMPLES / "sync.yaml").read_text()))
    with serving("sync", "--data", tmp_path) as (handler, address):
        with gateway(tmp_path / "gateway", *manifest, handlers={"sync.examples": address}) as running:
            url = f"{running.url}/examples/sync"
            simulate(url, USER, DOCUMENTED, "--disorder", "30", "--duplicates", "30", "--seed", "1")
            one = Chat()
            one.send("anna", "bert", "hello")
            simulate(url, USER, write_samples(tmp_path / "samples", one=one.payloads[0]), "--count", "5")
            assert running.command.stop() == 0
            assert "nothing is pending" in running.command.out[-1]
        assert handler.stop() == 0

    messages = shown(capsys, tmp_path, "messages")
    assert [row["text"] for row in messages if row["sender"] == "anna"] == ["hello"] * 5
    assert {"edited", "deleted", ""} == {row["state"] for row in messages}
    assert shown(capsys, tmp_path, "groups")
    assert {row["state"] for row in shown(capsys, tmp_path, "members")} >= {"member", "left", "kicked", "banned"}
    assert "cometchat-uid-1" in {row["uid"] for row in shown(capsys, tmp_path, "users")}
