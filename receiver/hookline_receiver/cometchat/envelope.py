"""
A body becomes a `Reading`, or it is said why it is no event.

What must hold of an event is little: a JSON object with a string `trigger`. Everything beyond that is read as far as
it has the known shape. Outcomes, each of them tested:

- Unknown triggers, unknown fields, fields of another type than documented: an event.
- Equal keys in one object: the last one counts, as in most JSON readers.
- Numbers of any size, bytes inside strings that are not UTF-8, halves of surrogate pairs, a byte order mark: an event.
- NaN, control characters in strings, anything else that is not JSON: no event.
- Nesting deeper than the interpreter's stack allows (at least 500 levels): no event, since nobody could read it.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import msgspec

from hookline_receiver.cometchat.mending import REPLACEMENT, mended
from hookline_receiver.cometchat.wire import Data, OddPayload, Payload, Scalar, salvaged
from hookline_receiver.event import Envelope
from hookline_routes.triggers import RECEIPTS, category_of

MAX_TRIGGER_LENGTH = 256
"""Characters. The longest known trigger has 36; the name is repeated in attributes, file records and answers."""

MAX_ID_LENGTH = 512
"""Characters. Ids of CometChat have at most a few hundred; longer ones are read as missing."""

RECEIVER_TYPES = ("user", "group")
"""The contract's words for whom a message is for."""

_decode = msgspec.json.Decoder(Payload).decode
_decode_odd = msgspec.json.Decoder(OddPayload).decode
_decode_any = msgspec.json.Decoder(float_hook=float).decode


class Fault(StrEnum):
    """Why a body is no event."""

    NOT_JSON = "NotJSON"
    """Not a JSON object."""
    NO_TRIGGER = "NoTrigger"
    """No field `trigger`, or it is not a string of at most 256 characters."""
    TOO_DEEP = "NestedTooDeeply"
    """Nested deeper than can be read."""


@dataclass(frozen=True, slots=True)
class NotAnEvent:
    """The body is none that CometChat sends."""

    fault: Fault
    detail: str
    """For a person: what is wrong and where. Holds no text of the body."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What was read of a body: enough to judge, route and identify the event."""

    envelope: Envelope
    webhook: Scalar
    data: Data


def read(body: bytes) -> Reading | NotAnEvent:
    """Read *body* in one pass; never raises. Time is linear in its length."""
    try:
        payload = _decode(body)
    except RecursionError:
        return _TOO_DEEP
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_odd(body)
    return _reading(payload)


_TOO_DEEP = NotAnEvent(Fault.TOO_DEEP, "the body is nested too deeply to be read")


def _reading(payload: Payload) -> Reading | NotAnEvent:
    trigger, data = payload.trigger, payload.data
    if len(trigger) > MAX_TRIGGER_LENGTH:
        return NotAnEvent(Fault.NO_TRIGGER, f"trigger has {len(trigger)} characters, the limit is {MAX_TRIGGER_LENGTH}")
    receiver_type = data.message.receiverType or _other_receiver_type(data)
    if receiver_type not in RECEIVER_TYPES:
        receiver_type = ""
    legacy_shape = data.receiptType is not None and trigger in RECEIPTS
    return Reading(_envelope(trigger, legacy_shape, text_of(payload.appId), receiver_type), payload.webhook, data)


@lru_cache(maxsize=2048)  # PERF: the same few come again and again; a frozen dataclass takes a microsecond to build
def _envelope(trigger: str, legacy_shape: bool, app_id: str, receiver_type: str) -> Envelope:
    return Envelope(trigger, category_of(trigger, legacy_shape=legacy_shape), app_id, receiver_type)


def text_of(value: Scalar) -> str:
    """*value* as the id or name that it stands for; "" if it can't be one."""
    if isinstance(value, str):
        return value if len(value) <= MAX_ID_LENGTH else ""
    return str(value) if type(value) is int else ""


def _other_receiver_type(data: Data) -> Scalar:
    return (
        data.receiverType
        or data.call.receiverType
        or data.resource.receiverType
        or data.notificationDetails.receiverType
    )


def _read_odd(body: bytes) -> Reading | NotAnEvent:
    """Read a body that does not keep to the shapes, or not quite to JSON; what can't be read counts as missing."""
    text = mended(body) or body
    try:
        payload = _payload(text)
    except RecursionError:
        return _TOO_DEEP
    except msgspec.ValidationError as error:
        return _not_an_event(error)
    except msgspec.DecodeError as error:
        return NotAnEvent(Fault.NOT_JSON, str(error))
    if text is not body and REPLACEMENT in payload.trigger:
        return NotAnEvent(Fault.NO_TRIGGER, "trigger is not text in UTF-8")
    return _reading(payload)


def _payload(text: bytes) -> Payload:
    """Decode *text* as it should be, else field by field; raises what msgspec raises if it is no event at all."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        odd = _decode_odd(text)
    return Payload(odd.trigger, _scalar(odd.appId), _scalar(odd.webhook), salvaged(Data, _value(odd.data)))


def _scalar(raw: msgspec.Raw) -> Scalar:
    value = _value(raw)
    return value if isinstance(value, str | int | float) else None


def _value(raw: msgspec.Raw) -> object:
    """What *raw* holds; None if there is a number in it that no machine can hold."""
    try:
        return _decode_any(raw)
    except msgspec.DecodeError:
        return None


def _not_an_event(error: msgspec.ValidationError) -> NotAnEvent:
    if "trigger" in str(error):
        return NotAnEvent(Fault.NO_TRIGGER, "the body has no field `trigger` that is a string")
    return NotAnEvent(Fault.NOT_JSON, "the body is JSON, but not an object")
