"""
A chat as it was lived through, as CometChat's payloads tell of it, and as the tables must show it in the end.

`Chat` is the specification of the sync example: each method does one thing, appends the payload that CometChat would
send, and changes `tables` as anybody would expect.
"""

from dataclasses import dataclass, field
from typing import Any

BEGIN = 1_700_000_000
APP = "app1"


@dataclass
class Chat:
    """What happened so far."""

    payloads: list[dict[str, Any]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    """When each payload was told."""
    tables: dict[str, dict[tuple[str, ...], dict[str, Any]]] = field(
        default_factory=lambda: {"messages": {}, "users": {}, "groups": {}, "members": {}}
    )
    now: int = BEGIN
    _messages: int = 0

    def wait(self, seconds: int) -> None:
        """Let time pass; 0: what follows happens within the same second."""
        self.now += seconds

    def send(self, sender: str, receiver: str, text: str) -> None:
        """A message between two people."""
        self._messages += 1
        ident = str(self._messages)
        message = self._message(ident, sender, receiver, text)
        self.tables["messages"][APP, ident] = {
            "conversation": message["conversationId"],
            "sender": sender,
            "receiver_type": "user",
            "receiver": receiver,
            "type": "text",
            "sent_at": self.now,
            "text": text,
            "edited_at": None,
            "deleted_at": None,
            "deleted_by": None,
        }
        for uid in (sender, receiver):
            self._see(uid)
        self._tell("message_sent", {"message": message})

    def edit(self, ident: str, text: str, *, flat: bool) -> None:
        """An edit in either of the two shapes that CometChat was seen to use; a deleted message can't be edited."""
        row = self.tables["messages"].get((APP, ident))
        if row is None or row["deleted_at"] is not None:
            return
        row.update(text=text, edited_at=self.now)
        original = {**self._message(ident, row["sender"], row["receiver"], text), "sentAt": row["sent_at"]}
        self._change("edited", {**original, "editedAt": self.now, "editedBy": row["sender"]}, flat=flat)

    def delete(self, ident: str, *, flat: bool) -> None:
        """A delete; the text goes too."""
        row = self.tables["messages"].get((APP, ident))
        if row is None or row["deleted_at"] is not None:
            return
        row.update(text=None, edited_at=None, deleted_at=self.now, deleted_by=row["sender"])
        gone = {"id": ident, "conversationId": row["conversation"], "deletedAt": self.now, "deletedBy": row["sender"]}
        self._change("deleted", gone, flat=flat)

    def connect(self, uid: str, *, online: bool) -> None:
        """Somebody comes or goes."""
        status = "online" if online else "offline"
        self._see(uid)
        self.tables["users"][APP, uid].update(status=status, status_at=self.now)
        data = {"timestamp": self.now * 1000, "user": self._user(uid), "status": status}
        self._tell("user_connection_status_changed", data)

    def make(self, guid: str, owner: str, name: str) -> None:
        """A group is made, perhaps under the guid of one that was deleted."""
        row = self.tables["groups"].get((APP, guid))
        if row is not None and row["deleted_at"] is None:
            return
        self.tables["groups"][APP, guid] = {
            "name": name,
            "type": "public",
            "owner": owner,
            "created_at": self.now,
            "deleted_at": None,
        }
        self._join("group_created", guid, owner, "member")

    def rename(self, guid: str, name: str) -> None:
        """A group gets another name."""
        row = self._alive(guid)
        if row is not None:
            row.update(name=name)
            self._tell("group_updated", {"group": {**self._group(guid), "updatedAt": self.now}})

    def drop(self, guid: str) -> None:
        """A group is deleted."""
        row = self._alive(guid)
        if row is not None:
            row.update(deleted_at=self.now)
            self._tell("group_deleted", {"group": {**self._group(guid), "updatedAt": self.now}})

    def join(self, trigger: str, guid: str, uid: str, state: str) -> None:
        """Somebody comes into a group or goes."""
        if self._alive(guid) is not None:
            self._join(trigger, guid, uid, state)

    def _join(self, trigger: str, guid: str, uid: str, state: str) -> None:
        self._see(uid)
        self.tables["members"][APP, guid, uid] = {"state": state, "scope": None}
        self._tell(trigger, {"group": self._group(guid), "members": {uid: self._user(uid)}})

    def _alive(self, guid: str) -> dict[str, Any] | None:
        row = self.tables["groups"].get((APP, guid))
        return row if row is not None and row["deleted_at"] is None else None

    def _see(self, uid: str) -> None:
        """Every name that is shown is the one of that moment."""
        row = self.tables["users"].setdefault((APP, uid), {"status": None, "status_at": None})
        row.update(name=f"{uid} at {self.now}", avatar=None, role="default")

    def _user(self, uid: str) -> dict[str, Any]:
        return {"uid": uid, "name": f"{uid} at {self.now}", "role": "default"}

    def _group(self, guid: str) -> dict[str, Any]:
        row = self.tables["groups"][APP, guid]
        names = {"guid": guid, "name": row["name"], "type": row["type"], "owner": row["owner"]}
        return {**names, "createdAt": row["created_at"], "membersCount": len(self.payloads)}

    def _message(self, ident: str, sender: str, receiver: str, text: str) -> dict[str, Any]:
        first, second = sorted((sender, receiver))
        people = {"sender": sender, "receiver": receiver}
        entities = {role: {"entity": self._user(uid), "entityType": "user"} for role, uid in people.items()}
        return {
            "id": ident,
            "conversationId": f"{first}_user_{second}",
            "sender": sender,
            "receiverType": "user",
            "receiver": receiver,
            "category": "message",
            "type": "text",
            "data": {"text": text, "entities": entities},
            "sentAt": self.now,
        }

    def _change(self, action: str, original: dict[str, Any], *, flat: bool) -> None:
        if flat:
            message = original
        else:
            on = {"entity": original, "entityType": "message"}
            message = {
                "id": f"action-{len(self.payloads)}",
                "conversationId": original["conversationId"],
                "category": "action",
                "type": "message",
                "data": {"action": action, "entities": {"on": on}},
                "sentAt": self.now,
            }
        self._tell(f"message_{action}", {"message": message})

    def _tell(self, trigger: str, data: dict[str, Any]) -> None:
        self.times.append(self.now)
        self.payloads.append({"trigger": trigger, "data": data, "appId": APP, "region": "eu", "webhook": "hook"})
