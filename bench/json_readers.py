"""
What reading an event costs with each JSON reader, and what each makes of odd bodies: `python bench/json_readers.py`.

msgspec is given the types of the fields that are needed and passes over the rest; orjson and the standard library build
everything. Rounds are interleaved; medians. orjson is measured if it is installed.
"""

import importlib
import json
import statistics
import timeit
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hookline_receiver.cometchat.wire import Payload

SAMPLES = Path(__file__).parent.parent / "tests" / "data" / "cometchat" / "samples"
ROUNDS = 15

Reader = Callable[[bytes], object]

ODD: Mapping[str, bytes] = {
    "nested 500 deep": b'{"trigger":"x","a":' + b"[" * 500 + b"]" * 500 + b"}",
    "nested 100,000 deep": b'{"trigger":"x","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": b'{"trigger":"x","a":NaN}',
    "a key twice": b'{"trigger":"x","trigger":"y"}',
    "400 digits": b'{"trigger":"x","a":' + b"9" * 400 + b"}",
    "1e999": b'{"trigger":"x","a":1e999}',
    "bytes not UTF-8": b'{"trigger":"x","a":"\xff"}',
    "lone surrogate": b'{"trigger":"x","a":"\\ud800"}',
    "byte order mark": b'\xef\xbb\xbf{"trigger":"x"}',
}


def readers() -> Mapping[str, Reader]:
    """Those that are installed."""
    found: dict[str, Reader] = {
        "msgspec, typed": msgspec.json.Decoder(Payload).decode,
        "msgspec, whole": msgspec.json.Decoder().decode,
        "standard library": json.loads,
    }
    try:
        found["orjson"] = importlib.import_module("orjson").loads
    except ImportError:
        print("orjson is not installed: left out")
    return found


def a_message(size: int, fields: bool) -> bytes:
    """A documented message of about *size* bytes, filled up with text or with small objects."""
    payload: dict[str, Any] = json.loads((SAMPLES / "message_sent.json").read_bytes())
    content = payload["data"]["message"]["data"]
    missing = size - len(json.dumps(payload, separators=(",", ":")))
    if fields:
        content["metadata"] = {f"key{n}": {"n": n, "t": "text"} for n in range(missing // 33)}
    else:
        content["text"] = "x" * missing
    return json.dumps(payload, separators=(",", ":")).encode()


def microseconds(read: Reader, body: bytes) -> float:
    """Of one call."""
    calls = max(10, 1_000_000 // len(body))
    return timeit.timeit(lambda: read(body), number=calls) / calls * 1e6


def outcome(read: Reader, body: bytes) -> str:
    """What comes of an odd body."""
    try:
        read(body)
    except RecursionError:
        return "RecursionError"
    except Exception as exc:  # noqa: BLE001 - any outcome is one
        return type(exc).__name__
    return "read"


def main() -> None:
    """Print two tables."""
    found = readers()
    print(f"{'µs, medians of ' + str(ROUNDS):24}" + "".join(f"{name:>18}" for name in found))
    for name, size, fields in (
        ("2 KB, text", 2_000, False),
        ("2 KB, fields", 2_000, True),
        ("200 KB, text", 200_000, False),
        ("200 KB, fields", 200_000, True),
    ):
        body = a_message(size, fields)
        rounds = [[microseconds(read, body) for read in found.values()] for _ in range(ROUNDS)]
        print(f"{name:24}" + "".join(f"{statistics.median(column):>18.2f}" for column in zip(*rounds, strict=True)))
    print()
    for name, body in ODD.items():
        print(f"{name:24}" + "".join(f"{outcome(read, body):>18}" for read in found.values()))


if __name__ == "__main__":
    main()
