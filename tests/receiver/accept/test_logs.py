"""Logs: one line of JSON, and not too many of them."""

import json
import logging

from hookline_receiver.ops.logs import JsonFormatter, Throttle


def line_of(**extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"msg": "request refused", "levelname": "INFO", **extra})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_a_line_is_a_sentence_and_fields() -> None:
    """Machines read them."""
    line = line_of(reason="Suspended", status=503)

    assert (line["message"], line["reason"], line["status"], line["level"]) == (
        "request refused",
        "Suspended",
        503,
        "INFO",
    )


def test_no_field_breaks_the_line() -> None:
    """A path is the sender's to choose: it must not be able to write lines of its own."""
    line = line_of(path='/a"\n{"level":"ERROR"}\u2028', thing=object())

    assert line["path"] == '/a"\n{"level":"ERROR"}\u2028'


def test_a_flood_is_held_back_and_counted() -> None:
    """Each reason by itself: a flood of wrong passwords must not hide a full disk."""
    now = 0.0
    throttle = Throttle(lambda: now, lines_per_second=2, burst=3)

    assert [throttle.admit("a") for _ in range(6)] == [0, 0, 0, None, None, None]
    assert throttle.admit("b") == 0
    now = 0.5
    assert [throttle.admit("a"), throttle.admit("a")] == [3, None]
