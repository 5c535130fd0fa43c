"""Whether an object that is there says what it should: what we do not speak of is others' business."""

from collections.abc import Mapping, Sequence

from hookline_routes.units import parse_quantity

_NAMED = ("name", "mountPath", "containerPort", "type", "topologyKey")
"""Keys by which the API server tells entries of a list apart, the first one that all entries have."""


def difference(wanted: object, there: object, path: str = "") -> str:
    """
    The path of the first field of *wanted* that *there* does not say ("spec.template.spec…"), "" for none.

    Fields that only *there* has are not looked at, entries of named lists neither: defaults of the API server, and what other
    owners have added. Numbers and quantities are equal if they mean the same ("1000m" and "1").
    """
    if isinstance(wanted, Mapping):
        if not isinstance(there, Mapping):
            return path or "."
        for key, value in wanted.items():
            found = difference(value, there.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
        return ""
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _list_difference(wanted, there, path)
    if not wanted and not there:
        # The API server leaves out what is false, 0 or empty.
        return ""
    return "" if wanted == there or _same_amount(wanted, there) else path or "."


def _list_difference(wanted: Sequence[object], there: object, path: str) -> str:
    if not isinstance(there, Sequence) or isinstance(there, str):
        return path if wanted else ""
    key = _name_key(wanted, there)
    if key is None:
        if len(wanted) != len(there):
            return path
        pairs = [(str(index), each, there[index]) for index, each in enumerate(wanted)]
    else:
        by_name = {each[key]: each for each in there if isinstance(each, Mapping) and key in each}
        pairs = [
            (str(each[key]), each, by_name.get(each[key]))  # type: ignore[index]
            for each in wanted
        ]
    for name, each, other in pairs:
        found = difference(each, other, f"{path}[{name}]")
        if found:
            return found
    return ""


def _name_key(wanted: Sequence[object], there: Sequence[object]) -> str | None:
    every = [*wanted, *there]
    for key in _NAMED:
        if every and all(isinstance(each, Mapping) and key in each for each in every):
            return key
    return None


def _same_amount(one: object, other: object) -> bool:
    if not isinstance(one, str | int) or not isinstance(other, str | int) or isinstance(one, bool):
        return False
    amounts = [_amount(str(each)) for each in (one, other)]
    return amounts[0] is not None and amounts[0] == amounts[1]


def _amount(text: str) -> int | None:
    """A thousandth of a unit is the least that quantities of CPU have."""
    if text.endswith("m"):
        return int(text[:-1]) if text[:-1].isdigit() else None
    whole = parse_quantity(text)
    return None if whole is None else whole * 1000
