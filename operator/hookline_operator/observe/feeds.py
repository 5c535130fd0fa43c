"""
What kopf says has happened: each event goes into the cluster, and nothing else is done with it.

kopf runs in a thread with an event loop of its own: it makes a task for each object that it lists, ten thousand at its start,
which would hold up whatever else ran in that loop for seconds. When it fails it is started anew; what it may have missed
meanwhile the sweeps find.

What it says is passed on by `Incoming`: of each object the newest only, the namespaces in turns, a few milliseconds at a
time. So whoever changes objects faster than they can be read loses what lies between, and nobody else waits for that.

Only `on.event` handlers: kopf writes nothing to objects, neither finalizers nor annotations nor Events, and has no peering.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import kopf

from hookline_operator.observe.cluster import Cluster
from hookline_operator.observe.kinds import Body, Kind, identity
from hookline_operator.observe.objects import Change, KindName
from hookline_operator.work import WorkQueue
from hookline_routes.resource import ObjectKey

log = logging.getLogger(__name__)

SLICE = 0.005
"""Seconds of events that are applied before the event loop goes on with others' work: the largest takes as long."""
AGAIN_AFTER = 2.0
"""Seconds until kopf is started again after it has failed."""

LOOK_EVERY = 0.05
"""Seconds between two looks at whether to stop."""

ENDING = 6.0
"""Seconds that kopf has to end after a failure: it lets its tasks finish for five."""
CANCELLATIONS = 25
"""How often what has not ended is cancelled then."""
CLOSING = 0.2
"""Seconds for connections to close."""

Login = Callable[[], kopf.ConnectionInfo]
Event = tuple[KindName, str | None, Body]
_Object = tuple[KindName, ObjectKey]


class Incoming:
    """Events that were heard and are not applied yet. `hear` from any thread, all else from one event loop."""

    def __init__(self) -> None:
        self._heard: deque[Event] = deque()
        self._newest: dict[_Object, tuple[int, str | None, Body]] = {}
        self._turns: WorkQueue[_Object] = WorkQueue(lambda key: key[1].namespace)

    def __len__(self) -> int:
        return len(self._heard) + len(self._newest)

    def hear(self, event: Event) -> None:
        """To be handed out, unless a newer one of its object comes before that."""
        self._heard.append(event)

    def next(self) -> Event | None:
        """The newest event of the object whose turn it is; None: there is no more."""
        self._sort()
        for key in self._turns.take_now(1):
            self._turns.done(key)
            _, event_type, body = self._newest.pop(key)
            return key[0], event_type, body
        return None

    def _sort(self) -> None:
        while self._heard:
            kind, event_type, body = self._heard.popleft()
            seen = identity(body)
            if seen is None:
                continue
            key = (kind, seen.key)
            known = self._newest.get(key)
            if known is None or known[0] <= seen.resource_version:
                self._newest[key] = (seen.resource_version, event_type, body)
            self._turns.add((key,))


class Feeds:
    """Starts kopf and lets *cluster* know; `on_change` is called for what that changes, in the loop that called `start`."""

    def __init__(self, cluster: Cluster, login: Login, on_change: Callable[[Change], None]) -> None:
        """*login* is asked by kopf's thread, again each time what it gave is refused."""
        self._cluster, self._login, self._on_change = cluster, login, on_change
        self._events = Incoming()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.last_event = 0.0
        """time.monotonic() of the last one that was not stale."""
        self.restarts = 0
        """How often kopf was started again."""

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._loop = asyncio.get_running_loop()
        everywhere = [kind for kind in self._cluster.kinds if not kind.namespaces]
        somewhere: dict[tuple[str, ...], list[Kind]] = {}
        for kind in self._cluster.kinds:
            if kind.namespaces:
                somewhere.setdefault(kind.namespaces, []).append(kind)
        self._spawn("kopf", everywhere, ())
        for namespaces, kinds in somewhere.items():
            self._spawn(f"kopf-{kinds[0].name}", kinds, namespaces)

    async def stop(self) -> None:
        """End the threads; waits for that a few seconds at most."""
        self._stopping.set()
        deadline = time.monotonic() + 5
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    @property
    def behind(self) -> int:
        """Events that came and are not applied yet."""
        return len(self._events)

    def _spawn(self, name: str, kinds: list[Kind], namespaces: tuple[str, ...]) -> None:
        thread = threading.Thread(target=self._run, args=(kinds, namespaces), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, kinds: list[Kind], namespaces: tuple[str, ...]) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._watch(kinds, namespaces))
            except Exception:
                log.exception("feeds failed", extra={"kinds": [kind.name.value for kind in kinds]})
            if not self._stopping.wait(AGAIN_AFTER):
                self.restarts += 1

    async def _watch(self, kinds: list[Kind], namespaces: tuple[str, ...]) -> None:
        where: dict[str, Any] = {"namespaces": namespaces} if namespaces else {"clusterwide": True}
        # A threading.Event would be waited for by a thread of kopf's, which outlives a failure: `run` would wait for ever.
        stop = asyncio.Event()
        stopping = asyncio.create_task(self._pass_on(stop))
        mine = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(kinds), settings=_settings(kinds), standalone=True, stop_flag=stop, **where
        )
        running = asyncio.create_task(kopf.run_tasks(tasks, ignored=mine))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await _ended(running, mine)
        finally:
            stopping.cancel()
            # Connections with TLS are closed a moment after that was asked for; the loop must still turn then.
            await asyncio.sleep(CLOSING)

    async def _pass_on(self, stop: asyncio.Event) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(LOOK_EVERY)
        stop.set()

    def _registry(self, kinds: list[Kind]) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(self._connection)
        for kind in kinds:
            group, version = _group(kind), _version(kind)
            kopf.on.event(
                group=group,
                version=version,
                plural=kind.type.plural,
                id=kind.name.value,
                registry=registry,
                when=self._is_news(kind.name),
            )(self._handler(kind.name))
        return registry

    def _connection(self, **_: Any) -> kopf.ConnectionInfo:
        return self._login()

    def _handler(self, kind: KindName) -> Callable[..., Coroutine[Any, Any, None]]:
        async def handle(event: Any, **_: Any) -> None:
            self._hear(kind, event["type"], event["object"])

        return handle

    def _is_news(self, kind: KindName) -> Callable[..., bool]:
        """PERF: of the ten thousands of objects that kopf lists at its start all are known already."""

        def is_news(event: Any, **_: Any) -> bool:
            return not self._cluster.is_stale(kind, event["object"])

        return is_news

    def _hear(self, kind: KindName, event_type: str | None, body: Body) -> None:
        """In kopf's thread."""
        self._events.hear((kind, event_type, body))
        if not self._scheduled and self._loop is not None and not self._loop.is_closed():
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._apply)

    def _apply(self) -> None:
        # Before the events are looked at: one that comes from here on has this called again.
        self._scheduled = False
        self.last_event = now = time.monotonic()
        while now < self.last_event + SLICE and (event := self._events.next()):
            change = self._cluster.apply(*event)
            if change:
                self._on_change(change)
            now = time.monotonic()
        if self._events and not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._apply)


async def _ended(running: "asyncio.Task[None]", others: "set[asyncio.Task[Any]]") -> None:
    """
    Return when kopf has ended, or raise what it ended with.

    It cancels its tasks once and waits for ever. A watch that is cancelled while it asks for its stream takes that for a
    pause, and goes on: such ones are cancelled again.
    """
    for seconds in (ENDING, *(CLOSING for _ in range(CANCELLATIONS))):
        await asyncio.wait((running,), timeout=seconds)
        if running.done():
            break
        for task in asyncio.all_tasks() - others - {running}:
            task.cancel()
    else:
        log.error("kopf does not end", extra={"tasks": len(asyncio.all_tasks() - others)})
        running.cancel()
    await running


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing. PERF: handlers of events need no differences, and kopf copies each object to find them."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> None:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        raise AssertionError("nothing is stored in objects")


class _NoProgress(kopf.ProgressStorage):
    """Keeps nothing: handlers of events are not tried again."""

    def fetch(self, *, key: Any, body: Any) -> None:
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        raise AssertionError("nothing is stored in objects")

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        return None

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def _settings(kinds: list[Kind]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    # A task for each object that was heard of lives this long after its last event.
    settings.queueing.idle_timeout = 0.5
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (0.1, 0.2, 0.5, 1)
    # Who watches namespaces that were named needs no list of all of them, nor definitions that may come.
    settings.scanning.disabled = any(kind.namespaces for kind in kinds)
    for kind in kinds:
        if kind.fields:
            settings.watching.field_selectors[(_group(kind), kind.type.plural)] = kind.fields
    return settings


def _group(kind: Kind) -> str:
    return kind.type.api_version.rpartition("/")[0]


def _version(kind: Kind) -> str | None:
    """None where several will do: the one that the API server prefers."""
    return kind.type.api_version.rpartition("/")[2] if len(kind.types) == 1 else None
