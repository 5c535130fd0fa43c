"""The order of the files where a part of them can't be read: nothing is lost, nobody is refused, and somebody is told."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from hookline.routing.v1.snapshot_pb2 import EndpointTable, ForwarderSnapshot, ReceiverSnapshot
from hookline.routing.v1.table_pb2 import RouteShard
from hookline_receiver.agent.follow import Follower
from hookline_receiver.agent.pod import Serving
from hookline_receiver.agent.process import Agent
from hookline_receiver.agent.settings import Settings
from hookline_receiver.agent.snapshots import SnapshotFile
from hookline_receiver.agent.target import ENDPOINTS, ROUTES, Files, Target
from hookline_receiver.parts import part_file
from hookline_routes.shard import spec_of, split
from hookline_routes.verifier import tag_key_id
from support.agent import a_tenant, uids_in_files
from support.receiver import TAG_KEY
from support.waiting import until

CHAT, CALLS = a_tenant("chat"), a_tenant("calls")
CHAT_UID, CALLS_UID = (each.subscription.ref.uid for each in (CHAT, CALLS))


class Pod:
    """A follower's files, and programs that serve what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.files = Files(
            SnapshotFile(folder / "receiver.binpb", ReceiverSnapshot),
            SnapshotFile(folder / "forwarder.binpb", ForwarderSnapshot),
            SnapshotFile(folder / "endpoints.binpb", EndpointTable),
        )
        self.target = Target("default", self.files, lambda: self.follower.wake())
        self.follower = Follower(self.target, self.files, self, lambda: TAG_KEY, str, linger=0.05)
        self.receiver_serves = ""
        self.forwarder_serves = ""
        self.forwarder_runs = True

    async def publish(self, revision: int, *entries: object) -> None:
        """The plane's only shard."""
        routes = RouteShard(format=1, entries=entries, tag_key_id=tag_key_id(TAG_KEY))  # type: ignore[arg-type]
        for plural, content in ((ROUTES, routes), (ENDPOINTS, EndpointTable(format=1))):
            chunks = split("default", 0, 1, revision, content.SerializeToString(deterministic=True))
            await self.target.page(plural, [{"metadata": {"name": c.name}, "spec": spec_of(c)} for c in chunks])
            await self.target.listed(plural, frozenset(c.name for c in chunks))

    async def receiver(self) -> Serving:
        """As `Programs`."""
        return Serving(True, frozenset({self.receiver_serves}) if self.receiver_serves else None)

    async def forwarder(self) -> Serving:
        """As `Programs`."""
        return Serving(self.forwarder_runs, frozenset({self.forwarder_serves}) if self.forwarder_serves else None)

    async def credentials(self) -> Mapping[str, int]:
        """As `Programs`."""
        return {CHAT.endpoint.verifiers[0].credential: 1}

    def served(self) -> "Pod":
        """The same, once both programs serve what is in the files by now: a file is there before it is the one in force."""
        assert self.files.receiver.current is not None
        assert self.files.forwarder.current is not None
        self.receiver_serves = self.files.receiver.current.version
        self.forwarder_serves = self.files.forwarder.current.version
        return self

    def lose(self, file: SnapshotFile) -> None:
        """The disk gives the part back no more."""
        assert file.current is not None
        part_file(file.path, file.current.parts[0].name).write_bytes(b"not what its name says")

    def receives(self) -> Collection[str]:
        """Subscriptions in the receiver's file."""
        return uids_in_files(self.files.receiver.path, ReceiverSnapshot)

    def delivers(self) -> Collection[str]:
        """Subscriptions in the forwarder's file."""
        return uids_in_files(self.files.forwarder.path, ForwarderSnapshot)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """Both subscriptions are in its files; its agent has just started anew, so it knows them from there only."""

    async def leave() -> None:
        before = Pod(tmp_path)
        before.target.open()
        before.forwarder_runs = False
        await before.publish(1, CHAT, CALLS)
        async with running(before):
            await until(lambda: before.files.receiver.current is not None)
        assert before.receives() == before.delivers() == {CHAT_UID, CALLS_UID}

    asyncio.run(leave())
    made = Pod(tmp_path)
    made.target.open()
    made.served()
    return made


class running:
    """The follower of a pod, while the block lasts."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._pod.follower.run())

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


def told(pod: Pod) -> bool:
    return "served as it was before" in pod.follower.report.trouble


async def test_a_part_of_the_forwarders_that_is_lost_takes_no_routes_away(pod: Pod) -> None:
    """What can't be read is not empty: events that a worker still takes must find their routes."""
    assert pod.files.forwarder.current is not None
    before = pod.files.forwarder.current.parts
    pod.lose(pod.files.forwarder)

    await pod.publish(2, CHAT)
    async with running(pod):
        await until(lambda: pod.receives() == {CHAT_UID})
        await until(lambda: told(pod))
        assert pod.files.forwarder.current.parts == before
        assert not pod.follower.report.in_sync

        # It is written again when it comes again.
        await pod.publish(3, CHAT, CALLS)
        await until(lambda: pod.delivers() == {CHAT_UID, CALLS_UID})


async def test_a_part_of_the_receivers_that_is_lost_refuses_nobody(pod: Pod) -> None:
    """Whom the receiver knows it goes on knowing, also while the forwarder is silent."""
    assert pod.files.receiver.current is not None
    before = pod.files.receiver.current.parts
    pod.lose(pod.files.receiver)
    pod.forwarder_serves = ""

    await pod.publish(2, CHAT, CALLS, a_tenant("more"))
    async with running(pod):
        await until(lambda: told(pod))
        assert pod.files.receiver.current.parts == before


async def test_what_a_worker_serves_by_a_part_that_is_gone_may_be_anything(pod: Pod) -> None:
    """A worker that hangs for a minute serves what is on no disk any more; the forwarder keeps all that it may take."""
    async with running(pod):
        await pod.publish(2, CHAT, a_tenant("more"), CALLS)
        await until(lambda: len(pod.delivers()) == 3)
        await until(lambda: len(pod.served().receives()) == 3)
        await until(lambda: set(pod.served().follower._in_use) == {pod.receiver_serves})
        await pod.publish(3, CHAT)
        await until(lambda: pod.receives() == {CHAT_UID})
        for part in pod.files.receiver.path.with_suffix(".parts").iterdir():
            if part.stem not in pod.files.receiver.current.names:
                part.unlink()
        pod.target.forget()

        await pod.publish(4, a_tenant("chat", namespace="other", uid=CHAT_UID))
        await until(lambda: pod.files.forwarder.current.parts[0].revision == 4)
        assert CALLS_UID in pod.delivers()


async def test_the_report_goes_on_without_the_credentials_of_a_part_that_is_lost(pod: Pod) -> None:
    """It says when each was last used; of these nobody knows whom they open."""
    pod.lose(pod.files.receiver)

    assert await pod.follower.used() == ()


async def test_the_page_of_metrics_reads_no_files(tmp_path: Path, pod: Pod) -> None:
    """It is made on the loop that everything else waits for: a slow disk must not hold it, nor a lost part break it."""
    settings = Settings(
        data_dir=tmp_path,
        receiver_routes=tmp_path,
        forwarder_routes=tmp_path,
        plane="default",
        namespace="default",
        server="https://127.0.0.1:1",
    )
    agent = Agent(settings)
    agent._target.open()
    pod.lose(pod.files.forwarder)

    assert b"hookline_agent_subscriptions 0" in agent._metrics()

    async with running(pod):
        await pod.publish(2, CHAT)
        await until(lambda: pod.follower.subscriptions == 1)
