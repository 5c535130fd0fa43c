"""
Starts gunicorn for the receiver: its master keeps the workers alive, its settings are made here, from ours.

gunicorn reads no configuration file, no command line and no environment variable of its own. Its control socket is off:
nothing here needs it, and its place would be in a home directory that a container does not have.
"""

import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger
from gunicorn.sock import TCP6Socket, TCPSocket, UnixSocket

from hookline_receiver.edge.lifecycle import AppFactory, SharedFlags
from hookline_receiver.edge.listener import CannotListen, listen
from hookline_receiver.edge.settings import EdgeSettings
from hookline_receiver.edge.worker import EdgeWorker

_MARGIN = 12.0
"""Seconds that a worker may need beyond its drain and its requests: handshakes, the application's end."""


def run(settings: EdgeSettings, app_factory: AppFactory) -> NoReturn:
    """
    Serve what *app_factory* makes until SIGTERM (in order) or SIGINT (at once); then end the process.

    Exit status 0 after an orderly end, 1 if the address can't be listened on, 3 if the application can't start. Logging
    must be configured before: gunicorn's loggers have no handlers of their own.
    """
    application = EdgeApplication(settings, app_factory)
    try:
        application.run()
    except CannotListen as error:
        application.cfg.logger_class(application.cfg).error("%s", error)
        sys.exit(1)
    sys.exit(0)


class EdgeApplication(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn runs: our settings in its words, and what its workers need of ours."""

    def __init__(self, settings: EdgeSettings, factory: AppFactory) -> None:
        self.settings = settings
        self.factory = factory
        self.flags = SharedFlags()
        self.master_pipe = MasterPipe()
        super().__init__()

    def load_config(self) -> None:
        """Say in gunicorn's words what our settings mean."""
        chosen = {
            "bind": [],
            "workers": self.settings.workers,
            "worker_class": EdgeWorker,
            "timeout": max(1, round(self.settings.worker_timeout)),
            "graceful_timeout": round(self.settings.graceful_timeout + self.settings.idle_grace + _MARGIN),
            "worker_tmp_dir": heartbeat_folder(self.settings),
            "control_socket_disable": True,
            "logger_class": PropagatingLogger,
            "post_fork": lambda _arbiter, _worker: self.master_pipe.leave_to_master(),
            "proc_name": "hookline-receiver",
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> None:
        """Nothing: each worker makes its own application, after the fork."""

    def run(self) -> None:
        """Run the master; raises SystemExit at its end."""
        EdgeArbiter(self).run()


class EdgeArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master, with a listening socket of our making and a drain before its stop."""

    app: EdgeApplication
    LISTENERS: list[Any]

    def start(self) -> None:
        """Listen, then become the master."""
        if not self.LISTENERS:
            self.LISTENERS = [self._listener(listen(self.app.settings))]
        super().start()

    def _listener(self, listener: socket.socket) -> Any:
        kinds = {socket.AF_INET: TCPSocket, socket.AF_INET6: TCP6Socket, socket.AF_UNIX: UnixSocket}
        name = listener.getsockname()
        return kinds[listener.family](name, self.cfg, self.log, fd=listener.detach())

    def stop(self, graceful: bool = True) -> None:
        """Tell the workers that all of them end; while they drain, keep listening."""
        self.app.flags.set_stopping()
        if graceful and self.app.settings.drain_seconds:
            self.kill_workers(signal.SIGTERM)
            graceful = self._drain()
        super().stop(graceful)

    def _drain(self) -> bool:
        """Wait for the drain's end; False if somebody is in a hurry."""
        deadline = time.monotonic() + self.app.settings.drain_seconds
        while self.WORKERS and (left := deadline - time.monotonic()) > 0:
            if {signal.SIGINT, signal.SIGQUIT} & set(self.wait_for_signals(timeout=min(left, 0.5))):
                return False
            self.reap_workers()
        return True

    def reap_workers(self) -> None:
        """
        Notice workers that have ended; raises HaltServer for one that could not start, unless the master ends already.

        Its end reaps the rest: a second worker that could not start would break off that end with a second HaltServer,
        which nobody catches, and the exit status would be that of a bug in place of the first worker's reason.
        """
        while True:
            try:
                super().reap_workers()
                return
            except HaltServer:
                if not self.app.flags.stopping:
                    raise

    def handle_usr2(self) -> None:
        """Replacing the running master by a new program is left to whoever supervises it."""
        self.log.warning("SIGUSR2 is not supported")


class MasterPipe:
    """
    Tells workers that their master is gone: only it holds the writing end, which closes with it.

    gunicorn's workers look at their parent's id once a second; a pipe wakes them at once.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def leave_to_master(self) -> None:
        """Let go of the writing end: called in each worker."""
        os.close(self._writing)

    def in_worker(self) -> int:
        """The end that becomes readable when the master is gone."""
        return self._reading


class PropagatingLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's log lines go where the program's own go."""

    def setup(self, cfg: Any) -> None:
        """Hand everything to the root logger."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True


def heartbeat_folder(settings: EdgeSettings) -> str | None:
    """
    Where workers keep the (unlinked) file whose time is their heartbeat: memory if possible, None: the system's default.

    On a disk a heartbeat can wait for the disk, and a busy worker be taken for a dead one.
    """
    for candidate in ("/dev/shm", str(settings.run_folder or "")):
        if candidate and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return None
