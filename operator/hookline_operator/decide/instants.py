"""Times as the API server writes them, and as seconds since the epoch, which can be compared and added to. Pure."""

import re

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?Z")
_DAY = 86400


def seconds_of(text: object) -> int | None:
    """Whole seconds since the epoch of "2026-03-01T12:00:00Z"; None where *text* is no such time."""
    found = _TIME.fullmatch(text) if isinstance(text, str) and len(text) < 40 else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second


def text_of(seconds: int) -> str:
    """The time as the API server writes it, in UTC; from the year 1970 to 9999."""
    days, rest = divmod(min(max(seconds, 0), 253402300799), _DAY)
    # Years begin in March here, so that a leap day is a year's last: eras of 400 years, each with as many days.
    era, of_era = divmod(days + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _days(year: int, month: int, day: int) -> int:
    """Since the epoch."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
