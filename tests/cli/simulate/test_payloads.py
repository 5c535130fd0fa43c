"""Copies of documented payloads: each an event of its own."""

import json
from pathlib import Path

import pytest

from hookline_cli.simulate.payloads import BadSample, Copier, Sample, body_of, read_samples, shown_anew
from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.identity import identify
from hookline_receiver.cometchat.sameness import same_event
from hookline_receiver.event import Identity
from support.cometchat import sample_names

SAMPLES = {sample.name: sample for sample in read_samples()}


def identity_of(body: bytes) -> Identity:
    reading = read(body)
    assert isinstance(reading, Reading)
    return identify(reading, body, "sub-1")


def test_all_documented_payloads_come_with_the_package() -> None:
    """The command plays CometChat wherever it is installed."""
    assert list(SAMPLES) == sample_names()


@pytest.mark.parametrize("name", sample_names())
def test_copies_of_a_payload_are_different_events(name: str) -> None:
    """An endpoint that recognises duplicates must not take them for retries of one another, nor a second run's for those of the first."""
    sample = SAMPLES[name]
    copies = [Copier(1).copy(sample, 1), Copier(1).copy(sample, 2), Copier(2).copy(sample, 1)]

    assert len({identity_of(body_of(copy)).key for copy in copies}) == 3


@pytest.mark.parametrize("name", sample_names())
def test_a_copy_differs_from_the_payload_in_ids_only(name: str) -> None:
    """What is played is what is documented: the same fields of the same types."""

    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items() if key not in ("muid", "sender")}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value)

    assert shape(Copier(7).copy(SAMPLES[name], 3)) == shape(SAMPLES[name].payload)


def test_a_copy_names_one_thing_by_one_id_wherever_it_is_named() -> None:
    """A group's messages belong to its conversation, and numeric ids stay numeric."""
    message = Copier(7).copy(SAMPLES["moderation_manual_approved"], 3)["data"]["message"]

    assert message["id"].isdecimal()
    assert message["conversationId"] == "group_" + message["data"]["entities"]["receiver"]["entity"]["guid"]


def test_an_edit_goes_on_pointing_at_another_message_than_its_own() -> None:
    """The action message and the original have ids of their own."""
    message = Copier(7).copy(SAMPLES["message_edited"], 3)["data"]["message"]

    assert message["id"] != message["data"]["entities"]["on"]["entity"]["id"]


def test_the_app_id_can_be_set() -> None:
    """Subscriptions may accept certain apps only."""
    assert Copier(1, "26753af2c0d24b10").copy(SAMPLES["message_sent"], 1)["appId"] == "26753af2c0d24b10"


@pytest.mark.parametrize("name", sample_names())
def test_a_payload_shown_anew_is_the_same_event_in_other_bytes(name: str) -> None:
    """It is what a retry may look like, and a gateway must recognise it."""
    payload = Copier(1).copy(SAMPLES[name], 1)
    anew = shown_anew(payload)

    assert anew != body_of(payload)
    assert identity_of(anew) == identity_of(body_of(payload))
    assert same_event(anew, body_of(payload))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "odd.json"),
        (b"[]", "JSON object"),
        (b'{"trigger":1}', "trigger"),
        (b"[" * 100_000, "odd.json"),
        (b"\xff", "odd.json"),
    ],
    ids=["cut", "array", "number", "deep", "not text"],
)
def test_a_file_that_is_no_payload_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    """With --samples it is somebody's own folder."""
    (tmp_path / "odd.json").write_bytes(content)

    with pytest.raises(BadSample, match=complaint):
        read_samples(tmp_path)


def test_a_folder_without_payloads_is_named(tmp_path: Path) -> None:
    """A report of nothing sent would look like success."""
    with pytest.raises(BadSample, match=r"no \*\.json files"):
        read_samples(tmp_path)


def test_any_json_object_with_a_trigger_can_be_copied() -> None:
    """Payloads of one's own may have any shape."""
    odd = {"trigger": "x", "data": [1, {"id": None}], "id": {"id": "1"}}

    assert json.loads(body_of(Copier(1).copy(Sample("odd", odd), 1)))["data"] == [1, {"id": None}]
