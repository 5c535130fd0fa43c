"""
One turn of the routes: some keys of subscriptions and what is true now in; which shards and reports have changed out. Pure.

    state = RoutingState(rules, tag_key_id)
    turn = state.turn(view, keys, verifiers)       # compiles these, and whoever's verdict they changed
    content = state.content(shard)                 # for each of turn.shards

What a state comes to depends on the view and the verifiers alone, not on the turns that led to it.

A subscription with a plane of its own is served by its gateway's shared plane too: whoever leads traffic to the one or the
other does so in their own time, and neither refuses what still comes to it. A plane that it has left keeps its entry as long
as it has pods.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.decide.seen import SeenSurroundings
from hookline_operator.decide.shards import (
    PublishedShard,
    ShardName,
    content_of,
    is_dedicated,
    shard_with,
    shards_in,
    whole_entry,
)
from hookline_operator.ports import ClusterView
from hookline_routes.attach import Attached, Attachments, Rules, Verdict
from hookline_routes.compile import (
    CompiledSubscription,
    Entry,
    compile_subscription,
    crowded_out,
    report_fault,
    report_gateway,
    report_unreadable,
)
from hookline_routes.inputs import NeededVerifier, ObjectReport
from hookline_routes.resource import GatewayRef, ObjectKey, ServiceRef, Unreadable, WebhookGateway, WebhookSubscription
from hookline_routes.shard import content_hash

MOST_KEYS = 256
"""Subscriptions that are compiled in one turn."""

SHARD_BYTES = 4 * 1024 * 1024
"""Of a shard's entries: it can be published then, even if nothing of it can be compressed."""

ReportKey = tuple[str, ObjectKey]
"""Kind and name."""

SUBSCRIPTION, GATEWAY = "WebhookSubscription", "WebhookGateway"


class Verifiers(Protocol):
    """Those that are made already."""

    def find(self, needed: NeededVerifier) -> routing.Verifier | None:
        """The verifier of that version of a Secret; None: it is still to be made."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A verifier that a subscription waits for."""

    subscription: ObjectKey
    needed: NeededVerifier


@dataclass(frozen=True, slots=True)
class Fault:
    """A subscription whose compilation has failed: it stays as it was."""

    subscription: ObjectKey
    error: Exception


@dataclass(frozen=True, slots=True)
class Turn:
    """What has changed."""

    shards: frozenset[ShardName] = frozenset()
    """Their content may be another."""
    urgent: frozenset[ShardName] = frozenset()
    """Those of them in which something is allowed no more."""
    reports: frozenset[ReportKey] = frozenset()
    """There is another one, or none any more."""
    missing: tuple[Missing, ...] = ()
    """Verifiers that the compiled ones wait for."""
    more: tuple[ObjectKey, ...] = ()
    """To be compiled in another turn, as it was too much for this one."""
    faults: tuple[Fault, ...] = ()
    """What should not have happened, to be logged."""
    causes: Mapping[ShardName, frozenset[str]] = field(default_factory=dict)
    """The namespaces whose subscriptions have changed a shard; none where something of the platform's has too."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries of a plane that would be published no more."""

    lost: frozenset[str]
    """uids."""
    published: int

    def is_sudden(self) -> bool:
        """Whether that is so much that it is to be confirmed first."""
        return len(self.lost) > 20 and len(self.lost) * 10 > self.published


@dataclass(frozen=True, slots=True)
class Home:
    """Where a subscription that is served belongs."""

    shard: ShardName
    uid: str
    entry: bytes


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What an endpoint lets in."""

    path: str
    suspended: bool
    app_ids: frozenset[str]
    salts: frozenset[bytes]

    def is_less_than(self, other: "_Allowed") -> bool:
        """Whether something that *other* lets in is refused by this one."""
        return (
            self.path != other.path
            or (self.suspended and not other.suspended)
            or bool(other.salts - self.salts)
            or (bool(self.app_ids) and (not other.app_ids or bool(other.app_ids - self.app_ids)))
        )


@dataclass(frozen=True, slots=True)
class _Placed:
    """A subscription that is served."""

    uid: str
    home: ShardName
    """In the plane that it belongs to."""
    parts: Mapping[ShardName, bytes]
    """The home included."""
    allowed: _Allowed
    services: frozenset[ServiceRef]


@dataclass(slots=True)
class _Changes:
    """What a turn has done so far."""

    shards: set[ShardName] = field(default_factory=set)
    urgent: set[ShardName] = field(default_factory=set)
    reports: set[ReportKey] = field(default_factory=set)
    missing: list[Missing] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    causes: dict[ShardName, set[str]] = field(default_factory=dict)
    cause: str = ""
    """The namespace of the subscription that is looked at; "": something else."""


class RoutingState:
    """What all subscriptions come to, kept up to date."""

    def __init__(self, rules: Rules, tag_key_id: bytes, shard_bytes: int = SHARD_BYTES) -> None:
        self._rules = rules
        self._tag_key_id = tag_key_id
        self._shard_bytes = shard_bytes
        self._attachments = Attachments(rules)
        self._gateways: dict[ObjectKey, WebhookGateway] = {}
        self._declared: Mapping[ObjectKey, object] = {}
        """The gateways as they were looked at last."""
        self._unreadable: frozenset[str] = frozenset()
        """Gateways that can't be read and never could."""
        self._frozen: frozenset[str] = frozenset()
        """Their planes."""
        self._pods: frozenset[str] = frozenset()
        """Planes that have pods."""
        self._planes: frozenset[str] = frozenset()
        self._placed: dict[ObjectKey, _Placed] = {}
        self._entries: dict[ShardName, dict[str, bytes]] = {}
        self._sizes: Counter[ShardName] = Counter()
        """Bytes of the entries."""
        self._crowded: dict[ShardName, frozenset[str]] = {}
        """uids for which a shard has no room."""
        self._own: Counter[str] = Counter()
        """Dedicated planes with an entry."""
        self._hashes: dict[ShardName, str] = {}
        self._services: dict[str, Counter[ServiceRef]] = {}
        self._reports: dict[ReportKey, ObjectReport] = {}
        self._by_uid: dict[str, ObjectKey] = {}
        self._admitted = _Changes()
        """To be told of in the next turn."""

    def admit(self, view: ClusterView, keys: Iterable[ObjectKey]) -> None:
        """Have all of them attached before the first is compiled: none is compiled for nothing then."""
        self._look_at_gateways(view, self._admitted)
        for key in keys:
            self._admit(key, view)

    def turn(self, view: ClusterView, keys: Collection[ObjectKey], verifiers: Verifiers, most: int = MOST_KEYS) -> Turn:
        """
        Look at the subscriptions *keys*, and at all gateways.

        Whoever's verdict changes by that is looked at in the same turn, up to *most* compiled in all (but all of *keys*):
        who loses a place loses it at once, and who waits for it is next.
        """
        changes, self._admitted = self._admitted, _Changes()
        self._look_at_gateways(view, changes)
        given = dict.fromkeys((*keys, *self._look_at_pods(view)))
        for key in given:
            self._admit(key, view)
        others = sorted(self._attachments.settle() - given.keys(), key=lambda key: (key in self._placed, key))
        surroundings = SeenSurroundings(view, verifiers.find)
        more: list[ObjectKey] = []
        room = most - len(given)
        for key in (*given, *others):
            verdict = self._attachments.verdict(key)
            if isinstance(verdict, Attached) and key not in given:
                room -= 1
                if room < 0:
                    more.append(key)
                    continue
            try:
                compiled = compile_subscription(verdict, surroundings) if verdict else self._unattached(key, view)
            except Exception as error:  # noqa: BLE001 - see below
                # Nothing should raise here; if one subscription does, all others must not wait for a release that mends it.
                changes.faults.append(Fault(key, error))
                self._leave(key, verdict, changes)
            else:
                self._take(key, compiled, changes)
        changes.cause = ""
        self._look_at_planes(changes)
        self._make_room(changes)
        return Turn(
            frozenset(changes.shards),
            frozenset(changes.urgent),
            frozenset(changes.reports),
            tuple(changes.missing),
            tuple(more),
            tuple(changes.faults),
            {shard: frozenset(causes) for shard, causes in changes.causes.items() if "" not in causes},
        )

    def planes(self) -> frozenset[str]:
        """All that are to have tables: of every gateway, of every subscription with its own, and those that have pods."""
        return self._planes

    def frozen(self) -> frozenset[str]:
        """Of gateways that can't be read and never could, dedicated ones too: what is published of them stays as it is."""
        return self._frozen

    def shards(self) -> Iterator[ShardName]:
        """All that are to be published."""
        return (shard for plane in self._planes - self._frozen for shard in shards_in(plane))

    def content(self, shard: ShardName) -> bytes:
        """What is to be published of it."""
        return content_of(self.entries(shard), self._hostnames(shard), self._tag_key_id)

    def hash(self, shard: ShardName) -> str:
        """Of its content."""
        known = self._hashes.get(shard)
        if known is None:
            known = self._hashes[shard] = content_hash(self.content(shard))
        return known

    def entries(self, shard: ShardName) -> Mapping[str, bytes]:
        """By uid, but for those for which there is no room."""
        every, crowded = self._entries.get(shard, {}), self._crowded.get(shard)
        return {uid: data for uid, data in every.items() if uid not in crowded} if crowded else every

    def home_of(self, subscription: ObjectKey) -> Home | None:
        """Where it belongs, and its entry there; None: it is not served."""
        placed = self._placed.get(subscription)
        return Home(placed.home, placed.uid, placed.parts[placed.home]) if placed else None

    def subscription_with(self, uid: str) -> ObjectKey | None:
        """Which one has that uid, if it is served."""
        return self._by_uid.get(uid)

    def loss(self, plane: str, published: Mapping[ShardName, PublishedShard]) -> Loss:
        """What the plane would lose if all of it were published now."""
        lost: set[str] = set()
        count = 0
        for shard in shards_in(plane):
            there = published.get(shard)
            if there:
                count += len(there.entries)
                if there.hash != self.hash(shard):
                    lost |= there.entries.keys() - self.entries(shard).keys()
        return Loss(frozenset(lost), count)

    def report_of(self, kind: str, key: ObjectKey) -> ObjectReport | None:
        """What is to be said of an object; None: it is not ours."""
        report, placed = self._reports.get((kind, key)), self._placed.get(key) if kind == SUBSCRIPTION else None
        if report and placed and placed.uid in self._crowded.get(placed.home, ()):
            return crowded_out(report, len(placed.parts[placed.home]))
        return report

    def services_of(self, plane: str) -> frozenset[ServiceRef]:
        """What the routes of its entries may call."""
        return frozenset(self._services.get(plane, ()))

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        """The one that serves it."""
        verdict = self._attachments.verdict(subscription)
        return verdict.gateway.metadata.key if isinstance(verdict, Attached) else None

    def attached_to(self, gateway: ObjectKey) -> int:
        """How many subscriptions it serves."""
        return self._attachments.attached_to(gateway)

    def _look_at_gateways(self, view: ClusterView, changes: _Changes) -> None:
        declared = {key: each for key, each in view.gateways.items() if key.namespace == self._rules.gateway_namespace}
        if declared.keys() == self._declared.keys() and all(
            each is self._declared[key] for key, each in declared.items()
        ):
            return
        unreadable = set()
        gateways: dict[ObjectKey, WebhookGateway] = {}
        for key, each in declared.items():
            known = self._gateways.get(key)
            if isinstance(each.resource, WebhookGateway):
                gateways[key] = each.resource
                self._report(GATEWAY, key, report_gateway(each.resource), changes)
            elif isinstance(each.resource, Unreadable):
                self._report(GATEWAY, key, report_unreadable(each.resource), changes)
                # What can't be read is no wish to refuse everybody: it goes on as it was.
                if known and known.metadata.uid == each.uid:
                    gateways[key] = known
                else:
                    unreadable.add(key.name)
        for key in self._declared.keys() - declared.keys():
            self._report(GATEWAY, key, None, changes)
        self._unreadable = frozenset(unreadable)
        self._touch_hostnames(gateways, changes)
        self._declared, self._gateways = declared, gateways
        self._attachments.set_gateways(gateways.values())

    def _touch_hostnames(self, gateways: Mapping[ObjectKey, WebhookGateway], changes: _Changes) -> None:
        for plane in self._planes:
            key = ObjectKey(self._rules.gateway_namespace, plane.partition(".")[0])
            old, new = self._gateways.get(key), gateways.get(key)
            if (old.hostnames if old else ()) != (new.hostnames if new else ()):
                self._touch(ShardName(plane, 0), changes)

    def _look_at_pods(self, view: ClusterView) -> list[ObjectKey]:
        """The subscriptions whose own plane has got its first pod, or has none any more."""
        before, self._pods = self._pods, _planes_with_pods(view, self._rules.gateway_namespace)
        changed = {plane for plane in before ^ self._pods if is_dedicated(plane)}
        return [ObjectKey(*plane.split(".", 2)[1:]) for plane in sorted(changed) if plane.count(".") == 2]

    def _admit(self, key: ObjectKey, view: ClusterView) -> None:
        declared = view.subscriptions.get(key)
        if declared is None or declared.deleting or not isinstance(declared.resource, WebhookSubscription):
            self._attachments.remove(key)
            return
        namespace = view.namespaces.get(key.namespace)
        self._attachments.put(declared.resource, namespace.labels if namespace else {})

    def _unattached(self, key: ObjectKey, view: ClusterView) -> CompiledSubscription | None:
        """Of one that can't be read, if it is ours; None for what is not there, or is another installation's."""
        declared = view.subscriptions.get(key)
        if declared is None or declared.deleting or not isinstance(declared.resource, Unreadable):
            return None
        unreadable = declared.resource
        ours = self._rules.is_ours(unreadable.gateway_ref or GatewayRef())
        return CompiledSubscription(None, report_unreadable(unreadable)) if ours else None

    def _take(self, key: ObjectKey, compiled: CompiledSubscription | None, changes: _Changes) -> None:
        changes.cause = key.namespace
        self._report(SUBSCRIPTION, key, compiled.report if compiled else None, changes)
        entry = compiled.entry if compiled else None
        old, new = self._placed.get(key), self._place(entry) if entry else None
        # One that was made anew has another uid, and may be in the same shard: nothing of the old one stays.
        same = old is not None and new is not None and old.uid == new.uid
        before, after = old.parts if old else {}, new.parts if new else {}
        for shard in before.keys() - (after.keys() if same else ()):
            self._put(shard, old.uid if old else "", None, changes)
        for shard, data in after.items():
            self._put(shard, new.uid if new else "", data, changes)
        if old and (new is None or old.uid != new.uid or new.allowed.is_less_than(old.allowed)):
            changes.urgent |= before.keys()
        self._count(old, new)
        self._placed.pop(key, None)
        if old and self._by_uid.get(old.uid) == key:
            del self._by_uid[old.uid]
        if new:
            self._placed[key] = new
            self._by_uid[new.uid] = key
        changes.missing += [Missing(key, each) for each in compiled.missing] if compiled else []

    def _leave(self, key: ObjectKey, verdict: Verdict | None, changes: _Changes) -> None:
        """Have it served as it was, unless its place may be another's by now."""
        if verdict is None:
            return
        metadata, old = verdict.subscription.metadata, self._placed.get(key)
        same = old is not None and (old.uid, old.allowed.path) == (metadata.uid, verdict.subscription.path)
        if same and old and isinstance(verdict, Attached) and old.home.plane.partition(".")[0] == verdict.shared_plane:
            self._report(SUBSCRIPTION, key, report_fault(metadata), changes)
        else:
            self._take(key, CompiledSubscription(None, report_fault(metadata)), changes)

    def _place(self, entry: Entry) -> _Placed:
        attached, endpoint = entry.attached, entry.endpoint
        uid, whole = endpoint.subscription.uid, whole_entry(entry)
        home = shard_with(attached.plane, uid)
        parts = {home: whole}
        if attached.dedicated:
            parts[shard_with(attached.shared_plane, uid)] = whole
        elif attached.own_plane in self._pods:
            parts[shard_with(attached.own_plane, uid)] = whole
        allowed = _Allowed(
            endpoint.path,
            endpoint.suspended,
            frozenset(endpoint.app_ids),
            frozenset(each.salt for each in endpoint.verifiers),
        )
        return _Placed(uid, home, parts, allowed, frozenset(entry.services))

    def _put(self, shard: ShardName, uid: str, data: bytes | None, changes: _Changes) -> None:
        entries = self._entries.setdefault(shard, {})
        old = entries.get(uid)
        if old == data:
            return
        self._sizes[shard] += len(data or b"") - len(old or b"")
        if data is None:
            del entries[uid]
        else:
            entries[uid] = data
        self._touch(shard, changes)

    def _make_room(self, changes: _Changes) -> None:
        """The largest have to go where a shard has become too large: nobody can crowd out smaller ones than their own."""
        for shard in changes.shards:
            if self._sizes[shard] <= self._shard_bytes and shard not in self._crowded:
                continue
            before = self._crowded.pop(shard, frozenset())
            size, crowded = self._sizes[shard], set()
            for uid, data in sorted(self._entries.get(shard, {}).items(), key=lambda each: (-len(each[1]), each[0])):
                if size <= self._shard_bytes:
                    break
                size -= len(data)
                crowded.add(uid)
            if crowded:
                self._crowded[shard] = frozenset(crowded)
            keys = (self._by_uid.get(uid) for uid in before ^ crowded)
            changes.reports |= {(SUBSCRIPTION, key) for key in keys if key}

    def _touch(self, shard: ShardName, changes: _Changes) -> None:
        self._hashes.pop(shard, None)
        changes.shards.add(shard)
        changes.causes.setdefault(shard, set()).add(changes.cause)

    def _count(self, old: _Placed | None, new: _Placed | None) -> None:
        for placed, amount in ((old, -1), (new, 1)):
            for shard in placed.parts if placed else ():
                services = self._services.setdefault(shard.plane, Counter())
                for service in placed.services if placed else ():
                    services[service] += amount
                    if not services[service]:
                        del services[service]
                if is_dedicated(shard.plane):
                    self._own[shard.plane] += amount
                    if not self._own[shard.plane]:
                        del self._own[shard.plane]

    def _report(self, kind: str, key: ObjectKey, report: ObjectReport | None, changes: _Changes) -> None:
        if self._reports.get((kind, key)) == report:
            return
        if report is None:
            del self._reports[kind, key]
        else:
            self._reports[kind, key] = report
        changes.reports.add((kind, key))

    def _look_at_planes(self, changes: _Changes) -> None:
        shared = {key.name for key in self._gateways}
        planes = frozenset(shared | self._unreadable | self._own.keys() | self._pods)
        frozen = frozenset(plane for plane in planes if plane.partition(".")[0] in self._unreadable)
        for plane in planes - self._planes | self._frozen - frozen:
            changes.cause = plane.split(".")[1] if is_dedicated(plane) else ""
            for shard in shards_in(plane):
                self._touch(shard, changes)
        for plane in self._planes - planes:
            self._services.pop(plane, None)
            for shard in shards_in(plane):
                self._entries.pop(shard, None)
                self._sizes.pop(shard, None)
                self._crowded.pop(shard, None)
                self._hashes.pop(shard, None)
        self._planes, self._frozen = planes, frozen

    def _hostnames(self, shard: ShardName) -> Iterable[str]:
        if shard.index:
            return ()
        gateway = self._gateways.get(ObjectKey(self._rules.gateway_namespace, shard.plane.partition(".")[0]))
        return gateway.hostnames if gateway else ()


def _planes_with_pods(view: ClusterView, namespace: str) -> frozenset[str]:
    return frozenset(pod.plane for pod in view.pods.values() if pod.plane and pod.key.namespace == namespace)
