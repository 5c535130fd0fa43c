"""What the operator knows of receiver pods, from real agents' reports over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from hookline.agent.v1.agent_pb2 import FollowRequest
from hookline.agent.v1.agent_pb2_grpc import AgentServiceStub
from hookline_operator.agents.directory import AgentDirectory
from hookline_operator.observe.objects import Pod
from hookline_operator.ports import ClusterView, ShardRevision
from hookline_receiver.agent.report import AgentServicer, Report, ReportServer, Use
from hookline_routes.resource import ObjectKey
from hookline_routes.shard import shard_of
from support import agent as pods
from support.kubernetes.plane import ControlPlane
from support.kubernetes.process import Processes
from support.waiting import until

TOKEN = "the-token"


@dataclass
class FakeCluster:
    """The pods that there are."""

    pods: dict[ObjectKey, Pod] = field(default_factory=dict)
    subscriptions: dict[ObjectKey, Any] = field(default_factory=dict)


@dataclass
class Agent:
    """A real report, of what the test says."""

    report: Report = field(default_factory=lambda: Report((1, 1), True, ""))
    uses: list[Use] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    port: int = 0
    server: ReportServer | None = None

    async def say(self, report: Report) -> None:
        """Report something else from now on."""
        async with self.changed:
            self.report = report
            self.changed.notify_all()

    async def moved(self, seen: Report, within: float) -> None:
        """As the agent does it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within), self.changed:
                await self.changed.wait_for(lambda: self.report != seen)

    async def used(self) -> Sequence[Use]:
        """What the pod remembers."""
        return self.uses

    async def start(self, plane: str = "default", token: str = TOKEN, port: int = 0) -> None:
        """Listen."""
        self.server = ReportServer(AgentServicer(plane, self, lambda: token.encode()))
        self.port = await self.server.start("127.0.0.1", port)

    async def stop(self) -> None:
        """Be gone."""
        if self.server is not None:
            await self.server.stop()


def a_pod(name: str, agent: Agent, *, plane: str = "default", ready: bool = True, namespace: str = "hookline") -> Pod:
    """A receiver pod whose agent listens on this machine."""
    return Pod(
        ObjectKey(namespace, name),
        f"uid-{name}",
        1,
        frozenset({"127.0.0.1"}),
        host_network=False,
        ready=ready,
        deleting=False,
        plane=plane,
        agent_port=agent.port,
    )


@dataclass
class Fleet:
    """A directory, its cluster, and what it was told."""

    cluster: FakeCluster
    directory: AgentDirectory
    served: list[tuple[str, frozenset[int]]]
    used: list[frozenset[str]]

    def set(self, *pods: Pod) -> None:
        """These are the pods."""
        self.cluster.pods = {pod.key: pod for pod in pods}
        self.directory.look()


@asynccontextmanager
async def a_fleet(token: str = TOKEN, clock: Callable[[], float] | None = None) -> AsyncIterator[Fleet]:
    """A running directory."""
    cluster, served, used = FakeCluster(), list[tuple[str, frozenset[int]]](), list[frozenset[str]]()
    directory = AgentDirectory(
        cast("ClusterView", cluster),
        "hookline",
        lambda: token,
        on_served=lambda plane, shards: served.append((plane, shards)),
        on_used=used.append,
        **({"clock": clock} if clock else {}),
    )
    running = asyncio.create_task(directory.run())
    try:
        yield Fleet(cluster, directory, served, used)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def agents() -> AsyncIterator[Callable[..., Any]]:
    """Start agents: `one = await agents()`."""
    started: list[Agent] = []

    async def start(**how: Any) -> Agent:
        one = Agent()
        started.append(one)
        await one.start(**how)
        return one

    yield start
    for one in started:
        await one.stop()


async def test_a_revision_is_served_once_every_ready_pod_says_so(agents: Callable[..., Any]) -> None:
    """`Programmed` is held against this."""
    one, other, unready = await agents(), await agents(), await agents()
    shard = ShardRevision("default", 1, 2)
    async with a_fleet() as fleet:
        fleet.set(a_pod("b", one), a_pod("a", other), a_pod("c", unready, ready=False))
        await until(lambda: fleet.directory.synced_of("default") == 2)
        assert fleet.directory.pods_of("default") == 2
        assert fleet.directory.behind(shard) == ("a", "b")
        fleet.served.clear()

        await one.say(Report((1, 2), True, ""))
        await until(lambda: fleet.directory.behind(shard) == ("a",))
        assert fleet.served == [("default", frozenset({1}))]

        await other.say(Report((1, 3), False, "a table is missing"))
        await until(lambda: fleet.directory.behind(shard) == ())
        assert fleet.directory.synced_of("default") == 1
        assert fleet.directory.troubles_of("default")["a"] == "a table is missing"
        assert (fleet.directory.pods_of("other"), fleet.directory.behind(ShardRevision("other", 0, 1))) == (0, ())


async def test_a_pod_that_comes_counts_at_once_and_one_that_goes_no_longer(agents: Callable[..., Any]) -> None:
    """A new ready pod that does not answer is behind; whoever waits is told to look again, both times."""
    one = await agents()
    shard = ShardRevision("default", 0, 1)
    async with a_fleet() as fleet:
        fleet.set(a_pod("a", one))
        await until(lambda: fleet.directory.pods_of("default") == 1 and fleet.directory.behind(shard) == ())

        silent = Agent(port=1)
        fleet.set(a_pod("a", one), a_pod("b", silent))
        await until(lambda: fleet.directory.behind(shard) == ("b",))
        fleet.served.clear()

        fleet.set(a_pod("a", one))
        await until(lambda: fleet.directory.behind(shard) == ())
        assert fleet.served == [("default", frozenset({0, 1}))]

        fleet.set(a_pod("a", one, namespace="acme"))
        await until(lambda: fleet.directory.pods_of("default") == 0)


async def test_an_agent_that_comes_back_is_followed_again(agents: Callable[..., Any]) -> None:
    """Its container restarts; nothing is lost but time."""
    one = await agents()
    shard = ShardRevision("default", 0, 5)
    async with a_fleet() as fleet:
        fleet.set(a_pod("a", one))
        await until(lambda: fleet.directory.synced_of("default") == 1)
        await one.stop()
        again = Agent(Report((5, 5), True, ""))
        await again.start(port=one.port)

        await until(lambda: fleet.directory.behind(shard) == ())
        await again.stop()


async def test_a_report_that_cant_be_taken_does_not_end_the_following(agents: Callable[..., Any]) -> None:
    """A task that ends where nobody looks would have its pod count as silent until it is another one."""
    one = await agents()
    one.uses = [Use("uid-1", "creds@7", 1000)]
    async with a_fleet() as fleet:
        failed = asyncio.Event()

        def fail_once(uids: frozenset[str]) -> None:
            if not failed.is_set():
                failed.set()
                raise ValueError("of a part that is told")
            fleet.used.append(uids)

        fleet.directory._on_used = fail_once
        fleet.set(a_pod("receiver-0", one))
        await until(failed.is_set)

        one.uses = [Use("uid-1", "creds@7", 2000)]
        await until(lambda: fleet.used == [frozenset({"uid-1"})])


async def test_silence_is_no_answer(agents: Callable[..., Any]) -> None:
    """A pod that fell silent may serve what it likes: it counts as behind, and whoever waits hears of it."""
    one, now = await agents(), [100.0]
    shard = ShardRevision("default", 0, 1)
    async with a_fleet(clock=lambda: now[0]) as fleet:
        fleet.set(a_pod("a", one))
        await until(lambda: fleet.directory.behind(shard) == () and fleet.directory.pods_of("default") == 1)
        await one.stop()
        assert fleet.directory.behind(shard) == ()
        fleet.served.clear()

        now[0] += 16
        fleet.directory.look()

        await until(lambda: fleet.directory.behind(shard) == ("a",))
        assert fleet.served == [("default", frozenset({0, 1}))]


async def test_a_plane_holds_nothing_only_when_all_its_pods_say_so(agents: Callable[..., Any]) -> None:
    """A plane is removed then; what waits in a pod that has not said, or in the volume of one that is gone, would be lost."""
    one, other = await agents(), await agents()
    await one.say(Report((1, 1), True, "", held=0))
    async with a_fleet() as fleet:
        fleet.set(a_pod("a", one))
        await until(lambda: fleet.directory.pods_of("default") == 1 and fleet.directory.holds_nothing("default"))

        fleet.set(a_pod("a", one), a_pod("b", other, ready=False))
        await until(lambda: not fleet.directory.holds_nothing("default"))
        await other.say(Report((1, 2), True, "", held=3))
        await until(lambda: _held(fleet) == (0, 3))
        assert not fleet.directory.holds_nothing("default")

        fleet.set(a_pod("a", one))
        await until(lambda: fleet.directory.pods_of("default") == 1 and _held(fleet) == (0,))
        assert not fleet.directory.holds_nothing("default")

        again = await agents()
        await again.say(Report((1, 2), True, "", held=0))
        fleet.set(a_pod("a", one), replace(a_pod("b", again), uid="uid-b-again"))
        await until(lambda: fleet.directory.holds_nothing("default"))


def _held(fleet: Fleet) -> tuple[int | None, ...]:
    return tuple(each.held for each in fleet.directory._planes.get("default", ()))


async def test_another_plane_under_the_same_address_counts_for_nothing(agents: Callable[..., Any]) -> None:
    """Addresses of pods are used again."""
    one = await agents(plane="other")
    async with a_fleet() as fleet:
        fleet.set(a_pod("a", one))
        await until(lambda: one.server is not None and bool(fleet.served))
        for _ in range(20):
            await one.say(Report((one.report.revisions[0] + 1, 1), True, ""))
        assert fleet.directory.behind(ShardRevision("default", 0, 1)) == ("a",)


@pytest.mark.parametrize("shown", ["wrong", "", TOKEN + "x"], ids=["wrong", "none", "longer"])
async def test_who_does_not_know_the_token_is_told_nothing(agents: Callable[..., Any], shown: str) -> None:
    """Any pod of the cluster can reach the port."""
    one = await agents()
    metadata = (("authorization", f"Bearer {shown}"),) if shown else ()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{one.port}") as channel:
        call = AgentServiceStub(channel).Follow(FollowRequest(), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(call))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_without_a_token_nobody_is_known(agents: Callable[..., Any]) -> None:
    """A Secret that is not mounted yet is not an empty password."""
    one = await agents(token="")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{one.port}") as channel:
        call = AgentServiceStub(channel).Follow(FollowRequest(), metadata=(("authorization", "Bearer "),))
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await anext(aiter(call))


async def test_uses_of_credentials_are_the_newest_of_all_pods(agents: Callable[..., Any]) -> None:
    """A new password was seen in use if any pod saw it."""
    one, other = await agents(), await agents()
    one.uses = [Use("uid-1", "new@2", 50), Use("uid-1", "old@1", 40)]
    other.uses = [Use("uid-1", "new@2", 60)]
    async with a_fleet() as fleet:
        fleet.set(a_pod("a", one), a_pod("b", other))
        await until(
            lambda: (
                fleet.directory.last_used("uid-1")
                == {"new@2": datetime.fromtimestamp(60, UTC), "old@1": datetime.fromtimestamp(40, UTC)}
            )
        )
        assert set().union(*fleet.used) == {"uid-1"}
        assert fleet.directory.last_used("uid-2") == {}


async def test_a_hundred_pods_are_followed_at_once() -> None:
    """One process serves them all here, each under an address of its own."""
    one = Agent()
    server = ReportServer(AgentServicer("default", one, lambda: TOKEN.encode(), max_streams=200))
    one.port = await server.start("0.0.0.0", 0)
    async with a_fleet() as fleet:
        fleet.set(
            *(replace(a_pod(f"p{n}", one), uid=f"{n}", addresses=frozenset({f"127.0.1.{n}"})) for n in range(1, 101))
        )
        await until(lambda: fleet.directory.synced_of("default") == 100, 30)
        await one.say(Report((1, 7), True, ""))
        await until(lambda: fleet.directory.behind(ShardRevision("default", 1, 7)) == ())
    await server.stop()


@pytest.fixture
def pod(tmp_path: Path, plane: ControlPlane, kinds: None, namespace: str, processes: Processes) -> Iterator[pods.Pod]:
    """A whole pod, two workers."""
    with pods.a_pod(tmp_path, plane, namespace, processes, workers=2) as made:
        made.publisher.put(pods.a_tenant("chat"))
        made.publisher.publish_all()
        yield made


async def test_a_whole_pod_says_what_its_workers_serve_and_which_password_was_used(pod: pods.Pod) -> None:
    """From a table to what the operator knows of it, and from an event back to its credential."""
    await asyncio.to_thread(pod.start)
    uid = "uid-acme-chat"
    index = shard_of(uid, 64)
    async with a_fleet(pods.AGENT_TOKEN) as fleet:
        fleet.set(a_pod("a", Agent(port=pod.agent.report_port)))
        await until(lambda: fleet.directory.behind(ShardRevision("default", index, 2)) == () and bool(fleet.served))
        await until(lambda: fleet.directory.synced_of("default") == 1)

        await asyncio.to_thread(pod.publisher.publish, index)
        await until(lambda: fleet.directory.behind(ShardRevision("default", index, 3)) == ())

        assert await asyncio.to_thread(pod.posts) == 200
        await until(lambda: bool(fleet.directory.last_used(uid)))
        [credential] = fleet.directory.last_used(uid)
        assert credential == "acme.chat-acmehooks@1"
        assert fleet.used == [frozenset({uid})]
