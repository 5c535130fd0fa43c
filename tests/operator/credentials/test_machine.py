"""Anything that people, CometChat, receivers, faults and restarts may do, in any order, held against what is promised."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.credentials import DAY, HOUR, World


class Credentials(RuleBasedStateMachine):
    """The lane at a small API server; `last` is the promise's own memory."""

    @initialize(interval=st.sampled_from([None, "2160h"]), overlap=st.sampled_from(["0s", "2h", "24h"]))
    def begin(self, interval, overlap):
        self.world = World()
        self.rotation = {"overlap": overlap, **({"interval": interval} if interval else {})}
        self.world.ask(rotation=self.rotation)
        self.last = frozenset()
        """The names that were used in the last second in which one was; none once that was revoked."""
        self.last_at = 0
        self.requests = 0
        self.revoked = set()
        self.named = False

    @rule()
    def look(self):
        self.world.look()

    @rule()
    def look_at_an_old_view(self):
        self.world.look(sync=False)

    @rule()
    def feeds_catch_up(self):
        self.world.sync()

    @rule()
    def the_status_is_written(self):
        self.world.publish()

    @rule()
    def the_operator_starts_anew(self):
        self.world.restart()

    @rule()
    def receivers_fall_silent_or_answer(self):
        self.world.hears = not self.world.hears

    @rule()
    def the_gateway_goes_or_comes(self):
        self.world.attached = not self.world.attached

    @rule(fault=st.sampled_from(["fail", "lose", "late"]))
    def the_next_write_goes_wrong(self, fault):
        self.world.fault = fault

    @rule()
    def late_writes_arrive(self):
        self.world.deliver()

    @rule(seconds=st.sampled_from([1, 60, HOUR, DAY, 100 * DAY]))
    def time_passes(self, seconds):
        self.world.now += seconds

    @precondition(lambda self: self.world.owned and not self.named)
    @rule(data=st.data())
    def cometchat_uses_one(self, data):
        self.use(data.draw(st.sampled_from(self.world.owned)))

    @precondition(lambda self: self.requests < 8)
    @rule()
    def somebody_asks_for_a_rotation(self):
        self.requests += 1
        self.world.ask(rotate=str(self.requests))

    @precondition(lambda self: self.world.owned)
    @rule(data=st.data(), by_hand=st.booleans())
    def somebody_revokes_one(self, data, by_hand):
        name = data.draw(st.sampled_from(self.world.owned))
        self.last -= {name}
        self.revoked.add(name)
        if by_hand:
            self.world.remove(name)
        else:
            before = self.world.subscription["metadata"]["annotations"].get("hookline.dev/revoke", "")
            self.world.ask(revoke=f"{before},{name}")

    @rule()
    def somebody_names_a_secret_or_no_more(self):
        self.named = not self.named
        self.last = frozenset()
        self.world.ask(rotation={} if self.named else self.rotation, refs=("cometchat",) if self.named else ())

    @invariant()
    def never_more_than_four(self):
        assert len(self.world.owned) <= 4

    @invariant()
    def the_last_one_in_use_is_there(self):
        assert not self.last or self.last & set(self.world.secrets), "what CometChat uses was taken away"

    @invariant()
    def nothing_is_made_twice(self):
        """Of two that were made after the same ones and for the same request one is too many."""
        needs = [
            (
                each["metadata"]["annotations"].get("hookline.dev/rotate"),
                each["metadata"]["annotations"]["hookline.dev/serial"],
            )
            for each in self.world.secrets.values()
        ]
        assert len(needs) == len(set(needs))

    def teardown(self):
        """Once nothing goes wrong any more everything comes to its end: one credential, and nothing to do."""
        world = self.world
        world.fault, world.hears, world.attached, self.named = "", True, True, False
        world.deliver()
        world.ask(rotation=self.rotation, refs=())
        world.settle()
        for _ in range(4):
            self.use(world.owned[-1])
            world.settle()
            world.now += DAY + 1
        newest = world.owned[-1]
        self.use(newest)
        world.settle()
        assert world.owned == [newest]
        assert world.states == {newest: "Active"}
        assert world.pending == ("False", "UpToDate", "")
        calls = len(world.calls)
        world.restart()
        world.look()
        assert not world.publish()
        assert len(world.calls) == calls

    def use(self, name):
        world = self.world
        world.use(name)
        self.last = (self.last if self.last_at == world.now else frozenset()) | ({name} - self.revoked)
        self.last_at = world.now


TestCredentials = Credentials.TestCase
TestCredentials.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
