"""
The receiver or the forwarder as it ships, its steps itemised: `python bench/itemised.py receiver|forwarder LEDGER`.

The tables name what a step consists of: functions and coroutines of the product, wrapped from outside before it starts.
"""

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parent.parent)

from bench.ledger import Ledger, Step

Steps = dict[str, Sequence[tuple[Any, str]]]
"""What a step consists of: (module or class, name), by the step's name."""

NOTHING = "nothing"
"""A step that does next to nothing, for what measuring adds."""

RECEIVER = (
    Step("HTTP: read the request"),
    Step("Falcon"),
    Step("HTTP: write the answer", within="Falcon"),
    Step("metrics: accepted", within="Falcon"),
    Step("way: route, limits, record", within="Falcon"),
    Step("authentication", within="way: route, limits, record"),
    Step("body", within="way: route, limits, record"),
    Step("envelope, identity", within="way: route, limits, record"),
    Step("journal: hand over", within="way: route, limits, record"),
    Step("metrics: way", within="way: route, limits, record"),
    Step(NOTHING, within="HTTP: write the answer"),
    Step("journal: wake who waits", every=1),
    Step("journal: write, flush", every=1),
)
FORWARDER = (
    Step("carry: look for records", every=1),
    Step("carry: read", within="carry: look for records", every=1),
    Step("carry: decode", within="carry: read"),
    Step("carry: fan out", within="carry: read"),
    Step("carry: add", within="carry: look for records", every=1),
    Step("carry: sync, unlink", within="carry: look for records", every=1),
    Step("deliver: due", every=1),
    Step("deliver: claim", every=1),
    Step("deliver: settle", every=1),
    Step("upkeep, share", every=1),
    Step("deliver: plan", every=1),
    Step(NOTHING, within="deliver: plan"),
    Step("deliver: hand over to the store", every=1),
    Step("deliver: begin, end calls", every=1),
    Step("deliver: build", within="deliver: begin, end calls", every=1),
    Step("deliver: type the payload", within="deliver: build"),
    Step("deliver: call over gRPC", within="deliver: begin, end calls", every=1),
    Step("deliver: read the answer, decide", within="deliver: begin, end calls", every=1),
    Step("deliver: metrics, logs", within="deliver: read the answer, decide", every=1),
)


def receiver_steps() -> Steps:
    """What a receiver's steps consist of."""
    from hookline_receiver import accept
    from hookline_receiver.edge.connection import Connection
    from hookline_receiver.edge.exchange import Exchange
    from hookline_receiver.journal import writer
    from hookline_receiver.journal.log import SegmentLog
    from hookline_receiver.ops.metrics import Metrics

    return {
        "HTTP: read the request": [(Connection, "data_received")],
        "Falcon": [(Exchange, "run")],
        "HTTP: write the answer": [(Exchange, "send")],
        "metrics: accepted": [(Metrics, "accepted")],
        "way: route, limits, record": [(accept.Acceptance, "accept")],
        "authentication": [(accept.Acceptance, "_authenticate")],
        "body": [(accept, "read_body")],
        "envelope, identity": [(accept, "judge")],
        "journal: hand over": [(writer.SegmentJournal, "append")],
        "metrics: way": [(Metrics, "authenticated"), (Metrics, "appended")],
        NOTHING: [(Connection, "date")],
        "journal: wake who waits": [(writer, "_resolve")],
        "journal: write, flush": [(SegmentLog, "write")],
    }


def forwarder_steps() -> Steps:
    """What a forwarder's steps consist of."""
    from hookline_receiver.carrying import carrier
    from hookline_receiver.forwarder import sending
    from hookline_receiver.forwarder.endpoints import GrpcCaller
    from hookline_receiver.forwarder.loop import Dispatcher
    from hookline_receiver.forwarder.message import Typer
    from hookline_receiver.forwarder.share import Share
    from hookline_receiver.forwarder.store_thread import StoreThread
    from hookline_receiver.forwarder.telling import Teller
    from hookline_receiver.forwarder.upkeep import Upkeep
    from hookline_receiver.store.sqlite import SqliteEventStore

    return {
        "carry: look for records": [(carrier.Carrier, "step")],
        "carry: read": [(carrier.Carrier, "_fill")],
        "carry: decode": [(carrier, "decode")],
        "carry: fan out": [(carrier, "fan_out")],
        "carry: add": [(SqliteEventStore, "add")],
        "carry: sync, unlink": [(carrier.Carrier, "_let_go")],
        "deliver: due": [(SqliteEventStore, "due_routes"), (SqliteEventStore, "hold")],
        "deliver: claim": [(SqliteEventStore, "claim")],
        "deliver: settle": [(SqliteEventStore, "settle")],
        "upkeep, share": [(Upkeep, "round"), (Share, "look")],
        "deliver: plan": [(Dispatcher, "_plan"), (Dispatcher, "_absorb"), (Dispatcher, "_busy")],
        NOTHING: [(sending.Sender, "claimed")],
        "deliver: hand over to the store": [(StoreThread, "run")],
        "deliver: begin, end calls": [(sending.Sender, "_send")],
        "deliver: build": [(sending.Sender, "_built")],
        "deliver: type the payload": [(Typer, "of")],
        "deliver: call over gRPC": [(GrpcCaller, "call")],
        "deliver: read the answer, decide": [(sending.Sender, "_conclude")],
        "deliver: metrics, logs": [(Teller, "call")],
    }


def install(ledger: Ledger, steps: Steps) -> None:
    """Wrap what *steps* consist of."""
    for step, consists_of in steps.items():
        for owner, name in consists_of:
            call = getattr(owner, name)
            wrap = ledger.coroutine if inspect.iscoroutinefunction(call) else ledger.function
            setattr(owner, name, wrap(step, call))


def main(program: str, file: Path) -> int:
    """Run *program* until it is told to stop; its exit status."""
    if program == "receiver":
        install(Ledger(file, RECEIVER), receiver_steps())
        from hookline_receiver.__main__ import main as serve

        serve()
        return 0
    install(Ledger(file, FORWARDER), forwarder_steps())
    from hookline_receiver.forwarder.__main__ import main as forward

    return forward()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
