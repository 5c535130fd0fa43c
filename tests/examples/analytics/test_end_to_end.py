"""The handler over gRPC, and the whole way from CometChat's POST to an answer of `query`."""

import json
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest
import yaml

from analytics.__main__ import main, make_handler
from analytics.counting import Counters
from hookline_cli.simulate.payloads import DOCUMENTED, read_samples
from hookline_kit import Accepted
from hookline_kit.testing import HandlerClient
from support.examples import EXAMPLES, delivered, serving, simulate
from support.gateway import gateway

USER = "analytics:Qm7YpT3vKd9LsZ2c"


def query(capsys, folder, *arguments):
    assert main(["query", *arguments, "--data", str(folder), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_batch_is_counted_and_a_repetition_is_accepted_and_not_counted(tmp_path, capsys):
    """Accepted, as there is nothing left to do."""
    batch = [delivered("message_sent", message__id=str(number)) for number in range(50)]
    with closing(Counters(tmp_path / "analytics.db")) as counters:
        async with HandlerClient(make_handler(counters, lambda: datetime.now(UTC))) as client:
            for _ in range(2):
                assert list(await client.deliver(*batch)) == [Accepted()] * 50
            await client.deliver(delivered("message_sent", message__id="7", replay=True))

    assert query(capsys, tmp_path, "events") == [{"trigger": "message_sent", "events": 50}]


def test_every_event_that_comet_chat_sends_is_counted_once(tmp_path, capsys):
    """With retries and triggers that nobody knows, through real processes; the query runs while events are counted."""
    manifest = list(yaml.safe_load_all((EXAMPLES / "analytics.yaml").read_text()))
    samples = read_samples()
    with serving("analytics", "--data", tmp_path) as (handler, address):
        with gateway(tmp_path / "gateway", *manifest, handlers={"analytics.examples": address}) as running:
            simulate(f"{running.url}/examples/analytics", USER, DOCUMENTED, "--duplicates", "20", "--unknown", "3")
            assert running.command.stop() == 0
            assert "nothing is pending" in running.command.out[-1]
        found = query(capsys, tmp_path, "events", "--limit", "1000")
        assert handler.stop() == 0

    sent = Counter(sample.trigger for sample in samples)
    counted = {row["trigger"]: row["events"] for row in found}
    assert {trigger: number for trigger, number in counted.items() if trigger in sent} == sent
    assert sum(counted.values()) == len(samples) + 3


def test_a_query_of_nothing_says_so(tmp_path, capsys):
    """Exit status 1, for scripts."""
    assert main(["query", "users", "--data", str(tmp_path)]) == 1
    assert "no such file" in capsys.readouterr().err


def test_an_unknown_question_is_refused(tmp_path):
    """With the known ones in the message."""
    with pytest.raises(SystemExit):
        main(["query", "everything", "--data", str(tmp_path)])
