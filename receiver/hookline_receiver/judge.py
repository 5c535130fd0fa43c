"""
May this request be an event? Pure: values in, `Event` or `Refused` out.

Three looks, cheapest first, since a hostile sender must not be able to make us do for nothing what an honest one needs:
`measure` before anything is verified or read, `admit` once the sender is known, `judge` once the body is there.
"""

from hookline_receiver.cometchat.envelope import NotAnEvent, read
from hookline_receiver.cometchat.identity import identify
from hookline_receiver.encoding import ContentEncoding, content_encoding
from hookline_receiver.event import Event
from hookline_receiver.request import RequestHead, too_large
from hookline_receiver.routes import Endpoint
from hookline_receiver.verdict import RETRY_LATER, RETRY_SOON, Reason, Refused

UNAUTHORIZED = Refused(
    Reason.UNAUTHORIZED, "the request needs a valid credential for this address (Basic Authentication)"
)
"""For an unknown path, an unknown host and a wrong credential: one value, so that they can't differ."""

MAX_TRACEPARENT = 512
"""Characters of `traceparent` that are kept; W3C's have 55, longer ones are passed over."""


def measure(head: RequestHead, limit: int) -> Refused | None:
    """Why a body as large as *head* announces can't be taken, if so. The same for paths that exist and that do not."""
    if head.content_length is not None and head.content_length > limit:
        return too_large(limit)
    return None


def admit(head: RequestHead, endpoint: Endpoint, pending: int) -> ContentEncoding | Refused:
    """
    How to unpack the body, or why none is wanted from this sender, who has shown a valid credential.

    *pending* is what the subscription holds already, in bytes.
    """
    if head.method != "POST":
        return Refused(Reason.METHOD_NOT_ALLOWED, f"the method is {head.method[:20]}, events come by POST")
    encoding = content_encoding(head.content_encoding)
    if encoding is None:
        return Refused(Reason.UNSUPPORTED_ENCODING, "the content encoding is none of: gzip, identity")
    if endpoint.suspended:
        return Refused(Reason.SUSPENDED, f"the subscription {endpoint.subscription} is suspended", RETRY_LATER)
    limit = endpoint.max_pending_bytes
    if limit and pending >= limit:
        detail = f"the subscription {endpoint.subscription} has {pending} bytes pending, its share is {limit}"
        return Refused(Reason.OVER_SHARE, detail, RETRY_SOON)
    return encoding


def without_credentials(endpoint: Endpoint) -> Refused:
    """The refusal of everybody, for as long as there is no credential that could be shown."""
    return Refused(Reason.NO_CREDENTIALS, "there is no valid credential for this address yet", RETRY_LATER)


def judge(body: bytes, head: RequestHead, endpoint: Endpoint, *, ingest_id: bytes, now_ns: int) -> Event | Refused:
    """
    Take *body*, come whole from a sender that was admitted, as an event, or say why not.

    Anything that is a JSON object with a string `trigger` is one. It is kept byte for byte.
    """
    reading = read(body)
    if isinstance(reading, NotAnEvent):
        return Refused(Reason.NOT_AN_EVENT, reading.detail)
    envelope = reading.envelope
    if endpoint.app_ids and envelope.app_id not in endpoint.app_ids:
        return Refused(Reason.APP_NOT_ACCEPTED, f"the event's appId is not accepted by {endpoint.subscription}")
    traceparent = head.traceparent if len(head.traceparent) <= MAX_TRACEPARENT else ""
    identity = identify(reading, body, endpoint.subscription.uid)
    return Event(ingest_id, endpoint.subscription, now_ns, body, envelope, identity, traceparent)
