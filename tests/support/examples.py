"""Deliveries for the example handlers, made as the gateway makes them, and the examples as processes of their own."""

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hookline.handler.v1 import handler_pb2
from hookline_kit.event import Event, event_of
from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.identity import identify
from hookline_receiver.cometchat.typed import to_payload
from hookline_receiver.event import Event as Accepted
from hookline_receiver.event import RouteRef, SubscriptionRef
from hookline_receiver.forwarder.message import Built, build
from hookline_receiver.ingest_id import IngestIds
from hookline_receiver.store.port import Claimed
from support.cli import Running, hookline

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
SAMPLES = Path(__file__).parent.parent / "data" / "cometchat" / "samples"

_ids = IngestIds()


def a_payload(sample: str, **changes: Any) -> dict[str, Any]:
    """The documented payload *sample* with *changes* by path: `{"message__id": "7"}` changes `data.message.id`."""
    payload: dict[str, Any] = json.loads((SAMPLES / f"{sample}.json").read_bytes())
    for path, value in changes.items():
        *way, last = path.split("__")
        place = payload["data"]
        for name in way:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return payload


def delivered(
    payload: Mapping[str, Any] | str,
    *,
    subscription: str = "chat",
    namespace: str = "examples",
    attempts: int = 0,
    replay: bool = False,
    at: float | None = None,
    **changes: Any,
) -> handler_pb2.Delivery:
    """
    The delivery that the gateway would make of *payload* (or of a documented one by its name, with *changes*).

    *at* is when it was accepted, in seconds since the epoch; now, if not given.
    """
    made = a_payload(payload, **changes) if isinstance(payload, str) else payload
    body = json.dumps(made).encode()
    reading = read(body)
    assert isinstance(reading, Reading), reading
    now = time.time_ns() if at is None else int(at * 1e9)
    reference = SubscriptionRef(f"uid-{namespace}-{subscription}", namespace, subscription)
    identity = identify(reading, body, reference.uid)
    event = Accepted(_ids.new(now), reference, now, body, reading.envelope, identity, "")
    claimed = Claimed(
        delivery_id=1,
        fence=1,
        route=RouteRef(reference, "main"),
        event=event,
        event_id=identity.key.hex() if identity.strong else event.ingest_id.hex(),
        stored_at=now,
        attempts=attempts,
        age=0,
        replay=replay,
        ordering_key=None,
    )
    built = build(claimed, to_payload(body))
    assert isinstance(built, Built)
    return built.message


def an_event(payload: Mapping[str, Any] | str, **given: Any) -> Event:
    """The same as the kit shows it to a function."""
    return event_of(delivered(payload, **given))


def command_of(name: str, *arguments: str | Path) -> list[str]:
    """The command line of an example."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def environment(**given: str) -> dict[str, str]:
    """That of a process that finds the examples."""
    return {**os.environ, "PYTHONPATH": str(EXAMPLES / "handlers"), **given}


def example(name: str, *arguments: str | Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a command of an example that ends by itself."""
    command = command_of(name, *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(**given), check=False)


@contextmanager
def serving(name: str, *arguments: str | Path, **given: str) -> Iterator[tuple[Running, str]]:
    """Run `NAME serve` on a free port until the block ends; the process and its address."""
    command = command_of(name, "serve", "--port", "0", *arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(**given)) as process:
        running = Running(process)
        try:
            said = running.line("listening on ", err=True)
            yield running, said.removeprefix("listening on ").strip()
        finally:
            try:
                running.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                running.stop()


def simulate(url: str, user: str, samples: Path, *options: str | Path) -> None:
    """Let `hookline simulate` send the payloads of the folder *samples*, and have everything accepted."""
    done = hookline("simulate", "--to", url, "--user", user, "--samples", samples, *options)
    assert done.returncode == 0, done.stdout + done.stderr


def write_samples(folder: Path, **payloads: Mapping[str, Any]) -> Path:
    """A folder of payloads for the simulator."""
    folder.mkdir(parents=True)
    for name, payload in payloads.items():
        (folder / f"{name}.json").write_text(json.dumps(payload))
    return folder
