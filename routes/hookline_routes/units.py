"""Kubernetes' durations and quantities, read exactly: whole nanoseconds, whole bytes."""

import re
from fractions import Fraction

SECOND = 1_000_000_000
"""Nanoseconds."""

_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_DURATION_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_DURATION_UNITS = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": SECOND // 1000}

_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,3})?)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E|[eE][0-9]{1,2}|)")
_CPU = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?|[0-9]{1,7}m)")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def parse_duration(text: str) -> int | None:
    """Nanoseconds of "1h30m", "10s", "20ms"; None where *text* is no duration (units h, m, s, ms; no fractions)."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(int(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(nanoseconds: int) -> str:
    """The shortest duration that means *nanoseconds* (whole milliseconds)."""
    parts = []
    for unit, size in _DURATION_UNITS.items():
        count, nanoseconds = divmod(nanoseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_quantity(text: str) -> int | None:
    """Whole units (bytes) of "2Mi", "1.5Gi", "10G", "1e6", "512"; None where *text* is none or comes to a fraction."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        return None
    number, suffix = Fraction(found[1]), found[2]
    if suffix in _BINARY:
        value = number * 1024 ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        value = number * 10 ** _DECIMAL[suffix]
    else:
        value = number * 10 ** int(suffix[1:])
    return int(value) if value.denominator == 1 else None


def format_quantity(value: int) -> str:
    """The shortest binary quantity that means *value* exactly."""
    suffix = ""
    for each in _BINARY:
        if not value or value % 1024:
            break
        value, suffix = value // 1024, each
    return f"{value}{suffix}"


def parse_cpu(text: str) -> int | None:
    """Thousandths of a CPU of "500m", "2", "0.5"; None where *text* is none."""
    if not _CPU.fullmatch(text):
        return None
    return int(text[:-1]) if text.endswith("m") else int(Fraction(text) * 1000)


def format_cpu(thousandths: int) -> str:
    """As the API server writes it: "500m", "2"."""
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
