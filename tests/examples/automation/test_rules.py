"""What can be said in rules, and what is said of mistakes in them."""

import pytest

from automation.__main__ import BUILT_IN, main
from automation.conditions import Check, Condition
from automation.loading import BadRules, read_rules
from automation.rules import Command, Log, Webhook
from automation.templates import Missing, fill, fill_json
from support.examples import a_payload

PAYLOAD = {**a_payload("message_sent"), "event": {"namespace": "acme"}}


def holds(path, **tests):
    (name, wanted), *_ = tests.items()
    return Condition(tests=(Check(path, name.rstrip("_"), wanted),)).holds("message_sent", "message", PAYLOAD)


@pytest.mark.parametrize(
    ("path", "test", "fitting", "unfitting"),
    [
        ("data.message.receiverType", "equals", "user", "group"),
        ("data.message.receiverType", "not", "group", "user"),
        ("data.message.receiverType", "in", ["user", "x"], ["group"]),
        ("data.message.data.text", "contains", "h", "x"),
        ("data.message.data.entities", "contains", "sender", "by"),
        ("data.message.data.text", "matches", "^HI$|(?i)^hi$"[5:], "^h$"),
        ("data.message.sentAt", "above", 1, 10**12),
        ("data.message.sentAt", "below", 10**12, 1),
        ("data.message.muid", "exists", False, True),
        ("data.message.id", "exists", True, False),
        ("event.namespace", "equals", "acme", "globex"),
    ],
)
def test_a_test_holds_for_what_it_is_about_and_for_nothing_else(path, test, fitting, unfitting):
    """Rules are all that stands between an event and an action."""
    assert holds(path, **{test: fitting})
    assert not holds(path, **{test: unfitting})


@pytest.mark.parametrize("test", ["equals", "in", "contains", "matches", "above", "below"])
def test_nothing_at_a_path_fits_no_test_but_those_for_absence(test):
    """Payloads leave fields out."""
    wanted = {"in": ["x"], "above": 0, "below": 9}.get(test, "x")

    assert not holds("data.nobody.home", **{test: wanted})
    assert holds("data.nobody.home", **{"not": "x"})


def test_triggers_and_categories_and_tests_must_all_hold():
    """Everything given must hold; nothing given holds always."""
    test = Check("data.message.type", "equals", "text")
    assert Condition().holds("message_sent", "message", PAYLOAD)
    assert Condition(frozenset(["message_sent"]), frozenset(["message"]), (test,)).holds(
        "message_sent", "message", PAYLOAD
    )
    assert not Condition(frozenset(["message_edited"])).holds("message_sent", "message", PAYLOAD)
    assert not Condition(categories=frozenset(["user"])).holds("message_sent", "message", PAYLOAD)


def test_templates_are_filled_with_what_the_payload_has():
    """A text alone in its place keeps the value's type: numbers stay numbers."""
    assert fill("{data.message.sender} at {data.message.sentAt} {{x}}", PAYLOAD) == "cometchat-uid-1 at 1696934912 {x}"
    assert fill_json({"at": "{data.message.sentAt}", "list": ["{trigger}!", 1, None]}, PAYLOAD) == {
        "at": 1696934912,
        "list": ["message_sent!", 1, None],
    }
    with pytest.raises(Missing, match=r"nothing at data\.message\.muid"):
        fill("{data.message.muid}", PAYLOAD)


def test_what_is_filled_in_is_not_filled_again():
    """SECURITY: people write braces too."""
    payload = a_payload("message_sent", message__data__text="{data.message.sender} }} {")

    assert fill("<{data.message.data.text}>", payload) == "<{data.message.sender} }} {>"


def test_a_rules_file_is_read_whole(tmp_path):
    """With paths beside the file, wherever the program was started."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "do.sh").write_text("#!/bin/sh\n")
    (tmp_path / "do.sh").chmod(0o755)
    file = tmp_path / "rules.yaml"
    file.write_text(
        """
        rules:
          - name: everything
            then:
              - webhook: {url: "https://example.com/hook?x=1", body: {id: "{event.id}"}, timeout: 2, tokenFile: token}
              - command: [./do.sh, "{trigger}"]
              - command: {run: [sh, -c, "true"], timeout: 0.5}
              - log: "{trigger}"
        """
    )

    (rule,) = read_rules(file)

    assert rule.actions == (
        Webhook("https://example.com/hook?x=1", {"id": "{event.id}"}, 2.0, tmp_path / "token"),
        Command(str(tmp_path / "do.sh"), ("{trigger}",), 5.0),
        Command(rule.actions[2].program, ("-c", "true"), 0.5),
        Log("{trigger}"),
    )
    assert rule.actions[2].program.endswith("/sh")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules: [", "rules.yaml"),
        ("[]", "the file: must have rules"),
        ("rules: []", "rules: must be a list that is not empty"),
        ("rules: [{name: A b, then: [{log: x}]}]", "rules[0].name: must be small letters"),
        ("rules: [{name: a, then: [{log: x}]}, {name: a, then: [{log: x}]}]", "two rules are named 'a'"),
        ("rules: [{name: a, if: {}, then: [{log: x}]}]", "rules[0]: unknown field 'if'; known are name, when, then"),
        ("rules: [{name: a}]", "rules[0] (a).then: must be a list"),
        ("rules: [{name: a, then: [{mail: x}]}]", "rules[0] (a).then[0]: must be one of webhook, command, log, got mail"),
        ("rules: [{name: a, then: [{log: 1}]}]", "then[0].log: must be a text"),
        ("rules: [{name: a, then: [{log: '{dta.x}'}]}]", "the path 'dta.x' begins with none of data"),
        ("rules: [{name: a, then: [{log: '{event.x}'}]}]", "there are event.id"),
        ("rules: [{name: a, then: [{log: 'a } b'}]}]", "a lonely '}'"),
        ("rules: [{name: a, then: [{webhook: {url: ftp://x}}]}]", "must be a fixed http or https address"),
        ("rules: [{name: a, then: [{webhook: {url: 'http://{data.x}'}}]}]", "must be a fixed http or https address"),
        ("rules: [{name: a, then: [{webhook: {url: http://x, timeout: 100}}]}]", "at most 60 seconds, got 100"),
        ("rules: [{name: a, then: [{webhook: {url: http://x, body: ['{x}']}}]}]", "webhook.body: the path 'x'"),
        ("rules: [{name: a, then: [{webhook: {url: http://x, tokenFile: t}}]}]", "tokenFile: no such file"),
        ("rules: [{name: a, then: [{command: sh}]}]", "command: must be a list of texts, the program first"),
        ("rules: [{name: a, then: [{command: [no-such-program]}]}]", "command: no program 'no-such-program'"),
        ("rules: [{name: a, then: [{command: [./no.sh]}]}]", "command: no program './no.sh'"),
        ("rules: [{name: a, when: {triggers: x}, then: [{log: x}]}]", "when.triggers: must be a list of names"),
        ("rules: [{name: a, when: {where: [x]}, then: [{log: x}]}]", "when.where: must map paths"),
        ("rules: [{name: a, when: {where: {data.x: {like: 1}}}, then: [{log: x}]}]", "unknown test 'like'; known are"),
        ("rules: [{name: a, when: {where: {data.x: {matches: '('}}}, then: [{log: x}]}]", "not a regular expression"),
        ("rules: [{name: a, when: {where: {data.x: {above: y}}}, then: [{log: x}]}]", "above: must be a number"),
        ("rules: [{name: a, when: {where: {data.x: {in: y}}}, then: [{log: x}]}]", "in: must be a list"),
        ("rules: [{name: a, when: {where: {data.x: {exists: y}}}, then: [{log: x}]}]", "must be true or false"),
        ("rules: [{name: a, when: {where: {text: y}}, then: [{log: x}]}]", "the path 'text' begins with none of"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, capsys, text, complaint):
    """Before the first event comes, not at it."""
    file = tmp_path / "rules.yaml"
    file.write_text(text)

    assert main(["check", "--rules", str(file)]) == 1
    assert complaint in capsys.readouterr().err
    assert main(["serve", "--rules", str(file), "--data", str(tmp_path / "data")]) == 2


def test_all_mistakes_are_told_at_once(tmp_path):
    """A line each."""
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{name: A, then: [{log: '{x}'}, {mail: y}]}, {name: b, then: []}]")

    with pytest.raises(BadRules) as refusal:
        read_rules(file)

    assert len(str(refusal.value).splitlines()) == 4


def test_the_example_s_own_rules_hold(capsys):
    """They are what people start from."""
    assert main(["check"]) == 0
    assert "3 rules, 3 actions, no mistakes" in capsys.readouterr().out
    assert {rule.name for rule in read_rules(BUILT_IN)} == {"call-for-help", "new-group", "long-meeting"}
