"""The older webhook system: the same things in other shapes."""

from hookline_cli.simulate.scenes.messages import a_message
from hookline_cli.simulate.stage import Scene, Stage

ORIGIN = {"origin": {"platform": "WEBSOCKET"}, "chatAPIVersion": "3.0"}


def legacy(stage: Stage) -> Scene:
    """Somebody connects, writes, and is read."""
    pair = stage.world.pair()
    connection = {
        "connected_at": str(int(stage.at * 1000)),
        "cometchat_device_id": stage.ids.name("device"),
        "session_id": stage.ids.name("session"),
        "platform": "web",
    }
    moment = str(int(stage.at * 1000))
    user = {"uid": pair.one.uid, "status": "online", "status_updated": True, "status_updated_at": moment}
    event = {"type": "connected", "at": moment, "event_for": connection}
    connected = {"user": user, "event": event, "connections": [connection]}
    yield stage.event("after_connection_status_changed", connected, **ORIGIN)
    stage.wait(1, 20)
    message = a_message(stage, pair)
    yield stage.event("before_message", {name: value for name, value in message.items() if name != "id"}, region=None)
    stage.wait(0.1, 1)
    yield stage.event("after_message", message, region=None)
    receipt = {
        "messageId": message["id"],
        "messageSender": pair.one.uid,
        "receiptSender": pair.other.uid,
        "receiptReceiver": pair.one.uid,
        "receiverType": "user",
    }
    for kind, trigger in (("delivered", "message_delivery_receipt"), ("read", "message_read_receipt")):
        stage.wait(1, 10)
        told = {**receipt, "receiptType": kind, f"{kind}At": stage.now}
        yield stage.event(trigger, told, **ORIGIN)
