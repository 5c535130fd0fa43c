"""Whether an object that is there says what it should: what we do not speak of is others' business."""

from collections.abc import Iterator, Mapping, Sequence

from hookline_routes.units import parse_quantity

_NAMED = ("name", "mountPath", "containerPort", "type", "topologyKey")
"""Keys by which the API server tells entries of a list apart: the first one that all entries have, each its own."""


def differences(wanted: object, there: object, path: str = "") -> Iterator[str]:
    """
    The paths of the fields of *wanted* that *there* does not say ("spec.template.spec…").

    Fields that only *there* has are not looked at, entries of named lists neither: defaults of the API server, and what other
    owners have added. Numbers and quantities are equal if they mean the same ("1000m" and "1").
    """
    if not wanted and not there:
        # The API server leaves out what is false, 0 or empty.
        return
    if isinstance(wanted, Mapping):
        if not isinstance(there, Mapping):
            yield path or "."
            return
        for key, value in wanted.items():
            yield from differences(value, there.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        yield from _list_differences(wanted, there, path)
    elif wanted != there and not _same_amount(wanted, there):
        yield path or "."


def difference(wanted: object, there: object, path: str = "") -> str:
    """The first of `differences`, "" for none."""
    return next(differences(wanted, there, path), "")


def _list_differences(wanted: Sequence[object], there: object, path: str) -> Iterator[str]:
    if not isinstance(there, Sequence) or isinstance(there, str):
        yield path or "."
        return
    key = _name_key(wanted, there)
    if key is not None:
        by_name = {each[key]: each for each in there if isinstance(each, Mapping)}
        for each in wanted:
            name = each[key]  # type: ignore[index]
            yield from differences(each, by_name.get(name), f"{path}[{name}]")
    elif len(wanted) != len(there):
        yield path or "."
    else:
        for index, each in enumerate(wanted):
            yield from differences(each, there[index], f"{path}[{index}]")


def _name_key(wanted: Sequence[object], there: Sequence[object]) -> str | None:
    return next((key for key in _NAMED if _tells_apart(key, wanted) and _tells_apart(key, there)), None)


def _tells_apart(key: str, entries: Sequence[object]) -> bool:
    names = [each.get(key) for each in entries if isinstance(each, Mapping)]
    known = len(names) == len(entries) and all(isinstance(name, str | int) for name in names)
    return known and len(set(names)) == len(names)


def _same_amount(one: object, other: object) -> bool:
    if not isinstance(one, str | int) or not isinstance(other, str | int) or isinstance(one, bool):
        return False
    amounts = [_amount(str(each)) for each in (one, other)]
    return amounts[0] is not None and amounts[0] == amounts[1]


def _amount(text: str) -> int | None:
    """A thousandth of a unit is the least that quantities of CPU have."""
    if text.endswith("m"):
        return int(text[:-1]) if text[:-1].isdecimal() and text.isascii() else None
    whole = parse_quantity(text)
    return None if whole is None else whole * 1000
