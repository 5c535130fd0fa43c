import time

from support.gateway import BRISK, a_message, basic, client, gateway, listeners
from support.manifests import a_route, a_secret, a_subscription, as_yaml
from support.waiting import until

ROUTE = a_route("main", "handler", delivery={"retry": BRISK})


async def test_a_new_subscription_is_served_without_a_restart(tmp_path):
    """Tenants come and go while others' events arrive."""
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(ROUTE), handlers=address) as running:
            before = running.processes()
            async with client(running.url, "/globex/chat") as sender:
                assert await sender.post(a_message(1)) == 401

                running.say(
                    a_secret(),
                    a_subscription(ROUTE),
                    a_secret(namespace="globex"),
                    a_subscription(ROUTE, namespace="globex"),
                )

                running.command.line("the changed manifests are in force")
                await until(lambda: _answers(sender, 200))
            await until(lambda: len(handlers["handler"].deliveries()) >= 1)
            assert {each["subscription"] for each in handlers["handler"].deliveries()} == {"globex/chat"}
            assert running.processes() == before


async def test_a_revoked_password_stops_working_and_the_new_one_works(tmp_path):
    """A leaked password must be useless as soon as its Secret is changed."""
    new = basic(password="another1PasswordChosen")
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(ROUTE), handlers=address) as running:
            async with client(running.url) as old_sender, client(running.url, authorization=new) as new_sender:
                assert await old_sender.post(a_message(1)) == 200
                assert await new_sender.post(a_message(2)) == 401

                running.say(a_secret(password="another1PasswordChosen"), a_subscription(ROUTE))
                changed = time.monotonic()

                await until(lambda: _answers(old_sender, 401))
                assert time.monotonic() - changed < 5
                assert await new_sender.post(a_message(3)) == 200


async def test_a_bad_manifest_is_refused_with_its_place_and_the_last_good_routes_stay(tmp_path):
    """A typing mistake must not stop anybody's events."""
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(ROUTE), handlers=address) as running:
            bad = a_subscription(a_route("main", "handler", port=99999))
            text = as_yaml(a_secret(password="changed1"), bad)
            line = text.split("\n").index("        port: 99999") + 1

            running.manifest.write_text(text)

            running.command.line("the changed manifests are refused, the last good routes stay in force")
            said = running.command.line("spec.routes[0].handler.serviceRef.port")
            assert f"error: {running.manifest}:{line}: WebhookSubscription acme/chat: " in said
            async with client(running.url) as sender:
                assert await sender.post(a_message(1)) == 200
            await until(lambda: handlers["handler"].bodies() == [a_message(1)])

            running.manifest.write_text(": not yaml [")
            running.command.line(f"error: {running.manifest}:1: is not YAML")
            running.manifest.unlink()
            running.command.line(f"error: {running.manifest}: No such file or directory")
            async with client(running.url) as sender:
                assert await sender.post(a_message(2)) == 200

            running.say(a_secret(), a_subscription(ROUTE, suspend=True))
            running.command.line("the changed manifests are in force")
            async with client(running.url) as sender:
                await until(lambda: _answers(sender, 503))


async def test_a_route_that_goes_away_leaves_its_pending_deliveries_as_dead_letters(tmp_path):
    """Silent loss is the one thing that must not happen."""
    gone = a_route("gone", "nobody", port=9, delivery={"retry": BRISK})
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(ROUTE, gone), handlers=address) as running:
            async with client(running.url) as sender:
                assert await sender.post(a_message(1)) == 200
            await until(lambda: len(handlers["handler"].deliveries()) == 1)

            running.say(a_secret(), a_subscription(ROUTE))

            await until(lambda: [each["reason"] for each in running.dead()] == ["RouteRemoved"], within=30)


def test_bad_manifests_at_the_start_are_a_failure_that_starts_nothing(tmp_path):
    """A gateway that serves nothing should not look like one that runs."""
    from support.cli import hookline

    file = tmp_path / "bad.yaml"
    file.write_text(as_yaml(a_secret(), a_subscription(a_route(timeout="soon"))))

    done = hookline("dev", "-f", file, "--data", tmp_path / "data", "--listen", "127.0.0.1:0")

    assert done.returncode == 1
    assert "these manifests can't be served" in done.stderr
    assert f"error: {file}:" in done.stderr
    assert not (tmp_path / "data" / "routes" / "receiver.binpb").exists()


_NUMBERS = iter(range(1000, 1_000_000))


async def _answers(sender, status):
    return await sender.post(a_message(next(_NUMBERS))) == status


async def test_routes_that_can_t_be_written_now_are_tried_again(tmp_path):
    """A full disk must neither end the gateway nor leave the old routes in force for ever."""
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(ROUTE), handlers=address) as running:
            # A folder where the new file goes: what can't be written stands for every reason why.
            obstacle = running.data / "routes" / ".forwarder.binpb.new"
            obstacle.mkdir()
            running.say(a_secret(), a_subscription(ROUTE), a_subscription(ROUTE, name="other"))
            running.command.line("the changed manifests can't be put in force, and are tried again")
            async with client(running.url) as sender:
                assert await sender.post(a_message(1)) == 200

            obstacle.rmdir()

            running.command.line("the changed manifests are in force")
            async with client(running.url, "/acme/other") as sender:
                await until(lambda: _answers(sender, 200))


async def test_an_emptied_manifest_is_refused_and_the_last_good_routes_stay(tmp_path):
    """An editor that truncates before it writes must not turn a tenant's events away: what is refused is gone."""
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(ROUTE), handlers=address) as running:
            async with client(running.url) as sender:
                running.manifest.write_text("")
                running.command.line("have no WebhookSubscription any more")

                assert await sender.post(a_message(1)) == 200
