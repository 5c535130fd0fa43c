"""What can be set of the receiver, from `HOOKLINE_RECEIVER_*` environment variables: one frozen dataclass."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from hookline_receiver.edge.settings import EdgeSettings
from hookline_receiver.journal.log import JournalLimits

PREFIX = "HOOKLINE_RECEIVER_"
_JOURNAL = JournalLimits()


class SettingsError(Exception):
    """The environment asks for something that can't be; the message names the variable, the rule and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the receiver is told when it starts. `HOOKLINE_RECEIVER_DATA_DIR` sets `data_dir`, and so on."""

    data_dir: Path
    """Folder that holds `journal/`, `routes/`, `share/` and `run/` unless one is set on its own."""
    journal_dir: Path | None = None
    """Folder of the journals, on a disk that keeps what it says it has written. Default: `journal/` in data_dir."""
    routes_file: Path | None = None
    """The snapshot of endpoints. Default: `routes/receiver.binpb` in data_dir."""
    pending_file: Path | None = None
    """The forwarder's table of pending bytes. Default: `share/pending.binpb` in data_dir."""
    run_dir: Path | None = None
    """
    Folder where workers share metrics, rates and status. Default: `run/` in data_dir. Best on a memory file system:
    its pages are written to all the time, and a disk's write-back could hold up whoever writes.
    """

    ops_bind: str = "127.0.0.1:8081"
    """HOST:PORT of `/livez`, `/readyz` and `/metrics`, apart from the webhooks: it is not for the Internet."""

    journal_segment_bytes: int = _JOURNAL.segment_bytes
    """Size of a journal's files: what was carried is given back to the disk file by file."""
    journal_reserve_bytes: int = _JOURNAL.reserve_bytes
    """Free bytes below which nothing is accepted any more: the event store, which makes room, needs some itself."""
    append_timeout: float = 1.5
    """Seconds that an event may take to become durable, before 503: CometChat waits 2 s for the whole answer."""
    arriving_bytes: int = 128 * 1024 * 1024
    """Memory of each worker for bodies that are arriving. One subscription gets a third of it, or half of what others
    leave: forty bodies of a megabyte, where CometChat's have 1 to 50 KB."""
    slow_hashes_waiting: int = 48
    """Credentials of chosen passwords, seen for the first time, that may wait: at 20 ms each, a second's worth."""
    slow_hashes_waiting_per_path: int = 8
    """Of these for one path, so that a crowd at one path leaves room for the others."""
    credentials_remembered: int = 32_768
    """Verified headers kept in memory by each worker: three times the largest gateway planned for; 150 bytes each."""
    metrics_subscriptions: int = 1000
    """Subscriptions with counters of their own, in the order they are seen; the rest are counted together."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR. Refused requests are INFO."""

    edge: EdgeSettings = field(default_factory=EdgeSettings)
    """How to listen, and for how long to wait; its fields are set without a further prefix: HOOKLINE_RECEIVER_BIND."""

    def __post_init__(self) -> None:
        """Raise SettingsError for the first rule that does not hold."""
        if not 0 < self.append_timeout < 2:
            raise SettingsError(
                f"append_timeout must be shorter than the sender's patience (2 s), got {self.append_timeout:g}"
            )
        for name in (
            "journal_segment_bytes",
            "journal_reserve_bytes",
            "slow_hashes_waiting",
            "slow_hashes_waiting_per_path",
            "credentials_remembered",
        ):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.arriving_bytes < 3 * self.edge.body_max_bytes:
            raise SettingsError(
                f"arriving_bytes must be 3 times body_max_bytes ({self.edge.body_max_bytes}) or more, so that the largest "
                f"body passes, got {self.arriving_bytes}"
            )
        if not 0 <= self.metrics_subscriptions <= 10_000:
            raise SettingsError(f"metrics_subscriptions must be 0 to 10000, got {self.metrics_subscriptions}")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"log_level must be DEBUG, INFO, WARNING or ERROR, got {self.log_level!r}")
        ops_address(self.ops_bind)

    @property
    def journals(self) -> Path:
        """Where the journals are."""
        return self.journal_dir or self.data_dir / "journal"

    @property
    def journal_limits(self) -> JournalLimits:
        """Sizes of this worker's journal; the times are its own."""
        return JournalLimits(segment_bytes=self.journal_segment_bytes, reserve_bytes=self.journal_reserve_bytes)

    @property
    def routes(self) -> Path:
        """Where the snapshot of endpoints is."""
        return self.routes_file or self.data_dir / "routes" / "receiver.binpb"

    @property
    def pending(self) -> Path:
        """Where the forwarder's table of pending bytes is."""
        return self.pending_file or self.data_dir / "share" / "pending.binpb"

    @property
    def run(self) -> Path:
        """Where workers share what they know."""
        return self.run_dir or self.data_dir / "run"

    def replace_edge(self, **changes: Any) -> "Settings":
        """These settings with *changes* in how to listen."""
        return dataclasses.replace(self, edge=dataclasses.replace(self.edge, **changes))


def ops_address(bind: str) -> tuple[str, int]:
    """Host and port of *bind*; SettingsError if it is not HOST:PORT."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"ops_bind must be HOST:PORT, got {bind!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that *environment* asks for; SettingsError for an unknown variable, a bad value or a broken rule."""
    own, edge = get_type_hints(Settings), get_type_hints(EdgeSettings)
    of_edge: dict[str, Any] = {}
    of_ours: dict[str, Any] = {}
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX).lower()
        if name in own and name != "edge":
            of_ours[name] = _value(variable, own[name], environment[variable])
        elif name in edge:
            of_edge[name] = _value(variable, edge[name], environment[variable])
        else:
            raise SettingsError(f"{variable} is not a setting of the receiver")
    if "data_dir" not in of_ours:
        raise SettingsError(f"{PREFIX}DATA_DIR must be set: the folder that holds journal/, routes/, share/ and run/")
    try:
        return Settings(**of_ours, edge=EdgeSettings(**of_edge))
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc


def _value(variable: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
        if kind in (Path, Path | None):
            return Path(text)
        return tuple(part.strip() for part in text.split(",") if part.strip())
    except (ValueError, KeyError) as exc:
        raise SettingsError(f"{variable} must be {_called(kind)}, got {text!r}") from exc


def _called(kind: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
