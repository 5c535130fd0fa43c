"""Points in time on the command line: "10m" ago, or RFC 3339."""

import re
from datetime import UTC, datetime, timedelta

import click
from google.protobuf.timestamp_pb2 import Timestamp

_AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Moment(click.ParamType[Timestamp]):
    """`90s`, `10m`, `2h`, `3d`: so long ago. Otherwise a date or a time in RFC 3339; without a zone it is local."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        """The time as a Timestamp."""
        if isinstance(value, Timestamp):
            return value
        text = str(value)
        try:
            ago = _AGO.fullmatch(text)
            if ago:
                return now(ago=timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]]))
            return _stamp(datetime.fromisoformat(text).astimezone(UTC))
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither an age (90s, 10m, 2h, 3d) nor a time (2026-01-31T12:00:00Z)", param, ctx)


def now(ago: timedelta = timedelta(0)) -> Timestamp:
    """This moment, or one so long ago."""
    return _stamp(datetime.now(UTC) - ago)


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
