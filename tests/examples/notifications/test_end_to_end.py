"""From CometChat's POST to a mail in a mailbox, with real processes all the way."""

import json
import time

import yaml

from support.examples import EXAMPLES, a_payload, serving, simulate, write_samples
from support.gateway import gateway
from support.mail import mail_server
from support.waiting import until_sync

USER = "notifications:4hRzW8kQnXs2VtBm"


def test_a_mention_that_comet_chat_sends_is_mailed_once(tmp_path):
    """The manifest, the flags and the program are those of the page in the docs."""
    manifest = list(yaml.safe_load_all((EXAMPLES / "notifications.yaml").read_text()))
    people = tmp_path / "people.json"
    people.write_text(json.dumps({"cometchat-uid-2": "george@example.com"}))
    now = int(time.time())
    samples = write_samples(
        tmp_path / "samples",
        user_mentioned=a_payload("user_mentioned", message__sentAt=now),
        presence=a_payload("user_connection_status_changed"),
    )
    flags = ["--directory", people, "--data", tmp_path]
    with mail_server() as box, serving("notifications", *flags, "--smtp", box.address) as (handler, address):
        with gateway(tmp_path / "gateway", *manifest, handlers={"notifications.examples": address}) as running:
            simulate(f"{running.url}/examples/notifications", USER, samples, "--count", "4", "--duplicates", "3")
            until_sync(lambda: bool(box.mails), what="the mail")
            assert running.command.stop() == 0
            assert "nothing is pending" in running.command.out[-1]
        assert handler.stop() == 0

    assert set(box.envelopes) == {"george@example.com"}
    assert box.mails[0]["Subject"] == "cometchat-uid-1 mentioned you in your conversation"
    assert len({mail["Message-ID"] for mail in box.mails}) == len(box.mails)
