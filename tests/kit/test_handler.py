import asyncio
import logging
import threading
from datetime import timedelta

import pytest

from hookline_kit import Accepted, Event, Handler, Reject, RetryAfter, SeenInMemory
from hookline_kit.testing import HandlerClient, a_delivery
from support.handlers import SAMPLES, a_body, an_event


async def test_the_function_of_the_trigger_goes_before_category_and_default():
    """A rule for one trigger is the more exact one."""
    handler, taken = Handler(), []

    @handler.on("message_sent", "message_edited")
    async def by_trigger(event: Event) -> None:
        taken.append(("trigger", event.trigger))

    @handler.on_category("message")
    def by_category(event: Event) -> None:
        taken.append(("category", event.trigger))

    @handler.default
    async def otherwise(event: Event) -> None:
        taken.append(("default", event.trigger))

    for trigger in ("message_sent", "message_deleted", "something_new", "message_edited"):
        await handler.handle([an_event(trigger)])

    assert taken == [
        ("trigger", "message_sent"),
        ("category", "message_deleted"),
        ("default", "something_new"),
        ("trigger", "message_edited"),
    ]


async def test_an_event_that_no_function_takes_is_rejected_with_its_trigger():
    """Accepting it would be a silent loss: somebody routed it here."""
    event = an_event("something_new")

    outcomes = await Handler().handle([event])

    assert outcomes == {event.delivery_id: Reject("the handler has no function for trigger 'something_new'")}


def test_two_functions_for_one_trigger_are_refused_at_once():
    """Which of them would run must not depend on the order of imports."""
    handler = Handler()
    handler.on("message_sent")(lambda event: None)

    with pytest.raises(ValueError, match="trigger 'message_sent' already has a function"):
        handler.on("message_sent")(lambda event: None)
    with pytest.raises(ValueError, match="at least one trigger"):
        handler.on()


@pytest.mark.parametrize(
    ("returned", "outcome"),
    [
        (None, Accepted()),
        (Accepted(), Accepted()),
        (RetryAfter(2.5, "busy"), RetryAfter(2.5, "busy")),
        (RetryAfter(timedelta(minutes=1)), RetryAfter(60.0)),
        (RetryAfter(), RetryAfter()),
        (Reject("spam"), Reject("spam")),
    ],
    ids=["nothing", "accepted", "retry", "retry-timedelta", "retry-by-backoff", "reject"],
)
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_what_the_function_returns_reaches_the_gateway(returned, outcome, plain):
    """Over real gRPC: this is the contract."""
    handler = Handler()

    def answer(event: Event):
        return returned

    async def answer_async(event: Event):
        return returned

    handler.default(answer if plain else answer_async)

    async with HandlerClient(handler) as client:
        assert await client.deliver(a_delivery(SAMPLES / "message_sent.json")) == [outcome]


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_an_exception_means_again_and_names_the_place_but_not_the_payload(plain, caplog):
    """The author finds the mistake by type and line; an exception's message may quote what people wrote."""
    handler = Handler()

    def fail(event: Event) -> None:
        raise ValueError(f"can't read {event.body!r}")

    async def fail_async(event: Event) -> None:
        fail(event)

    handler.default(fail if plain else fail_async)
    event = an_event()

    with caplog.at_level(logging.INFO, "hookline_kit"):
        (outcome,) = (await handler.handle([event])).values()

    assert isinstance(outcome, RetryAfter)
    assert outcome.seconds is None
    assert outcome.reason.startswith("ValueError at test_handler.py:")
    (record,) = caplog.records
    assert record.delivery_id == event.delivery_id
    assert "message_sent" not in record.getMessage()
    assert record.exc_info is None


async def test_a_result_of_another_type_is_a_mistake_not_a_success():
    """`return False` must not read as accepted."""
    handler = Handler()
    handler.default(lambda event: False)  # type: ignore[arg-type,return-value]

    (outcome,) = (await handler.handle([an_event()])).values()

    assert isinstance(outcome, RetryAfter)
    assert outcome.reason.startswith("the function returned bool")


async def test_events_of_one_key_run_in_order_and_the_others_beside_them():
    """Order within a conversation is what an ordered route asks for; one slow conversation holds no other up."""
    handler, started = Handler(), []
    first_may_end = asyncio.Event()

    @handler.default
    async def note(event: Event) -> None:
        started.append(event.id)
        if event.id == "a1":
            await first_may_end.wait()
        if event.id == "b1":
            first_may_end.set()

    events = [
        an_event(event_id=ident, partition_key=key)
        for ident, key in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", ""), ("c2", "")]
    ]
    outcomes = await asyncio.wait_for(handler.handle(events), 5)

    assert set(outcomes.values()) == {Accepted()}
    assert started.index("b1") < started.index("a2")
    assert started.index("a1") < started.index("a2")


async def test_one_that_comes_again_takes_the_later_ones_of_its_key_along():
    """Else a later event would overtake it."""
    handler, ran = Handler(), []

    @handler.default
    async def note(event: Event) -> RetryAfter | None:
        ran.append(event.id)
        return RetryAfter(7.0) if event.id == "a2" else None

    events = [
        an_event(event_id=ident, partition_key=key)
        for ident, key in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")]
    ]
    a1, a2, a3, b1 = (await handler.handle(events)).values()

    assert ran == ["a1", "b1", "a2"] or ran == ["a1", "a2", "b1"]
    assert (a1, a2, b1) == (Accepted(), RetryAfter(7.0), Accepted())
    assert a3 == RetryAfter(7.0, f"waits for {events[1].delivery_id}, an earlier event of its key")


async def test_a_rejected_one_lets_its_key_go():
    """A dead letter must not hold a conversation for ever."""
    handler = Handler()
    handler.default(lambda event: Reject("no") if event.id == "a1" else None)

    outcomes = await handler.handle([an_event(event_id=ident, partition_key="a") for ident in ("a1", "a2")])

    assert list(outcomes.values()) == [Reject("no"), Accepted()]


async def test_equal_keys_of_two_subscriptions_do_not_wait_for_each_other():
    """A partition key means something only within its app and subscription."""
    handler = Handler()
    handler.default(lambda event: RetryAfter() if event.subscription == "one" else None)

    events = [an_event(partition_key="a", subscription=name) for name in ("one", "two")]
    outcomes = await handler.handle(events)

    assert list(outcomes.values()) == [RetryAfter(), Accepted()]


async def test_plain_functions_run_beside_each_other_in_threads():
    """A blocking call must not hold up the health service and the other events."""
    handler = Handler(threads=2)
    both = threading.Barrier(2)

    @handler.default
    def meet(event: Event) -> None:
        both.wait(5)

    outcomes = await handler.handle([an_event(), an_event()])

    assert set(outcomes.values()) == {Accepted()}


async def test_a_repetition_is_accepted_without_running_again():
    """At least once means repetitions; the memory makes them harmless."""
    ran = []
    handler = Handler(seen=SeenInMemory())
    handler.default(lambda event: ran.append(event.id))
    event = an_event(event_id="e-1")
    repeated = an_event(event_id="e-1", attempt=2)

    first = await handler.handle([event])
    second = await handler.handle([repeated])

    assert ran == ["e-1"]
    assert [*first.values(), *second.values()] == [Accepted(), Accepted()]


async def test_only_what_was_accepted_counts_as_handled():
    """A failed event has to run again, or it is lost."""
    results = [RetryAfter(), Reject("no"), None]
    handler = Handler(seen=SeenInMemory())
    handler.default(lambda event: results.pop(0))

    outcomes = [next(iter((await handler.handle([an_event(event_id="e-1")])).values())) for _ in range(4)]

    assert outcomes == [RetryAfter(), Reject("no"), Accepted(), Accepted()]
    assert results == []


async def test_what_a_person_had_sent_again_runs_again():
    """A replay that is swallowed as a repetition would be useless."""
    ran = []
    handler = Handler(seen=SeenInMemory())
    handler.default(lambda event: ran.append(event.replay))

    await handler.handle([an_event(event_id="e-1")])
    await handler.handle([an_event(event_id="e-1", replay=True)])

    assert ran == [False, True]


async def test_an_event_under_way_is_not_run_a_second_time_beside_itself():
    """After a lapse of the gateway's lease the same event can arrive while its first run is still at it."""
    handler = Handler(seen=SeenInMemory())
    running, may_end = asyncio.Event(), asyncio.Event()

    @handler.default
    async def slow(event: Event) -> None:
        running.set()
        await may_end.wait()

    first = asyncio.create_task(handler.handle([an_event(event_id="e-1")]))
    await running.wait()
    second = await handler.handle([an_event(event_id="e-1")])
    may_end.set()

    assert list(second.values()) == [RetryAfter(1.0, "the same event is being handled")]
    assert list((await first).values()) == [Accepted()]


async def test_a_batch_of_the_contract_s_largest_size_gets_through():
    """3.5 MiB of deliveries is what the gateway may send."""
    handler = Handler()
    sizes = []
    handler.default(lambda event: sizes.append(len(event.body)))

    async with HandlerClient(handler) as client:
        outcomes = await client.deliver(*[a_delivery(a_body(text="x" * 1_700_000)) for _ in range(2)])

    assert outcomes == [Accepted(), Accepted()]
    assert sum(sizes) > 3_400_000
