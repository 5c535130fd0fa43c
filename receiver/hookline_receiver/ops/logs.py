"""JSON logs on stderr: one line an event of interest, a fixed sentence and fields, never a body, a credential or a header."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for *record*; what JSON can't hold is written as text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=True)


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Send all logs of this process to *stream*, from *level* on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


class Throttle:
    """
    Lets so many lines a second through for each reason, and says how many it held back.

    A flood of refusals must not fill the disk of whoever collects the logs, nor cost more than the refusals do.
    """

    def __init__(self, clock: Callable[[], float], lines_per_second: float = 5.0, burst: int = 20) -> None:
        self._clock = clock
        self._rate = lines_per_second
        self._burst = float(burst)
        self._state: dict[str, tuple[float, float, int]] = {}

    def rarely(self) -> "Throttle":
        """One by the same clock that lets one line a minute through: for what goes wrong each time until a person mends it."""
        return Throttle(self._clock, lines_per_second=1 / 60, burst=1)

    def admit(self, reason: str) -> int | None:
        """None: say nothing. Else: say it, and how many of *reason* were held back since the last one."""
        now = self._clock()
        tokens, then, held_back = self._state.get(reason, (self._burst, now, 0))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        if tokens < 1:
            self._state[reason] = (tokens, now, held_back + 1)
            return None
        self._state[reason] = (tokens - 1, now, 0)
        return held_back
