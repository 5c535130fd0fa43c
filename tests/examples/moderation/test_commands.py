"""The handler over gRPC, the reviewers' commands, and the whole way from CometChat's POST to CometChat's API."""

import json

import yaml

from hookline_kit import Accepted, Reject
from hookline_kit.testing import HandlerClient
from moderation.__main__ import main, make_handler
from moderation.queue import Queue
from support.examples import EXAMPLES, a_payload, delivered, example, serving, simulate, write_samples
from support.gateway import gateway
from support.web import web_site

NAMES = {"appId": "26753af2c0d24b10", "region": "eu"}
USER = "moderation:Wc6HtN8rBm4QyPf2"


async def deliver(tmp_path, *deliveries):
    queue = Queue(tmp_path / "moderation.db")
    async with HandlerClient(make_handler(queue)) as client:
        outcomes = list(await client.deliver(*deliveries))
    queue.close()
    return outcomes


async def test_a_reviewer_lists_looks_and_decides(tmp_path, capsys):
    """While the handler runs, as both use the file at the same time."""
    blocked = a_payload("moderation_engine_blocked", message__data__text="buy\x1b[2J now")
    for payload in (blocked, a_payload("moderation_engine_failed")):
        assert await deliver(tmp_path, delivered({**payload, **NAMES})) == [Accepted()]
    data = ("--data", str(tmp_path))

    assert main(["list", *data]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=4)[:3] == ["1", "open", "withheld"]
    assert first.endswith("cometchat-uid-1: buy?[2J now")
    assert second.split(maxsplit=4)[:3] == ["2", "open", "visible"]

    assert main(["show", "1", *data]) == 0
    assert "found    blocked (text): blocked by the engine" in capsys.readouterr().out

    assert main(["approve", "2", "--by", "anna", "--note", "harmless", *data]) == 0
    assert capsys.readouterr().out == "item 2 approved by anna\n"
    assert main(["reject", "2", "--by", "bert", *data]) == 1
    assert "item 2 was approved by anna already" in capsys.readouterr().err
    assert main(["show", "2", *data]) == 0
    assert "state    approved by anna: harmless" in capsys.readouterr().out

    assert main(["list", "--state", "all", "--json", *data]) == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["open", "approved"]


async def test_an_event_that_names_no_message_is_a_dead_letter(tmp_path):
    """It can't be reviewed, and must not vanish."""
    nameless = delivered("moderation_engine_blocked", message__id=None)
    malformed = delivered("moderation_engine_blocked", message="no object")

    first, second = await deliver(tmp_path, nameless, malformed)

    assert first == Reject("the event names no message: its id is missing")
    assert isinstance(second, Reject)
    assert "MALFORMED" in second.reason


def test_an_empty_queue_and_an_unknown_item_are_said_plainly(tmp_path, capsys):
    """No traceback."""
    data = ("--data", str(tmp_path))

    assert main(["list", *data]) == 0
    assert capsys.readouterr().out == "nothing to review\n"
    assert main(["approve", "7", "--by", "anna", *data]) == 1
    assert "there is no item 7" in capsys.readouterr().err
    assert main(["apply", "--api-key-file", str(tmp_path / "key"), *data]) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_blocked_message_goes_from_comet_chat_to_a_reviewer_and_back(tmp_path):
    """The manifest, the flags and the programs are those of the page in the docs."""
    manifest = list(yaml.safe_load_all((EXAMPLES / "moderation.yaml").read_text()))
    samples = write_samples(
        tmp_path / "samples",
        blocked={**a_payload("moderation_engine_blocked"), **NAMES},
    )
    key = tmp_path / "key"
    key.write_text("secret-key\n")
    with web_site() as cometchat, serving("moderation", "--data", tmp_path) as (handler, address):
        with gateway(tmp_path / "gateway", *manifest, handlers={"moderation.examples": address}) as running:
            simulate(f"{running.url}/examples/moderation", USER, samples, "--count", "3", "--duplicates", "3")
            assert running.command.stop() == 0
            assert "nothing is pending" in running.command.out[-1]
        assert len(example("moderation", "list", "--data", tmp_path).stdout.splitlines()) == 3
        flags = ["--data", tmp_path, "--by", "anna", "--api-key-file", key, "--api", cometchat.url]
        done = example("moderation", "reject", "2", *flags)
        assert handler.stop() == 0

    assert done.stdout == "item 2 rejected by anna\n", done.stderr
    (asked,) = cometchat.asked
    assert asked.method == "PATCH"
    assert json.loads(asked.body) == {"status": "rejected", "reviewed": True}
