"""A simulated day through the real gateway: every event is accounted for by the id in its payload."""

import asyncio
import json
from collections import Counter

from support.cli import hookline
from support.gateway import gateway, listeners
from support.manifests import PASSWORD, USERNAME, a_route, a_secret, a_subscription
from support.waiting import until


async def test_every_event_of_a_day_arrives_and_no_duplicate_does(tmp_path):
    """Accepted means delivered, whatever the trigger; what the sender repeats becomes no second delivery."""
    record = tmp_path / "sent.jsonl"
    with (
        listeners(tmp_path, handler="accept") as handlers,
        gateway(
            tmp_path / "gateway",
            a_secret(),
            a_subscription(a_route("all", "handler", delivery={"ordering": "Conversation"})),
            handlers={"handler": handlers["handler"].address},
        ) as running,
    ):
        handler = handlers["handler"]
        options = ("--users", "40", "--groups", "4", "--conversations", "30", "--count", "1500", "--day", "10")
        done = await asyncio.to_thread(
            hookline, "simulate", "--to", f"{running.url}/acme/chat", "--user", f"{USERNAME}:{PASSWORD}", *options,
            "--duplicates", "100", "--seed", "5", "--time-scale", "0.1", "--record", record, "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        sent = [json.loads(line) for line in record.read_text().splitlines()]
        wanted = {line["mark"] for line in sent if line["kind"] == "event" and line["accepted"]}
        await until(lambda: len(handler.deliveries()) >= len(wanted))
        arrived = handler.deliveries()

    assert len(wanted) == 1500
    assert Counter(json.loads(each["body"])["simulation"] for each in arrived) == dict.fromkeys(wanted, 1)
    assert all(each["typed"] for each in arrived)
    assert json.loads(done.stdout)["kinds"]["duplicate"] == {"sent": 100, "asExpected": 100}
