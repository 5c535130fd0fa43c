"""The table at the end."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from hookline_cli.simulate.plan import Kind
from hookline_cli.simulate.report import percentile
from tools.demo.ledger import Delivery, Ledger

WHY = {
    Kind.BAD_CREDENTIALS: "wrong, malformed or no credentials",
    Kind.OVERSIZE: "over the limit of 2 MiB",
    Kind.BROKEN: "not an event",
}


def rows(
    ledger: Ledger, deliveries: Sequence[Delivery], dead: int, redriven: int, late_route: str
) -> list[tuple[str, str, str]]:
    """What, how many, and a remark."""
    everything = ledger.everything
    accepted = [sent for sent in everything if sent.accepted]
    kinds = Counter(sent.shot.kind for sent in everything)
    refused = Counter((sent.shot.kind, sent.attempts[-1].status) for sent in everything if not sent.accepted)
    events = {each.delivery.partition("/")[0] for each in deliveries}
    ended = {each.delivery for each in deliveries}
    answer = sorted(attempt.seconds for sent in everything for attempt in sent.attempts if attempt.status)
    quick, late = delays(ledger, deliveries, late_route)
    return [
        ("sent", str(len(everything)), ", ".join(f"{number} {kind}" for kind, number in kinds.items())),
        ("accepted (200)", str(len(accepted)), f"{kinds[Kind.UNKNOWN]} with a trigger that nobody knows"),
        *(
            (f"refused ({status})", str(number), WHY.get(kind, str(kind)))
            for (kind, status), number in sorted(refused.items(), key=lambda entry: entry[0][1])
        ),
        ("duplicates", str(len(accepted) - len(events)), "retries that were recognised and not delivered again"),
        ("events", str(len(events)), "each on stable storage before its 200"),
        ("delivered", str(len(ended)), f"to {len({each.route for each in deliveries})} routes, byte for byte"),
        ("delivered twice", str(len(deliveries) - len(ended) - redriven), "at least once is what is promised"),
        ("dead", str(dead), f"{redriven} was, and was sent again with hookline redrive"),
        ("time to 200", milliseconds(answer), f"p50, p99 of {len(answer)} answers"),
        ("time to delivery", milliseconds(quick), f"p50, p99 of {len(quick)} deliveries, from the first byte sent"),
        ("  while it was down", milliseconds(late), f"p50, p99 of {len(late)} deliveries to {late_route}"),
    ]


def delays(ledger: Ledger, deliveries: Sequence[Delivery], late_route: str) -> tuple[list[float], list[float]]:
    """Seconds from a body's first byte to its first arrival, sorted; those of *late_route* apart."""
    first: dict[tuple[str, bytes], float] = {}
    for each in deliveries:
        first.setdefault((each.route, each.body), each.at)
    quick: list[float] = []
    late: list[float] = []
    for (route, body), at in first.items():
        begun = ledger.begun.get((route.partition("/")[0], body))
        if begun is not None:
            (late if route == late_route else quick).append(at - begun)
    return sorted(quick), sorted(late)


def milliseconds(values: Sequence[float]) -> str:
    """p50 and p99."""
    return f"{percentile(values, 0.5) * 1000:.1f} ms, {percentile(values, 0.99) * 1000:.1f} ms"


def show(table_rows: Sequence[tuple[str, str, str]]) -> None:
    """Print the table."""
    table = Table(show_header=False)
    for row in table_rows:
        table.add_row(*row)
    Console(width=110).print(table)
