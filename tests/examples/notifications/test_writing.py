"""Templates to mails, and what strangers put into names."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.policy import SMTP

import pytest

from notifications.deciding import notices
from notifications.writing import BUILT_IN, BadAddress, BadTemplate, Writer, read_templates
from support.examples import an_event
from support.notifications import message_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SENDER = Address(display_name="Chat", addr_spec="chat@example.com")
HOSTILE = "Eve\r\nBcc: all@example.com\u2028\0 "


def a_notice(sample="message_sent", **changes):
    message = message_of(an_event(sample, **changes))
    assert message is not None
    return notices(message)[0]


def a_writer(folder=BUILT_IN):
    return Writer(read_templates(folder), SENDER, "https://example.com/c/{conversation}")


def test_a_mail_says_who_wrote_what_and_where_to_answer():
    """That is all that it is for."""
    mail = a_writer().write(a_notice(), "george@example.com", NOW)

    assert mail["To"] == "George Alan <george@example.com>"
    assert mail["From"] == "Chat <chat@example.com>"
    assert mail["Subject"] == "Andrew Joseph wrote to you"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "\nhi\n" in text
    assert "https://example.com/c/cometchat-uid-1_user_cometchat-uid-2" in text


def test_a_mention_in_a_group_names_the_group():
    """The subject is what people see first."""
    in_group = {"message__receiverType": "group", "message__receiver": "hikers"}

    mail = a_writer().write(a_notice("user_mentioned", **in_group), "a@example.com", NOW)

    assert mail["Subject"] == "cometchat-uid-1 mentioned you in hikers"


def test_the_same_notice_has_the_same_message_id_and_others_have_others():
    """If a crash makes a mail go twice, mail programs show it once."""
    writer = a_writer()
    mails = [writer.write(a_notice(message__id=name), "george@example.com", NOW) for name in ("1", "1", "2")]

    first, again, other = (mail["Message-ID"] for mail in mails)
    assert first == again != other
    assert first.endswith("@example.com>")


def test_a_line_break_in_a_name_begins_no_header():
    """Anybody can call themselves anything."""
    notice = a_notice(
        message__data__entities__sender__entity__name=HOSTILE,
        message__data__entities__receiver__entity__name=HOSTILE,
        message__data__text="see\n.\n\0Bcc: x",
    )

    raw = a_writer().write(notice, "george@example.com", NOW).as_bytes(policy=SMTP)

    head, _, text = raw.partition(b"\r\n\r\n")
    assert not [line for line in head.split(b"\r\n") if line.startswith(b"Bcc")]
    assert b"\0" not in text


def test_a_long_message_is_quoted_in_part():
    """A mail is a hint, not a copy."""
    text = a_writer().write(a_notice(message__data__text="ä" * 5000), "g@example.com", NOW).get_content()

    assert "ä" * 299 + "…" in text
    assert "ä" * 300 not in text


@pytest.mark.parametrize("address", ["", "nobody", "a@b@c", "x@y\r\nBcc: z@example.com", "@example.com"])
def test_an_address_that_is_none_is_refused_and_not_quoted(address):
    """The reason goes into a dead letter, which more people can read than the directory."""
    with pytest.raises(BadAddress) as refusal:
        a_writer().write(a_notice(), address, NOW)

    assert not address or address not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "message.txt"),
        ("Subject only", "one line of subject"),
        ("Two\nlines\n\ntext", "one line of subject"),
        ("$sendr wrote\n\ntext", r"unknown word \$sendr; known are excerpt"),
        ("50 $\n\ntext", "begins no word"),
    ],
    ids=["missing", "no-text", "two-lines", "unknown-word", "lonely-dollar"],
)
def test_a_wrong_template_is_found_at_the_start(tmp_path, text, complaint):
    """Not when the first mail is due, at night."""
    (tmp_path / "mention.txt").write_text("a\n\nb\n")
    if text is not None:
        (tmp_path / "message.txt").write_text(text)

    with pytest.raises(BadTemplate, match=complaint):
        read_templates(tmp_path)
