"""Which bodies are events, and what is read of them."""

import json
import random
import time

import pytest

from hookline_receiver.cometchat.envelope import MAX_TRIGGER_LENGTH, Fault, NotAnEvent, Reading, read
from hookline_receiver.event import Envelope
from support.cometchat import a_payload, body_of, changed, sample, sample_names

HALF_A_PAIR = b"\\ud83d"


def envelope_of(body: bytes) -> Envelope:
    reading = read(body)
    assert isinstance(reading, Reading), reading
    return reading.envelope


def fault_of(body: bytes) -> Fault:
    reading = read(body)
    assert isinstance(reading, NotAnEvent), reading
    return reading.fault


@pytest.mark.parametrize("name", sample_names())
def test_every_documented_payload_is_an_event_of_a_known_category(name: str) -> None:
    """The documentation is the least that must work."""
    payload = sample(name)

    envelope = envelope_of(body_of(payload))

    assert envelope.trigger == payload["trigger"]
    assert envelope.app_id == payload["appId"]
    assert envelope.category != "unknown"
    assert (envelope.category == "legacy") == name.startswith("legacy.")


@pytest.mark.parametrize(
    ("name", "receiver_type"),
    [
        ("message_sent", "user"),
        ("message_edited", "user"),
        ("moderation_manual_approved", "group"),
        ("moderation_engine_failed", "user"),
        ("call_initiated", "user"),
        ("message_read_receipt", "user"),
        ("custom-provider.push-notification-payload-generated.group-action", "group"),
        ("legacy.before_message", "user"),
        ("user_blocked", ""),
        ("call_started", ""),
    ],
)
def test_the_receiver_type_is_that_of_the_message_or_call(name: str, receiver_type: str) -> None:
    """Routes select by it."""
    assert envelope_of(body_of(sample(name))).receiver_type == receiver_type


def test_a_receiver_type_that_is_neither_user_nor_group_reads_as_none() -> None:
    """The contract knows two words; what else comes can't be selected by."""
    body = body_of(changed(sample("message_sent"), "data.message.receiverType", "room"))

    assert envelope_of(body).receiver_type == ""


@pytest.mark.parametrize(
    ("trigger", "category"),
    [
        ("message_translated", "message"),
        ("conversation_archived", "message"),
        ("group_member_muted", "group"),
        ("user_created", "user"),
        ("call_on_hold", "call"),
        ("meeting_locked", "meeting"),
        ("after_campaign_paused", "campaign"),
        ("moderation_engine_undecided", "moderation"),
        ("telegram-notification-payload-generated", "notification"),
        ("after_party", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_unknown_trigger_is_an_event_whose_category_is_guessed_only_from_a_known_family(
    trigger: str, category: str
) -> None:
    """The set of triggers grows ahead of the documentation; routes by category should go on working."""
    assert envelope_of(body_of(a_payload(trigger))) == Envelope(trigger, category, "app-1", "")


def test_a_receipt_in_the_legacy_shape_is_legacy_and_in_the_modern_shape_a_message() -> None:
    """Both systems use the trigger's name; only the shape tells them apart."""
    modern = envelope_of(body_of(sample("message_delivery_receipt")))
    legacy = envelope_of(body_of(sample("legacy.message_delivery_receipt")))

    assert (modern.category, legacy.category) == ("message", "legacy")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"message_sent"',
        b"1",
        b'{"trigger":"x"',
        b'{"trigger":"x"} y',
        b"trigger=x",
        b"\x00",
    ],
)
def test_what_is_not_a_json_object_is_no_event(body: bytes) -> None:
    """The sender gets 400."""
    assert fault_of(body) is Fault.NOT_JSON


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"trigger":null}',
        b'{"trigger":7}',
        b'{"trigger":["message_sent"]}',
        b'{"Trigger":"x"}',
        b'{"data":{"trigger":"x"}}',
    ],
)
def test_an_object_without_a_string_trigger_is_no_event(body: bytes) -> None:
    """It can't be routed."""
    assert fault_of(body) is Fault.NO_TRIGGER


def test_a_trigger_may_have_the_greatest_length_and_not_one_character_more() -> None:
    """It becomes an attribute of each delivery and a label of metrics."""
    assert envelope_of(body_of(a_payload("m" * MAX_TRIGGER_LENGTH))).trigger == "m" * MAX_TRIGGER_LENGTH
    assert fault_of(body_of(a_payload("m" * (MAX_TRIGGER_LENGTH + 1)))) is Fault.NO_TRIGGER


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b"0x1", b"+1"])
def test_numbers_that_json_does_not_know_make_no_event(number: bytes) -> None:
    """A reader that let them pass would hand handlers what theirs refuses."""
    assert fault_of(b'{"trigger":"message_sent","data":{"message":{"sentAt":' + number + b"}}}") is Fault.NOT_JSON


@pytest.mark.parametrize(
    "number", [b"1e999", b"-1e999", b"9" * 400, b"9" * 5000, b"1" + b"0" * 30, b"0." + b"1" * 5000]
)
@pytest.mark.parametrize("place", [b'"sentAt":', b'"elsewhere":'], ids=["in a field that is read", "elsewhere"])
def test_numbers_of_any_size_are_let_through(number: bytes, place: bytes) -> None:
    """They are valid JSON; that we can't count with them is no reason to lose an event."""
    body = b'{"trigger":"message_sent","appId":"a","data":{"message":{"id":"1",' + place + number + b"}}}"

    assert envelope_of(body).app_id == "a"


def test_of_equal_keys_the_last_one_counts() -> None:
    """So do most readers, hence most handlers: gateway and handler must not see different triggers."""
    body = b'{"trigger":"user_blocked","appId":"one","trigger":"message_sent","appId":"two"}'

    assert envelope_of(body) == Envelope("message_sent", "message", "two", "")
    assert json.loads(body)["trigger"] == "message_sent"


@pytest.mark.parametrize("depth", [500, 100_000], ids=["as deep as is promised", "deeper than any stack"])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
@pytest.mark.parametrize("field", [b"data", b"elsewhere", b"appId"])
def test_nesting_is_read_to_the_promised_depth_and_beyond_it_refused(
    depth: int, opening: bytes, closing: bytes, field: bytes
) -> None:
    """A body of brackets must not end the process, nor take its time."""
    body = b'{"trigger":"message_sent","' + field + b'":' + opening * depth + b"1" + closing * depth + b"}"

    started = time.process_time()
    outcome = read(body)

    assert isinstance(outcome, Reading) if depth == 500 else outcome.fault is Fault.TOO_DEEP  # type: ignore[union-attr]
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("brackets", [b"[", b'{"trigger":', b'{"data":', b'{"data":['])
def test_brackets_that_are_never_closed_are_no_event(brackets: bytes) -> None:
    """Another way to ask for a deep stack."""
    assert isinstance(read(brackets * 100_000), NotAnEvent)


def test_bytes_that_are_not_utf8_inside_the_payload_do_not_refuse_it() -> None:
    """The event is kept byte for byte; who can't read one text of it can read the rest."""
    body = (
        b'{"trigger":"message_sent","appId":"a","data":{"message":{"id":"\xff\xfe","receiverType":"user","t":"\xc3("}}}'
    )

    assert envelope_of(body) == Envelope("message_sent", "message", "a", "user")


@pytest.mark.parametrize("trigger", [b"message_\xff", HALF_A_PAIR, b"\xed\xa0\x80"])
def test_a_trigger_that_is_not_text_is_no_event(trigger: bytes) -> None:
    """It could neither be matched nor written into an attribute."""
    assert fault_of(b'{"trigger":"' + trigger + b'"}') is Fault.NO_TRIGGER


@pytest.mark.parametrize(
    "escape", [HALF_A_PAIR, b"\\ude00", b"\\uDE00\\uD83D", b"\\ud83d\\ud83d\\ude00", b"\\\\\\ud83d"]
)
def test_half_a_surrogate_pair_does_not_refuse_the_event(escape: bytes) -> None:
    """Senders in JavaScript cut texts in the middle of an emoji; it is what a real sender does."""
    body = (
        b'{"trigger":"message_sent","appId":"a","data":{"message":{"receiverType":"group","data":{"text":"hi '
        + escape
        + b'"}}}}'
    )

    assert envelope_of(body) == Envelope("message_sent", "message", "a", "group")


def test_a_backslash_before_what_looks_like_an_escape_is_left_alone() -> None:
    r"""The text \ud83d, typed by somebody, is text."""
    body = b'{"trigger":"x","appId":"\\\\ud83d","cut":"\\ud83d"}'

    assert envelope_of(body).app_id == "\\ud83d"


def test_a_byte_order_mark_is_passed_over() -> None:
    """RFC 8259 lets a reader do so, and refusing would lose the event."""
    assert envelope_of(b"\xef\xbb\xbf" + body_of(a_payload("message_sent"))).trigger == "message_sent"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_no_event(encoding: str) -> None:
    """JSON between systems is UTF-8."""
    assert fault_of(json.dumps(a_payload("message_sent")).encode(encoding)) is Fault.NOT_JSON


@pytest.mark.parametrize(
    "odd", [None, 7, "text", [], [{}], True, 1.5, {"message": []}, {"message": {"receiverType": ["user"]}}]
)
def test_a_known_trigger_with_a_payload_of_another_shape_is_an_event(odd: object) -> None:
    """It is stored and forwarded like any other."""
    body = body_of({"trigger": "message_sent", "data": odd, "appId": "app-1"})

    assert envelope_of(body) == Envelope("message_sent", "message", "app-1", "")


def test_one_field_of_another_type_hides_no_other_field() -> None:
    """A change of one field by the sender must not change where the event goes."""
    payload = changed(sample("message_sent"), "data.message.id", {"value": "1"})

    assert envelope_of(body_of(changed(payload, "data.group", ["odd"]))).receiver_type == "user"


@pytest.mark.parametrize(
    ("app_id", "read_as"), [(123, "123"), (None, ""), (True, ""), ([], ""), ("a" * 5000, ""), ("a", "a")]
)
def test_an_app_id_is_text_or_a_whole_number(app_id: object, read_as: str) -> None:
    """Anything else counts as no app id, which a subscription that names its apps refuses."""
    assert envelope_of(body_of({"trigger": "x", "appId": app_id})).app_id == read_as


def test_whatever_the_bytes_reading_ends_in_an_outcome() -> None:
    """Ten thousand mutations of samples: cut, doubled, overwritten; the seed is printed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    bodies = [body_of(sample(name)) for name in sample_names()]
    pieces = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"1e999", b"\xff", HALF_A_PAIR, b"\\", b"\x00", b"-"]

    for _ in range(10_000):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(body) + 1)
            body[start : start + chance.choice((0, 0, 1, 2, 30))] = chance.choice(pieces)
        assert isinstance(read(bytes(body)), Reading | NotAnEvent)


@pytest.mark.parametrize(
    "piece",
    [HALF_A_PAIR, HALF_A_PAIR + b"x", b"\\u0000", b"\\\\", b"\xff"],
    ids=["halves", "halves apart", "escapes", "backslashes", "bytes"],
)
def test_the_worst_texts_of_the_greatest_size_are_read_in_bounded_time(piece: bytes) -> None:
    """2 MiB; a receiver's other requests wait meanwhile. About 0.3 s for the worst where this was written."""
    text = HALF_A_PAIR + piece * (2 * 1024 * 1024 // len(piece))
    body = b'{"trigger":"message_sent","data":{"message":{"id":"1","data":{"text":"' + text + b'"}}}}'

    started = time.process_time()
    outcome = read(body)

    assert isinstance(outcome, Reading)
    assert time.process_time() - started < 3


def test_a_detail_never_shows_the_body() -> None:
    """Details go into logs and answers; bodies hold private data."""
    outcomes = [
        read(b'{"trigger":"secret'),
        read(b'{"trigger":["secret"]}'),
        read(b'["secret"]'),
        read(b'{"a":secret}'),
    ]

    assert not [outcome for outcome in outcomes if not isinstance(outcome, NotAnEvent) or "secret" in outcome.detail]
