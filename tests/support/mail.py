"""A real SMTP server on a free port, which keeps what it gets and refuses what it is told to."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Mailbox:
    """What came, and what is refused."""

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[str] = field(default_factory=list)
    """To whom they were sent."""
    recipients: dict[str, str] = field(default_factory=dict)
    """Answers to RCPT by address."""
    data: str = "250 OK"
    """Answer to the mail itself."""
    address: str = ""
    """"host:port" of the server."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """aiosmtpd calls this at RCPT TO."""
        answer = self.recipients.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd calls this when a mail is there."""
        if self.data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.envelopes.append(*envelope.rcpt_tos)
        return self.data


@contextmanager
def mail_server(mailbox: Mailbox | None = None, port: int = 0, *, utf8: bool = True) -> Iterator[Mailbox]:
    """Serve until the block ends, in a thread and a loop of its own: the test may have a loop too."""
    mailbox = mailbox or Mailbox()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await loop.create_server(
                lambda: SMTP(mailbox, hostname="mail.test", loop=loop, enable_SMTPUTF8=utf8), "127.0.0.1", port
            )
        except OSError as error:
            started.set_exception(error)
            return
        mailbox.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set_result((loop, ended))
        await ended.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, ended = started.result(20)
    try:
        yield mailbox
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
