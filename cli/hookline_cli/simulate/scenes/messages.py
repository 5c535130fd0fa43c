"""Conversations."""

from collections.abc import Iterator
from typing import Any

from hookline_cli.simulate.stage import Moment, Scene, Stage
from hookline_cli.simulate.world import Conversation, Person

WORDS = (
    "well",
    "we",
    "could",
    "meet",
    "at",
    "the",
    "station",
    "after",
    "lunch",
    "and",
    "see",
    "whether",
    "Ana",
    "has",
    "keys",
)
EMOJI = ("👍", "🎉", "😂", "❤️")


def a_message(stage: Stage, conversation: Conversation, **more: Any) -> dict[str, Any]:
    """A text message, sent now."""
    text = " ".join(stage.chance.choices(WORDS, k=stage.chance.randint(1, 24)))
    entities = {
        "sender": {"entity": conversation.one.shown(stage.at), "entityType": "user"},
        "receiver": conversation.receiver_shown(stage.at),
    }
    return {
        "id": stage.ids.number(),
        "muid": stage.ids.name("muid"),
        **conversation.addressed(),
        "category": "message",
        "type": "text",
        "data": {"text": text, "entities": entities, "metadata": {"@injected": {"extensions": {}}}},
        "sentAt": stage.now,
        "updatedAt": stage.now,
        **more,
    }


def an_action(stage: Stage, conversation: Conversation, name: str, on: dict[str, Any]) -> dict[str, Any]:
    """The message that CometChat makes of something done to the message *on*."""
    by = {"entity": conversation.one.shown(stage.at), "entityType": "user"}
    return {
        "id": stage.ids.number(),
        **conversation.addressed(),
        "category": "action",
        "type": "message",
        "data": {"action": name, "entities": {"by": by, "on": {"entity": on, "entityType": "message"}}},
        "sentAt": stage.now,
        "updatedAt": stage.now,
    }


def sent(stage: Stage, conversation: Conversation) -> Iterator[Moment]:
    """A message with its receipts; the first moment is that of the message."""
    message = a_message(stage, conversation)
    yield stage.event("message_sent", {"message": message})
    for action, trigger in (("delivered", "message_delivery_receipt"), ("read", "message_read_receipt")):
        stage.wait(0.2, 8)
        for reader in conversation.people:
            if reader != conversation.one:
                yield _receipt(stage, conversation, message["id"], action, trigger, reader)
        if conversation.club:
            stage.wait(0.1, 2)
            to_all = {"delivered": "message_delivered_to_all", "read": "message_read_by_all"}[action]
            names = {"delivered": "deliveredToAll", "read": "readByAll"}
            yield _receipt(stage, conversation, message["id"], names[action], to_all, None)


def _receipt(
    stage: Stage, conversation: Conversation, message_id: str, action: str, trigger: str, reader: Person | None
) -> Moment:
    body = {"action": action, "messageId": message_id, "timestamp": stage.now}
    if reader:
        body["user"] = {**reader.brief(), "status": "online"}
    data = {
        "receiver": conversation.club.guid if conversation.club else conversation.one.uid,
        "receiverType": conversation.receiver_type,
        "type": "receipts",
        "sender": (reader or conversation.other).uid,
        "messageSender": conversation.one.uid,
        "body": body,
    }
    return stage.event(trigger, data)


def chat(stage: Stage) -> Scene:
    """Two people write to each other."""
    conversation = stage.world.conversation()
    for _ in range(stage.chance.randint(1, 3)):
        yield from sent(stage, conversation)
        conversation = conversation.turned()
        stage.wait(2, 40)


def group_chat(stage: Stage) -> Scene:
    """Somebody writes in a group, and may mention somebody: both events have one message id."""
    club = stage.chance.choice(stage.world.clubs)
    one, other = stage.chance.sample(club.members, 2)
    yield from sent(stage, Conversation(one, other, club))
    stage.wait(1, 30)
    message = a_message(stage, Conversation(one, other, club))
    message["data"]["text"] = f"<@uid:{other.uid}> {message['data']['text']}"
    message["data"]["mentions"] = {other.uid: other.shown(stage.at)}
    yield stage.event("user_mentioned", {"message": message})
    yield stage.event("message_sent", {"message": message})


def edited(stage: Stage) -> Scene:
    """An edit comes with three action messages, or, as it was seen, as the message itself."""
    conversation = stage.world.conversation()
    message = a_message(stage, conversation)
    yield stage.event("message_sent", {"message": message})
    stage.wait(5, 60)
    changes = {"editedAt": stage.now, "editedBy": conversation.one.uid, "updatedAt": stage.now}
    now = {**message, **changes, "data": {**message["data"], "text": f"{message['data']['text']}!"}}
    if stage.odds(0.5):
        yield stage.event("message_edited", {"message": now})
        return
    yield stage.event("message_edited", {"message": an_action(stage, conversation, "edited", now)})
    for _ in range(3):
        yield stage.event("message_sent", {"message": an_action(stage, conversation, "edited", now)})


def deleted(stage: Stage) -> Scene:
    """A delete comes with one action message."""
    conversation = stage.world.conversation()
    message = a_message(stage, conversation)
    yield stage.event("message_sent", {"message": message})
    stage.wait(5, 60)
    gone = {**message, "data": {}, "deletedAt": stage.now, "deletedBy": conversation.one.uid}
    yield stage.event("message_deleted", {"message": an_action(stage, conversation, "deleted", gone)})
    yield stage.event("message_sent", {"message": an_action(stage, conversation, "deleted", gone)})


def reactions(stage: Stage) -> Scene:
    """Reactions, one of which is taken back: the removal bears the time of the reaction."""
    conversation = stage.world.conversation()
    message = a_message(stage, conversation)
    yield stage.event("message_sent", {"message": message})
    for person in stage.chance.sample(list(conversation.people), min(2, len(conversation.people))):
        stage.wait(1, 20)
        reaction = {
            "id": stage.ids.name("reaction"),
            "messageId": message["id"],
            "reaction": stage.chance.choice(EMOJI),
            "uid": person.uid,
            "reactedAt": stage.now,
            "reactedBy": person.brief(),
        }
        yield stage.event("message_reaction_added", {"reaction": reaction})
    stage.wait(1, 20)
    yield stage.event("message_reaction_removed", {"reaction": reaction})


def moderated(stage: Stage) -> Scene:
    """Approved, or blocked without a message_sent; the engine may fail beside either, and a person may overrule it."""
    message = a_message(stage, stage.world.conversation())
    blocked = stage.odds(0.4)
    message["data"]["moderation"] = {"status": "disapproved" if blocked else "approved"}
    if stage.odds(0.3):
        kept = ("id", "conversationId", "sender", "receiverType", "receiver", "category", "type", "sentAt")
        resource = {name: message[name] for name in kept}
        yield stage.like("moderation_engine_failed", {"resource": resource, "completedAt": stage.now})
    if not blocked:
        yield stage.event("moderation_engine_approved", {"message": message})
        yield stage.event("message_sent", {"message": message})
        return
    yield stage.event("moderation_engine_blocked", {"message": message})
    stage.wait(60, 600)
    approved = {**message, "updatedAt": stage.now, "data": {**message["data"], "moderation": {"status": "approved"}}}
    yield stage.like("moderation_manual_approved", {"message": approved})
    yield stage.event("message_sent", {"message": approved})


def missed(stage: Stage) -> Scene:
    """Who is away is told by push, and later by mail or SMS: one event for each recipient."""
    conversation = stage.world.conversation()
    message = a_message(stage, conversation)
    yield stage.event("message_sent", {"message": message})
    for person in conversation.people:
        if person == conversation.one:
            continue
        details = {
            "title": conversation.one.name,
            "body": message["data"]["text"],
            "sender": conversation.one.uid,
            "receiver": message["receiver"],
            "receiverType": message["receiverType"],
            "conversationId": conversation.id,
            "type": "chat",
            "tag": message["id"],
            "sentAt": str(int(stage.at * 1000)),
        }
        yield stage.event(
            "push-notification-payload-generated",
            {"to": {"uid": person.uid}, "notificationDetails": details},
            webhook="custom",
        )
    stage.wait(60, 300)
    to, text = {"uid": conversation.other.uid, "name": conversation.other.name}, message["data"]["text"]
    summary = [{"sender": conversation.one.brief(), "message": text, "messageObject": message}]
    details = conversation.one.brief()
    mail = {"to": {**to, "email": f"{to['uid']}@example.com"}, "messages": summary, "senderDetails": details}
    yield stage.event(
        "email-notification-payload-generated",
        {**mail, "subject": f"New messages from {details['name']}"},
        webhook="custom",
    )
    sms = {"to": {**to, "phno": "+12125550123"}, "messages": summary, "senderDetails": details}
    yield stage.event("sms-notification-payload-generated", {**sms, "smsContent": "New messages"}, webhook="custom")
