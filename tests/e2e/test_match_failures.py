"""An expression that fails on an event: the route goes without it, and everybody can see that it did."""

import json
import re
import urllib.request

from support.cli import hookline
from support.gateway import a_message, client, gateway, listeners
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until


async def test_a_failed_match_shows_in_the_events_story_and_is_counted_beside_a_route_that_matched(tmp_path):
    """The event reached somebody, so nobody would look for it: that it missed a route must not hide behind that."""
    route = a_route("sums", "handler", match={"expression": "event.data.message.data.text > 3"})
    both = a_subscription(a_route("all", "handler"), route)
    alone = a_subscription(route, name="alone")
    with (
        listeners(tmp_path, handler="accept") as handlers,
        gateway(
            tmp_path / "gateway", a_secret(), both, alone, handlers={"handler": handlers["handler"].address}
        ) as running,
    ):
        for path in ("/acme/chat", "/acme/alone"):
            async with client(running.url, path) as sender:
                assert await sender.post(a_message(1)) == 200
        await until(lambda: len(handlers["handler"].deliveries()) == 1)
        (delivery,) = handlers["handler"].deliveries()

        ready = running.command.line("ready (")
        metrics = re.findall(r"http://[\d.:]+/metrics", ready)[-1]
        await until(lambda: counted(metrics, "match_failures_total") == 2)
        story = json.loads(hookline("show", delivery["id"], "--data", running.data, "--json").stdout)
        told = hookline("show", delivery["id"], "--data", running.data).stdout

        assert [each["route"] for each in story["deliveries"]] == ["all"]
        assert story["unrouted"].startswith("MatchFailed: sums: ")
        assert "MatchFailed: sums" in told
        assert counted(metrics, 'unrouted_events_total{reason="MatchFailed"}') == 1


def counted(url: str, name: str) -> float:
    """The forwarder's counter *name*."""
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    found = re.search(rf"^hookline_forwarder_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
