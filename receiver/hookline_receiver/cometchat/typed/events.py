"""Trigger → message, and the payloads whose parts have to be put in other places: edits, deletes, calls."""

from collections.abc import Mapping
from typing import Any

from hookline.cometchat.v1.call_pb2 import CallSignal
from hookline.cometchat.v1.payload_pb2 import Payload
from hookline_receiver.cometchat.typed.filling import Json, an_object, fill, within
from hookline_receiver.cometchat.typed.values import Budget, Malformed, fill_time, text
from hookline_routes.triggers import CATEGORIES, NAMES_ONLY, RECEIPTS, SIGNALLING

FIELDS: Mapping[str, str] = {trigger: trigger.replace("-", "_") for trigger in CATEGORIES if trigger not in NAMES_ONLY}
"""The field of `Payload` that holds the events of each trigger."""

MAIN: Mapping[str, str | tuple[str, ...]] = {
    **dict.fromkeys(("message_sent", "message_edited", "message_deleted", "user_mentioned"), "message"),
    **dict.fromkeys(("message_reaction_added", "message_reaction_removed"), "reaction"),
    **dict.fromkeys((*RECEIPTS, "message_delivered_to_all", "message_read_by_all"), "body"),
    **dict.fromkeys(("user_blocked", "user_unblocked"), "users"),
    "user_connection_status_changed": "user",
    **dict.fromkeys((trigger for trigger, category in CATEGORIES.items() if category == "group"), "group"),
    **dict.fromkeys(SIGNALLING, "call"),
    **dict.fromkeys((trigger for trigger in CATEGORIES if "_participant_" in trigger), "occupant"),
    **dict.fromkeys(
        ("moderation_engine_approved", "moderation_engine_blocked", "moderation_manual_approved"), "message"
    ),
    # What it does not know it omits, and that may be the message.
    "moderation_engine_failed": ("resource", "failures"),
    "push-notification-payload-generated": "notificationDetails",
    "after_connection_status_changed": "event",
}
"""What `data` must have, or one of what, for the typed form to say anything."""

CHANGES = {"message_edited": ("edited", "editor"), "message_deleted": ("deleted", "deleter")}
"""How the fields of an edit and a delete are called: when and by whom, and the person."""

ACTOR_WAS_CALLED = ("call_busy", "call_rejected")
"""In these steps of a call it is the callee who acted."""


def field_of(trigger: str, data: Json) -> str:
    """The field of `Payload` for the event."""
    field = FIELDS[trigger]
    return f"legacy_{field}" if is_legacy_receipt(trigger, data) else field


def is_legacy_receipt(trigger: str, data: Json) -> bool:
    """Whether this is a receipt in the legacy system's shape."""
    return trigger in RECEIPTS and data.get("receiptType") is not None


def fill_event(payload: Payload, trigger: str, value: Any, budget: Budget) -> None:
    """Fill the event of *payload* from the JSON `data`; raises Malformed or TooMuch."""
    with within("data"):
        data = an_object(value)
        _must_say_something(trigger, data)
        event = getattr(payload, field_of(trigger, data))
        event.SetInParent()
        fill(event, data, budget)
        if trigger in CHANGES:
            with within("message"):
                _fill_change(event, an_object(data["message"]), *CHANGES[trigger], budget)
        if trigger in SIGNALLING:
            with within("call"):
                _fill_parties(event.call, trigger, an_object(data["call"]))


def _must_say_something(trigger: str, data: Json) -> None:
    main = MAIN.get(trigger, ())
    names = (main,) if isinstance(main, str) else main
    if names and all(data.get(name) is None for name in names) and not is_legacy_receipt(trigger, data):
        raise Malformed("an object", None).within(names[0])


def _fill_change(event: Any, message: Json, verb: str, person: str, budget: Budget) -> None:
    """An edit or a delete: its subject is either the message itself, or what the action message was done to."""
    if message.get("category") != "action":
        fill(event.message, message, budget)
        _fill_when(event, verb, message, "updatedAt")
        return
    with within("data", "entities", "on", "entity"):
        fill(event.message, _entity(message, "on"), budget)
    _fill_when(event, verb, message, "sentAt")
    if (by := _entity(message, "by")) is not None:
        with within("data", "entities", "by", "entity"):
            fill(getattr(event, person), by, budget)
    if message.get("id") is not None:
        with within("id"):
            event.action_message_id = text(message["id"])


def _entity(message: Json, role: str) -> Any:
    """What stands at `data.entities.{role}.entity`; None if that leads nowhere."""
    found: Any = message
    for step in ("data", "entities", role, "entity"):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _fill_when(event: Any, verb: str, message: Json, otherwise: str) -> None:
    """By whom and when, as the subject says, or else when the time *otherwise* of *message*."""
    by, at = f"{verb}_by", f"{verb}_at"
    if event.message.HasField(by):
        setattr(event, by, getattr(event.message, by))
    if event.message.HasField(at):
        getattr(event, at).CopyFrom(getattr(event.message, at))
    elif message.get(otherwise) not in (None, ""):
        with within(otherwise):
            fill_time(getattr(event, at), message[otherwise])


def _fill_parties(call: CallSignal, trigger: str, value: Json) -> None:
    """Who called whom: as the call says, else as follows from who acted in a conversation of two."""
    caller, callee = _party(value, "sender"), _party(value, "receiver")
    if not (caller and callee) and _derivable(call, trigger):
        actor, other = call.actor, _uid(value.get("receiver"))
        derived = (other, actor) if trigger in ACTOR_WAS_CALLED else (actor, other)
        caller, callee = caller or derived[0], callee or derived[1]
    if caller:
        call.caller = caller
    if callee:
        call.callee = callee


def _derivable(call: CallSignal, trigger: str) -> bool:
    """In a group's call it is not told who called, once somebody else acted."""
    return call.receiver_type == "user" or trigger not in ACTOR_WAS_CALLED


def _party(value: Json, role: str) -> str:
    on = _entity(value, "on")
    return _uid(on.get(role)) if isinstance(on, dict) else ""


def _uid(value: Any) -> str:
    """The uid or guid that *value* is, or holds, or whose entity it holds; "" if none of these."""
    if isinstance(value, dict):
        entity = value.get("entity")
        inner = entity if isinstance(entity, dict) else value
        value = inner.get("uid") or inner.get("guid")
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
