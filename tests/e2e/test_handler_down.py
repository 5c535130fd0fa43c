from support.gateway import BRISK, a_message, client, gateway, listeners
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until


async def test_events_wait_for_a_handler_that_is_down_and_hold_up_no_other(tmp_path):
    """CometChat sends an event once; a handler's deployment may take minutes."""
    routes = [
        a_route("sync", "syncer", delivery={"retry": BRISK, "ordering": "Conversation"}),
        a_route("notify", "notifier", delivery={"retry": BRISK}),
    ]
    bodies = [a_message(number, conversation=f"c{number % 3}_user_d") for number in range(30)]
    with listeners(tmp_path, syncer="accept", notifier="accept") as handlers:
        addresses = {name: handler.address for name, handler in handlers.items()}
        handlers["syncer"].stop()
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(*routes), handlers=addresses) as running:
            async with client(running.url) as sender:
                for body in bodies:
                    assert await sender.post(body) == 200
            await until(lambda: len(handlers["notifier"].deliveries()) == len(bodies))
            assert handlers["syncer"].deliveries() == []
            assert running.dead() == []

            handlers["syncer"].start()

            await until(lambda: len(handlers["syncer"].deliveries()) >= len(bodies))
            delivered = handlers["syncer"].deliveries()
            for conversation in range(3):
                expected = bodies[conversation::3]
                assert [each["body"] for each in delivered if each["body"] in expected] == expected
            assert sorted(handlers["notifier"].bodies()) == sorted(bodies)


async def test_events_wait_through_a_stop_of_the_whole_gateway(tmp_path):
    """What was answered 200 is on stable storage: it must not matter who stops first."""
    manifests = (a_secret(), a_subscription(a_route("sync", "syncer", delivery={"retry": BRISK})))
    bodies = [a_message(number) for number in range(20)]
    with listeners(tmp_path, syncer="accept") as handlers:
        address = {"syncer": handlers["syncer"].address}
        handlers["syncer"].stop()
        with gateway(tmp_path / "gateway", *manifests, handlers=address) as first:
            async with client(first.url) as sender:
                for body in bodies:
                    assert await sender.post(body) == 200
            assert first.command.stop() == 0
            assert "20 pending deliveries are kept" in first.command.out[-1]

        handlers["syncer"].start()
        with gateway(tmp_path / "gateway", *manifests, handlers=address):
            await until(lambda: len(handlers["syncer"].deliveries()) == len(bodies))

    assert sorted(handlers["syncer"].bodies()) == sorted(bodies)
