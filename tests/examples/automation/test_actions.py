"""Webhooks against a real HTTP server, commands as real processes."""

import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from automation.actions import Doer, Later, Never, Occasion
from automation.rules import Command, Log, Webhook
from support.examples import a_payload
from support.web import Site, web_site

BODY = b'{ "trigger" : "message_sent" }'


def an_occasion(**changes) -> Occasion:
    return Occasion("key-1", "rule", a_payload("message_sent", **changes), BODY)


def a_webhook(url: str, body=None, timeout=5.0, token_file=None) -> Webhook:
    return Webhook(url, body, timeout, token_file)


def python(code: str, *arguments: str, timeout: float = 20.0) -> Command:
    return Command(sys.executable, ("-c", code, *arguments), timeout)


def do(action, folder=Path("."), **changes):
    return Doer(folder).do(action, an_occasion(**changes))


def test_a_webhook_gets_the_filled_body_and_the_idempotency_key(tmp_path):
    """By the key it can tell a repetition."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    with web_site() as site:
        webhook = a_webhook(f"{site.url}/hook?x=1", {"from": "{data.message.sender}"}, token_file=token)
        assert do(webhook) is None

    (asked,) = site.asked
    assert (asked.method, asked.path) == ("POST", "/hook?x=1")
    assert json.loads(asked.body) == {"from": "cometchat-uid-1"}
    assert asked.headers["Idempotency-Key"] == "key-1"
    assert asked.headers["Authorization"] == "Bearer secret"


def test_a_webhook_without_a_body_of_its_own_gets_the_event_s_byte_for_byte():
    """It may hash or archive it."""
    with web_site() as site:
        assert do(a_webhook(site.url)) is None

    assert site.asked[0].body == BODY
    assert site.asked[0].path == "/"


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (Site(status=204), None),
        (Site(status=400), Never("status 400")),
        (Site(status=404), Never("status 404")),
        (Site(status=429), Later("status 429")),
        (Site(status=429, headers={"Retry-After": "7"}), Later("status 429", 7)),
        (Site(status=503, headers={"Retry-After": "999999"}), Later("status 503", 3600)),
        (Site(status=500, headers={"Retry-After": "Tue, 1 Dec"}), Later("status 500")),
        (Site(status=302, headers={"Location": "/elsewhere"}), Never("status 302")),
    ],
    ids=["done", "refused", "not-there", "too-many", "too-many-wait", "wait-bounded", "wait-a-date", "redirect"],
)
def test_an_answer_means_done_later_or_never(site, expected):
    """Never is a dead letter that a person sees; later costs nobody's attention."""
    with web_site(site):
        assert do(a_webhook(site.url)) == expected

    assert len(site.asked) == 1


def test_a_site_that_is_not_there_or_says_nothing_is_tried_later():
    """Deployments end."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        assert do(a_webhook(f"http://{address}/")) == Later(f"{address} can't be reached: ConnectionRefusedError")

    with web_site(Site(hold=threading.Event())) as silent:
        outcome = do(a_webhook(silent.url, timeout=0.2))
        assert isinstance(outcome, Later)
        assert "TimeoutError" in outcome.reason


def test_a_command_gets_arguments_body_and_key(tmp_path):
    """One argument each, whatever people write: there is no shell."""
    code = "import os, sys; open('said', 'wb').write(repr((sys.argv[1:], os.environ['HOOKLINE_IDEMPOTENCY_KEY'])).encode() + sys.stdin.buffer.read())"

    assert do(python(code, "{data.message.data.text}", "of {trigger}"), tmp_path,
              message__data__text='; rm -rf "$HOME" \n\0') is None  # fmt: skip

    said = (tmp_path / "said").read_bytes()
    assert said == repr((['; rm -rf "$HOME" \n', "of message_sent"], "key-1")).encode() + BODY


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, None),
        (75, Later("the program ended with status 75")),
        (1, Never("the program ended with status 1")),
    ],
)
def test_an_exit_status_means_done_later_or_never(status, expected):
    """75 is EX_TEMPFAIL: it is what mail programs have said it with for decades."""
    assert do(python(f"raise SystemExit({status})")) == expected


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    """Or a hundred of them would pile up."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )

    assert do(python(code, timeout=5.0), tmp_path) == Later("the program took longer than 5 s")

    child = Path("/proc") / (tmp_path / "child").read_text()
    deadline = time.monotonic() + 10
    while child.exists() and " Z " not in (child / "stat").read_text():
        assert time.monotonic() < deadline


def test_an_argument_that_would_be_an_option_is_refused():
    """SECURITY: a name like "--delete" is only a name to who chose it."""
    outcome = do(python("", "{data.message.data.text}"), message__data__text="--delete")
    assert outcome == Never("the argument {data.message.data.text} would be taken for an option")

    assert do(python("", "--text={data.message.data.text}"), message__data__text="--delete") is None


def test_a_program_that_went_away_is_tried_later():
    """It was there at the start; an update may be under way."""
    outcome = do(Command("/nowhere/program", (), 1.0))

    assert outcome == Later("the program can't be started: FileNotFoundError")


@pytest.mark.parametrize(
    "action",
    [Log("{data.message.muid}"), a_webhook("http://127.0.0.1:9", {"x": "{data.message.muid}"}), python("", "{data.message.muid}")],
    ids=["log", "webhook", "command"],
)  # fmt: skip
def test_an_action_for_which_the_payload_lacks_something_is_never_done(action):
    """Half-filled texts would do half-right things; the rule needs an `exists`."""
    assert do(action) == Never("the event has nothing at data.message.muid")


def test_a_log_line_can_t_be_forged(caplog):
    """SECURITY: a line break in a message would begin a line of its own."""
    caplog.set_level("INFO", logger="automation")

    assert do(Log("says {data.message.data.text}"), message__data__text="x\nERROR all is lost") is None

    assert caplog.records[0].text == "says x?ERROR all is lost"
