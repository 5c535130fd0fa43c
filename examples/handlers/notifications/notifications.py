"""
An example handler: mails people who are mentioned, or who are written to.

    python notifications.py            listens on port 9000

Set by the environment: SMTP_SERVER (host:port, default localhost:25), MAIL_FROM, DIRECTORY (a JSON file that says which
mail address a CometChat uid has), SEEN (a file that remembers what was mailed, so that a repeated delivery mails nobody
twice). `manifest.yaml` beside this file routes events here.

What to take from it for a handler of your own:
- one function per kind of event, named after what it does;
- a temporary trouble is `RetryAfter`, a hopeless event is `Reject`, and an exception means "again" too;
- deliveries come at least once: `Handler(seen=...)` makes a repetition harmless.
"""

import json
import os
import smtplib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

from hookline_kit import Event, Handler, Reject, RetryAfter, Seen, SeenInSqlite

SHOWN = 200
"""Characters of a message that a mail shows."""


@dataclass(frozen=True)
class Mailer:
    """An SMTP server to hand mails to."""

    host: str
    port: int
    sender: str

    def send(self, to: str, subject: str, text: str) -> None:
        """Hand one mail over; raises OSError or smtplib.SMTPException."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, to, subject
        mail.set_content(text)
        with smtplib.SMTP(self.host, self.port, timeout=5) as server:
            server.send_message(mail)


@dataclass(frozen=True)
class Message:
    """What is told of a text message."""

    sender: str
    receiver: str
    """A uid, or "" if it went to a group."""
    mentioned: tuple[str, ...]
    text: str


def text_message(event: Event) -> Message | None:
    """The text message that *event* is about, None if it is of another kind; raises KeyError for an odd payload."""
    message = event.json()["data"]["message"]
    if message["type"] != "text":
        return None
    return Message(
        # One line, whatever the uid holds: it goes into a header.
        sender=" ".join(str(message["sender"]).split()),
        receiver=message["receiver"] if message["receiverType"] == "user" else "",
        mentioned=tuple(message["data"].get("mentions") or ()),
        text=message["data"]["text"][:SHOWN],
    )


def notifications(mailer: Mailer, directory: Mapping[str, str], seen: Seen | None = None) -> Handler:
    """The handler; *directory* has mail addresses by uid. Whoever is not in it gets no mail."""
    handler = Handler(seen=seen)

    # Plain functions, not async ones: they run in threads, so that they may block on the mail server.

    @handler.on("message_sent")
    def tell_the_receiver(event: Event) -> RetryAfter | Reject | None:
        """Mail whom a message was sent to."""
        return tell(event, "wrote to you", lambda message: (message.receiver,))

    @handler.on("user_mentioned")
    def tell_the_mentioned(event: Event) -> RetryAfter | Reject | None:
        """Mail everybody who is mentioned."""
        return tell(event, "mentioned you", lambda message: message.mentioned)

    @handler.default
    def ignore(event: Event) -> None:
        """Take everything else without doing anything, or it would be rejected and become a dead letter."""

    def tell(event: Event, what: str, whom: Callable[[Message], Sequence[str]]) -> RetryAfter | Reject | None:
        try:
            message = text_message(event)
        except (KeyError, TypeError):
            # It will not be better at the next attempt. A person can look at it and have it sent again.
            return Reject("the payload is not that of a message")
        if message is None:
            return None
        for uid in whom(message):
            if uid in directory:
                trouble = mail(uid, f"{message.sender} {what}", message.text)
                if trouble:
                    # The event comes again as a whole: who was mailed already is mailed twice, which beats not at all.
                    return trouble
        return None

    def mail(uid: str, subject: str, text: str) -> RetryAfter | Reject | None:
        try:
            mailer.send(directory[uid], subject, text)
        except smtplib.SMTPRecipientsRefused:
            return Reject("the mail server does not take mail for this person")
        except (OSError, smtplib.SMTPException) as error:
            return RetryAfter(timedelta(seconds=30), f"the mail server is away: {type(error).__name__}")
        return None

    return handler


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    host, _, port = os.environ.get("SMTP_SERVER", "localhost:25").partition(":")
    mailer = Mailer(host, int(port or 25), os.environ.get("MAIL_FROM", "chat@localhost"))
    directory = json.loads(Path(os.environ.get("DIRECTORY", "directory.json")).read_text(encoding="utf-8"))
    seen = SeenInSqlite(Path(os.environ.get("SEEN", "seen.db")))
    notifications(mailer, directory, seen).run(port=int(os.environ.get("PORT", "9000")))


if __name__ == "__main__":
    main()
