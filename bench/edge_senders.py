"""
How each worker treats broken senders: `python -m bench.edge_senders [--patience S]`.

Every sender is tried against every worker at the same time, each with its usual settings; the table says what came back
and after how long. "open" means that the connection was still open when patience ended.
"""

import argparse
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from bench.edge_servers import KINDS, serving

HEAD = b"POST /acme/chat HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = HEAD + b"Content-Length: 1000\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"

SENDERS: dict[str, tuple[bytes, bool]] = {
    # What is sent, and whether the sender shuts its sending side behind it.
    "sends nothing": (b"", False),
    "half a head": (HEAD, False),
    "half a body, stalls": (LENGTH + b"x" * 500, False),
    "half a body, ends": (LENGTH + b"x" * 500, True),
    "a chunk, no last one, stalls": (CHUNKED + b"5\r\nhello\r\n", False),
    "a chunk, no last one, ends": (CHUNKED + b"5\r\nhello\r\n", True),
    "a malformed chunk": (CHUNKED + b"5\r\nhello!!\r\n0\r\n\r\n", False),
    "a chunk size that is none": (CHUNKED + b"xyz\r\nhello\r\n0\r\n\r\n", False),
    "a body, offering an upgrade": (
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
        False,
    ),
    "a header of 200 kB": (HEAD + b"X: " + b"y" * 200_000 + b"\r\n\r\n", False),
    "1000 headers": (HEAD + b"X: y\r\n" * 1000 + b"\r\n", False),
    "a chunk extension of 1 MB": (CHUNKED + b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n", False),
    "both lengths": (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + NEXT,
        False,
    ),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!" + NEXT, False),
    "xchunked": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + NEXT, False),
    "gzip, chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + NEXT, False),
    "space before a colon": (HEAD + b"Content-Length : 5\r\n\r\nhello" + NEXT, False),
    "a folded line": (HEAD + b"X: a\r\n b\r\n\r\n" + NEXT, False),
    "bare LFs": (b"POST /acme/chat HTTP/1.1\nHost: x\nContent-Length: 0\n\n", False),
    "NUL in a header": (HEAD + b"X: a\x00b\r\n\r\n", False),
    "two hosts": (HEAD + b"Host: y\r\nContent-Length: 0\r\n\r\n", False),
    "an absolute target": (b"POST http://y/acme/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", False),
    "an idle connection": (HEAD + b"Content-Length: 0\r\n\r\n", False),
}


def outcome(port: int, sent: bytes, ends: bool, patience: float) -> str:
    """What became of the connection of a sender that sends *sent*."""
    began = time.monotonic()
    received = b""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        try:
            connection.sendall(sent)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        end = "open"
        while (left := began + patience - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                data = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                end = "reset"
                break
            if not data:
                end = "closed"
                break
            received += data
    took = time.monotonic() - began
    statuses = [line[9:12].decode() for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    answers = " ".join(statuses) or "-"
    return f"{answers}, {end}" if end == "open" or took < 1 else f"{answers}, {end} {took:.0f} s"


def main() -> None:
    """Try all and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--patience", type=float, default=45.0)
    patience = arguments.parse_args().patience
    rows: dict[str, list[str]] = {name: [] for name in SENDERS}
    for kind in KINDS:
        with serving(kind) as server, ThreadPoolExecutor(len(SENDERS)) as pool:
            tried = {
                name: pool.submit(outcome, server.port, sent, ends, patience) for name, (sent, ends) in SENDERS.items()
            }
            for name, result in tried.items():
                rows[name].append(result.result())
    print("| sender | " + " | ".join(KINDS) + " |")
    print("|---" * (len(KINDS) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
