"""The straight line: read, decide, write, send, note."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from hookline_kit import Event, Handler, Reject, RetryAfter
from hookline_kit.messages import MessageSent, UserConnectionStatusChanged, UserMentioned
from notifications.deciding import Notice, Policy, Skip, notices, skip
from notifications.directory import Directory
from notifications.ledger import Ledger
from notifications.mailing import Post, Refused, Unavailable
from notifications.rate import Rate
from notifications.reading import MessageEvent, read_message, read_presence
from notifications.writing import BadAddress, Writer

SERVER_DOWN = 30.0
"""Seconds until the gateway brings an event again that the mail server could not take."""

Result = RetryAfter | Reject | None

log = logging.getLogger("notifications")


@dataclass(frozen=True, slots=True)
class Ports:
    """What the notifier works with."""

    ledger: Ledger
    directory: Directory
    writer: Writer
    post: Post
    rate: Rate
    now: Callable[[], datetime]


class Notifier:
    """Sends the mails that an event makes due, each of them once."""

    def __init__(self, ports: Ports, policy: Policy) -> None:
        self._ports = ports
        self._policy = policy
        self._sending: set[tuple[str, str, str]] = set()
        self._lock = Lock()

    def presence(self, event: Event, changed: UserConnectionStatusChanged) -> Result:
        """Note who came or went."""
        presence = read_presence(app_of(event), changed)
        if presence is not None:
            self._ports.ledger.see(presence)
        return None

    def message(self, event: Event, told: MessageEvent) -> Result:
        """Mail whom the message concerns."""
        message = read_message(app_of(event), told)
        if message is None:
            return None
        return worst([self._once(event, notice) for notice in notices(message)])

    def _once(self, event: Event, notice: Notice) -> Result:
        """A mention comes as two events at once: only one of them may be at its mail."""
        with self._lock:
            if notice.key in self._sending:
                return RetryAfter(1.0, "the same message is being mailed")
            self._sending.add(notice.key)
        try:
            return self._notify(event, notice)
        finally:
            with self._lock:
                self._sending.discard(notice.key)

    def _notify(self, event: Event, notice: Notice) -> Result:
        now = self._ports.now()
        reason = skip(notice, self._ports.ledger.known(notice), self._policy, now)
        address = None if reason else self._ports.directory.address(notice.person.uid)
        if reason or address is None:
            log.info("no mail", extra={"delivery_id": event.delivery_id, "why": reason or Skip.NO_ADDRESS})
            return None
        if not self._ports.rate.take():
            # No delay of ours: the route's backoff grows and is spread by chance, so that a crowd does not come back at once.
            return RetryAfter(None, "more mails a minute than are allowed")
        return self._mail(event, notice, address, now)

    def _mail(self, event: Event, notice: Notice, address: str, now: datetime) -> Result:
        try:
            self._ports.post.send(self._ports.writer.write(notice, address, now))
        except (BadAddress, Refused) as error:
            log.warning("mail refused", extra={"delivery_id": event.delivery_id, "error": str(error)})
            return Reject(str(error))
        except Unavailable as error:
            log.warning("mail not sent", extra={"delivery_id": event.delivery_id, "error": str(error)})
            return RetryAfter(SERVER_DOWN, str(error))
        self._ports.ledger.mailed(notice, now)
        log.info("mail sent", extra={"delivery_id": event.delivery_id, "kind": notice.kind})
        return None


def worst(results: Sequence[Result]) -> Result:
    """
    What to answer for all of them: come again if one can't be done now, else reject if one never can.

    When the event comes again those that are done are skipped, as the ledger has them.
    """
    for kind in (RetryAfter, Reject):
        for result in results:
            if isinstance(result, kind):
                return result
    return None


def app_of(event: Event) -> str:
    """CometChat's app: message ids are unique within it."""
    return event.payload.app_id if event.payload else ""


def make_handler(notifier: Notifier) -> Handler:
    """The functions by trigger; plain ones, so they run in threads and may wait for the mail server."""
    handler = Handler()
    handler.on(MessageSent, UserMentioned)(notifier.message)
    handler.on(UserConnectionStatusChanged)(notifier.presence)
    return handler
