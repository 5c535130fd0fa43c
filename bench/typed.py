"""
What the typed form of an event costs the forwarder: `python -m bench.typed`.

Beside msgspec decoding the same bytes in full, interleaved; medians of rounds.
"""

import json
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path

import msgspec

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline_receiver.cometchat.typed import to_payload

SAMPLES = Path(__file__).parent.parent / "tests" / "data" / "cometchat" / "samples"

ROUNDS = 15

NAMES = (
    "message_sent",
    "message_read_receipt",
    "user_connection_status_changed",
    "group_member_added",
    "call_initiated",
    "after_feed_item_sent",
    "moderation_manual_approved",
)

decode_in_full = msgspec.json.Decoder().decode


def microseconds(work: Callable[[bytes], object], body: bytes) -> float:
    """Of one call."""
    return timeit.timeit(lambda: work(body), number=500) / 500 * 1e6


def main() -> None:
    """Print a table."""
    print(
        f"{'event':34}{'bytes':>8}{'typed':>8}{'typed form':>12}{'full decode':>13}   (bytes; µs, medians of {ROUNDS})"
    )
    for name in NAMES:
        body = json.dumps(json.loads((SAMPLES / f"{name}.json").read_bytes()), separators=(",", ":")).encode()
        form = to_payload(body)
        assert isinstance(form, Payload)
        pairs = [(microseconds(to_payload, body), microseconds(decode_in_full, body)) for _ in range(ROUNDS)]
        ours, full = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:34}{len(body):>8}{form.ByteSize():>8}{ours:>12.1f}{full:>13.1f}")


if __name__ == "__main__":
    main()
