"""JSON logs on stderr: one line an event of interest, a fixed sentence and fields, never a body or a credential."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_KOPF = frozenset(("k8s_skip", "k8s_ref", "settings"))
"""Fields that kopf adds for itself."""
_LEAST = {
    # Says that it ignores signals, as it should in a thread.
    "kopf._core.reactor.running": logging.ERROR,
    # Says that ReferenceGrants are not there, where nobody has installed them.
    "kopf._core.reactor.observation": logging.ERROR,
}
_ATTEMPT = "Request attempt"


def matters(record: logging.LogRecord) -> bool:
    """Not kopf's attempts: an API server that is away costs eight lines a second; sweeps and the Lease say so too."""
    return not (record.name.startswith("kopf.") and record.getMessage().startswith(_ATTEMPT))


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
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD | _KOPF)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=True)


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Send all logs of this process to *stream*, from *level* on; of kopf, which tells of each event, what is wrong."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(matters)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(level)))
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(True)
