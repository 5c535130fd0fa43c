"""What a real SMTP server's answers mean."""

import socket
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from notifications.mailing import MailServer, Refused, SmtpPost, Unavailable
from support.mail import Mailbox, mail_server


def a_mail(to: str = "george@example.com") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "chat@example.com", to, "Ärger"
    mail["Date"] = datetime(2026, 11, 1, tzinfo=UTC)
    mail.set_content("Grüße\n.\nnoch da")
    return mail


def post_to(address: str, **given) -> SmtpPost:
    host, _, port = address.rpartition(":")
    return SmtpPost(MailServer(host, int(port), **given))


def test_a_mail_arrives_as_it_was_written():
    """Encodings and a line that is only a dot are where home-made senders fail."""
    with mail_server() as box:
        post_to(box.address).send(a_mail())

    (mail,) = box.mails
    assert mail["Subject"] == "Ärger"
    assert mail.get_content().splitlines() == ["Grüße", ".", "noch da"]
    assert box.envelopes == ["george@example.com"]


@pytest.mark.parametrize(
    ("answers", "expected", "said"),
    [
        ({"recipients": {"george@example.com": "550 no such george"}}, Refused, r"refuses the recipient \(550\)"),
        ({"recipients": {"george@example.com": "450 later"}}, Unavailable, r"recipient now \(450\)"),
        ({"data": "554 george is spam"}, Refused, r"refuses the mail \(554\)"),
        ({"data": "452 disk full"}, Unavailable, r"mail now \(452\)"),
        ({"data": "421 going down"}, Unavailable, r"421"),
    ],
    ids=["no-such-user", "greylisted", "content-refused", "server-full", "server-ends"],
)
def test_a_refusal_for_good_is_told_from_one_that_may_pass(answers, expected, said):
    """The first is a dead letter, the second comes again; neither quotes the server, which may quote the address."""
    with mail_server(Mailbox(**answers)) as box, pytest.raises(expected, match=said) as refusal:
        post_to(box.address).send(a_mail())

    assert "george" not in str(refusal.value)


def test_a_server_that_is_not_there_may_come_back():
    """It is the usual reason why mails do not go."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="ConnectionRefusedError"):
            post_to(f"127.0.0.1:{closed.getsockname()[1]}").send(a_mail())


def test_a_server_that_says_nothing_is_given_up_in_time():
    """Or a thread would hang for each mail."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable, match="can't be used"):
        post_to(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.2).send(a_mail())


def test_an_address_beyond_ascii_needs_a_server_that_takes_it():
    """Else it is refused, not tried for ever."""
    with mail_server() as box:
        post_to(box.address).send(a_mail("görg@example.com"))
    assert box.envelopes == ["görg@example.com"]

    with mail_server(utf8=False) as box, pytest.raises(Refused, match="no SMTPUTF8"):
        post_to(box.address).send(a_mail("görg@example.com"))


def test_a_login_that_fails_ends_no_mail():
    """An expired password is our mistake: the mails wait until it is mended."""
    with mail_server() as box, pytest.raises(Unavailable, match="SMTPNotSupportedError"):
        post_to(box.address, user="chat", password="wrong").send(a_mail())

    assert box.mails == []
