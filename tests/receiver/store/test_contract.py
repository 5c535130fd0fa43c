"""What every engine of the event store promises."""

from collections.abc import Callable
from uuid import UUID

import pytest

from hookline_receiver.event import Event, RouteRef, SubscriptionRef
from hookline_receiver.journal.port import Position
from hookline_receiver.store.port import (
    Arrival,
    DeadReason,
    DueRoute,
    EventFilter,
    EventStore,
    Filter,
    FoundDelivery,
    Redriven,
    Retention,
    State,
    Target,
    Walk,
)
from support.store import (
    ANALYTICS,
    HOUR,
    MINUTE,
    NOON,
    NOTIFY,
    SECOND,
    SUBSCRIPTION,
    an_arrival,
    an_attempt,
    an_event,
    an_ingest_id,
    claim_all,
    dead,
    delivered,
    retry,
)

EVERYTHING = Filter()
KEY = bytes(range(16))


def add(store: EventStore, *arrivals: Arrival, now: int = NOON) -> None:
    store.add(arrivals, {}, now)


def states(store: EventStore, arrival: Arrival) -> list[State]:
    (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
    return [delivery.state for delivery in story.deliveries]


class TestAdding:
    def test_an_event_comes_out_as_it_went_in(self, store: EventStore) -> None:
        """Handlers may hash what CometChat sent: not a byte may change, and nothing of the envelope is lost."""
        event = an_event(b'{ "a":\x00\xff }\n', key=KEY)

        add(store, an_arrival(event), now=NOON + SECOND)

        (claimed,) = claim_all(store, now=NOON + 3 * SECOND)
        assert claimed.event == event
        assert claimed.stored_at == NOON + SECOND
        assert (claimed.attempts, claimed.age, claimed.replay) == (0, 3 * SECOND, False)
        assert claimed.name == f"{UUID(bytes=event.ingest_id)}/notify"

    def test_an_event_goes_to_each_of_its_routes(self, store: EventStore) -> None:
        """One route's handler must not keep another's from its event."""
        arrival = an_arrival(None, NOTIFY, ANALYTICS)

        added = store.add([arrival], {}, NOON)

        assert (added.stored, list(added.duplicates), set(added.routes)) == (1, [], {NOTIFY, ANALYTICS})
        assert len(claim_all(store, NOTIFY)) == len(claim_all(store, ANALYTICS)) == 1

    def test_an_event_carried_twice_is_there_once(self, store: EventStore) -> None:
        """A crash between commit and unlink has the carrier bring the same records again."""
        arrival = an_arrival()
        add(store, arrival)

        added = store.add([arrival, arrival], {}, NOON + SECOND)

        assert (added.stored, list(added.duplicates), set(added.routes)) == (0, [], set())
        assert len(claim_all(store, now=NOON + HOUR)) == 1

    def test_an_event_twice_in_one_batch_is_there_once(self, store: EventStore) -> None:
        """Two journals can hold the same record after one was handed over."""
        arrival = an_arrival()

        added = store.add([arrival, arrival], {}, NOON)

        assert added.stored == 1
        assert len(claim_all(store)) == 1

    def test_an_unrouted_event_is_kept_with_its_reason(self, store: EventStore) -> None:
        """It was answered 200, so it must be visible."""
        arrival = an_arrival(unrouted=True)

        added = store.add([arrival], {}, NOON)

        (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
        assert (added.stored, story.unrouted, list(story.deliveries)) == (1, "no route matches", [])
        assert store.pending_bytes() == {}

    def test_positions_are_remembered_and_never_go_back(self, store: EventStore) -> None:
        """Going back would carry events twice, whatever the window."""
        store.add([an_arrival()], {"a": Position(2, 100), "b": Position(1, 7)}, NOON)

        store.add([], {"a": Position(1, 900), "b": Position(1, 8)}, NOON)

        assert store.positions() == {"a": Position(2, 100), "b": Position(1, 8)}

    def test_a_removed_journal_is_forgotten(self, store: EventStore) -> None:
        """Journals come and go with their workers; positions must not pile up."""
        store.add([], {"a": Position(2, 100), "b": Position(1, 7)}, NOON)

        store.forget_journal("a")

        assert store.positions() == {"b": Position(1, 7)}

    def test_nothing_of_an_empty_batch_is_an_error(self, store: EventStore) -> None:
        """The carrier may have skipped damage only, and still has a position to remember."""
        added = store.add([], {}, NOON)

        assert (added.stored, list(added.duplicates), list(added.routes)) == (0, [], [])


class TestDuplicates:
    def test_an_equal_event_within_the_window_becomes_no_second_delivery(self, store: EventStore) -> None:
        """CometChat's retry of what it holds for lost must not notify a user twice."""
        first = an_arrival(key=KEY)
        again = an_arrival(key=KEY, received_at=NOON + HOUR - 1)
        add(store, first)

        added = store.add([again], {}, NOON + HOUR)

        (story,) = store.story(str(UUID(bytes=first.event.ingest_id)))
        assert (added.stored, list(added.duplicates), set(added.routes)) == (0, [again.event.ingest_id], set())
        assert story.duplicates == 1
        assert len(claim_all(store, now=NOON + HOUR)) == 1

    def test_a_duplicate_within_the_same_batch_is_found(self, store: EventStore) -> None:
        """After an outage of the forwarder a retry stands a few records behind its first."""
        first, again = an_arrival(key=KEY), an_arrival(key=KEY, received_at=NOON + SECOND)

        added = store.add([first, again], {}, NOON)

        (story,) = store.story(KEY.hex())
        assert (added.stored, list(added.duplicates), story.duplicates) == (1, [again.event.ingest_id], 1)

    @pytest.mark.parametrize("late", [0, MINUTE], ids=["at its end", "after it"])
    def test_past_the_window_it_is_an_event_again(self, store: EventStore, late: int) -> None:
        """The window is what the tenant asked for; beyond it a repetition is meant."""
        add(store, an_arrival(key=KEY))

        added = store.add([an_arrival(key=KEY, received_at=NOON + HOUR + late)], {}, NOON + HOUR + late)

        assert added.stored == 1
        assert [story.event_id for story in store.story(KEY.hex())] == [KEY.hex(), KEY.hex()]

    def test_the_window_goes_by_acceptance_and_not_by_when_it_was_carried(self, store: EventStore) -> None:
        """A forwarder that was down for a day must not take a retry for an event of its own."""
        add(store, an_arrival(key=KEY, window=MINUTE), now=NOON)

        added = store.add([an_arrival(key=KEY, window=MINUTE, received_at=NOON + 30 * SECOND)], {}, NOON + 24 * HOUR)

        assert added.stored == 0

    def test_an_equal_key_with_another_body_is_an_event_of_its_own(self, store: EventStore) -> None:
        """Keys are composed from payloads and can collide. In doubt, deliver; but two events must not share an id."""
        first, other = an_arrival(key=KEY, body=b"1"), an_arrival(key=KEY, body=b"2")
        add(store, first)

        added = store.add([other], {}, NOON)

        claimed = claim_all(store)
        assert added.stored == 1
        assert [one.event_id for one in claimed] == [KEY.hex(), str(UUID(bytes=other.event.ingest_id))]

    def test_a_duplicate_of_the_second_holder_of_a_key_is_found_too(self, store: EventStore) -> None:
        """The retry of a collided event is still a retry."""
        add(store, an_arrival(key=KEY, body=b"1"), an_arrival(key=KEY, body=b"2"))
        again = [an_arrival(key=KEY, body=body) for body in (b"1", b"2")]

        added = store.add(again, {}, NOON)

        assert list(added.duplicates) == [one.event.ingest_id for one in again]
        assert sum(claimed.event.identity.key == KEY for claimed in claim_all(store)) == 2

    def test_two_subscriptions_never_share_an_identity(self, store: EventStore) -> None:
        """One tenant's events must not swallow another's."""
        other = SubscriptionRef("uid-other", "acme", "chat")
        add(store, an_arrival(key=KEY))

        added = store.add([an_arrival(an_event(key=KEY, subscription=other), RouteRef(other, "notify"))], {}, NOON)

        assert added.stored == 1

    def test_without_a_key_nothing_is_a_duplicate(self, store: EventStore) -> None:
        """An event that nothing can be told of is delivered, equal or not."""
        added = store.add([an_arrival(key=b""), an_arrival(key=b"")], {}, NOON)

        assert added.stored == 2

    @pytest.mark.parametrize(("key", "strong"), [(KEY, False), (b"", True)], ids=["weak", "none"])
    def test_an_identity_that_may_repeat_does_not_name_the_event(
        self, store: EventStore, key: bytes, strong: bool
    ) -> None:
        """A weak key stands for an event for a minute only; handlers tell repetitions by the id for longer."""
        arrival = an_arrival(key=key, strong=strong)

        add(store, arrival)

        (claimed,) = claim_all(store)
        assert claimed.event_id == str(UUID(bytes=arrival.event.ingest_id))


class TestClaiming:
    def test_what_is_claimed_is_not_claimed_again_before_its_lease_ends(self, store: EventStore) -> None:
        """Two calls under way with one delivery would be a duplicate of our own making."""
        add(store, an_arrival())

        first = claim_all(store, lease=MINUTE)

        assert len(first) == 1
        assert claim_all(store, now=NOON + MINUTE - 1) == []
        (again,) = claim_all(store, now=NOON + MINUTE)
        assert (again.delivery_id, again.attempts) == (first[0].delivery_id, 0)
        assert again.fence > first[0].fence

    def test_deliveries_are_claimed_in_the_order_of_acceptance(self, store: EventStore) -> None:
        """Nobody promises it without an ordering, and everybody expects it."""
        arrivals = [an_arrival() for _ in range(5)]
        add(store, *arrivals[:3])
        add(store, *arrivals[3:], now=NOON + 1)

        claimed = claim_all(store, now=NOON + 1)

        assert [one.event.ingest_id for one in claimed] == [one.event.ingest_id for one in arrivals]

    def test_a_claim_takes_no_more_than_asked_for(self, store: EventStore) -> None:
        """In-flight caps are kept by this."""
        add(store, *[an_arrival() for _ in range(5)])

        claims = [len(store.claim(NOTIFY, 2, 1 << 30, NOON, NOON + MINUTE)) for _ in range(4)]

        assert claims == [2, 2, 1, 0]

    @pytest.mark.parametrize(("max_bytes", "count"), [(1, 1), (10, 1), (20, 2), (29, 2), (30, 3), (99, 3)])
    def test_a_claim_takes_no_more_bytes_than_asked_for_but_one_body(
        self, store: EventStore, max_bytes: int, count: int
    ) -> None:
        """A batch must fit into one gRPC message; a body too large alone must come out to be given up visibly."""
        add(store, *[an_arrival(body=b"x" * 10) for _ in range(3)])

        claimed = store.claim(NOTIFY, 10, max_bytes, NOON, NOON + MINUTE)

        assert len(claimed) == count

    def test_a_claim_takes_of_its_route_only(self, store: EventStore) -> None:
        """Routes are delivered apart, so that one can't stop another."""
        add(store, an_arrival(None, ANALYTICS))

        assert claim_all(store, NOTIFY) == []
        assert claim_all(store, RouteRef(SUBSCRIPTION, "never seen")) == []

    def test_a_new_owner_lets_all_leases_lapse(self, store: EventStore) -> None:
        """After a crash nobody is left to settle them: waiting for the lease would only delay."""
        add(store, an_arrival(), an_arrival(), an_arrival())
        store.claim(NOTIFY, 2, 1 << 30, NOON, NOON + HOUR)

        released = store.release_leases(NOON + SECOND)

        assert released == 2
        assert len(claim_all(store, now=NOON + SECOND)) == 3


class TestDueRoutes:
    def test_routes_are_due_soonest_first(self, store: EventStore) -> None:
        """The forwarder sleeps until the first of them."""
        add(store, an_arrival(None, ANALYTICS), now=NOON + SECOND)
        add(store, an_arrival(None, NOTIFY), now=NOON)

        due = store.due_routes(10)

        assert list(due) == [DueRoute(NOTIFY, NOON), DueRoute(ANALYTICS, NOON + SECOND)]
        assert list(store.due_routes(1)) == [DueRoute(NOTIFY, NOON)]

    def test_a_route_whose_deliveries_are_out_is_due_when_the_lease_ends(self, store: EventStore) -> None:
        """Else nobody would come for a lapsed lease."""
        add(store, an_arrival())
        (claimed,) = claim_all(store, lease=MINUTE)

        assert list(store.due_routes(10)) == [DueRoute(NOTIFY, NOON + MINUTE)]

        store.settle([delivered(claimed)], NOON)
        assert list(store.due_routes(10)) == []

    def test_a_retry_makes_the_route_due_then(self, store: EventStore) -> None:
        """Backoff is kept by this."""
        add(store, an_arrival())
        (claimed,) = claim_all(store)

        store.settle([retry(claimed, NOON + 5 * SECOND)], NOON)

        assert list(store.due_routes(10)) == [DueRoute(NOTIFY, NOON + 5 * SECOND)]
        assert claim_all(store, now=NOON + 5 * SECOND - 1) == []
        assert len(claim_all(store, now=NOON + 5 * SECOND)) == 1

    def test_a_held_route_is_not_due_before_then(self, store: EventStore) -> None:
        """An open breaker must not make the forwarder spin."""
        add(store, an_arrival())

        store.hold(NOTIFY, NOON + MINUTE)
        assert list(store.due_routes(10)) == [DueRoute(NOTIFY, NOON + MINUTE)]

        store.hold(NOTIFY, 0)
        assert list(store.due_routes(10)) == [DueRoute(NOTIFY, NOON)]

    def test_a_new_owner_lets_all_holds_go(self, store: EventStore) -> None:
        """Its breakers are closed: an old one's must not delay the first call."""
        add(store, an_arrival())
        store.hold(NOTIFY, NOON + MINUTE)

        store.release_leases(NOON)

        assert list(store.due_routes(10)) == [DueRoute(NOTIFY, NOON)]


class TestPausing:
    def test_a_paused_route_keeps_its_deliveries_and_gives_none_out(self, store: EventStore) -> None:
        """Paused means: accept and keep."""
        add(store, an_arrival())
        store.pause([NOTIFY], NOON)
        add(store, an_arrival())

        assert claim_all(store) == []
        assert list(store.due_routes(10)) == []

        store.pause([], NOON + MINUTE)
        assert list(store.due_routes(10)) == [DueRoute(NOTIFY, NOON)]
        assert len(claim_all(store, now=NOON + MINUTE)) == 2

    def test_exactly_the_named_routes_are_paused(self, store: EventStore) -> None:
        """The caller says what the manifests say now, and need not know what they said before."""
        add(store, an_arrival(None, NOTIFY, ANALYTICS))
        store.pause([NOTIFY], NOON)

        store.pause([ANALYTICS], NOON)

        assert [due.route for due in store.due_routes(10)] == [NOTIFY]

    def test_age_stands_still_while_a_route_is_paused(self, store: EventStore) -> None:
        """Three days of maintenance must not turn a backlog into dead letters."""
        add(store, an_arrival(received_at=NOON), now=NOON)
        store.pause([NOTIFY], NOON + MINUTE)
        store.pause([NOTIFY], NOON + 2 * MINUTE)
        add(store, an_arrival(received_at=NOON + 3 * MINUTE), now=NOON + 3 * MINUTE)
        assert store.expired(NOTIFY, 2 * MINUTE, 10, NOON + HOUR) == 0
        store.pause([], NOON + HOUR)

        claimed = claim_all(store, now=NOON + HOUR + SECOND)

        assert [one.age for one in claimed] == [MINUTE + SECOND, SECOND]


class TestSettling:
    def test_a_delivered_one_is_done(self, store: EventStore) -> None:
        """It must not come again."""
        arrival = an_arrival()
        add(store, arrival)
        (claimed,) = claim_all(store)

        settled = store.settle([delivered(claimed)], NOON)

        assert list(settled) == [claimed.delivery_id]
        assert states(store, arrival) == [State.DELIVERED]
        assert claim_all(store, now=NOON + 24 * HOUR) == []
        assert list(store.backlog(EVERYTHING)) == []

    def test_a_dead_one_is_a_dead_letter(self, store: EventStore) -> None:
        """A person must see it, and why."""
        arrival = an_arrival(key=KEY)
        add(store, arrival)
        (claimed,) = claim_all(store)

        store.settle([dead(claimed, DeadReason.REJECTED, "no such user")], NOON + SECOND)

        (letter,) = store.dead_letters(EVERYTHING, 10)
        assert (letter.delivery_id, letter.ingest_id, letter.event_id) == (
            claimed.delivery_id,
            arrival.event.ingest_id,
            KEY.hex(),
        )
        assert (letter.route, letter.trigger) == (NOTIFY, "message_sent")
        assert (letter.reason, letter.detail, letter.attempts) == ("Rejected", "no such user", 1)
        assert (letter.received_at, letter.died_at) == (NOON, NOON + SECOND)
        assert states(store, arrival) == [State.DEAD]
        assert claim_all(store, now=NOON + 24 * HOUR) == []

    def test_an_old_fence_changes_nothing(self, store: EventStore) -> None:
        """A forwarder that slept past its lease must not undo what the next one does."""
        arrival = an_arrival()
        add(store, arrival)
        (old,) = claim_all(store, lease=MINUTE)
        (new,) = claim_all(store, now=NOON + MINUTE)

        settled = store.settle([dead(old)], NOON + MINUTE)

        (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
        assert list(settled) == []
        assert (story.deliveries[0].state, list(story.deliveries[0].attempts)) == (State.IN_FLIGHT, [])
        assert list(store.settle([delivered(new)], NOON + MINUTE)) == [new.delivery_id]

    def test_what_is_settled_stays_settled(self, store: EventStore) -> None:
        """The same settlement again, after an answer that got lost, must not count twice."""
        add(store, an_arrival())
        (claimed,) = claim_all(store)
        store.settle([retry(claimed, NOON)], NOON)

        assert list(store.settle([retry(claimed, NOON)], NOON)) == []

        (again,) = claim_all(store)
        assert again.attempts == 1

    def test_a_lapsed_lease_that_nobody_took_can_still_be_settled(self, store: EventStore) -> None:
        """The handler did take it: delivering it again would help nobody."""
        add(store, an_arrival())
        (claimed,) = claim_all(store, lease=MINUTE)

        assert len(store.settle([delivered(claimed)], NOON + HOUR)) == 1

    def test_an_unknown_delivery_is_passed_over(self, store: EventStore) -> None:
        """It may have been purged meanwhile."""
        add(store, an_arrival())
        (claimed,) = claim_all(store)
        store.settle([delivered(claimed)], NOON)
        assert store.purge({}, Retention(0, 0), 10, NOON + HOUR) == 1

        assert list(store.settle([delivered(claimed)], NOON + HOUR)) == []

    def test_only_answers_count_as_attempts(self, store: EventStore) -> None:
        """A mesh that refuses calls must not use up maxAttempts."""
        add(store, an_arrival())
        for attempt in (an_attempt("UNAVAILABLE", answered=False), an_attempt("RetryAfter"), None):
            (claimed,) = claim_all(store)
            store.settle([retry(claimed, NOON, attempt)], NOON)

        (claimed,) = claim_all(store)
        assert claimed.attempts == 2

    def test_the_last_50_attempts_are_kept(self, store: EventStore) -> None:
        """A handler that is down for a week must not fill the disk with stories."""
        arrival = an_arrival()
        add(store, arrival)
        for number in range(53):
            (claimed,) = claim_all(store)
            store.settle([retry(claimed, NOON, an_attempt("UNAVAILABLE", started_at=number))], NOON)

        (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
        assert [attempt.started_at for attempt in story.deliveries[0].attempts] == list(range(3, 53))


class TestOrdering:
    def test_of_one_key_one_is_out_at_a_time(self, store: EventStore) -> None:
        """A conversation's events must not overtake each other."""
        first, second, other = (an_arrival(ordering_key=key) for key in ("k", "k", "l"))
        add(store, first, second, other)

        claimed = claim_all(store)

        assert [one.event.ingest_id for one in claimed] == [first.event.ingest_id, other.event.ingest_id]
        assert [one.ordering_key for one in claimed] == ["k", "l"]
        assert states(store, second) == [State.WAITING]

    @pytest.mark.parametrize("end", [delivered, dead])
    def test_the_next_of_the_key_goes_when_the_first_has_ended(self, store: EventStore, end: object) -> None:
        """A dead one lets its key go: it must not stop a conversation for ever."""
        assert callable(end)
        first, second, third = (an_arrival(ordering_key="k") for _ in range(3))
        add(store, first, second)
        add(store, third)
        (claimed,) = claim_all(store)

        store.settle([end(claimed)], NOON + SECOND)

        (then,) = claim_all(store, now=NOON + SECOND)
        assert then.event.ingest_id == second.event.ingest_id

    def test_a_failing_one_holds_its_key(self, store: EventStore) -> None:
        """While it may still be delivered, the later ones wait."""
        add(store, an_arrival(ordering_key="k"), an_arrival(ordering_key="k"))
        (claimed,) = claim_all(store)

        store.settle([retry(claimed, NOON + MINUTE)], NOON)

        assert claim_all(store, now=NOON + MINUTE - 1) == []
        (again,) = claim_all(store, now=NOON + MINUTE)
        assert again.delivery_id == claimed.delivery_id

    def test_keys_of_different_routes_are_different(self, store: EventStore) -> None:
        """Order is per route: a slow handler must not hold another's events."""
        add(store, an_arrival(None, NOTIFY, ANALYTICS, ordering_key="k"))
        add(store, an_arrival(None, NOTIFY, ANALYTICS, ordering_key="k"))
        (claimed,) = claim_all(store, NOTIFY)

        store.settle([delivered(claimed)], NOON)

        assert len(claim_all(store, NOTIFY)) == len(claim_all(store, ANALYTICS)) == 1

    def test_a_redriven_one_waits_for_its_key_and_then_goes_first(self, store: EventStore) -> None:
        """It is the oldest, and its key may be in use."""
        poison, second, third = (an_arrival(ordering_key="k") for _ in range(3))
        add(store, poison, second, third)
        (claimed,) = claim_all(store)
        store.settle([dead(claimed)], NOON)
        (running,) = claim_all(store)

        store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[NOTIFY])

        assert states(store, poison) == [State.WAITING]
        store.settle([delivered(running)], NOON)
        assert [one.event.ingest_id for one in claim_all(store)] == [poison.event.ingest_id]

    def test_a_redriven_one_whose_key_is_free_goes_at_once(self, store: EventStore) -> None:
        """Nothing to wait for."""
        add(store, an_arrival(ordering_key="k"))
        (claimed,) = claim_all(store)
        store.settle([dead(claimed)], NOON)

        store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[NOTIFY])

        assert len(claim_all(store)) == 1


class TestEndingByItself:
    def test_what_is_too_old_ends_as_a_dead_letter(self, store: EventStore) -> None:
        """maxAge: nobody wants a notification of last week."""
        old, young = an_arrival(received_at=NOON), an_arrival(received_at=NOON + SECOND)
        add(store, old, young)

        ended = store.expired(NOTIFY, HOUR, 10, NOON + HOUR + 1)

        (letter,) = store.dead_letters(EVERYTHING, 10)
        assert ended == 1
        assert (letter.ingest_id, letter.reason) == (old.event.ingest_id, "Expired")
        assert letter.detail == "older than maxAge (3600 s)"
        assert states(store, young) == [State.PENDING]

    def test_what_is_out_does_not_expire(self, store: EventStore) -> None:
        """The handler may be taking it right now; only its outcome or a lapsed lease decides."""
        add(store, an_arrival())
        claim_all(store, lease=2 * HOUR)

        assert store.expired(NOTIFY, HOUR, 10, NOON + 2 * HOUR - 1) == 0
        assert store.expired(NOTIFY, HOUR, 10, NOON + 2 * HOUR) == 1

    def test_waiting_ones_expire_too_and_never_strand_the_rest(self, store: EventStore) -> None:
        """A key whose holder expired goes on with the next that is young enough."""
        arrivals = [an_arrival(ordering_key="k", received_at=NOON + second * SECOND) for second in range(4)]
        add(store, *arrivals)

        assert store.expired(NOTIFY, HOUR, 10, NOON + HOUR + 2 * SECOND) == 2

        assert [states(store, one)[0] for one in arrivals] == [State.DEAD, State.DEAD, State.PENDING, State.WAITING]

    def test_expiry_is_done_in_bounded_steps(self, store: EventStore) -> None:
        """The event loop's store thread must not be gone for minutes."""
        add(store, *[an_arrival() for _ in range(5)])

        steps = [store.expired(NOTIFY, HOUR, 2, NOON + 2 * HOUR) for _ in range(4)]

        assert steps == [2, 2, 1, 0]

    def test_deliveries_of_a_route_that_went_away_end_with_that_reason(self, store: EventStore) -> None:
        """They can go nowhere, and must not vanish silently."""
        arrival = an_arrival(None, NOTIFY, ANALYTICS)
        add(store, arrival)

        assert store.retire([ANALYTICS], 10, NOON) == 1

        (letter,) = store.dead_letters(EVERYTHING, 10)
        assert (letter.route, letter.reason, letter.detail) == (
            NOTIFY,
            "RouteRemoved",
            "route acme/chat/notify is gone",
        )
        assert states(store, arrival) == [State.DEAD, State.PENDING]

    def test_a_subscription_made_anew_under_an_old_name_inherits_nothing(self, store: EventStore) -> None:
        """Another tenant may own the name now."""
        anew = RouteRef(SubscriptionRef("uid-anew", "acme", "chat"), "notify")
        add(store, an_arrival())

        assert store.retire([anew], 10, NOON) == 1
        assert claim_all(store, anew) == []

    def test_retirement_is_done_in_bounded_steps_and_leaves_what_is_out(self, store: EventStore) -> None:
        """Its call is under way and may yet succeed."""
        add(store, *[an_arrival() for _ in range(3)], *[an_arrival(None, ANALYTICS) for _ in range(2)])
        (claimed,) = store.claim(NOTIFY, 1, 1, NOON, NOON + MINUTE)

        steps = [store.retire([], 3, NOON) for _ in range(3)]

        assert steps == [3, 1, 0]
        assert len(store.settle([delivered(claimed)], NOON)) == 1


class TestPurging:
    def test_a_delivered_event_goes_after_its_retention(self, store: EventStore) -> None:
        """Kept to be looked at, then gone, so that the disk is not."""
        arrival = an_arrival(window=MINUTE)
        add(store, arrival)
        (claimed,) = claim_all(store)
        store.settle([delivered(claimed)], NOON + 2 * MINUTE)
        end = NOON + 2 * MINUTE + HOUR

        assert store.purge({SUBSCRIPTION: Retention(HOUR, 9 * HOUR)}, Retention(0, 0), 10, end - 1) == 0
        assert store.purge({SUBSCRIPTION: Retention(HOUR, 9 * HOUR)}, Retention(0, 0), 10, end) == 1

        assert list(store.story(str(UUID(bytes=arrival.event.ingest_id)))) == []

    def test_a_dead_letter_is_kept_for_its_own_time(self, store: EventStore) -> None:
        """People need days, not hours."""
        add(store, an_arrival(None, NOTIFY, ANALYTICS, window=MINUTE))
        store.settle([dead(one) for one in claim_all(store, NOTIFY)], NOON)
        store.settle([delivered(one) for one in claim_all(store, ANALYTICS)], NOON + MINUTE)

        assert store.purge({}, Retention(0, HOUR), 10, NOON + MINUTE + HOUR - 1) == 0
        assert len(store.dead_letters(EVERYTHING, 10)) == 1
        assert store.purge({}, Retention(0, HOUR), 10, NOON + MINUTE + HOUR) == 1
        assert list(store.dead_letters(EVERYTHING, 10)) == []
        assert list(store.backlog(EVERYTHING)) == []

    def test_an_event_with_something_left_to_do_is_never_purged(self, store: EventStore) -> None:
        """It was answered 200."""
        waiting, retried, redriven = (an_arrival(window=0, ordering_key=key) for key in ("k", "l", "m"))
        add(store, waiting, retried, redriven)
        for one in claim_all(store):
            store.settle([dead(one) if one.ordering_key == "m" else retry(one, NOON + HOUR)], NOON)
        store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[NOTIFY])

        assert store.purge({}, Retention(0, 0), 10, NOON + 24 * HOUR) == 0

    def test_an_event_is_kept_until_its_duplicates_window_has_ended(self, store: EventStore) -> None:
        """Else a late retry would be delivered a second time, whatever window the tenant asked for."""
        add(store, an_arrival(key=KEY, window=HOUR))
        store.settle([delivered(one) for one in claim_all(store)], NOON)

        assert store.purge({}, Retention(0, 0), 10, NOON + HOUR - 1) == 0
        assert store.add([an_arrival(key=KEY, received_at=NOON + HOUR - 1)], {}, NOON + HOUR - 1).stored == 0
        assert store.purge({}, Retention(0, 0), 10, NOON + HOUR) == 1

    def test_unrouted_events_are_kept_like_delivered_ones(self, store: EventStore) -> None:
        """Long enough to be noticed and replayed."""
        add(store, an_arrival(unrouted=True, window=MINUTE), now=NOON + 5 * MINUTE)
        retention = Retention(HOUR, 0)

        assert store.purge({}, retention, 10, NOON + 5 * MINUTE + HOUR - 1) == 0
        assert store.purge({}, retention, 10, NOON + 5 * MINUTE + HOUR) == 1

    def test_purging_is_done_in_bounded_steps(self, store: EventStore) -> None:
        """Deleting a day's events at once would stop deliveries for as long."""
        add(store, *[an_arrival(unrouted=True, window=0) for _ in range(5)])

        steps = [store.purge({}, Retention(0, 0), 2, NOON) for _ in range(4)]

        assert steps == [2, 2, 1, 0]

    def test_what_comes_after_a_purge_is_new(self, store: EventStore) -> None:
        """A number that is given out twice would let an old settlement end a new delivery."""
        add(store, an_arrival(window=0))
        (old,) = claim_all(store)
        store.settle([delivered(old)], NOON)
        assert store.purge({}, Retention(0, 0), 10, NOON) == 1

        add(store, an_arrival())

        (new,) = claim_all(store)
        assert new.delivery_id != old.delivery_id
        assert list(store.settle([dead(old)], NOON)) == []


class TestAsking:
    def test_a_story_is_found_by_each_of_its_names(self, store: EventStore) -> None:
        """People have whatever their handler logged."""
        arrival = an_arrival(key=KEY)
        add(store, arrival, an_arrival())
        name = str(UUID(bytes=arrival.event.ingest_id))

        stories = [store.story(ident) for ident in (name, KEY.hex(), f"{name}/notify")]

        assert [[story.event for story in found] for found in stories] == [[arrival.event]] * 3
        assert [list(store.story(ident)) for ident in (str(UUID(int=5)), "nonsense", "")] == [[], [], []]

    def test_a_story_tells_every_delivery_and_attempt(self, store: EventStore) -> None:
        """What people ask when a user says that nothing came."""
        arrival = an_arrival(None, NOTIFY, ANALYTICS, key=KEY)
        add(store, arrival)
        (claimed,) = claim_all(store, NOTIFY)
        attempts = [an_attempt("UNAVAILABLE", answered=False), an_attempt("Rejected", detail="no")]
        store.settle([retry(claimed, NOON, attempts[0])], NOON)
        (claimed,) = claim_all(store, NOTIFY)
        rejected = dead(claimed, detail="no")
        store.settle([rejected], NOON)

        (story,) = store.story(KEY.hex())

        notify, analytics = story.deliveries
        assert (story.event_id, story.stored_at, story.duplicates, story.unrouted) == (KEY.hex(), NOON, 0, "")
        assert (notify.route, notify.state, notify.reason, notify.detail) == (NOTIFY, State.DEAD, "Rejected", "no")
        assert list(notify.attempts) == [attempts[0], rejected.attempt]
        assert (analytics.route, analytics.state, analytics.due_at) == (ANALYTICS, State.PENDING, NOON)

    def test_the_backlog_counts_what_waits_and_what_is_dead(self, store: EventStore) -> None:
        """Pending, waiting and in flight all wait."""
        times = [NOON + second * SECOND for second in range(4)]
        add(store, *[an_arrival(ordering_key="k", received_at=time) for time in times[:3]])
        add(store, an_arrival(received_at=times[3]), an_arrival(None, ANALYTICS))
        first, lone = claim_all(store)
        store.settle([dead(first), retry(lone, NOON)], NOON)
        claim_all(store, now=NOON)

        notify, analytics = store.backlog(EVERYTHING)

        assert (notify.route, notify.pending, notify.dead, notify.oldest_pending) == (NOTIFY, 3, 1, times[1])
        assert (analytics.route, analytics.pending, analytics.dead) == (ANALYTICS, 1, 0)
        assert [one.route for one in store.backlog(Filter(route="analytics"))] == [ANALYTICS]
        assert list(store.backlog(Filter(namespace="other"))) == []

    def test_pending_bytes_count_an_event_once(self, store: EventStore) -> None:
        """A tenant's share is measured by what is kept, not by how many routes it goes to."""
        add(store, an_arrival(None, NOTIFY, ANALYTICS, body=b"x" * 100), an_arrival(body=b"x" * 20))
        assert store.pending_bytes() == {SUBSCRIPTION: 120}

        store.settle([delivered(one) for one in claim_all(store, NOTIFY)], NOON)
        assert store.pending_bytes() == {SUBSCRIPTION: 100}

        store.settle([dead(one) for one in claim_all(store, ANALYTICS)], NOON)
        assert store.pending_bytes() == {}

        store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[ANALYTICS])
        assert store.pending_bytes() == {SUBSCRIPTION: 100}

    def test_pending_bytes_count_an_event_once_when_a_part_of_it_is_redriven(self, store: EventStore) -> None:
        """Counted twice, they would never go down to nothing again, and the tenant would be refused one day."""
        add(store, an_arrival(None, NOTIFY, ANALYTICS, body=b"x" * 100))
        store.settle([dead(one) for one in claim_all(store, NOTIFY)], NOON)

        store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[NOTIFY])

        assert store.pending_bytes() == {SUBSCRIPTION: 100}

    @pytest.mark.parametrize(
        ("which", "expected"),
        [
            (Filter(), 4),
            (Filter(namespace="acme"), 3),
            (Filter(subscription="other"), 1),
            (Filter(route="analytics"), 1),
            (Filter(trigger="group_created"), 1),
            (Filter(reason="TooLarge"), 2),
            (Filter(reason="TooLarge", route="notify"), 1),
            (Filter(ingest_ids=(an_ingest_id(1 << 40), an_ingest_id(1 << 41))), 1),
            (Filter(namespace="nowhere"), 0),
        ],
        ids=["all", "namespace", "subscription", "route", "trigger", "reason", "reason and route", "ids", "none"],
    )
    def test_dead_letters_are_found_by_what_is_asked(self, store: EventStore, which: Filter, expected: int) -> None:
        """Redriving more than was meant is as bad as less."""
        other = SubscriptionRef("uid-2", "globex", "other")
        add(
            store,
            an_arrival(),
            an_arrival(trigger="group_created"),
            an_arrival(None, ANALYTICS, ingest_id=an_ingest_id(1 << 40)),
            an_arrival(an_event(subscription=other), RouteRef(other, "notify")),
        )
        routes = [NOTIFY, ANALYTICS, RouteRef(other, "notify")]
        for route, reason in zip(
            routes, (DeadReason.REJECTED, DeadReason.TOO_LARGE, DeadReason.TOO_LARGE), strict=True
        ):
            store.settle([dead(one, reason) for one in claim_all(store, route)], NOON)

        letters = store.dead_letters(which, 10)

        assert len(letters) == expected
        assert store.redrive(which, 10, NOON, dry_run=True, keep=routes) == Redriven(expected, 0, 0)

    def test_dead_letters_come_page_by_page_oldest_first(self, store: EventStore) -> None:
        """There may be more than fit into one answer, of several routes."""
        add(store, *[an_arrival(None, route) for route in (NOTIFY, ANALYTICS, NOTIFY, ANALYTICS)])
        for route in (ANALYTICS, NOTIFY):
            store.settle([dead(one) for one in claim_all(store, route)], NOON)

        first = store.dead_letters(EVERYTHING, 3)
        rest = store.dead_letters(EVERYTHING, 3, after=first[-1].delivery_id)

        ids = [letter.delivery_id for letter in [*first, *rest]]
        assert ids == sorted(ids)
        assert (len(first), len(rest)) == (3, 1)


class TestRedriving:
    def test_a_redriven_one_starts_anew_and_keeps_its_story(self, store: EventStore) -> None:
        """Its attempts and its age begin again, else it would be dead again at once."""
        arrival = an_arrival()
        add(store, arrival)
        (claimed,) = claim_all(store)
        store.settle([dead(claimed)], NOON)

        counts = store.redrive(EVERYTHING, 10, NOON + 24 * HOUR, dry_run=False, keep=[NOTIFY])

        (again,) = claim_all(store, now=NOON + 24 * HOUR + SECOND)
        (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
        assert (counts.redriven, counts.without_route) == (1, 0)
        assert (again.attempts, again.age, again.replay) == (0, SECOND, True)
        assert again.fence > claimed.fence
        assert (story.deliveries[0].reason, len(story.deliveries[0].attempts)) == ("", 1)
        assert list(store.dead_letters(EVERYTHING, 10)) == []

    def test_a_dead_letter_whose_route_is_gone_stays_and_is_counted(self, store: EventStore) -> None:
        """The person is told, instead of seeing it come back dead."""
        add(store, an_arrival(None, NOTIFY, ANALYTICS))
        store.retire([], 10, NOON)

        counts = store.redrive(EVERYTHING, 10, NOON, dry_run=False, keep=[ANALYTICS])

        assert (counts.redriven, counts.without_route) == (1, 1)
        assert [letter.route for letter in store.dead_letters(EVERYTHING, 10)] == [NOTIFY]

    def test_a_dry_run_changes_nothing(self, store: EventStore) -> None:
        """People look before they leap."""
        add(store, an_arrival(), an_arrival())
        store.settle([dead(one) for one in claim_all(store)], NOON)

        counts = store.redrive(EVERYTHING, 1, NOON, dry_run=True, keep=[NOTIFY])

        assert (counts.redriven, counts.without_route) == (1, 0)
        assert len(store.dead_letters(EVERYTHING, 10)) == 2

    def test_no_more_are_redriven_than_asked_for_oldest_first(self, store: EventStore) -> None:
        """A first few to try, then the rest."""
        arrivals = [an_arrival() for _ in range(3)]
        add(store, *arrivals)
        store.settle([dead(one) for one in claim_all(store)], NOON)

        store.redrive(EVERYTHING, 2, NOON, dry_run=False, keep=[NOTIFY])

        assert [states(store, one)[0] for one in arrivals] == [State.PENDING, State.PENDING, State.DEAD]

    def test_one_that_dies_again_is_not_met_again_on_the_same_way(self, store: EventStore) -> None:
        """Else a redrive in steps, of what its handler rejects at once, would never come to its end."""
        add(store, *[an_arrival() for _ in range(3)])
        store.settle([dead(one) for one in claim_all(store)], NOON)

        first = store.redrive(EVERYTHING, 2, NOON, dry_run=False, keep=[NOTIFY])
        store.settle([dead(one) for one in claim_all(store)], NOON)
        rest = store.redrive(EVERYTHING, 2, NOON, dry_run=False, keep=[NOTIFY], after=first.next)

        assert (first.redriven, rest.redriven, rest.next) == (2, 1, 0)


def found(store: EventStore, which: EventFilter, walk: Walk | None = None) -> list[bytes]:
    return [one.ingest_id for one in store.find(which, walk or Walk(100)).events]


OTHER = SubscriptionRef("uid-2", "globex", "other")


class TestFinding:
    @pytest.mark.parametrize(
        ("which", "expected"),
        [
            (EventFilter(), "sdpug"),
            (EventFilter(namespace="acme"), "sdpu"),
            (EventFilter(subscription="other"), "g"),
            (EventFilter(trigger="group_created"), "p"),
            (EventFilter(category="message"), "sdpug"),
            (EventFilter(category="call"), ""),
            (EventFilter(route="analytics"), "dp"),
            (EventFilter(state="Dead"), "d"),
            (EventFilter(state="Delivered"), "sd"),
            (EventFilter(route="analytics", state="Delivered"), ""),
            (EventFilter(unrouted=True), "u"),
            (EventFilter(since=NOON + 2 * SECOND, until=NOON + 4 * SECOND), "pu"),
            (EventFilter(ingest_ids=[an_ingest_id(1 << 50), an_ingest_id(1 << 51)]), "s"),
        ],
        ids=lambda value: None if isinstance(value, str) else "-".join(_given(value)) or "everything",
    )
    def test_events_are_found_by_what_is_asked(self, store: EventStore, which: EventFilter, expected: str) -> None:
        """Of a night's million events one is looked for, by whatever is known of it."""
        arrivals = {
            "s": an_arrival(ingest_id=an_ingest_id(1 << 50)),
            "d": an_arrival(None, NOTIFY, ANALYTICS, received_at=NOON + SECOND),
            "p": an_arrival(None, ANALYTICS, received_at=NOON + 2 * SECOND, trigger="group_created"),
            "u": an_arrival(unrouted=True, received_at=NOON + 3 * SECOND),
            "g": an_arrival(an_event(subscription=OTHER, received_at=NOON + 4 * SECOND), RouteRef(OTHER, "notify")),
        }
        add(store, *[arrivals[name] for name in "sd"])
        store.settle([delivered(one) for one in claim_all(store, NOTIFY)], NOON)
        store.settle([dead(one) for one in claim_all(store, ANALYTICS)], NOON)
        add(store, *[arrivals[name] for name in "pug"])

        ids = found(store, which)

        assert ids == [arrivals[name].event.ingest_id for name in expected]

    def test_a_found_event_says_what_a_list_shows(self, store: EventStore) -> None:
        """So that a list needs no second question for each line."""
        arrival = an_arrival(None, NOTIFY, ANALYTICS, key=KEY)
        add(store, arrival, now=NOON + SECOND)
        add(store, an_arrival(key=KEY))
        store.settle([dead(one) for one in claim_all(store, NOTIFY, now=NOON + SECOND)], NOON)

        (one,) = store.find(EventFilter(), Walk(10)).events

        assert (one.event_id, one.subscription, one.trigger) == (KEY.hex(), SUBSCRIPTION, "message_sent")
        assert (one.received_at, one.stored_at, one.size) == (NOON, NOON + SECOND, len(arrival.event.body))
        assert (one.duplicates, one.unrouted, one.category) == (1, "", "message")
        assert list(one.deliveries) == [
            FoundDelivery("notify", State.DEAD, "Rejected"),
            FoundDelivery("analytics", State.PENDING, ""),
        ]

    @pytest.mark.parametrize("newest_first", [False, True], ids=["oldest first", "newest first"])
    @pytest.mark.parametrize(("limit", "examined"), [(2, 100), (100, 2), (3, 2)], ids=["limit", "examined", "both"])
    def test_a_walk_in_bounded_steps_meets_each_event_once(
        self, store: EventStore, limit: int, examined: int, newest_first: bool
    ) -> None:
        """Claims wait for the same thread: no question may take long, however much is kept."""
        arrivals = [an_arrival(trigger=("message_sent", "group_created")[number % 2]) for number in range(7)]
        add(store, *arrivals)
        ids, place = [], 0

        for _ in range(20):
            step = store.find(EventFilter(trigger="message_sent"), Walk(limit, examined, place, newest_first))
            assert len(step.events) <= min(limit, examined)
            ids += [one.ingest_id for one in step.events]
            place = step.next
            if not place:
                break

        expected = [one.event.ingest_id for one in arrivals[::2]]
        assert ids == (expected[::-1] if newest_first else expected)
        assert place == 0


def _given(which: EventFilter) -> list[str]:
    return [name for name in which.__slots__ if getattr(which, name) != getattr(EventFilter(), name)]


def to(*routes: RouteRef, ordering_key: str | None = None, unrouted: str = "") -> Callable[[Event], Arrival]:
    """A fan-out to always the same routes."""
    return lambda event: Arrival(event, [Target(route, ordering_key) for route in routes], unrouted, 0)


class TestReplaying:
    def test_a_delivered_event_goes_out_again_under_the_same_name(self, store: EventStore) -> None:
        """A handler lost what it had; its keeper has yesterday sent again. One delivery, one story."""
        arrival = an_arrival()
        add(store, arrival)
        (first,) = claim_all(store)
        store.settle([delivered(first)], NOON)
        assert claim_all(store) == []

        replayed = store.replay(EventFilter(), Walk(10), to(NOTIFY), NOON + HOUR, dry_run=False)

        (again,) = claim_all(store, now=NOON + HOUR + SECOND)
        (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
        assert (replayed.events, replayed.deliveries, replayed.next) == (1, 1, 0)
        assert (again.event, again.name, again.event_id) == (first.event, first.name, first.event_id)
        assert (again.attempts, again.age, again.replay) == (0, SECOND, True)
        assert again.fence > first.fence
        assert [len(one.attempts) for one in story.deliveries] == [1]
        assert story.deliveries[0].replay

    def test_an_unrouted_event_goes_where_it_goes_now(self, store: EventStore) -> None:
        """It was answered 200 while its route was missing; now there is one."""
        arrival = an_arrival(unrouted=True, body=b"x" * 10)
        add(store, arrival)

        replayed = store.replay(EventFilter(unrouted=True), Walk(10), to(NOTIFY, ANALYTICS), NOON, dry_run=False)

        assert (replayed.events, replayed.deliveries) == (1, 2)
        assert found(store, EventFilter(unrouted=True)) == []
        assert store.pending_bytes() == {SUBSCRIPTION: 10}
        assert [one.event for one in claim_all(store)] == [arrival.event]
        assert states(store, arrival) == [State.IN_FLIGHT, State.PENDING]

    def test_what_is_still_under_way_is_left_alone(self, store: EventStore) -> None:
        """It comes anyway; a second one would be a duplicate of our own making."""
        pending, claimed = an_arrival(), an_arrival()
        add(store, claimed)
        (claim,) = claim_all(store)
        add(store, pending)

        replayed = store.replay(EventFilter(), Walk(10), to(NOTIFY), NOON, dry_run=False)

        assert (replayed.events, replayed.deliveries, replayed.under_way) == (0, 0, 2)
        assert not any(one.replay for one in claim_all(store))
        assert store.settle([delivered(claim)], NOON) == [claim.delivery_id]

    def test_a_dead_letter_is_sent_again_and_is_one_no_more(self, store: EventStore) -> None:
        """To its own route by replay as by redrive; sums and lists agree."""
        add(store, an_arrival())
        store.settle([dead(one) for one in claim_all(store)], NOON)

        store.replay(EventFilter(state="Dead"), Walk(10), to(NOTIFY), NOON, dry_run=False)

        assert list(store.dead_letters(EVERYTHING, 10)) == []
        (backlog,) = store.backlog(EVERYTHING)
        assert (backlog.pending, backlog.dead) == (1, 0)

    def test_a_dead_letter_of_a_lost_route_stays_beside_the_new_routes_delivery(self, store: EventStore) -> None:
        """A renamed route: what its old name left goes to the new one, and what happened stays to be seen."""
        arrival = an_arrival()
        add(store, arrival)
        store.retire([ANALYTICS], 10, NOON)

        replayed = store.replay(EventFilter(route="notify"), Walk(10), to(ANALYTICS), NOON, dry_run=False)

        assert replayed.deliveries == 1
        assert states(store, arrival) == [State.DEAD, State.PENDING]
        assert len({one.name for one in claim_all(store, ANALYTICS)}) == 1

    def test_an_event_that_no_route_takes_now_is_counted_and_unchanged(self, store: EventStore) -> None:
        """The subscription is gone, or nothing matches: say so, lose nothing."""
        arrival = an_arrival(unrouted=True)
        add(store, arrival)

        replayed = store.replay(EventFilter(), Walk(10), to(unrouted="NoRouteMatched"), NOON, dry_run=False)

        assert (replayed.events, replayed.deliveries, replayed.without_route) == (0, 0, 1)
        (story,) = store.story(str(UUID(bytes=arrival.event.ingest_id)))
        assert story.unrouted == "no route matches"

    def test_an_event_with_duplicates_is_replayed_once(self, store: EventStore) -> None:
        """What the sender repeated is one event."""
        add(store, an_arrival(key=KEY), an_arrival(key=KEY), an_arrival(key=KEY))
        store.settle([delivered(one) for one in claim_all(store)], NOON)

        replayed = store.replay(EventFilter(), Walk(10), to(NOTIFY), NOON, dry_run=False)

        assert replayed.deliveries == 1
        assert len(claim_all(store)) == 1

    def test_a_dry_run_says_what_would_come_and_changes_nothing(self, store: EventStore) -> None:
        """A replay of a day is looked at first."""
        arrivals = [an_arrival(), an_arrival(unrouted=True)]
        add(store, *arrivals)
        store.settle([delivered(one) for one in claim_all(store)], NOON)

        dry = store.replay(EventFilter(), Walk(10), to(NOTIFY), NOON, dry_run=True)

        assert claim_all(store) == []
        assert store.replay(EventFilter(), Walk(10), to(NOTIFY), NOON, dry_run=False) == dry

    def test_a_replay_keeps_the_order_of_its_key(self, store: EventStore) -> None:
        """One after another, oldest first, and behind what is out."""
        arrivals = [an_arrival(ordering_key="k") for _ in range(3)]
        add(store, *arrivals)
        for _ in arrivals:
            store.settle([delivered(one) for one in claim_all(store)], NOON)

        store.replay(EventFilter(), Walk(10), to(NOTIFY, ordering_key="k"), NOON, dry_run=False)

        seen = []
        for _ in arrivals:
            (claim,) = claim_all(store)
            seen.append(claim.event.ingest_id)
            store.settle([delivered(claim)], NOON)
        assert seen == [one.event.ingest_id for one in arrivals]

    def test_a_replayed_event_is_kept_as_long_as_a_new_one(self, store: EventStore) -> None:
        """Its retention begins again when it has been delivered again."""
        add(store, an_arrival(window=0))
        store.settle([delivered(one) for one in claim_all(store)], NOON)
        store.replay(EventFilter(), Walk(10), to(NOTIFY), NOON + HOUR, dry_run=False)
        keep = Retention(HOUR, HOUR)

        assert store.purge({}, keep, 10, NOON + 2 * HOUR) == 0
        store.settle([delivered(one) for one in claim_all(store, now=NOON + 2 * HOUR)], NOON + 2 * HOUR)

        assert store.purge({}, keep, 10, NOON + 3 * HOUR - 1) == 0
        assert store.purge({}, keep, 10, NOON + 3 * HOUR) == 1


class TestErasing:
    def test_an_erased_event_is_gone_and_counted(self, store: EventStore) -> None:
        """Somebody has a right to it; what stays is that there was something, and how much."""
        gone = an_arrival(None, NOTIFY, ANALYTICS, key=KEY, body=b"alice")
        stays = an_arrival(body=b"bob")
        add(store, gone, stays)
        store.settle([delivered(one) for one in claim_all(store, ANALYTICS)], NOON)

        erased = store.erase(EventFilter(), Walk(10), lambda event: b"alice" in event.body, NOON, dry_run=False)

        assert (erased.events, erased.unended, erased.next) == (1, 1, 0)
        assert store.story(str(UUID(bytes=gone.event.ingest_id))) == store.story(KEY.hex()) == []
        assert found(store, EventFilter()) == [stays.event.ingest_id]
        assert [one.event for one in claim_all(store)] == [stays.event]
        assert store.pending_bytes() == {SUBSCRIPTION: 3}
        (tomb,) = store.erasures()
        assert (tomb.subscription, tomb.events, tomb.unended) == (SUBSCRIPTION, 1, 1)
        assert tomb.day * 24 * HOUR <= NOON < (tomb.day + 1) * 24 * HOUR

    def test_a_whole_subscription_goes(self, store: EventStore) -> None:
        """Dead letters, unrouted events, what is pending: everything of the tenant and nothing of another's."""
        other = an_arrival(an_event(subscription=OTHER), RouteRef(OTHER, "notify"))
        add(store, an_arrival(), an_arrival(unrouted=True), other)
        store.settle([dead(one) for one in claim_all(store)], NOON)
        add(store, an_arrival())

        erased = store.erase(EventFilter(namespace="acme"), Walk(10), None, NOON, dry_run=False)

        assert erased.events == 3
        assert found(store, EventFilter()) == [other.event.ingest_id]
        assert list(store.dead_letters(EVERYTHING, 10)) == []
        assert [one.route.subscription for one in store.backlog(EVERYTHING)] == [OTHER]

    def test_a_delivery_that_was_out_is_refused_as_a_lost_lease(self, store: EventStore) -> None:
        """The call can't be taken back, and its outcome has nothing to settle any more."""
        add(store, an_arrival())
        (claim,) = claim_all(store)

        store.erase(EventFilter(), Walk(10), None, NOON, dry_run=False)

        assert list(store.settle([delivered(claim)], NOON)) == []

    def test_what_waited_behind_an_erased_one_goes_on(self, store: EventStore) -> None:
        """An erasure must not stop a conversation for ever."""
        first, second = an_arrival(ordering_key="k", body=b"alice"), an_arrival(ordering_key="k")
        add(store, first, second)

        store.erase(EventFilter(), Walk(10), lambda event: event.body == b"alice", NOON, dry_run=False)

        assert [one.event for one in claim_all(store)] == [second.event]

    def test_a_dry_run_erases_nothing(self, store: EventStore) -> None:
        """There is no way back, so people count first."""
        add(store, an_arrival(), an_arrival())

        erased = store.erase(EventFilter(), Walk(10), None, NOON, dry_run=True)

        assert erased.events == 2
        assert len(claim_all(store)) == 2
        assert store.erasures() == []

    def test_counts_of_one_day_and_subscription_add_up(self, store: EventStore) -> None:
        """Steps of one erasure, and several of a day, are one line."""
        add(store, *[an_arrival() for _ in range(3)])

        place = store.erase(EventFilter(), Walk(2), None, NOON, dry_run=False).next
        store.erase(EventFilter(), Walk(2, after=place), None, NOON, dry_run=False)

        assert [one.events for one in store.erasures()] == [3]
