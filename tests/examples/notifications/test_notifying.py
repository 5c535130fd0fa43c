"""The whole handler over gRPC, with a real mail server."""

import asyncio
import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address

import pytest

from hookline_kit import Accepted, Reject, RetryAfter
from hookline_kit.testing import HandlerClient
from notifications.deciding import Policy
from notifications.directory import BadDirectory, FileDirectory
from notifications.ledger import Ledger
from notifications.mailing import MailServer, SmtpPost
from notifications.notifying import Notifier, Ports, make_handler
from notifications.rate import Rate
from notifications.writing import BUILT_IN, Writer, read_templates
from support.examples import delivered
from support.mail import Mailbox, mail_server

OFFLINE = {"message__data__entities__receiver__entity__status": "offline"}
GEORGE, UID = "george@example.com", "cometchat-uid-2"


class Office:
    """A notifier with everything it needs, under a clock that the test moves."""

    def __init__(self, folder, box: Mailbox, addresses=None, per_minute=6000, burst=100, policy=None):
        self.now = datetime.fromtimestamp(1696934912, UTC)
        self.directory = folder / "people.json"
        self.directory.write_text(json.dumps({UID: GEORGE} if addresses is None else addresses))
        self.ledger = Ledger(folder / "notifications.db")
        self.rate = Rate(per_minute, burst, lambda: self.now.timestamp())
        sender = Address("Chat", addr_spec="chat@example.com")
        host, _, port = box.address.rpartition(":")
        ports = Ports(
            self.ledger,
            FileDirectory(self.directory),
            Writer(read_templates(BUILT_IN), sender, "http://localhost/{conversation}"),
            SmtpPost(MailServer(host, int(port))),
            self.rate,
            lambda: self.now,
        )
        self.handler = make_handler(Notifier(ports, policy or Policy(max_age=None)))


@pytest.fixture
def stack():
    with ExitStack() as made:
        yield made


@pytest.fixture
def box(stack):
    return stack.enter_context(mail_server())


@pytest.fixture
def make_office(tmp_path, stack, box):
    def make(**given) -> Office:
        office = Office(tmp_path, given.pop("box", box), **given)
        stack.callback(office.ledger.close)
        return office

    return make


async def deliver(office: Office, *deliveries):
    async with HandlerClient(office.handler) as client:
        return list(await client.deliver(*deliveries))


async def test_a_message_to_somebody_offline_becomes_a_mail(make_office, box):
    """The one thing that it is for."""
    assert await deliver(make_office(), delivered("message_sent", **OFFLINE)) == [Accepted()]

    assert box.envelopes == [GEORGE]
    assert box.mails[0]["Subject"] == "Andrew Joseph wrote to you"


async def test_somebody_online_gets_no_mail(make_office, box):
    """They have seen it."""
    assert await deliver(make_office(), delivered("message_sent")) == [Accepted()]

    assert box.mails == []


async def test_presence_is_remembered_and_the_latest_time_wins(make_office, box):
    """Events come in any order: an old "went offline" after a newer "came" must not make mails."""
    office = make_office()
    person = {"user__uid": UID}
    came = delivered("user_connection_status_changed", **person, status="online", timestamp=1696935000000)
    went = delivered("user_connection_status_changed", **person, timestamp=1696934000000)

    assert await deliver(office, came) == await deliver(office, went) == [Accepted()]
    await deliver(office, delivered("message_sent", **OFFLINE))

    assert box.mails == []


async def test_no_mail_goes_twice(make_office, box):
    """Delivery is at least once, and a mention comes as two events: one message is one mail."""
    office = make_office(policy=Policy(quiet=timedelta(0), max_age=None))
    mentions = {UID: {"uid": UID, "name": "George"}}
    sent = delivered("message_sent", message__id="4", message__data__mentions=mentions, **OFFLINE)
    mentioned = delivered("user_mentioned")

    for _ in range(3):
        assert await deliver(office, sent, mentioned) == [Accepted(), Accepted()]
    assert await deliver(office, delivered("message_sent", message__id="4", replay=True, **OFFLINE)) == [Accepted()]

    assert box.envelopes == [GEORGE]


async def test_events_of_one_message_that_come_at_once_make_one_mail(make_office, box):
    """Two calls may run at the same time: one of them has to wait."""
    office = make_office(policy=Policy(quiet=timedelta(0), max_age=None))
    async with HandlerClient(office.handler) as client:
        answers = await asyncio.gather(*(client.deliver(delivered("user_mentioned")) for _ in range(20)))

    assert box.envelopes == [GEORGE]
    assert {type(answer) for (answer,) in answers} <= {Accepted, RetryAfter}


async def test_what_has_gone_is_known_after_a_restart(make_office, box):
    """A deployment must not mail everybody anew."""
    await deliver(make_office(), delivered("message_sent", **OFFLINE))
    await deliver(make_office(), delivered("message_sent", **OFFLINE))

    assert len(box.mails) == 1


async def test_a_conversation_makes_one_mail_in_a_while(make_office, box):
    """Twenty messages in a minute are one reason to look."""
    office = make_office()
    for number in range(3):
        await deliver(office, delivered("message_sent", message__id=str(number), **OFFLINE))
    assert len(box.mails) == 1

    office.now += timedelta(minutes=10)
    await deliver(office, delivered("message_sent", message__id="4", **OFFLINE))

    assert len(box.mails) == 2


async def test_more_mails_than_allowed_come_again_later(make_office, box):
    """Mail servers punish floods; the gateway keeps what has to wait."""
    addresses = {f"u{number}": f"u{number}@example.com" for number in range(5)}
    office = make_office(addresses=addresses, burst=2, per_minute=60)
    events = [
        delivered("message_sent", message__id=name, message__receiver=name, message__conversationId=f"c-{name}",
                  message__data__entities__receiver__entity__uid=name, **OFFLINE)
        for name in addresses
    ]  # fmt: skip

    first = await deliver(office, *events)
    assert sum(outcome == Accepted() for outcome in first) == len(box.mails) == 2
    assert RetryAfter(None, "more mails a minute than are allowed") in first

    office.now += timedelta(seconds=2)
    await deliver(office, *events)
    assert len(box.mails) == 4


async def test_a_mail_server_that_is_down_makes_events_wait(make_office, box):
    """Nothing is lost, and the person who reads the story sees why."""
    with mail_server() as gone:
        address = gone.address
    office = make_office(box=Mailbox(address=address))

    (outcome,) = await deliver(office, delivered("message_sent", **OFFLINE))

    assert outcome == RetryAfter(30.0, "the mail server can't be used: ConnectionRefusedError")
    with mail_server(port=int(address.rpartition(":")[2])) as back:
        assert await deliver(office, delivered("message_sent", **OFFLINE)) == [Accepted()]
    assert back.envelopes == [GEORGE]


async def test_a_refused_address_is_a_dead_letter_with_a_reason(make_office, box):
    """To be seen, mended in the directory, and redriven."""
    box.recipients[GEORGE] = "550 no such user"

    (refused,) = await deliver(make_office(), delivered("message_sent", **OFFLINE))
    assert refused == Reject("the mail server refuses the recipient (550)")

    (invalid,) = await deliver(make_office(addresses={UID: "no address"}), delivered("message_sent", **OFFLINE))
    assert invalid == Reject("the directory's address for this person is not a mail address")


async def test_one_refused_address_does_not_cost_the_others_their_mail(make_office, box):
    """And after the mending only the one that is missing goes."""
    people = ("anna", "bert", "carl")
    office = make_office(addresses={name: f"{name}@example.com" for name in people})
    box.recipients["bert@example.com"] = "550 no such user"
    mention = {"message__data__mentions": {name: {"uid": name, "name": name} for name in people}}
    event = delivered("user_mentioned", message__receiverType="group", message__receiver="g", **mention)

    (outcome,) = await deliver(office, event)
    assert isinstance(outcome, Reject)
    assert sorted(box.envelopes) == ["anna@example.com", "carl@example.com"]

    box.recipients.clear()
    assert await deliver(office, event) == [Accepted()]
    assert sorted(box.envelopes) == ["anna@example.com", "bert@example.com", "carl@example.com"]


async def test_whoever_has_no_address_gets_no_mail(make_office, box):
    """That is normal, and no failure."""
    assert await deliver(make_office(addresses={}), delivered("message_sent", **OFFLINE)) == [Accepted()]

    assert box.mails == []


async def test_a_changed_directory_holds_at_once_and_a_broken_one_changes_nothing(make_office, box):
    """It is written by another program, which may be at it just now."""
    office = make_office(addresses={})
    office.directory.write_text(json.dumps({UID: "new@example.com"}))
    await deliver(office, delivered("message_sent", **OFFLINE))
    office.directory.write_text('{"cometchat')
    office.now += timedelta(hours=1)
    await deliver(office, delivered("message_sent", message__id="2", **OFFLINE))

    assert box.envelopes == ["new@example.com", "new@example.com"]


@pytest.mark.parametrize("text", [None, "[]", '{"uid": 1}', "{"], ids=["missing", "a-list", "a-number", "cut-off"])
def test_a_directory_that_is_none_is_found_at_the_start(tmp_path, text):
    """Not when the first mail is due."""
    file = tmp_path / "people.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(BadDirectory, match=r"people\.json"):
        FileDirectory(file)


async def test_an_event_without_a_typed_payload_is_a_dead_letter(make_office):
    """Better seen than overlooked."""
    (outcome,) = await deliver(make_office(), delivered("message_sent", message="no object"))

    assert isinstance(outcome, Reject)
    assert "MALFORMED" in outcome.reason
