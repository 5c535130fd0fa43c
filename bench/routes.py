"""
Swapping in a change of one subscription of 10,000: all in one file beside an index and parts.

Each round changes one subscription and takes the time until the new routes are in force: in a receiver's worker (on its
event loop) and in the forwarder (in a thread, but for the interpreter's lock).
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hookline.routing.v1 import snapshot_pb2 as pb
from hookline_receiver.forwarder.tables import Routes
from hookline_receiver.parts import part_name, parts_folder
from hookline_receiver.route_file import RouteFile
from hookline_routes.shard import ROUTE_SHARDS, shard_of
from hookline_routes.verifier import make_verifier

SUBSCRIPTIONS = 10_000
ROUNDS = 20

Entry = pb.Endpoint | pb.Subscription


def endpoint(number: int, change: int = 0) -> pb.Endpoint:
    """One of them; *change* makes it another."""
    name = f"ns-{number % 500}/hook-{number}"
    salt = hashlib.sha256(name.encode()).digest()[:16]
    verifier = make_verifier(f"{name}@{change}", "user", f"p-{number}", generated=True, salt=salt, tag_key=bytes(32))
    return pb.Endpoint(path=f"/{name}", subscription=ref(number), verifiers=[verifier], max_body_bytes=1 << 20)


def subscription(number: int, change: int = 0) -> pb.Subscription:
    """Two routes, one with an expression of its own."""
    routes = []
    for name in ("notify", "archive"):
        handler = pb.Handler(namespace=f"ns-{number % 500}", service=f"{name}-{number % 7}", port=9000)
        match = pb.Match(
            triggers=["message_sent"], expression=f'event.data.n == "{number}"' if name == "notify" else ""
        )
        routes.append(pb.Route(name=name, match=match, handler=handler, delivery=pb.DeliveryPolicy(max_in_flight=64)))
    return pb.Subscription(ref=ref(number), routes=routes, max_pending_bytes=1 + change)


def ref(number: int) -> pb.SubscriptionRef:
    """Whose it is."""
    return pb.SubscriptionRef(
        uid=f"00000000-0000-4000-8000-{number:012d}", namespace=f"ns-{number % 500}", name=f"h-{number}"
    )


class Published:
    """A table of all entries, in one file or in parts, of which one changes a round."""

    def __init__(self, file: Path, snapshot: type[pb.ReceiverSnapshot | pb.ForwarderSnapshot], in_parts: bool) -> None:
        self.file = file
        self._snapshot = snapshot
        self._field = "endpoints" if snapshot is pb.ReceiverSnapshot else "subscriptions"
        self._make: Callable[..., Entry] = endpoint if snapshot is pb.ReceiverSnapshot else subscription
        shards = ROUTE_SHARDS if in_parts else 1
        self._shards: list[dict[int, Entry]] = [{} for _ in range(shards)]
        self._names = [""] * shards
        for number in range(SUBSCRIPTIONS):
            self._shards[self._shard(number)][number] = self._make(number)
        parts_folder(file).mkdir(exist_ok=True)
        for shard in range(shards):
            self._write_part(shard)
        self.write(0)

    def change(self, number: int, change: int) -> None:
        """Change one of them in memory."""
        self._shards[self._shard(number)][number] = self._make(number, change)
        self._write_part(self._shard(number))

    def write(self, version: int) -> None:
        """Put the file in place."""
        snapshot = self._snapshot(format=1, version=str(version))
        if len(self._shards) == 1:
            getattr(snapshot, self._field).extend(self._shards[0].values())
        else:
            snapshot.format = 2
            snapshot.parts.extend(pb.Part(name=name, shard=shard) for shard, name in enumerate(self._names))
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(snapshot.SerializeToString(deterministic=True))
        fresh.replace(self.file)

    def _shard(self, number: int) -> int:
        return shard_of(ref(number).uid, len(self._shards))

    def _write_part(self, shard: int) -> None:
        if len(self._shards) == 1:
            return
        part = self._snapshot(format=1)
        getattr(part, self._field).extend(self._shards[shard].values())
        content = part.SerializeToString(deterministic=True)
        self._names[shard] = part_name(content)
        (parts_folder(self.file) / f"{self._names[shard]}.binpb").write_bytes(content)


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        measured = {
            (who, how): measure(Path(folder), who, how)
            for who in ("receiver's worker", "forwarder")
            for how in ("one file", "parts")
        }
    print(f"{SUBSCRIPTIONS} subscriptions, one of them changed; milliseconds until the new routes are in force\n")
    print(f"{'':20} {'':10} {'first':>9} {'median':>9} {'worst':>9}")
    for (who, how), (first, times) in measured.items():
        print(f"{who:20} {how:10} {first:9.1f} {statistics.median(times):9.2f} {max(times):9.2f}")


def measure(folder: Path, who: str, how: str) -> tuple[float, Sequence[float]]:
    """Of the first load and of each change."""
    snapshot = pb.ReceiverSnapshot if who.startswith("receiver") else pb.ForwarderSnapshot
    published = Published(folder / f"{who[:4]}-{how[:3]}.binpb", snapshot, how == "parts")
    look: Callable[[], bool]
    look = RouteFile(published.file).poll if snapshot is pb.ReceiverSnapshot else Routes(published.file).refresh
    first = timed(look)
    times = []
    for change in range(1, ROUNDS + 1):
        published.change(change * 97 % SUBSCRIPTIONS, change)
        published.write(change)
        times.append(timed(look))
    return first, times


def timed(look: Callable[[], bool]) -> float:
    """Milliseconds of a look that must find something."""
    began = time.perf_counter()
    found = look()
    took = (time.perf_counter() - began) * 1000
    assert found, "the change was not seen"
    return took


if __name__ == "__main__":
    main()
