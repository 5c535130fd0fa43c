"""What becomes of what is pending when a route or a subscription is changed and stays: docs/operate/lifecycle.md, row by row."""

import asyncio
import itertools
import json

from support.forwarder import Handler, accept, serving
from support.gateway import BRISK, a_message, basic, client, gateway, listeners
from support.lifecycle import RETRY, Patient, a_paused_route, ask, events, reasons, states
from support.manifests import a_route, a_secret, a_subscription
from support.waiting import until

ORDERINGS = ("None", "Conversation", "Subscription")
FIRST, SECOND, THIRD, FOURTH = (a_message(number) for number in range(1, 5))


async def in_force(running):
    """Return when the changed manifests are; handlers answer meanwhile."""
    await asyncio.to_thread(running.command.line, "the changed manifests are in force")


async def send(url, *bodies, **given):
    """All of them must be accepted."""
    async with client(url, **given) as sender:
        for body in bodies:
            assert await sender.post(body) == 200


async def test_what_is_pending_outlasts_a_change_of_its_routes_match(tmp_path):
    """It was decided when it came; only what comes later, and what a person has replayed, goes by the new match."""
    sent, edited = a_message(1), a_message(2, trigger="message_edited")
    later = [a_message(3), a_message(4, trigger="message_edited")]
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        before = a_subscription(a_paused_route(match={"triggers": ["message_sent"]}))
        with gateway(tmp_path / "gateway", a_secret(), before, handlers=address) as running:
            await send(running.url, sent, edited)
            await until(lambda: states(running) == [["Pending"], []])

            route = a_route("main", "handler", delivery=RETRY, match={"triggers": ["message_edited"]})
            running.say(a_secret(), a_subscription(route))

            await until(lambda: handlers["handler"].bodies() == [sent])
            await send(running.url, *later)
            await until(lambda: states(running) == [["Delivered"], [], [], ["Delivered"]])
            assert [one["unrouted"] for one in events(running)] == ["", "NoRouteMatched", "NoRouteMatched", ""]

            assert json.loads(ask("replay", running, "--unrouted").stdout)["deliveries"] == 1
            await until(lambda: states(running) == [["Delivered"], ["Delivered"], [], ["Delivered"]])
            assert handlers["handler"].bodies() == [sent, later[1], edited]


async def test_a_changed_ordering_is_for_what_comes_and_what_is_pending_keeps_its_own(tmp_path):
    """The old ones may rely on the order that they were promised; the new ones must not wait for them in turn."""
    changes = list(itertools.permutations(ORDERINGS, 2))
    handler = Patient(hold=[FIRST, THIRD])

    def routes(which):
        return [
            a_route(f"{before}-{after}".lower(), "handler", delivery={**RETRY, "ordering": (before, after)[which]})
            for before, after in changes
        ]

    def accepted():
        return {f"{before}-{after}": handler.accepted(f"{before}-{after}".lower()) for before, after in changes}

    def these(*, old, new):
        """*old* and *new* of each route, without those that wait behind another where an order is kept."""
        return {
            f"{before}-{after}": old[: None if before == "None" else -1] + new[: None if after == "None" else -1]
            for before, after in changes
        }

    async with serving(handler) as served:
        start = a_secret(), a_subscription(*routes(0))
        with gateway(tmp_path / "gateway", *start, handlers={"handler": served.address}) as running:
            await send(running.url, FIRST, SECOND)
            await until(lambda: handler.asked(FIRST) >= 2 * len(changes))
            await until(lambda: accepted() == these(old=[SECOND], new=[]))
            assert [state[-1] for state in zip(*states(running), strict=True)].count("Waiting") == 4

            running.say(a_secret(), a_subscription(*routes(1)))
            await in_force(running)
            await send(running.url, THIRD, FOURTH)
            asked = handler.asked(THIRD)
            await until(lambda: handler.asked(THIRD) >= asked + 2 * len(changes))
            await until(lambda: accepted() == these(old=[SECOND], new=[FOURTH]))

            # The new ones go on while the old ones still wait.
            handler.held = {FIRST}
            await until(lambda: all({THIRD, FOURTH} <= set(bodies) for bodies in accepted().values()))
            for before, after in changes:
                bodies = accepted()[f"{before}-{after}"]
                assert after == "None" or bodies.index(THIRD) < bodies.index(FOURTH)
                assert (SECOND in bodies) == (before == "None")

            handler.held = set()
            await until(lambda: states(running) == [["Delivered"] * len(changes)] * 4)
            for before, after in changes:
                bodies = accepted()[f"{before}-{after}"]
                assert before == "None" or bodies.index(FIRST) < bodies.index(SECOND)
            assert reasons(running) == []


async def test_what_is_pending_outlasts_a_change_of_path_and_password(tmp_path):
    """Where and how events come in has nothing to do with what came in already."""
    password = "another1PasswordChosen"
    elsewhere = {"path": "/acme/moved", "authorization": basic(password=password)}
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        before = a_secret(), a_subscription(a_paused_route())
        with gateway(tmp_path / "gateway", *before, handlers=address) as running:
            await send(running.url, FIRST)
            await until(lambda: states(running) == [["Pending"]])

            moved = a_subscription(a_paused_route(), path="/acme/moved")
            running.say(a_secret(password=password), moved)

            async with client(running.url) as old, client(running.url, **elsewhere) as new:

                async def answers():
                    return (await old.post(THIRD), await new.post(SECOND)) == (401, 200)

                await until(answers)
            came = states(running)
            assert set(map(tuple, came)) == {("Pending",)}

            open_again = a_subscription(a_route("main", "handler", delivery=RETRY), path="/acme/moved")
            running.say(a_secret(password=password), open_again)

            await until(lambda: {FIRST, SECOND} <= set(handlers["handler"].bodies()))
            await until(lambda: states(running) == [["Delivered"]] * len(came))
            assert reasons(running) == []


async def test_a_paused_route_lets_its_call_end_keeps_the_rest_and_goes_on_in_order(tmp_path):
    """Pausing is how a tenant stops a handler without losing an event."""
    handler = Patient(hold=[FIRST])
    ordered = {**RETRY, "ordering": "Subscription"}
    running_route = a_subscription(a_route("main", "handler", delivery=ordered))
    paused_route = a_subscription(a_route("main", "handler", delivery=ordered, paused=True))
    async with serving(handler) as served:
        address = {"handler": served.address}
        with gateway(tmp_path / "gateway", a_secret(), running_route, handlers=address) as running:
            await send(running.url, FIRST, SECOND)
            await until(lambda: handler.asked(FIRST) >= 2)

            running.say(a_secret(), paused_route)
            await in_force(running)
            await until(lambda: states(running) == [["Pending"], ["Waiting"]])
            handler.held = set()
            asked = len(handler.requests)
            await send(running.url, THIRD)
            await until(lambda: states(running) == [["Pending"], ["Waiting"], ["Waiting"]])
            assert len(handler.requests) == asked

            running.say(a_secret(), running_route)

            await until(lambda: handler.accepted() == [FIRST, SECOND, THIRD])


async def test_a_route_that_is_given_back_takes_its_dead_letters_by_a_redrive(tmp_path):
    """Whoever removed it by mistake must be able to mend that."""
    stays = a_route("other", "handler", delivery=RETRY, match={"triggers": ["call_ended"]})
    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        before = a_secret(), a_subscription(a_paused_route(), stays)
        with gateway(tmp_path / "gateway", *before, handlers=address) as running:
            await send(running.url, FIRST)
            await until(lambda: states(running) == [["Pending"]])

            running.say(a_secret(), a_subscription(stays))
            await until(lambda: reasons(running) == ["RouteRemoved"], within=30)
            await send(running.url, SECOND)
            await until(lambda: [one["unrouted"] for one in events(running)] == ["", "NoRouteMatched"])

            running.say(a_secret(), a_subscription(a_route("main", "handler", delivery=RETRY), stays))
            await until(lambda: json.loads(ask("redrive", running, "--all").stdout)["redriven"] == 1)

            await until(lambda: handlers["handler"].bodies() == [FIRST])
            await until(lambda: states(running) == [["Delivered"], []])


async def test_a_delivery_under_way_settles_as_its_handler_answers_though_its_route_goes(tmp_path):
    """What the handler did was done: a dead letter beside it would be sent again by whoever redrives."""
    answer, asked = asyncio.Event(), asyncio.Event()

    async def slow(request):
        asked.set()
        await answer.wait()
        return accept(request)

    stays = a_route("other", "handler", match={"triggers": ["call_ended"]})
    start = a_secret(), a_subscription(a_route("main", "handler", delivery=RETRY), stays)
    async with serving(Handler(slow)) as served:
        with gateway(tmp_path / "gateway", *start, handlers={"handler": served.address}) as running:
            await send(running.url, FIRST)
            await asyncio.wait_for(asked.wait(), 20)

            running.say(a_secret(), a_subscription(stays))
            await in_force(running)
            await until(lambda: states(running) == [["InFlight"]])
            answer.set()

            await until(lambda: states(running) == [["Delivered"]])
            assert reasons(running) == []


async def test_an_added_route_takes_what_comes_and_what_is_replayed_to_it(tmp_path):
    """It gets nothing unasked of what came before: its author did not know that handler."""
    main = a_route("main", "old", delivery=RETRY)
    with listeners(tmp_path, old="accept", new="accept") as handlers:
        addresses = {name: handler.address for name, handler in handlers.items()}
        with gateway(tmp_path / "gateway", a_secret(), a_subscription(main), handlers=addresses) as running:
            await send(running.url, FIRST)
            await until(lambda: states(running) == [["Delivered"]])

            running.say(a_secret(), a_subscription(main, a_route("added", "new", delivery=RETRY)))
            await in_force(running)
            await send(running.url, SECOND)
            await until(lambda: states(running) == [["Delivered"], ["Delivered", "Delivered"]])
            assert handlers["new"].bodies() == [SECOND]

            done = ask("replay", running, "--since", "1h", "--to", "added", "--limit", "1")
            assert json.loads(done.stdout)["deliveries"] == 1

            await until(lambda: handlers["new"].bodies() == [SECOND, FIRST])
            assert handlers["old"].bodies() == [FIRST, SECOND]


async def test_a_subscription_made_anew_under_the_old_name_gets_nothing_of_the_old_ones(tmp_path):
    """It may be another tenant: whatever a person asks for must not hand over the first one's events."""

    def with_uid(uid, route):
        made = a_subscription(route)
        return {**made, "metadata": {**made["metadata"], "uid": uid}}

    with listeners(tmp_path, handler="accept") as handlers:
        address = {"handler": handlers["handler"].address}
        before = a_secret(), with_uid("first", a_paused_route())
        with gateway(tmp_path / "gateway", *before, handlers=address) as running:
            await send(running.url, FIRST)
            await until(lambda: states(running) == [["Pending"]])

            running.say(a_secret(), with_uid("second", a_route("main", "handler", delivery={"retry": BRISK})))
            await until(lambda: reasons(running) == ["RouteRemoved"], within=30)
            redriven = json.loads(ask("redrive", running, "--all").stdout)
            replayed = json.loads(ask("replay", running, "--all").stdout)
            await send(running.url, SECOND)

            await until(lambda: states(running) == [["Dead"], ["Delivered"]])
            assert (redriven["redriven"], redriven["without_route"]) == (0, 1)
            assert (replayed["deliveries"], replayed["without_route"]) == (0, 1)
            assert handlers["handler"].bodies() == [SECOND]


async def test_routes_that_are_gone_as_a_file_end_nothing(tmp_path):
    """Only a table that says so takes a route away: a lost file must not turn a backlog into dead letters."""
    handler = Patient(hold=[FIRST])
    start = a_secret(), a_subscription(a_route("main", "handler", delivery=RETRY))
    async with serving(handler) as served:
        with gateway(tmp_path / "gateway", *start, handlers={"handler": served.address}) as running:
            await send(running.url, FIRST)
            (running.data / "routes" / "forwarder.binpb").unlink()
            said = "a table can't be read, the last good one stays in force"
            await asyncio.to_thread(running.command.line, said)
            asked = handler.asked(FIRST)
            await until(lambda: handler.asked(FIRST) > asked)

            handler.held = set()
            await send(running.url, SECOND)

            await until(lambda: states(running) == [["Delivered"]] * 2)
            assert reasons(running) == []
