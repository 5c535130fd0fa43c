"""What becomes of what is pending when routes, handlers and subscriptions change, as docs/operate/lifecycle.md says."""

import asyncio
import json
import os
import signal

from click.testing import CliRunner

from hookline_cli.main import cli
from support.gateway import a_message, client, gateway, listeners
from support.lifecycle import RETRY, a_paused_route, ask, reasons, states
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until


async def test_a_renamed_route_leaves_dead_letters_that_are_replayed_to_its_new_name(tmp_path):
    """A new name is a new route; a person says that it goes on for the old one."""
    body = a_message(1)
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        before = (a_secret(), a_subscription(a_paused_route("old")))
        with gateway(tmp_path / "gateway", *before, handlers=address) as running:
            async with client(running.url) as sender:
                assert await sender.post(body) == 200
            await until(lambda: states(running) == [["Pending"]])

            running.say(a_secret(), a_subscription(a_route("new", "handler", delivery=RETRY)))
            await until(lambda: reasons(running) == ["RouteRemoved"], within=30)
            done = ask("redrive", running, "--all")
            assert json.loads(done.stdout) == {"redriven": 0, "without_route": 1, "dry_run": False}

            options = ("--route", "old", "--state", "Dead", "--to", "new")
            done = ask("replay", running, *options)

            assert json.loads(done.stdout)["deliveries"] == 1
            await until(lambda: handlers["handler"].bodies() == [body])
            assert handlers["handler"].deliveries()[0]["route"] == "new"
            await until(lambda: states(running) == [["Dead", "Delivered"]])


async def test_a_moved_handler_gets_what_was_pending_for_the_old_one(tmp_path):
    """A deployment under another name must not cost an event."""
    bodies = [a_message(number) for number in range(3)]
    with listeners(tmp_path, old="retry", new="accept") as handlers:
        addresses = {name: handler.address for name, handler in handlers.items()}
        before = (a_secret(), a_subscription(a_route("main", "old", delivery=RETRY)))
        with gateway(tmp_path / "gateway", *before, handlers=addresses) as running:
            async with client(running.url) as sender:
                for body in bodies:
                    assert await sender.post(body) == 200
            await until(lambda: set(handlers["old"].bodies()) == set(bodies))

            running.say(a_secret(), a_subscription(a_route("main", "new", delivery=RETRY)))

            await until(lambda: set(handlers["new"].bodies()) == set(bodies))
            await until(lambda: states(running) == [["Delivered"]] * 3)
            assert reasons(running) == []


async def test_a_suspended_subscription_refuses_and_goes_on_delivering(tmp_path):
    """Suspending is for the sender's side; what was answered 200 is owed all the same."""
    body = a_message(1)
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        before = (a_secret(), a_subscription(a_paused_route()))
        with gateway(tmp_path / "gateway", *before, handlers=address) as running:
            async with client(running.url) as sender:
                assert await sender.post(body) == 200
                await until(lambda: states(running) == [["Pending"]])

                running.say(a_secret(), a_subscription(a_route("main", "handler", delivery=RETRY), suspend=True))

                await until(lambda: handlers["handler"].bodies() == [body])

                accepted = [body]

                async def refused():
                    later = a_message(2 + len(accepted))
                    status = await sender.post(later)
                    accepted.extend([later] if status == 200 else [])
                    return status == 503

                await until(refused)
            await until(lambda: sorted(handlers["handler"].bodies()) == sorted(accepted))


async def test_a_subscription_that_goes_leaves_its_events_to_be_seen(tmp_path):
    """Deleting it must not delete what was accepted; and other subscriptions go on."""
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        stays = a_subscription(a_route("main", "handler", delivery=RETRY), name="stays")
        before = (a_secret(), a_subscription(a_paused_route()), stays)
        with gateway(tmp_path / "gateway", *before, handlers=address) as running:
            async with client(running.url) as sender, client(running.url, "/acme/stays") as other:
                assert await sender.post(a_message(1)) == 200

                running.say(a_secret(), stays)

                await until(lambda: reasons(running) == ["RouteRemoved"], within=30)

                async def unknown():
                    return await sender.post(a_message(2)) == 401

                await until(unknown)
                assert await other.post(a_message(3)) == 200
            await until(lambda: handlers["handler"].bodies() == [a_message(3)])
            (letter,) = map(json.loads, ask("dead", running).stdout.splitlines())
            assert json.loads(ask("show", running, letter["ingest_id"]).stdout)["deliveries"][0]["state"] == "Dead"


async def test_what_was_accepted_and_not_carried_when_its_subscription_went_is_kept_unrouted(tmp_path):
    """It was answered 200 and has no routes any more: nobody gets it, and nobody may lose sight of it."""
    stays = a_subscription(a_route("main", "handler", delivery=RETRY), name="stays")
    before = (a_secret(), a_subscription(a_route("main", "handler", delivery=RETRY)), stays)
    with gateway(tmp_path / "gateway", *before) as running:
        (forwarder,) = running.processes()["forwarder"]
        os.kill(forwarder.pid, signal.SIGSTOP)
        async with client(running.url) as sender:
            assert await sender.post(a_message(1)) == 200

            running.say(a_secret(), stays)
            await asyncio.to_thread(running.command.line, "no longer served: acme/chat")
        forwarder.kill()

        def kept():
            found = CliRunner().invoke(cli, ["events", "--unrouted", "--json", "--data", str(running.data)])
            return [json.loads(line)["unrouted"] for line in found.stdout.splitlines()]

        await until(lambda: kept() == ["SubscriptionRemoved"], within=30)
