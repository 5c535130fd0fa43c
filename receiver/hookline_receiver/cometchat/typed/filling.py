"""
A JSON object becomes a message, field by field, along the message's own descriptor.

Null is absent. An empty list in place of an object is an empty object: it is what PHP writes for one. Objects of users
by uid become lists. Fields that no message names are passed over.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from hookline_receiver.cometchat.typed.sources import SOURCES, As, Source, at
from hookline_receiver.cometchat.typed.values import (
    VALUES_PER_OBJECT,
    Budget,
    Malformed,
    boolean,
    decimal,
    duration,
    fill_struct,
    integer,
    text,
    timestamp,
)

Json: TypeAlias = Mapping[str, Any]

Put: TypeAlias = Callable[[Message, str, Any, str, Budget], None]
"""Puts a value into the named field: (message, field, value, path of the value, budget)."""

IDS_ALONE = {"User": "uid", "Group": "guid"}
"""Messages that may stand in the JSON as their id alone, and the field that this is."""


def fill(message: Message, value: Any, path: str, budget: Budget) -> None:
    """Fill *message* from the JSON object *value*; raises Malformed or TooMuch."""
    budget.spend(VALUES_PER_OBJECT)
    name = message.DESCRIPTOR.name
    if name in IDS_ALONE and isinstance(value, str | int) and not isinstance(value, bool):
        setattr(message, IDS_ALONE[name], text(value, path))
        return
    found = an_object(value, path)
    for field, source, put in _plan(message.DESCRIPTOR):
        for inner, inner_path in _look_up(found, source, path):
            put(message, field, inner, inner_path, budget)
    if name == "Message":
        _fill_action(message, found, path, budget)


def an_object(value: Any, path: str) -> Json:
    """*value* as an object; raises Malformed."""
    if value == [] or isinstance(value, dict):
        return value or {}
    raise Malformed(path, "an object", value)


def follow(value: Any, dotted: str, path: str) -> tuple[Any, str]:
    """What the *dotted* path leads to from the object *value*, and the whole path; None if it leads nowhere."""
    for step in dotted.split(".") if dotted else ():
        value = an_object(value, path).get(step)
        path = f"{path}.{step}"
        if value is None:
            break
    return value, path


@cache
def _plan(descriptor: Descriptor) -> tuple[tuple[str, Source, Put], ...]:
    """Field, source and reader of each field that is read from one place."""
    own = SOURCES.get(descriptor.name, {})
    return tuple(
        (field.name, source, _putter(field, source))
        for field in descriptor.fields
        if (source := own.get(field.name) or _by_name(field)).paths and not _is_event(field)
    )


def _by_name(field: FieldDescriptor) -> Source:
    return at(field.camelcase_name, field.name) if field.camelcase_name != field.name else at(field.name)


def _is_event(field: FieldDescriptor) -> bool:
    return field.containing_oneof is not None and field.containing_oneof.name == "event"


def _look_up(value: Json, source: Source, path: str) -> Iterator[tuple[Any, str]]:
    """The value that *source* names and its path, if there is one."""
    for dotted in source.paths:
        found, found_path = follow(value, dotted, path)
        if found is None:
            continue
        if not source.entity:
            yield found, found_path
        elif (side := an_object(found, found_path)).get("entity") is not None and _kind(side) == source.entity:
            yield side["entity"], f"{found_path}.entity"
        return


def _kind(side: Json) -> object:
    """The type of the entity in {entity, entityType}, seen from its ids where it is not told."""
    if (told := side.get("entityType")) is not None:
        return told
    inner = side["entity"]
    if not isinstance(inner, dict):
        return None
    ids = {"uid": "user", "guid": "group", "sessionid": "call", "id": "message"}
    return next((kind for name, kind in ids.items() if name in inner), None)


def _fill_action(message: Any, value: Json, path: str, budget: Budget) -> None:
    """What an action message tells; not of the message that the action was done to, which would go on without end."""
    if value.get("category") != "action" or not isinstance(value.get("data"), dict):
        return
    action, data = message.action, value["data"]
    action.SetInParent()
    for field, source, put in _plan(action.DESCRIPTOR):
        for inner, inner_path in _look_up(data, source, f"{path}.data"):
            nested = field == "message" and isinstance(inner, dict) and inner.get("category") == "action"
            put(action, field, {**inner, "category": None} if nested else inner, inner_path, budget)
            if nested:
                action.message.category = "action"


def _putter(field: FieldDescriptor, source: Source) -> Put:
    kind = field.message_type
    if kind is None:
        return _SCALARS[field.type]
    if kind.full_name == "google.protobuf.Struct":
        return _put_json_struct if source.read is As.JSON else _put_struct
    if kind.full_name == "google.protobuf.Timestamp":
        return _put_placeholder_time if source.read is As.PLACEHOLDER else _put_time
    if kind.full_name == "google.protobuf.Duration":
        return _put_milliseconds if source.read is As.MILLISECONDS else _put_duration
    if [inner.is_repeated for inner in kind.fields] == [True]:
        return _put_texts if kind.name == "StringList" else _put_list
    return _put_json_message if source.read is As.JSON else _put_message


def _put_text(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    setattr(message, field, text(value, path))


def _put_boolean(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        setattr(message, field, boolean(value, path))


def _put_integer_32(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        setattr(message, field, integer(value, path, 32))


def _put_integer_64(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        setattr(message, field, integer(value, path, 64))


def _put_decimal(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        setattr(message, field, decimal(value, path))


_SCALARS: Mapping[int, Put] = {
    FieldDescriptor.TYPE_STRING: _put_text,
    FieldDescriptor.TYPE_BOOL: _put_boolean,
    FieldDescriptor.TYPE_INT32: _put_integer_32,
    FieldDescriptor.TYPE_INT64: _put_integer_64,
    FieldDescriptor.TYPE_DOUBLE: _put_decimal,
}


def _put_time(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        getattr(message, field).CopyFrom(timestamp(value, path))


def _put_placeholder_time(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    try:
        _put_time(message, field, value, path, budget)
    except Malformed:
        if not isinstance(value, str):
            raise


def _put_duration(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        getattr(message, field).CopyFrom(duration(value, path, 1))


def _put_milliseconds(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if value != "":
        getattr(message, field).CopyFrom(duration(value, path, 1000))


def _put_struct(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    fill_struct(getattr(message, field), an_object(value, path), path, budget)


def _put_json_struct(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if (found := _unpacked(value)) is not None:
        _put_struct(message, field, found, path, budget)


def _put_message(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    inner = getattr(message, field)
    inner.SetInParent()
    fill(inner, value, path, budget)


def _put_json_message(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if (found := _unpacked(value)) is not None:
        _put_message(message, field, found, path, budget)


def _unpacked(value: Any) -> Any:
    """An object, also one that comes as text; None for other texts, such as the documentation's placeholders."""
    if not isinstance(value, str):
        return value
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _put_texts(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    if not isinstance(value, list):
        raise Malformed(path, "a list", value)
    budget.spend(len(value))
    texts = getattr(message, field)
    texts.SetInParent()
    texts.values.extend(text(inner, f"{path}[{place}]") for place, inner in enumerate(value))


def _put_list(message: Message, field: str, value: Any, path: str, budget: Budget) -> None:
    inner = getattr(message, field)
    inner.SetInParent()
    (items,) = inner.DESCRIPTOR.fields
    for element, element_path in _elements(value, path, by_uid=items.name == "users"):
        fill(getattr(inner, items.name).add(), element, element_path, budget)


def _elements(value: Any, path: str, *, by_uid: bool) -> Iterator[tuple[Any, str]]:
    if isinstance(value, list):
        yield from ((inner, f"{path}[{place}]") for place, inner in enumerate(value))
    elif isinstance(value, dict) and by_uid:
        for place, (uid, inner) in enumerate(value.items()):
            # The path tells the place: a uid may be private.
            yield {"uid": uid, **an_object(inner, f"{path}[{place}]")}, f"{path}[{place}]"
    else:
        raise Malformed(path, "a list", value)
