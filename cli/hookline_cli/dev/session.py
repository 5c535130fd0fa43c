"""One run of `hookline dev`: compile, publish, start, follow changes, stop in order."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hookline_cli.dev.addresses import ServiceAddress, endpoint_table, unused
from hookline_cli.dev.announcing import announcement, refusal
from hookline_cli.dev.compiling import Compilation, compile_paths
from hookline_cli.dev.draining import answering, drain
from hookline_cli.dev.folder import DataFolder
from hookline_cli.dev.keyring import Keyring
from hookline_cli.dev.programs import Listen, bad_setting, forwarder, readiness, receiver
from hookline_cli.dev.publishing import Publication, publish
from hookline_cli.dev.supervising import Supervisor
from hookline_cli.dev.telling import Teller
from hookline_cli.failure import FAILED, UNAVAILABLE, Failure
from hookline_cli.manifest_files import Stamp, stamp_of

TROUBLE = 5.0
"""Seconds until a disk that was full is tried again."""

PATIENCE = 5.0
"""Seconds of not being ready after which it is said why; then after twice as long, where the reason has changed."""

LOOK = 0.25
"""Seconds between two looks at the manifests; a change is taken up when it was there twice, so half a second at most."""


@dataclass(frozen=True, slots=True)
class DevSettings:
    """What was asked for."""

    paths: tuple[Path, ...]
    folder: DataFolder
    listen: Listen
    workers: int
    handlers: tuple[ServiceAddress, ...]
    drain_within: float
    """Seconds that the forwarder gets at the end to deliver what is due."""


class Session:
    """The gateway on this machine, from start to stop."""

    def __init__(self, settings: DevSettings, keyring: Keyring, teller: Teller, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._keyring = keyring
        self._say = say
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._served: Compilation | None = None
        environment = dict(os.environ)
        of_receiver = receiver(settings.folder, settings.listen, settings.workers, environment)
        of_forwarder = forwarder(settings.folder, settings.listen, environment)
        self._bad_setting = bad_setting(of_receiver, of_forwarder)
        self._receiver = Supervisor(of_receiver, say, teller.line)
        self._forwarder = Supervisor(of_forwarder, say, teller.line)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; Failure if the settings or the manifests as they are can't be served with."""
        if self._bad_setting:
            raise Failure(self._bad_setting, FAILED)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        stamp = stamp_of(self._settings.paths)
        compilation = await asyncio.to_thread(compile_paths, self._settings.paths, self._keyring)
        if compilation.refused:
            raise Failure("\n".join(["these manifests can't be served:", *refusal(compilation.problems)]), FAILED)
        try:
            await self._serve(compilation, running=False)
        except OSError as error:
            raise Failure(f"{self._settings.folder.routes}: {error}", UNAVAILABLE) from error
        await self._supervise(stamp)

    def _on_signal(self) -> None:
        """The first one stops, a second one does not wait for deliveries: they are kept."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _supervise(self, stamp: Stamp) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forwarder.run())
            tasks.create_task(self._receiver.run())
            around = [tasks.create_task(self._say_ready()), tasks.create_task(self._follow(stamp))]
            await self._stop.wait()
            for task in around:
                task.cancel()
            await self._end()

    async def _say_ready(self) -> None:
        listen, now = self._settings.listen, asyncio.get_running_loop().time
        said, patience = "", PATIENCE
        say_from = now() + patience
        while why := await self._why_not_ready():
            if now() >= say_from and why != said:
                self._say(f"not ready yet: {why}")
                said, patience = why, 2 * patience
                say_from = now() + patience
            await asyncio.sleep(LOOK / 5)
        self._say(f"ready (metrics at {listen.metrics}, logs in {self._settings.folder.logs}; Ctrl-C stops)")

    async def _why_not_ready(self) -> str:
        why = await readiness(self._settings.listen)
        if why:
            return f"the receiver: {why}"
        return "" if await answering(self._settings.folder, lambda: True) else "the forwarder does not answer"

    async def _follow(self, stamp: Stamp) -> None:
        """Take up changes of the manifests; those that can't be served are refused, and what was served stays."""
        pending = stamp
        while True:
            await asyncio.sleep(LOOK)
            now = stamp_of(self._settings.paths)
            # Seen twice: an editor may be in the middle of writing.
            if now != stamp and now == pending:
                try:
                    await self._reload()
                except OSError as error:
                    self._say(f"the changed manifests can't be put in force, and are tried again: {error}")
                    await asyncio.sleep(TROUBLE)
                else:
                    stamp = now
            pending = now

    async def _reload(self) -> None:
        compilation = await asyncio.to_thread(compile_paths, self._settings.paths, self._keyring)
        if compilation.refused:
            self._say("the changed manifests are refused, the last good routes stay in force:")
            for line in refusal(compilation.problems):
                self._say(line)
            return
        gone = self._gone(compilation)
        if gone and not compilation.subscriptions:
            self._say("the changed manifests have no WebhookSubscription any more, the last good routes stay in force")
            return
        await self._serve(compilation, running=True)
        for name in gone:
            self._say(f"no longer served: {name}")

    def _gone(self, compilation: Compilation) -> list[str]:
        """Subscriptions that were served and are in *compilation* no more."""
        before = self._served.subscriptions if self._served else ()
        stay = {one.metadata.key for one in compilation.subscriptions}
        return [str(one.metadata.key) for one in before if one.metadata.key not in stay]

    async def _serve(self, compilation: Compilation, *, running: bool) -> None:
        settings, tables = self._settings, compilation.tables
        endpoints = endpoint_table(tables.forwarder, settings.handlers)
        changed = self._served is None or self._served.tables.version != tables.version
        await publish(settings.folder.routes, Publication(tables, endpoints), running=running)
        self._served = compilation
        for line in refusal(compilation.problems):
            self._say(line)
        for one in unused(tables.forwarder, settings.handlers):
            self._say(f"warning: no route's handler is named {one}")
        if changed:
            self._say("the changed manifests are in force:" if running else f"hookline dev on {settings.folder.root}")
            for line in announcement(compilation, endpoints, settings.listen.url, self._keyring.generated_file):
                self._say(line)

    async def _end(self) -> None:
        """The receiver first, so that nothing new comes; the forwarder when it has delivered what is due."""
        self._say("stopping: the receiver finishes what is in flight")
        await self._receiver.stop()
        self._say("stopping: the forwarder delivers what is due")
        left = await drain(self._settings.folder, self._hurry, within=self._settings.drain_within, stalled=1.0)
        await self._forwarder.stop()
        self._say(f"stopped; {_kept(left)}")


def _kept(left: int | None) -> str:
    if left is None:
        return "what is pending is kept for the next start"
    return f"{left} pending deliveries are kept for the next start" if left else "nothing is pending"


def paths_exist(paths: Sequence[Path]) -> None:
    """Failure for the first that does not."""
    for path in paths:
        if not path.exists():
            raise Failure(f"{path} does not exist", FAILED)
