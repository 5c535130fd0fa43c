"""
How fast each worker serves a bare application: `python -m bench.edge [--rounds N] [--seconds S]`.

One worker process on one core, the load on the other, a POST of 2 KB over 64 kept-alive connections. Rounds are
interleaved, so that what else the machine does falls on all alike; read the ratios, and the processor time per request.
"""

import argparse
import asyncio
import os
import statistics
from contextlib import ExitStack

import uvloop

from bench.edge_servers import KINDS, Server, serving
from bench.load import full

BODY = b'{"trigger":"message_sent","data":"' + b"x" * 2012 + b'"}'
REQUEST = (
    b"POST /acme/chat HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: CometChat\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nAuthorization: Basic YWNtZWhvb2tzOjlmS3EyTG1YN3RWYjRSek4=\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
CONNECTIONS = 64


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=2.0)
    chosen = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(kind, cores[0])) for kind in KINDS]
        idle = {server.kind: server.memory() for server in servers}
        for _ in range(chosen.rounds):
            for server in servers:
                rate, cost = one_round(server, chosen.seconds)
                rates[server.kind].append(rate)
                costs[server.kind].append(cost)
        loaded = {server.kind: server.memory() for server in servers}
    fastest = max(statistics.median(rate) for rate in rates.values())
    print(f"{'worker':<20}{'requests/s':>12}{'of the best':>13}{'us CPU each':>13}{'MiB idle':>10}{'MiB after':>11}")
    for kind in KINDS:
        rate, cost = statistics.median(rates[kind]), statistics.median(costs[kind])
        print(f"{kind:<20}{rate:>12.0f}{rate / fastest:>13.2f}{cost:>13.1f}{idle[kind]:>10.1f}{loaded[kind]:>11.1f}")


def one_round(server: Server, seconds: float) -> tuple[float, float]:
    """Requests a second, and microseconds of processor time for each."""
    before = server.cpu()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(full(server.port, REQUEST, seconds, CONNECTIONS))
    assert load.others == 0, f"{server.kind}: {load.others} answers were not 200"
    return load.rate, (server.cpu() - before) / load.answers * 1e6


if __name__ == "__main__":
    main()
