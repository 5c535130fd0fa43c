"""The typed form of a body."""

from typing import Any

import msgspec

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline.handler.v1.handler_pb2 import Untyped
from hookline_receiver.cometchat.mending import mended
from hookline_receiver.cometchat.typed.events import FIELDS, fill_event
from hookline_receiver.cometchat.typed.filling import fill
from hookline_receiver.cometchat.typed.values import MAX_ELEMENTS, Budget, Malformed, TooMuch, elements

_decode = msgspec.json.Decoder(float_hook=float).decode


def to_payload(body: bytes) -> Payload | Untyped:
    """
    The typed form of *body*, or why there is none. Never raises; the event is delivered either way.

    Time is bounded by `MAX_ELEMENTS` for decoding the JSON, and by `MAX_VALUES` beyond that.
    """
    if (count := elements(body)) > MAX_ELEMENTS:
        detail = f"the payload holds about {count} elements, the limit is {MAX_ELEMENTS}"
        return Untyped(reason=Untyped.REASON_TOO_LARGE, detail=detail)
    try:
        value = _read(body)
    except msgspec.DecodeError as error:
        return Untyped(reason=Untyped.REASON_MALFORMED, detail=f"the body can't be read as JSON: {error}")
    except RecursionError:
        return Untyped(reason=Untyped.REASON_MALFORMED, detail="the body is nested too deeply to be read")
    trigger = value.get("trigger") if isinstance(value, dict) else None
    if not isinstance(trigger, str):
        return Untyped(reason=Untyped.REASON_MALFORMED, detail="trigger: expected a text")
    if trigger not in FIELDS:
        detail = f"this version has no message for the trigger {trigger[:100]!r}"
        return Untyped(reason=Untyped.REASON_UNKNOWN_TRIGGER, detail=detail)
    return _typed(trigger, value)


def _read(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode(mended(body) or body)


def _typed(trigger: str, value: dict[str, Any]) -> Payload | Untyped:
    payload, budget = Payload(), Budget()
    try:
        fill(payload, value, budget)
        fill_event(payload, trigger, value.get("data"), budget)
    except Malformed as error:
        return Untyped(reason=Untyped.REASON_MALFORMED, detail=str(error))
    except TooMuch as error:
        return Untyped(reason=Untyped.REASON_TOO_LARGE, detail=str(error))
    return payload
