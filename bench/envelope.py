"""
What reading envelope and identity costs, beside msgspec decoding the same bytes in full: `python bench/envelope.py`.

Measurements are interleaved, so that whatever else the machine does falls on both; the ratio is the median of rounds.
"""

import json
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.identity import identify

SAMPLES = Path(__file__).parent.parent / "tests" / "data" / "cometchat" / "samples"

ROUNDS = 25

decode_in_full = msgspec.json.Decoder().decode


def envelope_and_identity(body: bytes) -> None:
    """What the receiver does with every body."""
    reading = read(body)
    assert isinstance(reading, Reading)
    identify(reading, body, "8c1f2f1e-3f0f-4d0e-9d43-7a3c6f5b2a10")


def bodies() -> dict[str, bytes]:
    """Events of about 2 KB and 200 KB: documented ones, and a message filled up with text or with fields."""
    return {
        "moderation sample": compact(sample("moderation_manual_approved")),
        "message, 0.9 KB": compact(sample("message_sent")),
        "message, 2 KB text": compact(a_message(text="x" * 1250)),
        "message, 2 KB fields": compact(a_message(fields=35)),
        "message, 200 KB text": compact(a_message(text="x" * 198_000)),
        "message, 200 KB fields": compact(a_message(fields=5_600)),
        "unknown, 2 KB": compact({**a_message(fields=35), "trigger": "brand_new"}),
        "unknown, 200 KB": compact({**a_message(fields=5_600), "trigger": "brand_new"}),
    }


def sample(name: str) -> dict[str, Any]:
    """A documented payload."""
    payload: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_bytes())
    return payload


def a_message(text: str = "hello", fields: int = 0) -> dict[str, Any]:
    """A documented message with a longer text, or with metadata of so many small objects."""
    payload = sample("message_sent")
    content = payload["data"]["message"]["data"]
    content["text"] = text
    content["metadata"] = {f"key{number}": {"n": number, "t": "text"} for number in range(fields)}
    return payload


def compact(payload: dict[str, Any]) -> bytes:
    """As senders write JSON."""
    return json.dumps(payload, separators=(",", ":")).encode()


def microseconds(work: Callable[[bytes], object], body: bytes, calls: int) -> float:
    """Of one call."""
    return timeit.timeit(lambda: work(body), number=calls) / calls * 1e6


def main() -> None:
    """Print a table."""
    print(f"{'event':24}{'bytes':>9}{'read+identify':>16}{'full decode':>14}{'ratio':>8}   (µs, medians of {ROUNDS})")
    for name, body in bodies().items():
        calls = max(20, 2_000_000 // len(body))
        pairs = [
            (microseconds(envelope_and_identity, body, calls), microseconds(decode_in_full, body, calls))
            for _ in range(ROUNDS)
        ]
        ours, full, ratio = (
            statistics.median(column) for column in zip(*((a, b, a / b) for a, b in pairs), strict=True)
        )
        print(f"{name:24}{len(body):>9}{ours:>16.2f}{full:>14.2f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
