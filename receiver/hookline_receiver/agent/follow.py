"""
Brings the files to the target, in an order in which no event is lost, and knows what the pod's programs serve of them.

Each step looks at what is served and writes what may be written by that; steps follow each other until all of the target
is in the files and served, and then when something changes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from hookline_receiver.agent.contents import with_subscriptions, without_endpoints
from hookline_receiver.agent.order import ForwarderShard, ReceiverShard, held_back, leaving
from hookline_receiver.agent.pod import Absent, Serving, Silent
from hookline_receiver.agent.report import Report, Use
from hookline_receiver.agent.seen import SILENCE, Seen, Waiting, part_of, remember
from hookline_receiver.agent.snapshots import Index, NamedPart, SnapshotFile
from hookline_receiver.agent.tags import tag_keys
from hookline_receiver.agent.target import Files, RouteParts, Target
from hookline_receiver.parts import PartUnreadable
from hookline_receiver.tag_keys import TagKeys

FAST, SLOW, IDLE = 0.02, 0.2, 1.0
"""Seconds between two looks at what is served: just after a change, when it takes longer, and when there is nothing to do."""

FAST_FOR = 2.0
UNREAD = -1
"""In place of a number of subscriptions: the shard is as it was before."""

PRUNE_SECONDS = 60.0
log = logging.getLogger(__name__)


class Programs(Protocol):
    """The receiver and the forwarder of this pod."""

    async def receiver(self) -> Serving:
        """What each of its workers serves."""

    async def forwarder(self) -> Serving:
        """What it serves."""

    async def credentials(self) -> Mapping[str, int]:
        """When each credential was last used, seconds since the epoch; raises Absent or Silent."""


class Follower:
    """The pod's snapshots; `run` keeps them."""

    def __init__(
        self,
        target: Target,
        files: Files,
        programs: Programs,
        tag_key: Callable[[], bytes],
        watch_trouble: Callable[[], str],
        *,
        linger: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*watch_trouble* says why what is known may be old, "" where the watches are alive."""
        self._target = target
        self._files = files
        self._programs = programs
        self._tag_key = tag_key
        self._watch_trouble = watch_trouble
        self._linger = linger
        self._clock = clock
        self._receiver = Seen(clock())
        self._forwarder = Seen(clock())
        self._receiver_versions: dict[str, Index] = {}
        self._forwarder_versions: dict[str, Index] = {}
        self._in_use: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._told = asyncio.Condition()
        self._pruned_at = clock()
        self._trouble = "nothing was looked at yet"
        self._unread = ""
        self.waiting = Waiting()
        self.report = Report((), False, "starting")
        self.subscriptions = 0
        """Published, when the last step was taken: counted there, as it may read files."""
        self.snapshots_written = 0
        self.served_all_at_start = False
        self.caught_up = False
        """Whether everything was served once that was published when the lists of this start had ended."""
        self._to_catch_up: tuple[int, ...] | None = None
        self.written_at = 0.0
        self.unserved_since = 0.0

    # --- what others ask

    def wake(self) -> None:
        """Something changed: take a step now."""
        self._woken.set()

    async def moved(self, seen: Report, within: float) -> None:
        """Return when the report is not *seen* any more, or after *within* seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within), self._told:
                await self._told.wait_for(lambda: self.report != seen)

    async def used(self) -> Sequence[Use]:
        """When each credential was last used, as far as the receiver says."""
        try:
            times = await self._programs.credentials()
            return await asyncio.to_thread(
                lambda: [Use(uid, name, at) for name, at in times.items() for uid in self._target.opened_by(name)]
            )
        except (Absent, Silent, PartUnreadable):
            return ()

    @property
    def running(self) -> Mapping[str, bool]:
        """Which of the pod's programs run, when they were last asked."""
        return {"receiver": self._receiver.running, "forwarder": self._forwarder.running}

    @property
    def tags_incomplete(self) -> bool:
        """Whether passwords are verified without tags, as there are tables of a key that is not mounted."""
        current = self._files.receiver.current
        return current is not None and current.tags.incomplete

    @property
    def settled(self) -> bool:
        """Whether the files hold the target, and all that runs serves what is in the files."""
        return self._published() and self._served()

    # --- the work

    async def run(self) -> None:
        """Until cancelled. A full disk is tried again."""
        await self._begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(self._receiver, self._programs.receiver))
            group.create_task(self._look(self._forwarder, self._programs.forwarder))
            group.create_task(self._work())

    async def _begin(self) -> None:
        for file, versions in (
            (self._files.receiver, self._receiver_versions),
            (self._files.forwarder, self._forwarder_versions),
        ):
            if file.current is not None:
                versions[file.current.version] = file.current
        receiver, forwarder = await asyncio.gather(self._programs.receiver(), self._programs.forwarder())
        self._note(self._receiver, receiver)
        self._note(self._forwarder, forwarder)
        self.served_all_at_start = self._receiver.running and self._served()

    async def _look(self, seen: Seen, ask: Callable[[], Awaitable[Serving]]) -> None:
        """Ask one program again and again. On its own: one that hangs must not delay what is for the other."""
        while True:
            seen.hurry.clear()
            if self._note(seen, await ask()):
                self._woken.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause() if seen.running else min(SLOW, self._pause())):
                    await seen.hurry.wait()

    def _note(self, seen: Seen, serving: Serving) -> bool:
        """Whether it serves something else than before."""
        now = self._clock()
        changed = seen.note(serving, now)
        for version in self._receiver.versions or ():
            self._in_use[version] = now
        self._in_use = {version: at for version, at in self._in_use.items() if now - at < self._linger}
        return changed

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(SLOW if self.waiting.leaving else IDLE):
                    await self._woken.wait()

    async def _step(self) -> None:
        """Write what may be written, and tell."""
        trouble = ""
        try:
            if await asyncio.to_thread(self._write):
                self.snapshots_written += 1
                self.written_at = self._clock()
                self._receiver.hurry.set()
                self._forwarder.hurry.set()
            trouble = self._unread
            if self._clock() - self._pruned_at > PRUNE_SECONDS:
                self._pruned_at = self._clock()
                await asyncio.to_thread(self._target.forget)
        except OSError as error:
            trouble = f"the snapshot can't be written: {error}"
        if trouble and trouble != self._trouble:
            log.error("the snapshot can't be written, it is tried again", extra={"reason": trouble})
        self._trouble = trouble
        await self._tell()

    def _pause(self) -> float:
        if self.settled:
            return IDLE
        return FAST if self._clock() - self.written_at < FAST_FOR else SLOW

    # --- writing

    def _write(self) -> bool:
        """Whether anything was written. The order counts: endpoints, forwarder, receiver."""
        wrote = False
        if (endpoints := self._target.endpoints) is not None:
            wrote = self._files.endpoints.write(Index(tuple(endpoints)))
        shards = self._target.routes
        if shards is None or not self._tag_key():
            return wrote
        held = left = 0
        receiver: list[NamedPart] = []
        forwarder: list[NamedPart] = []
        made_with: list[bytes | None] = []
        self._unread = ""
        for index, shard in enumerate(shards):
            part, count = self._or_before(self._files.forwarder, index, self._forwarder_part, shard)
            forwarder.append(part)
            left += max(count, 0)
            part, count = self._or_before(self._files.receiver, index, self._receiver_part, shard)
            receiver.append(part)
            held += max(count, 0)
            made_with.append(None if count == UNREAD else shard.tag_key_id)
        if self._files.forwarder.write(Index(tuple(forwarder))):
            wrote = True
            remember(self._forwarder_versions, self._files.forwarder.current)
        if self._files.receiver.write(Index(tuple(receiver), _hostnames(shards), self._tags(made_with))):
            wrote = True
            remember(self._receiver_versions, self._files.receiver.current)
        self.waiting = Waiting(held, left)
        with suppress(PartUnreadable):
            self.subscriptions = sum(len(self._target.subscription_uids(each.forwarder)) for each in shards)
        return wrote

    def _or_before(
        self,
        file: SnapshotFile,
        index: int,
        decide: Callable[[int, RouteParts], tuple[NamedPart, int]],
        shard: RouteParts,
    ) -> tuple[NamedPart, int]:
        """What *decide* says; where a part can't be read that it goes by, the shard as it was before, and UNREAD."""
        try:
            return decide(index, shard)
        except PartUnreadable as error:
            if (current := part_of(file.current, index)) is None:
                raise OSError(str(error)) from error
            self._unread = f"a table is served as it was before: {error}"
            return current, UNREAD

    def _tags(self, made_with: Iterable[bytes | None]) -> TagKeys:
        """The keys of the tags of shards that were *made_with* keys of these names."""
        current = self._files.receiver.current
        return tag_keys(made_with, self._tag_key(), current.tags if current else None)

    def _receiver_part(self, index: int, shard: RouteParts) -> tuple[NamedPart, int]:
        """What the receiver may be given of a shard, and how many subscriptions are held back."""
        current = part_of(self._files.receiver.current, index)
        if current is not None and current.name == shard.receiver:
            return NamedPart(shard.receiver, shard.revision), 0
        known = ReceiverShard(
            target=self._target.endpoint_uids(shard.receiver),
            in_force=self._target.endpoint_uids(current.name) if current else frozenset(),
        )
        held = held_back(known, self._forwarder_serves(index))
        if not held:
            return NamedPart(shard.receiver, shard.revision), 0
        content = without_endpoints(self._files.receiver.read(shard.receiver), held)
        return NamedPart(self._files.receiver.put(content), current.revision if current else 0), len(held)

    def _forwarder_part(self, index: int, shard: RouteParts) -> tuple[NamedPart, int]:
        """What the forwarder is to have of a shard, and how many subscriptions are leaving."""
        current = part_of(self._files.forwarder.current, index)
        if current is None or current.name == shard.forwarder:
            return NamedPart(shard.forwarder, shard.revision), 0
        known = ForwarderShard(
            target=self._target.subscription_uids(shard.forwarder),
            in_force=self._target.subscription_uids(current.name),
        )
        gone = leaving(known, self._receivers_serve(index))
        if not gone:
            return NamedPart(shard.forwarder, shard.revision), 0
        before = self._files.forwarder.read(current.name)
        content = with_subscriptions(self._files.forwarder.read(shard.forwarder), before, gone)
        return NamedPart(self._files.forwarder.put(content), shard.revision), len(gone)

    def _forwarder_serves(self, index: int) -> frozenset[str] | None:
        """Subscriptions of a shard that the forwarder surely knows; None: it isn't running, or silent for too long."""
        if not self._forwarder.running or self._forwarder.versions is None:
            return (
                None if self._clock() - self._forwarder.heard > SILENCE or not self._forwarder.running else frozenset()
            )
        found = [self._forwarder_versions.get(version) for version in self._forwarder.versions]
        parts = [part for each in found if (part := part_of(each, index)) is not None]
        if len(parts) < len(found) or not parts:
            return frozenset()
        try:
            return frozenset.intersection(*(self._target.subscription_uids(part.name) for part in parts))
        except PartUnreadable:
            return frozenset()

    def _receivers_serve(self, index: int) -> Sequence[frozenset[str]] | None:
        """Subscriptions of a shard by worker, or that a worker served a moment ago; None: not known."""
        if self._receiver.running and self._receiver.versions is None:
            return None
        in_file = self._files.receiver.current
        found = [in_file, *(self._receiver_versions.get(version) for version in self._in_use if version)]
        if in_file is None:
            found = found[1:]
        parts = [part_of(each, index) for each in found]
        if any(part is None for part in parts):
            return None
        try:
            return [self._target.endpoint_uids(part.name) for part in parts if part is not None]
        except PartUnreadable:
            return None

    # --- telling

    def _published(self) -> bool:
        """Whether the files hold the target."""
        shards = self._target.routes
        receiver, forwarder = self._files.receiver.current, self._files.forwarder.current
        if shards is None or receiver is None or forwarder is None or self._target.endpoints is None:
            return False
        return (
            [(each.receiver, each.revision) for each in shards]
            == [(part.name, part.revision) for part in receiver.parts]
            and [each.revision for each in shards] == [part.revision for part in forwarder.parts]
            and receiver.hostnames == _hostnames(shards)
            and receiver.tags == self._tags(each.tag_key_id for each in shards)
        )

    def _served(self) -> bool:
        """Whether every worker, and the forwarder if it runs, serves what the files hold."""
        receiver, forwarder = self._files.receiver.current, self._files.forwarder.current
        if receiver is None or forwarder is None or self._receiver.versions != frozenset({receiver.version}):
            return False
        return not self._forwarder.running or self._forwarder.versions == frozenset({forwarder.version})

    def _revisions(self) -> tuple[int, ...]:
        """By shard, the revision that every worker and the forwarder serve; 0 where that is not known."""
        if not self._receiver.versions:
            return ()
        served = [self._receiver_versions.get(version) for version in self._receiver.versions]
        if self._forwarder.running:
            served += [self._forwarder_versions.get(version) for version in self._forwarder.versions or {""}]
        indexes = [each.parts for each in served if each is not None]
        if len(indexes) < len(served):
            return ()
        return tuple(min(part.revision for part in parts) for parts in zip(*indexes, strict=False))

    async def _tell(self) -> None:
        trouble = self._why()
        report = Report(self._revisions(), not trouble, trouble, self._forwarder.held)
        now = self._clock()
        self.unserved_since = 0.0 if self.settled else (self.unserved_since or now)
        self._catch_up(report.revisions)
        before, self.report = self.report, report
        if report != before:
            async with self._told:
                self._told.notify_all()

    def _catch_up(self, revisions: tuple[int, ...]) -> None:
        shards = self._target.routes
        if self.caught_up or not self._target.complete or shards is None or self._target.endpoints is None:
            return
        if self._to_catch_up is None:
            self._to_catch_up = tuple(shard.revision for shard in shards)
        wanted = self._to_catch_up
        passed = len(revisions) == len(wanted) and all(map(int.__ge__, revisions, wanted))
        self.caught_up = self.settled or (passed and self._files.endpoints.current is not None)

    def _why(self) -> str:
        """Why the pod is not in sync, for people; "" if it is."""
        if trouble := self._trouble or self._watch_trouble():
            return trouble
        if troubles := self._target.troubles:
            return f"{troubles[0]} (and {len(troubles) - 1} more)" if len(troubles) > 1 else troubles[0]
        if not self._tag_key():
            return "the key tagKey is missing"
        if self._target.routes is None or self._target.endpoints is None:
            return "not all tables were published yet"
        if not self._published():
            return f"{self.waiting.held_back} new subscriptions wait for the forwarder"
        return "" if self._served() else "not all workers serve the newest snapshot yet"


def _hostnames(shards: Sequence[RouteParts]) -> tuple[str, ...]:
    return tuple(sorted({name for shard in shards for name in shard.hostnames}))
