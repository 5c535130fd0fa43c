"""Templates → a mail."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from string import Template

from notifications.deciding import Kind, Notice

BUILT_IN = Path(__file__).parent / "templates"
EXCERPT = 300
"""Characters of the message that a mail quotes."""

_WORDS = frozenset(["person", "sender", "place", "excerpt", "link"])


class BadTemplate(Exception):
    """A file is not a template. The message names the file and what is wrong."""


class BadAddress(Exception):
    """An address of the directory is none; it is not quoted."""


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """A subject and a text with $words to fill in."""

    subject: Template
    text: Template


class Writer:
    """Writes mails."""

    def __init__(self, templates: Mapping[Kind, MailTemplate], sender: Address, link: str) -> None:
        """Mails come from *sender*; *link* is where "{conversation}" can be opened."""
        self._templates = templates
        self._sender = sender
        self._link = link

    def write(self, notice: Notice, address: str, now: datetime) -> EmailMessage:
        """The mail for *notice*; raises BadAddress."""
        template = self._templates[notice.kind]
        words = self._words(notice)
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = to_address(address, words["person"])
        mail["Subject"] = template.subject.substitute(words)
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = self._message_id(notice)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(template.text.substitute({**words, "excerpt": excerpt(notice.message.text)}))
        return mail

    def _words(self, notice: Notice) -> dict[str, str]:
        message = notice.message
        place = message.group or "your conversation"
        link = self._link.replace("{conversation}", message.conversation)
        words = {"person": notice.person.name, "sender": message.sender.name, "place": place, "link": link}
        return {name: one_line(text) for name, text in words.items()} | {"excerpt": one_line(excerpt(message.text))}

    def _message_id(self, notice: Notice) -> str:
        """The same for the same notice: if a crash makes it go twice, mail programs show it once."""
        digest = sha256("\0".join(notice.key).encode()).hexdigest()
        return f"<{digest[:32]}@{self._sender.domain}>"


def to_address(address: str, name: str) -> Address:
    """The address with the name in front; raises BadAddress."""
    try:
        return Address(display_name=name, addr_spec=address)
    except (ValueError, HeaderParseError, IndexError) as error:
        raise BadAddress("the directory's address for this person is not a mail address") from error


def one_line(text: str) -> str:
    """SECURITY: names come from strangers; a line break would begin a header of their own."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


def excerpt(text: str) -> str:
    """The beginning of what was written."""
    shown = "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
    return shown if len(shown) <= EXCERPT else shown[: EXCERPT - 1] + "…"


def read_templates(folder: Path) -> dict[Kind, MailTemplate]:
    """One file for each kind of mail, `{kind}.txt`: the subject, an empty line, the text; raises BadTemplate."""
    return {kind: _read(folder / f"{kind}.txt") for kind in Kind}


def _read(path: Path) -> MailTemplate:
    try:
        subject, _, text = path.read_text(encoding="utf-8").partition("\n\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTemplate(f"{path}: {error}") from error
    if not subject or "\n" in subject or not text:
        raise BadTemplate(f"{path}: must be one line of subject, an empty line, and text")
    template = MailTemplate(Template(subject), Template(text))
    for part in (template.subject, template.text):
        if not part.is_valid():
            raise BadTemplate(f"{path}: a '$' that begins no word; write '$$' for the sign")
        if unknown := sorted(set(part.get_identifiers()) - _WORDS):
            raise BadTemplate(f"{path}: unknown word ${unknown[0]}; known are {', '.join(sorted(_WORDS))}")
    return template
