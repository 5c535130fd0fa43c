"""`python -m notifications serve`: flags and wiring."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from pathlib import Path

from hookline_kit.program import Flags, add_server_flags, serve
from notifications.deciding import Policy
from notifications.directory import BadDirectory, FileDirectory
from notifications.ledger import Ledger
from notifications.mailing import MailServer, SmtpPost
from notifications.notifying import Notifier, Ports, make_handler
from notifications.rate import Rate
from notifications.writing import BUILT_IN, BadTemplate, Writer, read_templates

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit status."""
    given = parser().parse_args(arguments)
    try:
        directory, writer, server = FileDirectory(given.directory), make_writer(given), mail_server(given)
    except (BadDirectory, BadTemplate, OSError, ValueError) as error:
        print(f"notifications: {error}", file=sys.stderr)
        return USAGE
    given.data.mkdir(parents=True, exist_ok=True)
    with closing(Ledger(given.data / "notifications.db")) as ledger:
        rate = Rate(given.mails_per_minute, given.burst, time.monotonic)
        ports = Ports(ledger, directory, writer, SmtpPost(server), rate, lambda: datetime.now(UTC))
        return serve(make_handler(Notifier(ports, policy(given))), given)


def parser() -> argparse.ArgumentParser:
    """Every flag is also a variable NOTIFICATIONS_… of the environment."""
    made = argparse.ArgumentParser("notifications", description="Mail people what they miss.")
    command = made.add_subparsers(dest="command", required=True).add_parser("serve", help="handle events")
    flags = Flags(command, "NOTIFICATIONS")
    add_server_flags(flags, port=9001)
    flags.add("--data", type=Path, default=Path(".hookline"), help="folder for notifications.db (default: %(default)s)")
    flags.add("--directory", type=Path, required=True, metavar="FILE", help='JSON file {"uid": "address"}')
    flags.add("--smtp", default="127.0.0.1:25", metavar="HOST:PORT", help="mail server (default: %(default)s)")
    flags.add(
        "--smtp-starttls", choices=("yes", "no"), default="no", help="encrypt with STARTTLS (default: %(default)s)"
    )
    flags.add("--smtp-user", default="", help="log in as this user")
    flags.add("--smtp-password-file", type=Path, metavar="FILE", help="with the password in this file")
    flags.add("--sender", default="chat@localhost", metavar="ADDRESS", help="sender of mails (default: %(default)s)")
    flags.add("--sender-name", default="Chat", help="name shown with it (default: %(default)s)")
    flags.add("--link", default="http://localhost/c/{conversation}", help="where to answer (default: %(default)s)")
    flags.add("--templates", type=Path, default=BUILT_IN, metavar="FOLDER", help="with mention.txt and message.txt")
    flags.add("--mails-per-minute", type=positive, default=60.0, help="in the long run (default: %(default)s)")
    flags.add("--burst", type=int, default=20, help="mails at once (default: %(default)s)")
    flags.add("--quiet-minutes", type=float, default=10.0, help="between mails on one conversation (default: 10)")
    flags.add("--max-age-hours", type=float, default=24.0, help="of a message; 0: any (default: 24)")
    return made


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def make_writer(given: argparse.Namespace) -> Writer:
    """Raises BadTemplate, or ValueError for a sender that is no address."""
    try:
        sender = Address(display_name=given.sender_name, addr_spec=given.sender)
    except Exception as error:  # the email package raises several kinds, some of them its own mistakes
        raise ValueError(f"--sender {given.sender!r} is not a mail address") from error
    return Writer(read_templates(given.templates), sender, given.link)


def mail_server(given: argparse.Namespace) -> MailServer:
    """Raises ValueError, or OSError for a file that can't be read."""
    host, _, port = given.smtp.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--smtp {given.smtp!r} is not HOST:PORT")
    password = given.smtp_password_file.read_text().strip() if given.smtp_password_file else ""
    return MailServer(host.strip("[]"), int(port), given.smtp_starttls == "yes", given.smtp_user, password)


def policy(given: argparse.Namespace) -> Policy:
    """When to leave people in peace."""
    max_age = timedelta(hours=given.max_age_hours) if given.max_age_hours else None
    return Policy(timedelta(minutes=given.quiet_minutes), max_age)


if __name__ == "__main__":
    sys.exit(main())
