import json

from support.cli import hookline
from support.gateway import BRISK, a_message, client, gateway, listeners
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until


async def test_a_rejected_event_is_seen_and_sent_again(tmp_path):
    """What a handler will not take must be visible to a person, who can have it sent again once that is mended."""
    route = a_route("notify", "notifier", delivery={"retry": BRISK})
    body = a_message(1)
    with (
        listeners(tmp_path, refuses="reject", takes="accept") as handlers,
        gateway(
            tmp_path / "first", a_secret(), a_subscription(route), handlers={"notifier": handlers["refuses"].address}
        ) as first,
    ):
        async with client(first.url) as sender:
            assert await sender.post(body) == 200
        await until(lambda: len(first.dead()) == 1)
        (letter,) = first.dead()
        assert (letter["subscription"], letter["route"], letter["reason"]) == ("acme/chat", "notify", "Rejected")
        assert letter["detail"] == "hookline listen --answer reject"

        # The handler is mended: another process at the same address.
        handlers["refuses"].stop()
        handlers["refuses"].answer = "accept"
        handlers["refuses"].start()
        dry = hookline("redrive", "--data", first.data, "--reason", "Rejected", "--dry-run", "--json")
        assert json.loads(dry.stdout)["redriven"] == 1
        assert len(first.dead()) == 1
        done = hookline("redrive", letter["delivery_id"], "--data", first.data, "--json")
        assert json.loads(done.stdout) == {"redriven": 1, "without_route": 0, "dry_run": False}

        await until(lambda: len(handlers["refuses"].deliveries()) == 2)
        assert handlers["refuses"].bodies() == [body, body]
        assert first.dead() == []
        story = json.loads(hookline("show", letter["event_id"], "--data", first.data, "--json").stdout)
        (delivery,) = story["deliveries"]
        assert delivery["state"] == "Delivered"
        assert [attempt["code"] for attempt in delivery["attempts"]] == ["Rejected", "Accepted"]


async def test_dead_letters_are_seen_while_nothing_runs(tmp_path):
    """A person looks at what is left after a stop, too, and what is sent again then goes out at the next start."""
    manifests = (a_secret(), a_subscription(a_route("notify", "notifier", delivery={"retry": BRISK})))
    body = a_message(1)
    with listeners(tmp_path, handler="reject") as handlers:
        address = {"notifier": handlers["handler"].address}
        with gateway(tmp_path / "gateway", *manifests, handlers=address) as first:
            async with client(first.url) as sender:
                assert await sender.post(body) == 200
            await until(lambda: len(first.dead()) == 1)

        (letter,) = first.dead()
        done = hookline("redrive", "--all", "--data", first.data, "--json")
        assert json.loads(done.stdout)["redriven"] == 1
        assert hookline("show", letter["ingest_id"], "--data", first.data).returncode == 0

        handlers["handler"].stop()
        handlers["handler"].answer = "accept"
        handlers["handler"].start()
        with gateway(tmp_path / "gateway", *manifests, handlers=address):
            await until(lambda: handlers["handler"].bodies() == [body, body])
