"""A mail → the mail server, and what the server's refusals mean."""

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol


class Post(Protocol):
    """Takes mails."""

    def send(self, mail: EmailMessage) -> None:
        """Return once the mail server has taken *mail* over; raises Refused or Unavailable."""


class Refused(Exception):
    """The mail server will never take this mail. The message quotes neither address nor text."""


class Unavailable(Exception):
    """The mail can't go now; it may later."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails go."""

    host: str
    port: int
    starttls: bool = False
    user: str = ""
    """"": no login."""
    password: str = ""
    timeout: float = 5.0
    """Seconds for each step; all of them together should stay below the route's `handler.timeout`."""


class SmtpPost:
    """SMTP, a connection for each mail: simple, and right up to some dozens of mails a second."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def send(self, mail: EmailMessage) -> None:
        """Hand *mail* over."""
        try:
            with smtplib.SMTP(self._server.host, self._server.port, timeout=self._server.timeout) as connection:
                self._greet(connection)
                _hand_over(connection, mail)
        except smtplib.SMTPRecipientsRefused as error:
            raise _judged("recipient", next(iter(error.recipients.values()))[0]) from error
        except smtplib.SMTPDataError as error:
            raise _judged("mail", error.smtp_code) from error
        except (OSError, smtplib.SMTPException) as error:
            # Wrong credentials and a refused sender are here too: a mistake of ours must not end anybody's mail.
            raise Unavailable(_what(error)) from error

    def _greet(self, connection: smtplib.SMTP) -> None:
        if self._server.starttls:
            connection.starttls(context=ssl.create_default_context())
        if self._server.user:
            connection.login(self._server.user, self._server.password)


def _hand_over(connection: smtplib.SMTP, mail: EmailMessage) -> None:
    try:
        connection.send_message(mail)
    except smtplib.SMTPNotSupportedError as error:
        raise Refused("the mail server can't take an address with such characters (no SMTPUTF8)") from error


def _judged(what: str, code: int) -> Refused | Unavailable:
    """RFC 5321, 4.2.1: 5yz is for good, 4yz may pass. The server's words may quote the address, so they stay out."""
    if 500 <= code <= 599:
        return Refused(f"the mail server refuses the {what} ({code})")
    return Unavailable(f"the mail server does not take the {what} now ({code})")


def _what(error: Exception) -> str:
    code = f" ({error.smtp_code})" if isinstance(error, smtplib.SMTPResponseException) else ""
    return f"the mail server can't be used: {type(error).__name__}{code}"
