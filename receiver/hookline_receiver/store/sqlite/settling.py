"""What became of claimed deliveries."""

import json
import sqlite3
from collections.abc import Sequence

from hookline_receiver.store import rules
from hookline_receiver.store.port import Dead, Delivered, RetryAt, Settlement
from hookline_receiver.store.sqlite.ending import DEAD, DELIVERED, Ending, end
from hookline_receiver.store.sqlite.ledger import Tally

_HELD = """
    SELECT d.id, d.fence, d.route, d.ordering_key, d.tries FROM json_each(?) AS one
    CROSS JOIN deliveries AS d ON d.id = one.value WHERE d.state = 1
"""


def settle(connection: sqlite3.Connection, settlements: Sequence[Settlement], now: int) -> list[int]:
    """Apply every settlement whose fence is the delivery's; the ids of those deliveries."""
    rows = connection.execute(_HELD, (json.dumps([one.delivery_id for one in settlements]),)).fetchall()
    held = {row[0]: row for row in rows}
    valid: dict[int, Settlement] = {}
    for one in settlements:
        row = held.get(one.delivery_id)
        if row is not None and row[1] == one.fence:
            valid.setdefault(one.delivery_id, one)
    _write_attempts(connection, [(one, held[number][4]) for number, one in valid.items()])
    tally = Tally()
    endings: list[Ending] = []
    retries: list[tuple[int, int]] = []
    for number, one in valid.items():
        _, _, route, ordering_key, _ = held[number]
        match one.result:
            case RetryAt(due_at):
                retries.append((due_at, number))
                tally.touch(route)
            case Delivered():
                endings.append(Ending(number, route, ordering_key, DELIVERED, "", ""))
            case Dead(reason, detail):
                endings.append(Ending(number, route, ordering_key, DEAD, reason.value, detail))
    connection.executemany("UPDATE deliveries SET state = 0, due_at = ? WHERE id = ?", retries)
    end(connection, tally, endings, now)
    tally.write(connection)
    return list(valid)


def _write_attempts(connection: sqlite3.Connection, settled: Sequence[tuple[Settlement, int]]) -> None:
    made = [(one.delivery_id, tries + 1, one.attempt) for one, tries in settled if one.attempt is not None]
    connection.executemany(
        """
        INSERT INTO attempts (delivery, number, started_at, ended_at, code, detail, endpoint, answered)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """,
        [
            (delivery, number, call.started_at, call.ended_at, call.code, call.detail, call.endpoint, call.answered)
            for delivery, number, call in made
        ],
    )
    connection.executemany(
        "UPDATE deliveries SET tries = ?, answers = answers + ? WHERE id = ?",
        [(number, call.answered, delivery) for delivery, number, call in made],
    )
    connection.executemany(
        "DELETE FROM attempts WHERE delivery = ? AND number <= ?",
        [(delivery, number - rules.ATTEMPTS_KEPT) for delivery, number, _ in made if number > rules.ATTEMPTS_KEPT],
    )
