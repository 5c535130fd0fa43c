"""Where everything lies under `--data`, and that one `hookline dev` at a time uses it."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from hookline_cli.failure import UNAVAILABLE, Failure
from hookline_receiver.forwarder.files import make_folder


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The folder of one `hookline dev`; receiver and forwarder know the parts they share by the same names."""

    root: Path

    @property
    def routes(self) -> Path:
        """What manifests were compiled to."""
        return self.root / "routes"

    @property
    def journal(self) -> Path:
        """What receivers accepted and the forwarder has not carried yet."""
        return self.root / "journal"

    @property
    def run(self) -> Path:
        """Sockets and shared memory of what runs now."""
        return self.root / "run"

    @property
    def keys(self) -> Path:
        """What must not be read by others: the tags' key, verifiers, generated credentials."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """What receiver and forwarder say, in full."""
        return self.root / "logs"

    def prepare(self) -> None:
        """
        Make what is missing, so that its names outlast a loss of power.

        Only the owner may look inside, since bodies of events are in there.
        """
        before = os.umask(0o077)
        try:
            for folder in (self.routes, self.journal, self.run, self.keys, self.logs):
                make_folder(folder)
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}", UNAVAILABLE) from error
        finally:
            os.umask(before)

    def lock(self) -> int:
        """Hold the folder for this process as long as the returned descriptor is open; Failure if that can't be."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}", UNAVAILABLE) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Failure(f"another hookline dev runs on {self.root}", UNAVAILABLE) from None
        return descriptor
