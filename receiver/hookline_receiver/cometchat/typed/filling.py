"""
A JSON object becomes a message, field by field, along the message's own descriptor.

Null is absent. An empty list in place of an object is an empty object: it is what PHP writes for one. Objects of users
by uid become lists. Fields that no message names are passed over.

PERF: a message's sources are made into a tree of the JSON's names once, and the JSON is walked along it: the cost is
that of the fields that are there, not of those that could be.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from hookline_receiver.cometchat.typed.sources import SOURCES, As, Source, at
from hookline_receiver.cometchat.typed.values import (
    VALUES_PER_OBJECT,
    Budget,
    Malformed,
    boolean,
    decimal,
    fill_duration,
    fill_struct,
    fill_time,
    integer,
    text,
)

Json: TypeAlias = Mapping[str, Any]

Put: TypeAlias = Callable[[Any, Any, Budget], None]
"""Puts a value into a field of a message: (message, value, budget)."""

IDS_ALONE = {"User": "uid", "Group": "guid"}
"""Messages that may stand in the JSON as their id alone, and the field that this is."""


@dataclass
class _Node:
    """A name in the JSON: what is done with its value, and the names below it."""

    puts: list[Put] = field(default_factory=list)
    below: dict[str, "_Node"] = field(default_factory=dict)

    def at(self, dotted: str) -> "_Node":
        """The node that the *dotted* path leads to."""
        node = self
        for step in dotted.split(".") if dotted else ():
            node = node.below.setdefault(step, _Node())
        return node


def fill(message: Any, value: Any, budget: Budget) -> None:
    """Fill *message* from the JSON object *value*; raises Malformed or TooMuch."""
    name = message.DESCRIPTOR.name
    if name in IDS_ALONE and isinstance(value, str | int) and not isinstance(value, bool):
        budget.spend(VALUES_PER_OBJECT)
        setattr(message, IDS_ALONE[name], text(value))
        return
    _fill_plain(message, value, budget)
    if name == "Message" and value and value.get("category") == "action" and isinstance(value.get("data"), dict):
        message.action.SetInParent()
        with within("data"):
            fill(message.action, value["data"], budget)


def _fill_plain(message: Any, value: Any, budget: Budget) -> None:
    """Fill *message*, but for what an action message tells of its action."""
    budget.spend(VALUES_PER_OBJECT)
    found = an_object(value)
    root = _tree(message.DESCRIPTOR)
    for put in root.puts:
        put(message, found, budget)
    _walk(root.below, message, found, budget)


def _walk(names: Mapping[str, _Node], message: Any, value: Json, budget: Budget) -> None:
    for name, inner in value.items():
        node = names.get(name)
        if node is None or inner is None:
            continue
        try:
            for put in node.puts:
                put(message, inner, budget)
            if node.below:
                _walk(node.below, message, an_object(inner), budget)
        except Malformed as error:
            raise error.within(name) from None


def an_object(value: Any) -> Json:
    """*value* as an object; raises Malformed."""
    if isinstance(value, dict):
        return value
    if value == []:
        return {}
    raise Malformed("an object", value)


class within:  # reads like the statement that it is
    """Whatever is found malformed inside is so within *steps*."""

    def __init__(self, *steps: str) -> None:
        self._steps = steps

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Malformed):
            for step in reversed(self._steps):
                error.within(step)


@cache
def _tree(descriptor: Descriptor) -> _Node:
    """What is done with the names in the JSON that a message is made of."""
    root, own = _Node(), SOURCES.get(descriptor.name, {})
    for member in descriptor.fields:
        source = own.get(member.name) or _by_name(member)
        if member.containing_oneof is None or member.containing_oneof.name != "event":
            for rank, path in enumerate(source.paths):
                put = _of_entity(source.entity, _putter(member, source)) if source.entity else _putter(member, source)
                root.at(path).puts.append(_ranked(member.name, rank, put) if len(source.paths) > 1 else put)
    return root


def _by_name(member: FieldDescriptor) -> Source:
    return at(member.camelcase_name, member.name) if member.camelcase_name != member.name else at(member.name)


def _ranked(name: str, rank: int, put: Put) -> Put:
    """Of several places where a field may be found the first one counts, whichever comes first in the JSON."""

    def first(message: Any, value: Any, budget: Budget) -> None:
        message.ClearField(name)
        put(message, value, budget)

    def other(message: Any, value: Any, budget: Budget) -> None:
        if not message.HasField(name):
            put(message, value, budget)

    return other if rank else first


def _of_entity(kind: str, put: Put) -> Put:
    """Takes what is wrapped in {entity, entityType}, if it is of that kind."""

    def unwrapped(message: Any, value: Any, budget: Budget) -> None:
        side = an_object(value)
        if side.get("entity") is not None and _kind(side) == kind:
            with within("entity"):
                put(message, side["entity"], budget)

    return unwrapped


def _kind(side: Json) -> str | None:
    """The type of the entity, seen from its ids where it is not told."""
    if isinstance(told := side.get("entityType"), str):
        return told.lower()
    inner = side["entity"]
    ids = {"uid": "user", "guid": "group", "sessionid": "call", "id": "message"}
    return next((kind for name, kind in ids.items() if name in inner), None) if isinstance(inner, dict) else None


def _putter(member: FieldDescriptor, source: Source) -> Put:
    kind, name = member.message_type, member.name
    if kind is None:
        return _SCALARS[member.type](name)
    if kind.full_name == "google.protobuf.Struct":
        return _unpacking(_struct(name)) if source.read is As.JSON else _struct(name)
    if kind.full_name == "google.protobuf.Timestamp":
        return _placeholder(_time(name)) if source.read is As.PLACEHOLDER else _time(name)
    if kind.full_name == "google.protobuf.Duration":
        return _length(name, 1000 if source.read is As.MILLISECONDS else 1)
    if [inner.is_repeated for inner in kind.fields] == [True]:
        return _texts(name) if kind.name == "StringList" else _list(name, kind.fields[0].name)
    if source.read is As.SUBJECT:
        return _message(name, _fill_plain)
    return _unpacking(_message(name, fill)) if source.read is As.JSON else _message(name, fill)


def _scalar(convert: Callable[[Any], Any]) -> Callable[[str], Put]:
    """For fields other than texts, an empty text is no value."""

    def putter(name: str) -> Put:
        def put(message: Any, value: Any, budget: Budget) -> None:
            if value != "":
                setattr(message, name, convert(value))

        return put

    return putter


def _text(name: str) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        setattr(message, name, value if type(value) is str else text(_id_of(value)))

    return put


def _id_of(value: Any) -> Any:
    """Where an id is expected, a whole user or group may stand: its uid or guid is meant."""
    if isinstance(value, dict):
        return next((value[name] for name in IDS_ALONE.values() if value.get(name) is not None), value)
    return value


_SCALARS: Mapping[int, Callable[[str], Put]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BOOL: _scalar(boolean),
    FieldDescriptor.TYPE_INT32: _scalar(lambda value: integer(value, 32)),
    FieldDescriptor.TYPE_INT64: _scalar(lambda value: integer(value, 64)),
    FieldDescriptor.TYPE_DOUBLE: _scalar(decimal),
}


def _time(name: str) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        if value != "":
            fill_time(getattr(message, name), value)

    return put


def _placeholder(put: Put) -> Put:
    """Words in place of a value are left out."""

    def told(message: Any, value: Any, budget: Budget) -> None:
        try:
            put(message, value, budget)
        except Malformed:
            if not isinstance(value, str):
                raise

    return told


def _length(name: str, units_a_second: int) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        if value != "":
            fill_duration(getattr(message, name), value, units_a_second)

    return put


def _struct(name: str) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        if value == "":
            return
        found = _unpacked(value) if isinstance(value, str) else value
        fill_struct(getattr(message, name), an_object(value if found is None else found), budget)

    return put


def _message(name: str, filler: Put) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        inner = getattr(message, name)
        inner.SetInParent()
        filler(inner, value, budget)

    return put


def _unpacking(put: Put) -> Put:
    """An object may come as text that holds it; other texts, such as the documentation's placeholders, are left out."""

    def unpacked(message: Any, value: Any, budget: Budget) -> None:
        found = _unpacked(value) if isinstance(value, str) else value
        if found is not None:
            put(message, found, budget)

    return unpacked


def _unpacked(value: str) -> Any:
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _texts(name: str) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        if value == "":
            return
        found = value if isinstance(value, list) else _listed(value) if isinstance(value, dict) else [value]
        budget.spend(len(found))
        texts = getattr(message, name)
        texts.SetInParent()
        for place, inner in enumerate(found):
            with within(f"[{place}]"):
                texts.values.append(text(inner))

    return put


def _list(name: str, items: str) -> Put:
    def put(message: Any, value: Any, budget: Budget) -> None:
        elements = getattr(getattr(message, name), items)
        getattr(message, name).SetInParent()
        for place, inner in enumerate(_elements(value, by_uid=items == "users")):
            with within(f"[{place}]"):
                fill(elements.add(), inner() if callable(inner) else inner, budget)

    return put


def _elements(value: Any, *, by_uid: bool) -> Iterator[Any]:
    """Elements of a list; of a map by uid what makes its users, so that their place is known if they are malformed."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and by_uid:
        for uid, inner in value.items():
            yield lambda uid=uid, inner=inner: {"uid": uid, **an_object(inner or {})}
    elif isinstance(value, dict):
        yield from _listed(value)
    else:
        raise Malformed("a list", value)


def _listed(value: Json) -> list[Any]:
    """What PHP makes of a list with gaps is an object with numbers for names; any other object is a list's only one."""
    if all(name.isdecimal() for name in value):
        return list(value.values())
    return [value]
