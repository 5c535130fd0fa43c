"""Manifests are read as kubectl reads them, and what is wrong is named with file and line."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline_routes import manifest
from hookline_routes.manifest import Manifests, read_manifests
from hookline_routes.resource import Secret, WebhookGateway, WebhookSubscription
from support.routes import ACME

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def read(text: str) -> Manifests:
    return read_manifests({"file.yaml": text})


def said(text: str) -> list[str]:
    return [str(problem) for problem in read(text).problems]


def data(text: str) -> object:
    (found,) = read(CONFIG_MAP + text).objects
    return found.data  # type: ignore[union-attr]


def test_the_example_is_read_without_a_complaint() -> None:
    """It is the API that the documentation shows."""
    manifests = read_manifests({"acme.yaml": ACME.read_text()})

    assert manifests.problems == ()
    assert [type(each) for each in manifests.objects] == [Secret, WebhookSubscription, WebhookGateway]


def test_a_wrong_field_is_named_with_file_line_limit_and_value() -> None:
    """The author goes to the place at once."""
    text = ACME.read_text().replace("timeout: 10s", 'timeout: "10 s"')
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "10 s" in each)

    manifests = read_manifests({"acme.yaml": text})

    (problem,) = manifests.problems
    assert str(problem) == (
        f"acme.yaml:{line}: WebhookSubscription acme/chat: spec.routes[0].handler.timeout: "
        'must be a duration such as "10s" or "1h30m" from 100ms to 10m, got "10 s"'
    )
    assert [each.kind for each in manifests.unreadable] == ["WebhookSubscription"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Nobody likes to be told one mistake a run."""
    text = ACME.read_text().replace("timeout: 10s", "timeout: soon").replace("suspend: false", "suspend: maybe")

    assert len(said(text)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", 'file.yaml:2: the key "a" must stand once'),
        ("a: {b: 1, b: 2}", 'file.yaml:1: the key "b" must stand once'),
        ("a: [1\nb: 2", "file.yaml:2: is not YAML"),
        ("\x00", "file.yaml: is not YAML: character 0"),
        ("a: !!python/object:os.system x", "the tag python/object:os.system is not read"),
        ("a: !!binary YQ==", "the tag binary is not read"),
        ("a: !custom x", "the tag !custom is not read"),
        ("<<: {a: 1}", "merge keys (<<) are not read"),
        ("? [a]\n: 1", "a key must be a string"),
        ("[a, b]", "must be an object with apiVersion and kind"),
        ("just text", "must be an object with apiVersion and kind"),
        ("a: *nothing", "is not YAML: found undefined alias"),
        ("a: &a [*a]", "must not be nested deeper than 64 levels"),
        ("[" * 70 + "]" * 70, "must not be nested deeper than 64 levels"),
        ("[" * 5000, "must not be nested deeper than 64 levels"),
        ("apiVersion: hookline.dev/v1\nkind: WebhookSubscription", "of hookline.dev/v1alpha1, got"),
        ("apiVersion: hookline.dev/v1alpha1\nkind: WebhookSubscriptio", "must be a WebhookSubscription"),
    ],
    ids=range(17),
)
def test_what_is_not_read_is_refused_with_a_reason(text: str, message: str) -> None:
    """Each of these has led some reader of YAML astray."""
    (problem,) = said(text)

    assert message in problem


def test_aliases_can_not_make_a_small_file_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lines of aliases are a billion values: "billion laughs"."""
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))

    (problem,) = said(bomb)

    assert f"must hold at most {manifest.MAX_NODES} values" in problem


def test_an_alias_within_bounds_is_followed() -> None:
    """They are YAML, and people use them."""
    assert data("data: {a: &text hello, b: *text}") == {"a": "hello", "b": "hello"}


@pytest.mark.parametrize("text", ["2026-01-01", "1:30", "2026-01-01T00:00:00Z", "190:20:30.5", "0o17x", "=", "~x"])
def test_a_text_that_other_readers_take_for_something_else_stays_a_text(text: str) -> None:
    """PyYAML makes dates and base-60 numbers of them; kubectl does not."""
    assert data(f"data: {{a: {text}}}") == {"a": text}


def test_documents_before_and_after_a_wrong_one_are_read() -> None:
    """A mistake in one does not hide those in the others."""
    good = "---\n" + CONFIG_MAP
    wrong = "---\napiVersion: hookline.dev/v1alpha1\nkind: WebhookSubscription\nmetadata: {name: a}\nspec: {}\n"

    manifests = read(good + wrong + good.replace("x", "y"))

    assert [each.metadata.name for each in manifests.objects] == ["x", "y"]
    assert [each.metadata.name for each in manifests.unreadable] == ["a"]


def test_an_object_that_is_there_twice_is_refused_the_second_time() -> None:
    """kubectl would let the last one win, silently."""
    twice = CONFIG_MAP + "---\n" + CONFIG_MAP

    assert said(twice) == ["file.yaml:7: ConfigMap default/x: is there already, at file.yaml:3"]


def test_the_items_of_a_list_are_objects_with_their_own_lines() -> None:
    """`kubectl get -o yaml` writes lists."""
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: x}\n  data: {a: '*'}\n"

    assert said(text) == [
        "file.yaml:7: Secret default/x: data.a: must be base64 (or put the plain text into stringData)"
    ]


def test_other_kinds_are_passed_over_and_named() -> None:
    """A tenant's file holds Deployments and Services too."""
    manifests = read("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\n\n---\n# nothing\n")

    assert [(each.kind, str(each.place)) for each in manifests.ignored] == [("Deployment", "file.yaml:1")]
    assert manifests.problems == ()


def test_a_secret_is_never_shown() -> None:
    """Messages end up in terminals, tickets and logs."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: hunter2!}\nstringData: {b: [hunter2], c: 4711}"

    assert "hunter2" not in str(said(text))
    assert "4711" not in str(said(text))
    assert "hunter2" not in repr(
        read(text.replace("hunter2!", "aHVudGVyMg==").replace("[hunter2], c: 4711", "hunter2"))
    )


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing raises: `hookline dev` reloads while people type."""
    read(text)


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_any_mutation_of_the_example_is_read_or_refused(chance: random.Random) -> None:
    """Close to a real manifest is where the untried branches are."""
    lines = ACME.read_text().splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        lines[at] = _mutated(lines[at], chance)

    manifests = read_manifests({"acme.yaml": "\n".join(lines)})

    assert all(str(problem).startswith("acme.yaml") for problem in manifests.problems)


def _mutated(line: str, chance: random.Random) -> str:
    at = chance.randint(0, len(line))
    bits = [
        "",
        " ",
        "- ",
        ":",
        "{",
        "}",
        "[",
        "]",
        "null",
        "'",
        '"',
        "&a ",
        "*a",
        "!!",
        "0",
        "\t",
        "é",
        "#",
        "? ",
        "1e999",
    ]
    return line[:at] + chance.choice(bits) + line[at + chance.randint(0, 3) :]
