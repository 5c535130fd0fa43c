"""
The routes lane: keys of subscriptions in, published RouteTables out.

    take over   read what is published (and the verifiers in it), verify the cluster, compile everything, write what differs
    turns       keys → shards whose content may be another, reports for the status lane, verifiers to be made
    publish     a shard at a time, several at once: what is another than what is published, on the condition of what was read
    doubts      a write that somebody came before, that failed, or that would lose many entries: read again, verify, compile
    look        now and then: tables that somebody else has touched, and those of planes that are gone

A shard is published 30 ms after a change, under load up to 250 ms, and at once where something is allowed no more. It is
written again only when the hash of its content is another. A shard that can't be written waits for its own backoff. One
that only namespaces have changed which had a lot written lately waits until they have something left of their ration.

A turn takes keys by their weight, about what compiling them costs: 32 small ones, or a single one of the largest.

A plane's tables are deleted once its gateway (or its subscription's wish for a plane of its own) and all its pods are gone:
until then they are published, empty of what is served no more, so that pods which still run refuse it.
"""

import asyncio
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hookline_operator.apply.api import ApiError, Conflict
from hookline_operator.apply.ration import Ration, RationLimits
from hookline_operator.apply.route_tables import RouteTables, TablesApi
from hookline_operator.decide.routing import SUBSCRIPTION, Fault, ReportKey, RoutingState, Turn
from hookline_operator.decide.shards import ShardName, shards_in
from hookline_operator.ports import ClusterView, ShardRevision
from hookline_operator.verifiers import VerifierLimits, Verifiers
from hookline_operator.work import Backoff, WorkQueue
from hookline_routes.attach import Rules
from hookline_routes.expression import complaints_about
from hookline_routes.inputs import ObjectReport, VerifierKey
from hookline_routes.resource import ObjectKey, ServiceRef, WebhookSubscription
from hookline_routes.shard import ShardTooLarge
from hookline_routes.verifier import tag_key_id

log = logging.getLogger(__name__)

BESIDE = 4
"""Subscriptions compiled in a turn as it has made room for them; others of them have a turn of their own."""


@dataclass(frozen=True, slots=True)
class RoutesSettings:
    """The installation, and the pace."""

    namespace: str
    """Of the operator: its gateways, and the tables."""
    cluster_default: bool = True
    """Whether references without a namespace are ours."""
    soonest: float = 0.03
    """Seconds from a change to its publication, so that what belongs together is published together."""
    latest: float = 0.25
    """The same under load; also between two publications of one shard."""
    load: int = 32
    """Publications in a second that count as full load."""
    writers: int = 4
    """Shards that are written at once."""
    slice: int = 32
    """Subscriptions that are compiled before the event loop gets its turn."""
    weight: int = 256
    """The same by their routes and triggers: the largest one has 4,640, and takes about 15 ms."""
    look_every: float = 60.0
    """Seconds between two looks at all tables' metadata."""
    first_looks: tuple[float, ...] = (2.0, 5.0, 15.0)
    """The same for the first ones of a term: a write that a leader of old had under way may arrive late."""
    prepare_every: float = 1.0
    """Seconds between two looks at what is new to be judged ahead."""
    ration: RationLimits = field(default_factory=RationLimits)
    verifiers: VerifierLimits = field(default_factory=VerifierLimits)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of what the lane did."""

    status: Callable[[Iterable[ReportKey]], None]
    """There is something else to say of these."""
    endpoints: Callable[[frozenset[str]], None]
    """The routes of these planes may call other Services."""


class RoutesLane:
    """Implements `ports.Lane` for keys of subscriptions, and `ports.Published`."""

    def __init__(
        self,
        cluster: ClusterView,
        api: TablesApi,
        verify: Callable[[], Awaitable[object]],
        tag_key: bytes,
        settings: RoutesSettings,
        listeners: Listeners,
        *,
        clock: Callable[[], float] = time.monotonic,
        verifiers: Verifiers | None = None,
        judge: Callable[[Sequence[str]], object] = complaints_about,
    ) -> None:
        """*verify* holds the cluster against consistent lists; the keys of what it corrects are added before it returns."""
        self.queue: WorkQueue[ObjectKey] = WorkQueue(lambda key: key.namespace)
        self.tables = RouteTables(api, settings.namespace, tag_key_id(tag_key))
        made = Verifiers(tag_key, self._made, settings.verifiers)
        self.verifiers = made if verifiers is None else verifiers
        self._cluster = cluster
        self._verify = verify
        self._settings = settings
        self._listeners = listeners
        self._judge_expressions = judge
        self._clock = clock
        self._tag_key_id = tag_key_id(tag_key)
        self._rules = Rules(gateway_namespace=settings.namespace, cluster_default=settings.cluster_default)
        self._unjudged: WorkQueue[ObjectKey] = WorkQueue(lambda key: key.namespace)
        self._judged: dict[ObjectKey, object] = {}
        """The subscriptions whose expressions were judged, as they were then."""
        self._faulty: dict[ObjectKey, object] = {}
        """The subscriptions whose compilation has failed, as they were then."""
        self._shards: WorkQueue[ShardName] = WorkQueue(lambda shard: shard.plane, backoff=Backoff(0.25, 30.0))
        self._ration = Ration(settings.ration, clock)
        self._forget()

    def add(self, keys: Iterable[ObjectKey], *, urgent: bool = False) -> None:
        """These are to be compiled again."""
        self.queue.add(keys, urgent=urgent)

    async def run(self) -> None:
        """For one term; raises NotLeading."""
        self._forget()
        try:
            await self._take_over()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.verifiers.run())
                group.create_task(self._turns())
                group.create_task(self._judges())
                group.create_task(self._doubts())
                group.create_task(self._looks())
                for _ in range(self._settings.writers):
                    group.create_task(self._publications())
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            self._compiled = False
            self.verifiers.stop()

    async def prepare(self) -> None:
        """
        Until cancelled, whether this replica leads or not: judge expressions ahead, the slow part of compiling.

        A replica that waits so takes over in a third of the time.
        """
        while True:
            await self._judge_all()
            await asyncio.sleep(self._settings.prepare_every)

    # What others ask.

    def revision_of(self, subscription: ObjectKey) -> ShardRevision | None:
        """See `ports.Published`."""
        home = self._state.home_of(subscription) if self._compiled else None
        if home is None:
            return None
        published = self.tables.get(home.shard)
        if published.entries.get(home.uid) != home.entry:
            return None
        return ShardRevision(home.shard.plane, home.shard.index, published.since[home.uid])

    def planes(self) -> frozenset[str]:
        """Every plane that has tables; none before everything was compiled in this term."""
        return self._state.planes() if self._compiled else frozenset()

    def services_of(self, plane: str) -> frozenset[ServiceRef] | None:
        """What the plane's routes may call; None: not known in this term yet."""
        return self._state.services_of(plane) if self._compiled and plane not in self._state.frozen() else None

    def report_of(self, kind: str, key: ObjectKey) -> ObjectReport | None:
        """What is to be said of an object; None: nothing, as it is not ours, or not known in this term yet."""
        return self._state.report_of(kind, key) if self._compiled else None

    def has_published(self) -> bool:
        """Whether all that was found when the term began is published as it should be, or failed for reasons of its own."""
        return self._compiled and self._caught_up

    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        queues = (self.queue, self._unjudged, self._shards)
        waits = any(len(queue) or queue.waiting or queue.working for queue in queues) or len(self.verifiers)
        return self._compiled and not (waits or self._doubted or self._unconfirmed)

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        """The gateway that serves it."""
        return self._state.gateway_of(subscription)

    def attached_to(self, gateway: ObjectKey) -> int:
        """How many subscriptions the gateway serves."""
        return self._state.attached_to(gateway)

    # Taking over.

    def _forget(self) -> None:
        self._state = RoutingState(self._rules, self._tag_key_id)
        self._compiled = False
        self._caught_up = False
        self._unsure: set[ShardName] = set()
        """A write of theirs was not answered, or not well: to be read before the next one."""
        self._doubted: set[ShardName] = set()
        """Not to be written before they are read and the cluster is verified."""
        self._writing: set[ShardName] = set()
        self._unconfirmed: set[str] = set()
        self._confirmed: dict[str, frozenset[str]] = {}
        self._something_doubted = asyncio.Event()
        self._written: deque[float] = deque()
        self._written_at: dict[ShardName, float] = {}
        self._causes: dict[ShardName, frozenset[str]] = {}
        """The namespaces that have changed what waits to be published; none: the platform has, or nobody knows."""
        self._shards.clear()
        self._unjudged.clear()

    async def _take_over(self) -> None:
        attempt = 0
        while True:
            try:
                self.verifiers.learn(await self.tables.read_all())
                self.queue.clear()
                await self._verify()
                break
            except ApiError as error:
                attempt += 1
                delay = min(10.0, 0.25 * 2.0 ** min(attempt, 10))
                log.warning("taking over waits for the API server", extra={"error": str(error), "seconds": delay})
                await asyncio.sleep(delay)
        await self._compile_all()

    async def _compile_all(self) -> None:
        began = self._clock()
        await self._judge_all()
        keys = tuple(self._cluster.subscriptions)
        self._state.admit(self._cluster, keys)
        turn = self._state.turn(self._cluster, (), self.verifiers, most=0)
        reports = set(turn.reports)
        for some in self._weighed(turn.more):
            turn = self._state.turn(self._cluster, some, self.verifiers)
            reports |= turn.reports
            self.verifiers.want(turn.missing)
            self._note(turn.faults)
            self.queue.add(turn.more)
            await asyncio.sleep(0)
        # Who can't be read is attached to nothing, and was in no turn.
        self.queue.add(key for key in keys if self._state.report_of(SUBSCRIPTION, key) is None)
        self._compiled = True
        # All of it was verified a moment ago: what is lost now is gone.
        self._confirmed = {each: self._state.loss(each, self.tables.published).lost for each in self._state.planes()}
        self._causes = dict.fromkeys(self._state.shards(), frozenset())
        self._shards.add(self._state.shards())
        self._listeners.endpoints(self._state.planes())
        self._listeners.status(reports)
        seconds = round(self._clock() - began, 3)
        log.info(
            "routes compiled", extra={"subscriptions": len(keys), "missing": len(self.verifiers), "seconds": seconds}
        )

    # Expressions: some milliseconds each at worst, and nobody's 32 of them may hold up the turns of others.

    def _is_judged(self, key: ObjectKey) -> bool:
        return not _expressions(self._resource(key)) or self._judged.get(key) is self._resource(key)

    def _resource(self, key: ObjectKey) -> object:
        declared = self._cluster.subscriptions.get(key)
        return declared.resource if declared else None

    async def _judge(self, key: ObjectKey) -> None:
        resource = self._resource(key)
        try:
            for text in _expressions(resource):
                self._judge_expressions([text])
                await asyncio.sleep(0)
        except Exception:
            # Compiling meets the same, and says so of this subscription; nobody else's may wait for that.
            log.exception("an expression can't be judged", extra={"subscription": str(key)})
        self._judged[key] = resource

    async def _judge_all(self) -> None:
        there = tuple(self._cluster.subscriptions)
        for known in (self._judged, self._faulty):
            for key in known.keys() - set(there):
                known.pop(key, None)
        for key in there:
            if not self._is_judged(key):
                await self._judge(key)

    async def _judges(self) -> None:
        while True:
            (key,) = await self._unjudged.take()
            await self._judge(key)
            self._unjudged.done(key)
            self.queue.add((key,))

    # Turns.

    async def _turns(self) -> None:
        while True:
            self._turn(self._ready(await self._take()))
            await asyncio.sleep(0)

    async def _take(self) -> tuple[ObjectKey, ...]:
        """What one turn looks at: nobody's largest subscriptions may make others wait for more than one of them."""
        first = await self.queue.take()
        return next(self._weighed(itertools.chain(first, self._taken())))

    def _taken(self) -> Iterator[ObjectKey]:
        """Keys of the queue, each taken as it is asked for."""
        while keys := self.queue.take_now():
            yield from keys

    def _weighed(self, keys: Iterable[ObjectKey]) -> Iterator[tuple[ObjectKey, ...]]:
        """*keys* in portions of so many, or so much weight; none is asked for before there is room for it."""
        some: list[ObjectKey] = []
        weight = 0
        for key in keys:
            some.append(key)
            weight += _weight(self._resource(key))
            if len(some) >= self._settings.slice or weight >= self._settings.weight:
                yield tuple(some)
                some, weight = [], 0
        if some:
            yield tuple(some)

    def _ready(self, keys: tuple[ObjectKey, ...]) -> tuple[ObjectKey, ...]:
        """Those of them that cost no more than usual; the others come back when they do."""
        slow = [key for key in keys if not self._is_judged(key)]
        for key in slow:
            self.queue.done(key)
        self._unjudged.add(slow)
        return tuple(key for key in keys if key not in slow)

    def _turn(self, keys: tuple[ObjectKey, ...]) -> None:
        turn = self._state.turn(self._cluster, keys, self.verifiers, most=len(keys) + BESIDE)
        for key in keys:
            self.queue.done(key)
        self.queue.add(turn.more)
        self.verifiers.want(turn.missing)
        self._note(turn.faults)
        self._publish_soon(turn)
        if turn.shards:
            self._listeners.endpoints(frozenset(shard.plane for shard in turn.shards))
        if turn.reports:
            self._listeners.status(turn.reports)

    def _note(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            key, resource = fault.subscription, self._resource(fault.subscription)
            if self._faulty.get(key) is not resource:
                log.error("a subscription can't be compiled", extra={"subscription": str(key)}, exc_info=fault.error)
            self._faulty[key] = resource

    def _publish_soon(self, turn: Turn) -> None:
        now = self._clock()
        for shard in turn.shards:
            self._blame(shard, turn.causes.get(shard, frozenset()))
        self._shards.add(turn.urgent, urgent=True)
        for shard in turn.shards - turn.urgent:
            self._shards.add((shard,), after=self._delay(shard, now))

    def _blame(self, shard: ShardName, causes: frozenset[str]) -> None:
        known = self._causes.get(shard)
        self._causes[shard] = causes if known is None else known | causes if known and causes else frozenset()

    def _delay(self, shard: ShardName, now: float) -> float:
        while self._written and self._written[0] < now - 1.0:
            self._written.popleft()
        soonest, latest = self._settings.soonest, self._settings.latest
        load = min(1.0, len(self._written) / self._settings.load)
        again = self._written_at.get(shard, -math.inf) + latest - now
        return max(soonest + (latest - soonest) * load, again)

    def _made(self, subscriptions: frozenset[ObjectKey]) -> None:
        self.queue.add(subscriptions)

    # Publishing.

    async def _publications(self) -> None:
        while True:
            (shard,) = await self._shards.take()
            self._writing.add(shard)
            try:
                await self._publish(shard)
            except ApiError as error:
                delay = round(self._shards.failed(shard), 2)
                fields = {"shard": str(shard), "error": str(error), "seconds": delay}
                log.warning("a route table can't be written; it is read again first", extra=fields)
                self._unsure.add(shard)
                self._causes[shard] = frozenset()
                if isinstance(error, Conflict):
                    self._doubt(shard)
            except ShardTooLarge as error:
                fields = {"shard": str(shard), "error": str(error), "seconds": self._shards.failed(shard)}
                log.error("a shard is too large", extra=fields)
            else:
                self._shards.done(shard)
            finally:
                self._writing.discard(shard)
                self._caught_up = self._caught_up or not (self._writing or len(self._shards))

    async def _publish(self, shard: ShardName) -> None:
        state = self._state
        if shard.plane not in state.planes() or shard.plane in state.frozen() or shard in self._doubted:
            return
        if shard in self._unsure:
            read = await self.tables.read(shard)
            self._unsure.discard(shard)
            if read.foreign:
                self._doubt(shard)
                return
        causes = self._causes.get(shard, frozenset())
        if (wait := self._ration.wait(causes)) > 0:
            self._shards.add((shard,), after=wait)
            return
        there = self.tables.get(shard)
        if there.hash == state.hash(shard):
            self._causes.pop(shard, None)
            return
        if not self._may_lose(shard):
            return
        content, entries = state.content(shard), dict(state.entries(shard))
        self._causes.pop(shard, None)
        self._ration.charge(causes, len(content))
        after = await self.tables.write(shard, content, entries)
        now = self._clock()
        self._written.append(now)
        self._written_at[shard] = now
        changed = {uid for uid, data in entries.items() if there.entries.get(uid) != data}
        self._tell_published(changed)
        removed = len(there.entries.keys() - entries.keys())
        fields = {"shard": str(shard), "revision": after.revision, "changed": len(changed), "removed": removed}
        log.info("routes published", extra=fields)

    def _tell_published(self, uids: Iterable[str]) -> None:
        keys = (self._state.subscription_with(uid) for uid in uids)
        self._listeners.status([(SUBSCRIPTION, key) for key in keys if key])

    def _subscriptions_in(self, shard: ShardName) -> list[ObjectKey]:
        keys = (self._state.subscription_with(uid) for uid in self._state.entries(shard))
        return [key for key in keys if key]

    def _may_lose(self, shard: ShardName) -> bool:
        """Whether what it would lose is not much of its plane, or is confirmed to be gone."""
        lost = self.tables.get(shard).entries.keys() - self._state.entries(shard).keys()
        if lost <= self._confirmed.get(shard.plane, frozenset()):
            return True
        loss = self._state.loss(shard.plane, self.tables.published)
        if not loss.is_sudden():
            return True
        if shard.plane not in self._unconfirmed:
            fields = {"plane": shard.plane, "lost": len(loss.lost), "published": loss.published}
            log.warning("many routes would go at once; the cluster is verified first", extra=fields)
        self._unconfirmed.add(shard.plane)
        self._something_doubted.set()
        return False

    # Doubts.

    def _doubt(self, shard: ShardName) -> None:
        self._doubted.add(shard)
        self._something_doubted.set()

    async def _doubts(self) -> None:
        attempt = 0
        while True:
            await self._something_doubted.wait()
            self._something_doubted.clear()
            try:
                await self._resolve(tuple(self._doubted), tuple(self._unconfirmed))
                attempt = 0
            except ApiError as error:
                attempt += 1
                delay = min(10.0, 0.25 * 2.0 ** min(attempt, 10))
                log.warning("publishing waits for the API server", extra={"error": str(error), "seconds": delay})
                await asyncio.sleep(delay)
                self._something_doubted.set()

    async def _resolve(self, shards: tuple[ShardName, ...], planes: tuple[str, ...]) -> None:
        foreign = []
        for shard in shards:
            read = await self.tables.read(shard)
            if read.foreign:
                foreign.append(shard)
                self.verifiers.learn(read.verifiers)
                self.queue.add(self._subscriptions_in(shard))
        if foreign or planes:
            # What is written next was observed after what it replaces, and what is gone is surely gone.
            await self._verify()
            await self._work_off()
        for plane in planes:
            self._confirmed[plane] = self._state.loss(plane, self.tables.published).lost
        self._unsure.difference_update(shards)
        self._doubted.difference_update(shards)
        self._unconfirmed.difference_update(planes)
        self._tell_published(uid for shard in foreign for uid in self._state.entries(shard))
        self._shards.add(shard for plane in planes for shard in shards_in(plane))
        self._shards.add(shards)

    async def _work_off(self) -> None:
        """All keys that wait now, so that what was just verified is compiled."""
        for keys in self._weighed(itertools.islice(self._taken(), len(self.queue))):
            for key in keys:
                if not self._is_judged(key):
                    await self._judge(key)
            self._turn(keys)
            await asyncio.sleep(0)

    # Looking.

    async def _looks(self) -> None:
        for pause in itertools.chain(self._settings.first_looks, itertools.repeat(self._settings.look_every)):
            await asyncio.sleep(pause)
            try:
                await self.look()
            except ApiError as error:
                log.warning("the route tables can't be looked at", extra={"error": str(error)})

    async def look(self) -> None:
        """Hold all tables against what is known of them, and delete those of planes that are gone; raises ApiError."""
        self._turn(())
        strange = await self.tables.look(tuple(self._state.shards()), self._state.frozen())
        for shard in strange.shards:
            # What is written right now is no doubt of anybody's; it is known again when that is answered.
            if shard not in self._writing:
                self._doubt(shard)
        if strange.orphans:
            await self._verify()
            await self._work_off()
            planes = self._state.planes()
            strange = await self.tables.look(
                [each for plane in planes for each in shards_in(plane)], self._state.frozen()
            )
            for name, version in strange.orphans.items():
                await self.tables.delete(name, version)
                log.info("a route table of nothing was deleted", extra={"table": name})
        self._forget_verifiers()

    def _forget_verifiers(self) -> None:
        versions = {
            (each.secret.metadata.uid, each.secret.metadata.resource_version) for each in self._cluster.secrets.values()
        }

        def needed(key: VerifierKey) -> bool:
            return (key.secret, key.version) in versions

        self.verifiers.forget(needed)


def _expressions(resource: object) -> list[str]:
    routes = resource.routes if isinstance(resource, WebhookSubscription) else ()
    return [route.match.expression for route in routes if route.match.expression]


def _weight(resource: object) -> int:
    """About what it costs to compile a subscription, in small routes."""
    routes = resource.routes if isinstance(resource, WebhookSubscription) else ()
    return 1 + sum(1 + len(route.match.triggers) for route in routes)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
