"""
Whether two bodies with one identity tell the same event.

A retry may show users and groups anew (who is online, since when), in another order of keys. Any other difference makes
two events: a duplicate is allowed, a loss is not.
"""

from typing import Any

import msgspec

from hookline_receiver.cometchat.canonical import decode, encode
from hookline_receiver.cometchat.rules import RULES

OF_USERS = ("status", "lastActiveAt")
"""What may differ in an object with a `uid`."""

OF_GROUPS = ("onlineMembersCount",)
"""What may differ in an object with a `guid`."""


def same_event(first: bytes, second: bytes) -> bool:
    """
    Whether the bodies are equal but for what the trigger's rules call volatile, order of keys and white space.

    False in doubt: for bodies that are not JSON, nested too deeply, or hold numbers that can't be read. Never raises.
    """
    if first == second:
        return True
    try:
        return _essence(decode(first)) == _essence(decode(second))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _essence(payload: Any) -> bytes:
    """*payload* without its volatile fields, in canonical form."""
    if isinstance(payload, dict) and isinstance(trigger := payload.get("trigger"), str):
        for path in _VOLATILE.get(trigger, ()):
            _forget(payload.get("data"), path)
    return encode(payload)


def _forget(value: Any, path: tuple[str, ...]) -> None:
    """Take the volatile fields out of the objects at *path*, "*" standing for every key."""
    if not isinstance(value, dict):
        return
    if not path:
        for name in OF_USERS if "uid" in value else OF_GROUPS if "guid" in value else ():
            value.pop(name, None)
        return
    children = list(value.values()) if path[0] == "*" else [value.get(path[0])]
    for child in children:
        _forget(child, path[1:])


_VOLATILE: dict[str, tuple[tuple[str, ...], ...]] = {
    trigger: tuple({tuple(path.split(".")): None for rule in rules for path in rule.volatile})
    for trigger, rules in RULES.items()
}
