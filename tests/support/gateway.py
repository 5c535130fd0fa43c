"""The whole gateway as a user runs it: `hookline dev` with real processes, handlers beside it, requests from outside."""

import asyncio
import base64
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hookline_cli.dev.draining import journals
from support.cli import HOOKLINE, Running, hookline, running
from support.manifests import PASSWORD, USERNAME, as_yaml
from support.processes import Process, descendants
from support.waiting import until_sync

BRISK = {"initialBackoff": "100ms", "maxBackoff": "1s"}
"""A route's `retry` with which a test need not wait long."""


@dataclass
class Gateway:
    """A running `hookline dev`."""

    data: Path
    manifest: Path
    command: Running
    url: str = ""

    def say(self, *objects: Mapping[str, Any]) -> None:
        """Replace the manifest, as an editor does: whole."""
        fresh = self.manifest.with_suffix(".new")
        fresh.write_text(as_yaml(*objects))
        fresh.replace(self.manifest)

    def dead(self) -> list[dict[str, Any]]:
        """What `hookline dead` lists."""
        done = hookline("dead", "--data", self.data, "--json", "--limit", "100000")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def processes(self) -> dict[str, list[Process]]:
        """Those of the gateway by what they are: master, workers, forwarder."""
        found: dict[str, list[Process]] = {"master": [], "worker": [], "forwarder": []}
        for process in descendants(self.command.process.pid):
            if process.command.endswith("hookline_receiver.forwarder"):
                found["forwarder"].append(process)
            elif process.command.endswith("hookline_receiver"):
                top = process.parent == self.command.process.pid
                found["master" if top else "worker"].append(process)
        return found

    def carried(self) -> bool:
        """Whether all journals of writers that are gone have been carried."""
        return len(journals(self.data / "journal")) <= len(self.processes()["worker"])


@contextmanager
def gateway(
    folder: Path,
    *objects: Mapping[str, Any],
    handlers: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    port: int = 0,
) -> Iterator[Gateway]:
    """Run `hookline dev` on *objects* until the block ends; *handlers* are addresses by NAME[.NAMESPACE]."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.yaml"
    if objects:
        manifest.write_text(as_yaml(*objects))
    given = [f"--handler={name}={address}" for name, address in (handlers or {}).items()]
    data = folder / "data"
    arguments = ["dev", "-f", manifest, "--data", data, "--listen", f"127.0.0.1:{port}", *given, *options]
    with running(*arguments, env={"HOOKLINE_FORWARDER_BREAKER_LONGEST_OPEN": "1"}) as command:
        command.line("ready (", timeout=60)
        url = re.search(r"http://127\.0\.0\.1:\d+", command.line("  http://"))
        assert url is not None
        yield Gateway(data, manifest, command, url[0])


@dataclass
class Listener:
    """A `hookline listen --json` that can be killed and started again at the same address, and all it has seen."""

    folder: Path
    answer: str = "accept"
    address: str = ""
    process: subprocess.Popen[bytes] | None = None
    _starts: int = 0
    _read: dict[Path, list[dict[str, Any]]] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, on the port that it had before if it had one."""
        self._starts += 1
        port = self.address.rpartition(":")[2] or "0"
        name = f"{self._starts:03}"
        err = self.folder / f"{name}.err"
        # A file for each process: what a killed one left unfinished must not be continued by the next.
        with (self.folder / f"{name}.jsonl").open("wb") as out, err.open("wb") as said:
            arguments = [*HOOKLINE, "listen", "--json", "--port", port, "--answer", self.answer]
            self.process = subprocess.Popen(arguments, stdout=out, stderr=said)
        until_sync(lambda: b"listening on" in err.read_bytes() or self._ended(), what="the handler to listen")
        assert not self._ended(), err.read_text()
        self.address = err.read_text().strip().removeprefix("listening on ")

    def stop(self, *, kill: bool = False) -> None:
        """End it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill() if kill else self.process.terminate()
            self.process.wait(20)

    def deliveries(self) -> list[dict[str, Any]]:
        """Every line of every process, in their order, `body` as bytes; a last line that was cut off does not count."""
        found: list[dict[str, Any]] = []
        for file in sorted(self.folder.glob("*.jsonl")):
            lines = file.read_bytes().split(b"\n")[:-1]
            known = self._read.setdefault(file, [])
            known.extend(_delivery(line) for line in lines[len(known) :])
            found.extend(known)
        return found

    def bodies(self) -> list[bytes]:
        """The bodies of `deliveries`."""
        return [delivery["body"] for delivery in self.deliveries()]

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


def _delivery(line: bytes) -> dict[str, Any]:
    read = json.loads(line)
    return {**read, "body": base64.b64decode(read["body"])}


@contextmanager
def listeners(folder: Path, **answers: str) -> Iterator[dict[str, Listener]]:
    """A listener for each name, with the answer that it gives."""
    made: dict[str, Listener] = {}
    try:
        for name, answer in answers.items():
            (folder / name).mkdir(parents=True)
            made[name] = Listener(folder / name, answer)
            made[name].start()
        yield made
    finally:
        for listener in made.values():
            listener.stop()


def basic(username: str = USERNAME, password: str = PASSWORD) -> str:
    """An Authorization header's value."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Client:
    """One keep-alive connection of a sender, made again when it breaks."""

    def __init__(self, url: str, path: str = "/acme/chat", authorization: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._path = path
        self._authorization = basic() if authorization is None else authorization
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, patience: float = 2.0) -> int | None:
        """The status of the answer; None if there was none within *patience*: nobody knows then."""
        try:
            async with asyncio.timeout(patience):
                return await self._post(body)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.close()
            return None

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _post(self, body: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: {self._authorization}\r\n"
            f"Content-Type: Application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"content-length: (\d+)", answer)
        await reader.readexactly(int(length[1]) if length else 0)
        if "connection: close" in answer:
            self.close()
        return int(answer.split(" ")[1])


@asynccontextmanager
async def client(url: str, path: str = "/acme/chat", authorization: str | None = None) -> AsyncIterator[Client]:
    """A Client that is closed at the end."""
    made = Client(url, path, authorization)
    try:
        yield made
    finally:
        made.close()


def a_message(
    number: int, conversation: str = "alice_user_bob", text: str = "hello", trigger: str = "message_sent"
) -> bytes:
    """A message event that no other number gives; odd white space and key order, to be kept byte for byte."""
    message = {
        "id": str(number),
        "conversationId": conversation,
        "receiverType": "user",
        "type": "text",
        "sentAt": 1_750_000_000 + number // 1000,
        "data": {"text": f"{text} {number} ä\u2028"},
    }
    payload = {"webhook": "hook", "trigger": trigger, "data": {"message": message}, "appId": "app1", "region": "eu"}
    return json.dumps(payload, ensure_ascii=number % 2 == 0, indent=number % 3 or None).encode() + b"\n" * (number % 4)
