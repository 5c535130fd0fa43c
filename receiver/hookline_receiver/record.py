"""Events as the journal keeps them, in both directions (`proto/hookline/journal/v1/record.proto`)."""

from google.protobuf.message import DecodeError

from hookline.journal.v1.record_pb2 import Record
from hookline_receiver.event import Envelope, Event, Identity, SubscriptionRef


class RecordUnreadable(Exception):
    """The bytes are not a record: damage that the journal's checksums did not see, or another program's."""


def encode(event: Event) -> bytes:
    """The bytes that the journal keeps of *event*."""
    subscription, envelope, identity = event.subscription, event.envelope, event.identity
    return Record(
        ingest_id=event.ingest_id,
        subscription_uid=subscription.uid,
        namespace=subscription.namespace,
        name=subscription.name,
        received_at=event.received_at_ns,
        body=event.body,
        trigger=envelope.trigger,
        app_id=envelope.app_id,
        category=envelope.category,
        receiver_type=envelope.receiver_type,
        identity=identity.key,
        strong=identity.strong,
        partition_key=identity.partition_key,
        subject=identity.subject,
        event_time=identity.time_ms,
        traceparent=event.traceparent,
    ).SerializeToString()


def decode(payload: bytes) -> Event:
    """The event that *payload* keeps, else RecordUnreadable. Fields that a newer release added are passed over."""
    try:
        record = Record.FromString(payload)
    except DecodeError as exc:
        raise RecordUnreadable(f"record of {len(payload)} bytes: {exc}") from exc
    if len(record.ingest_id) != 16:
        raise RecordUnreadable(f"record of {len(payload)} bytes: ingest_id has {len(record.ingest_id)} bytes, not 16")
    return Event(
        ingest_id=record.ingest_id,
        subscription=SubscriptionRef(record.subscription_uid, record.namespace, record.name),
        received_at_ns=record.received_at,
        body=record.body,
        envelope=Envelope(record.trigger, record.category, record.app_id, record.receiver_type),
        identity=Identity(record.identity, record.strong, record.partition_key, record.subject, record.event_time),
        traceparent=record.traceparent,
    )
