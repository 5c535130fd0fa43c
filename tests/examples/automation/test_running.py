"""The handler over gRPC: each action once, and the whole way from CometChat's POST to somebody's webhook."""

import asyncio
import json
from contextlib import ExitStack

import pytest
import yaml

from automation.actions import Doer, Later, Never
from automation.conditions import Condition
from automation.ledger import KEPT, Ledger
from automation.loading import read_rules
from automation.rules import Log, Rule
from automation.running import Automation, make_handler
from hookline_kit import Accepted, Reject, RetryAfter
from hookline_kit.testing import HandlerClient
from support.examples import EXAMPLES, a_payload, delivered, serving, simulate, write_samples
from support.gateway import gateway
from support.waiting import until_sync
from support.web import Site, web_site

USER = "automation:kT2VbQ9sXe5RnLc7"


class Stage:
    """An automation whose actions are only noted, and fail as the test says."""

    def __init__(self, folder, *rules: Rule):
        self.ledger = Ledger(folder / "automation.db")
        self.done: list[str] = []
        self.keys: list[str] = []
        self.failures: dict[str, Later | Never] = {}
        self.handler = make_handler(Automation(rules, self, self.ledger))

    def do(self, action, occasion):
        self.keys.append(occasion.key)
        if failure := self.failures.get(action.text):
            return failure
        self.done.append(action.text)
        return None


def a_rule(name, *texts, **condition):
    return Rule(name, Condition(**condition), tuple(Log(text) for text in texts))


@pytest.fixture
def make_stage(tmp_path):
    with ExitStack() as stack:

        def make(*rules):
            stage = Stage(tmp_path, *rules)
            stack.callback(stage.ledger.close)
            return stage

        yield make


async def deliver(stage, *deliveries):
    async with HandlerClient(stage.handler) as client:
        return list(await client.deliver(*deliveries))


async def test_rules_that_match_are_run_and_others_are_not(make_stage):
    """An event that no rule is for is done."""
    stage = make_stage(
        a_rule("one", "a", "b"), a_rule("two", "c", triggers=frozenset(["group_created"])), a_rule("three", "d")
    )

    assert await deliver(stage, delivered("message_sent")) == [Accepted()]
    assert stage.done == ["a", "b", "d"]


async def test_after_a_failure_only_what_is_missing_is_done_again(make_stage):
    """Two of three mails sent twice would be worse than the failure."""
    stage = make_stage(a_rule("one", "a", "b", "c"), a_rule("two", "d"))
    event = delivered("message_sent")
    stage.failures["b"] = Later("status 503", 7)

    assert await deliver(stage, event) == [RetryAfter(7.0, "one.then[1]: status 503")]
    assert stage.done == ["a", "d"]

    stage.failures.clear()
    assert await deliver(stage, event) == [Accepted()]
    assert stage.done == ["a", "d", "b", "c"]


async def test_what_will_never_work_is_a_dead_letter_and_what_may_work_goes_first(make_stage):
    """A dead letter ends the event: nothing that could still be done may be lost with it."""
    stage = make_stage(a_rule("one", "a"), a_rule("two", "b"))
    stage.failures.update(a=Never("status 404"), b=Later("status 503"))
    event = delivered("message_sent")

    assert await deliver(stage, event) == [RetryAfter(None, "two.then[0]: status 503")]
    del stage.failures["b"]
    assert await deliver(stage, event) == [Reject("one.then[0]: status 404")]
    assert stage.done == ["b"]


async def test_an_action_keeps_its_key_and_no_other_has_it(make_stage):
    """By it the other side tells a repetition after a crash between doing and noting."""
    stage = make_stage(a_rule("one", "a", "b"), a_rule("two", "a"))
    stage.failures.update(a=Later("x"), b=Later("x"))
    event = delivered("message_sent")

    await deliver(stage, event)
    await deliver(stage, event)
    await deliver(stage, delivered("message_sent", message__id="2"))

    first, again, other = stage.keys[:2], stage.keys[2:4], stage.keys[4:]
    assert first == again
    assert len(set(first + other)) == 4


async def test_what_was_done_is_known_after_a_restart_and_at_a_redrive(make_stage):
    """A redriven event finishes what is missing, and repeats nothing."""
    await deliver(make_stage(a_rule("one", "a")), delivered("message_sent"))
    stage = make_stage(a_rule("one", "a"), a_rule("two", "b"))

    assert await deliver(stage, delivered("message_sent", replay=True)) == [Accepted()]
    assert stage.done == ["b"]


async def test_one_event_never_runs_twice_at_once(make_stage):
    """A lease may lapse while an action is slow."""
    stage = make_stage(a_rule("one", "a"))
    async with HandlerClient(stage.handler) as client:
        answers = await asyncio.gather(*(client.deliver(delivered("message_sent")) for _ in range(20)))

    assert stage.done == ["a"]
    assert {type(answer) for (answer,) in answers} <= {Accepted, RetryAfter}


def test_what_was_done_is_forgotten_after_a_while(tmp_path):
    """The file must not grow for ever."""
    now = [1_000_000.0]
    ledger = Ledger(tmp_path / "automation.db", lambda: now[0])
    ledger.note("old")
    now[0] += KEPT.total_seconds() + 1
    ledger.note("new")

    assert (ledger.done("old"), ledger.done("new")) == (False, True)
    ledger.close()


async def test_the_example_s_own_rules_do_what_they_say(tmp_path, caplog):
    """With its own command, run twice for one event as after a crash: it notes the group once."""
    caplog.set_level("INFO", logger="automation")
    rules = read_rules(EXAMPLES / "handlers" / "automation" / "rules.yaml")
    events = (
        delivered("group_created"),
        delivered("message_sent", message__data__text="Please HELP me"),
        delivered("message_sent", message__id="2", message__data__text="helpful"),
        delivered("meeting_ended"),
    )
    for number in range(2):
        ledger = Ledger(tmp_path / f"{number}.db")
        async with HandlerClient(make_handler(Automation(rules, Doer(tmp_path), ledger))) as client:
            outcomes = await client.deliver(*events)
        ledger.close()
        assert set(outcomes) == {Accepted()}

    (line,) = (tmp_path / "groups.txt").read_text().splitlines()
    assert line.endswith(" group cometchat-guid-1 of cometchat-uid-1")
    said = [record.text for record in caplog.records if record.message == "rule says"]
    help_wanted = "cometchat-uid-1 asks for help in cometchat-uid-1_user_cometchat-uid-2"
    assert sorted(said[:2]) == sorted([help_wanted, "the meeting <sessionId> of examples has ended"])
    assert len(said) == 4


def test_an_event_that_comet_chat_sends_calls_a_webhook_that_was_away(tmp_path):
    """The manifest, the flags and the program are those of the page in the docs; the gateway does the retries."""
    manifest = list(yaml.safe_load_all((EXAMPLES / "automation.yaml").read_text()))
    manifest[1]["spec"]["routes"][0]["delivery"]["retry"]["initialBackoff"] = "100ms"
    rules = tmp_path / "rules.yaml"
    samples = write_samples(tmp_path / "samples", sent=a_payload("message_sent"))
    with web_site(Site(status=503)) as site:
        hook = {"webhook": {"url": f"{site.url}/hook", "body": {"id": "{data.message.id}"}}}
        rules.write_text(yaml.safe_dump({"rules": [{"name": "tell", "then": [hook]}]}))
        with serving("automation", "--rules", rules, "--data", tmp_path) as (handler, address):
            with gateway(tmp_path / "gateway", *manifest, handlers={"automation.examples": address}) as running:
                simulate(f"{running.url}/examples/automation", USER, samples, "--count", "3", "--duplicates", "3")
                until_sync(lambda: len(site.asked) >= 3, what="the webhook to be called")
                refused = len(site.asked)
                site.status = 200
                assert running.command.stop() == 0
                assert "nothing is pending" in running.command.out[-1]
            assert handler.stop() == 0

    keys = [asked.headers["Idempotency-Key"] for asked in site.asked]
    ids = {json.loads(asked.body)["id"] for asked in site.asked}
    assert len(set(keys)) == len(ids) == 3
    assert len(keys) > refused >= 3
