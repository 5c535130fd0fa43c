"""
The receiver pods of this installation, followed: what each plane serves, and when credentials were last used.

`ports.Served` is this. A pod counts from its last report for 15 seconds; then nothing is known of it until it reports again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from hookline.agent.v1.agent_pb2 import FollowResponse
from hookline_operator.agents.stream import SILENCE, AgentStream
from hookline_operator.observe.objects import Pod
from hookline_operator.ports import ClusterView, ShardRevision

AGENT_PORT = 8083
"""Where agents report unless their Pod says otherwise."""

MAX_PODS = 2000
"""Followed at once."""

LOOK_SECONDS = 1.0
"""Between two looks which pods there are; `look` makes the next one come at once."""

PRUNE_SECONDS = 600.0

log = logging.getLogger(__name__)

OnServed = Callable[[str, frozenset[int]], None]
"""Is told of a plane, and which of its shards are served otherwise than before."""

OnUsed = Callable[[frozenset[str]], None]
"""Is told of uids of subscriptions whose credentials were used."""


class Stream(Protocol):
    """Follows one agent."""

    async def run(self) -> None:
        """Until cancelled."""


MakeStream = Callable[[str, str, Callable[[FollowResponse], None]], Stream]
"""From a pod's name, an address, and who is to be told."""


@dataclass(slots=True)
class _Followed:
    """One pod, and its agent's last report."""

    pod: Pod
    address: str
    task: "asyncio.Task[None] | None" = None
    revisions: tuple[int, ...] = ()
    in_sync: bool = False
    trouble: str = "it has not reported yet"
    held: int | None = None
    heard: float = float("-inf")
    answers: bool = False
    """Whether its last report still counts."""

    def serves(self, shard: ShardRevision) -> bool:
        """Whether it serves that revision, or a later one."""
        return self.answers and shard.index < len(self.revisions) and self.revisions[shard.index] >= shard.revision


class AgentDirectory:
    """All of them. One event loop's."""

    def __init__(
        self,
        cluster: ClusterView,
        namespace: str,
        token: Callable[[], str],
        *,
        on_served: OnServed,
        on_used: OnUsed,
        make_stream: MakeStream | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*namespace*: of the installation; pods of other namespaces are never asked. *token*: of the internal Secret."""
        self._cluster = cluster
        self._namespace = namespace
        self._on_served = on_served
        self._on_used = on_used
        self._make_stream = make_stream or (lambda pod, address, hears: AgentStream(pod, address, token, hears))
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._planes: dict[str, list[_Followed]] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._stranded: dict[str, set[str]] = {}
        self._looking = asyncio.Event()
        self._pruned_at = clock()
        self._full = False

    # --- what lanes ask

    def pods_of(self, plane: str) -> int:
        """Receiver pods that take traffic (ready ones)."""
        return sum(each.pod.ready for each in self._planes.get(plane, ()))

    def synced_of(self, plane: str) -> int:
        """Ready ones that serve everything that their agent knows was published."""
        return sum(each.pod.ready and each.answers and each.in_sync for each in self._planes.get(plane, ()))

    def behind(self, shard: ShardRevision) -> tuple[str, ...]:
        """Names of the ready pods that do not serve that revision yet, or do not answer; sorted."""
        pods = self._planes.get(shard.plane, ())
        return tuple(sorted(each.pod.key.name for each in pods if each.pod.ready and not each.serves(shard)))

    def holds_nothing(self, plane: str) -> bool:
        """
        Whether every pod of the plane says that no event waits in it, ready or not; False while one has not said.

        One that is gone and last said otherwise still holds it, in its volume, until a pod of its name says so.
        """
        return plane not in self._stranded and all(
            each.answers and each.held == 0 for each in self._planes.get(plane, ())
        )

    def troubles_of(self, plane: str) -> Mapping[str, str]:
        """Why pods are not in sync, for people, by name."""
        pods = self._planes.get(plane, ())
        return {
            each.pod.key.name: each.trouble if each.answers else "its agent does not answer"
            for each in pods
            if not (each.answers and each.in_sync)
        }

    def last_used(self, subscription_uid: str) -> Mapping[str, datetime]:
        """When each credential of the subscription ("{secret}@{resourceVersion}") was last used, as far as pods remember."""
        found = self._used.get(subscription_uid, {})
        return {name: datetime.fromtimestamp(seconds, UTC) for name, seconds in found.items()}

    # --- the work

    def look(self) -> None:
        """Pods changed: see to it now."""
        self._looking.set()

    async def run(self) -> None:
        """Follow pods as they come, until cancelled."""
        try:
            while True:
                self._looking.clear()
                await self._align()
                self._notice_silence()
                self._prune()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._looking.wait()
                except TimeoutError:
                    pass
        finally:
            await self._drop(list(self._followed))

    async def _align(self) -> None:
        """Follow the pods that there are, and no others."""
        wanted = self._wanted()
        gone = [
            uid for uid, each in self._followed.items() if uid not in wanted or each.address != _address(wanted[uid])
        ]
        moved = {self._followed[uid].pod.plane for uid in gone}
        for each in map(self._followed.__getitem__, gone):
            if each.held:
                self._stranded.setdefault(each.pod.plane, set()).add(each.pod.key.name)
        await self._drop(gone)
        for uid, pod in wanted.items():
            known = self._followed.get(uid)
            if known is None:
                self._followed[uid] = self._begin(pod)
                moved.add(pod.plane)
            elif known.pod is not pod:
                if (known.pod.ready, known.pod.plane) != (pod.ready, pod.plane):
                    moved |= {known.pod.plane, pod.plane}
                known.pod = pod
        if moved:
            self._planes = {}
            for each in self._followed.values():
                self._planes.setdefault(each.pod.plane, []).append(each)
        for plane in sorted(moved):
            self._on_served(plane, self._all_shards(plane))

    def _wanted(self) -> Mapping[str, Pod]:
        pods = [
            pod
            for key, pod in self._cluster.pods.items()
            if pod.plane and key.namespace == self._namespace and pod.addresses
        ]
        if len(pods) > MAX_PODS and not self._full:
            log.error("there are more receiver pods than can be followed", extra={"pods": len(pods), "limit": MAX_PODS})
        self._full = len(pods) > MAX_PODS
        pods.sort(key=lambda pod: (pod.uid not in self._followed, pod.key.name))
        return {pod.uid: pod for pod in pods[:MAX_PODS]}

    def _begin(self, pod: Pod) -> _Followed:
        followed = _Followed(pod, _address(pod))
        stream = self._make_stream(pod.key.name, followed.address, lambda report: self._hear(followed, report))
        followed.task = asyncio.create_task(stream.run(), name=f"agent {pod.key.name}")
        return followed

    async def _drop(self, uids: Iterable[str]) -> None:
        tasks = [task for uid in uids if (task := self._followed.pop(uid).task) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hear(self, followed: _Followed, report: FollowResponse) -> None:
        if report.plane != followed.pod.plane:
            # Another pod under an address that was this one's.
            log.warning("an agent serves another plane", extra={"pod": followed.pod.key.name, "plane": report.plane})
            return
        before, knew, synced = followed.revisions, followed.answers, followed.in_sync
        followed.revisions = tuple(report.route_revisions)
        followed.in_sync, followed.trouble = report.in_sync, report.trouble
        followed.held = report.held if report.HasField("held") else None
        followed.heard, followed.answers = self._clock(), True
        self._note_held(followed)
        changed = _changed(before if knew else (), followed.revisions)
        if changed or not knew or synced != followed.in_sync:
            self._on_served(followed.pod.plane, changed)
        self._note_uses(report)

    def _note_held(self, followed: _Followed) -> None:
        """A pod that is back under its name says itself what it holds."""
        plane = followed.pod.plane
        stranded = self._stranded.get(plane, set())
        stranded.discard(followed.pod.key.name)
        if not stranded:
            self._stranded.pop(plane, None)

    def _note_uses(self, report: FollowResponse) -> None:
        news: set[str] = set()
        for use in report.used:
            times = self._used.setdefault(use.subscription_uid, {})
            if times.get(use.credential, -1) < use.last_used.seconds:
                times[use.credential] = use.last_used.seconds
                news.add(use.subscription_uid)
        if news:
            self._on_used(frozenset(news))

    def _notice_silence(self) -> None:
        now = self._clock()
        for each in self._followed.values():
            if each.answers and now - each.heard > SILENCE:
                each.answers = False
                log.warning("an agent does not answer", extra={"pod": each.pod.key.name})
                self._on_served(each.pod.plane, frozenset(range(len(each.revisions))))

    def _prune(self) -> None:
        """Forget uses of subscriptions that are gone."""
        if self._clock() - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = self._clock()
            uids = {declared.uid for declared in self._cluster.subscriptions.values()}
            self._used = {uid: times for uid, times in self._used.items() if uid in uids}

    def _all_shards(self, plane: str) -> frozenset[int]:
        return frozenset(range(max((len(each.revisions) for each in self._planes.get(plane, ())), default=0)))


def _address(pod: Pod) -> str:
    """Where its agent reports; an IPv4 address if it has one."""
    found = min(pod.addresses, key=lambda each: (":" in each, each))
    port = pod.agent_port or AGENT_PORT
    return f"[{found}]:{port}" if ":" in found else f"{found}:{port}"


def _changed(before: tuple[int, ...], after: tuple[int, ...]) -> frozenset[int]:
    longest = max(len(before), len(after))
    one, other = (each + (0,) * (longest - len(each)) for each in (before, after))
    return frozenset(index for index in range(longest) if one[index] != other[index])
