import json
import time

import pytest
from click.testing import CliRunner, Result

from hookline.admin.v1 import admin_pb2
from hookline_cli.main import cli
from hookline_cli.people.pace import STEP, Pace
from support.admin import INGEST_ID, FakeAdmin, a_dead_letter, a_story, admin_on, an_event


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def admin(data):
    servicer = FakeAdmin()
    with admin_on(data, servicer):
        yield servicer


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def test_dead_letters_as_json_say_everything_the_service_says(data, admin):
    """Scripts must not have to parse a table."""
    admin.letters = [a_dead_letter()]

    done = run("dead", "--data", data, "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "delivery_id": f"{INGEST_ID}/notify",
        "ingest_id": INGEST_ID,
        "event_id": "e-1",
        "subscription": "acme/chat",
        "route": "notify",
        "trigger": "message_sent",
        "reason": "Rejected",
        "detail": "spam",
        "attempts": 3,
        "received_at": "2025-06-15T15:06:40.250Z",
        "died_at": "2025-06-15T15:06:41.750Z",
    }


def test_options_of_dead_select(data, admin):
    """Everything given must hold."""
    done = run(
        *("dead", "--data", data, "--subscription", "acme/chat", "--route", "notify"),
        *("--trigger", "message_sent", "--reason", "rejected", "--limit", 5),
    )

    assert done.exit_code == 0
    selection = admin_pb2.Selection(
        namespace="acme", subscription="chat", route="notify", trigger="message_sent", reason="Rejected"
    )
    assert admin.asked == [admin_pb2.ListDeadLettersRequest(selection=selection, limit=5)]


def test_without_dead_letters_standard_output_is_empty(data, admin):
    """`hookline dead | wc -l` must say 0."""
    done = run("dead", "--data", data)

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no dead letters\n")


def test_what_a_handler_said_cannot_act_upon_the_terminal(data, admin):
    """Reasons come from others; escape sequences can retype what a person sees."""
    admin.letters = [a_dead_letter(detail="\x1b[2Jgone\r\nfaked\u009b1m")]

    done = run("dead", "--data", data)

    assert done.exit_code == 0
    assert "\\x1b[2Jgone\\r\\nfaked\\x9b1m" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_list_that_was_cut_says_so(data, admin):
    """Else one believes that was all."""
    admin.letters = [a_dead_letter(), a_dead_letter()]

    assert "there may be more" in run("dead", "--data", data, "--limit", 1).stderr


def test_redrive_without_a_selection_is_a_usage_error(data, admin):
    """Sending everything again must be asked for."""
    done = run("redrive", "--data", data)

    assert done.exit_code == 2
    assert admin.asked == []


def test_redrive_all_says_how_many(data, admin):
    """It asks nothing, so it has to tell."""
    admin.redriven, admin.without_route = 7, 2

    done = run("redrive", "--data", data, "--all")

    assert (done.exit_code, done.stdout) == (0, "7 sent again\n")
    assert "2 stay dead: their route is gone" in done.stderr
    assert admin.asked == [admin_pb2.RedriveRequest(selection=admin_pb2.Selection(), all=True, limit=STEP)]


def test_redrive_takes_ids_of_all_kinds(data, admin):
    """One pastes what one has: a delivery's id, an ingest id, a CloudEvent id."""
    admin.redriven = 1
    admin.stories = {"e-1": [a_story()]}
    other = INGEST_ID.replace("01976f2c", "01976f2d")

    done = run("redrive", "--data", data, f"{other}/sync", other, "e-1", "--json")

    assert json.loads(done.stdout) == {"redriven": 2, "without_route": 0, "dry_run": False}
    selections = [request.selection for request in admin.asked if isinstance(request, admin_pb2.RedriveRequest)]
    assert selections == [
        admin_pb2.Selection(route="sync", ingest_ids=[other]),
        admin_pb2.Selection(ingest_ids=[other, INGEST_ID]),
    ]


def test_a_dry_run_says_so(data, admin):
    """And must be passed on as one."""
    admin.redriven = 3

    done = run("redrive", "--data", data, "--reason", "Expired", "--dry-run")

    assert done.stdout == "3 would be sent again\n"
    assert admin.asked[0].dry_run


def test_the_limit_holds_over_several_selections(data, admin):
    """Each route is a request of its own; the limit is for the whole."""
    admin.redriven = 2

    done = run("redrive", "--data", data, f"{INGEST_ID}/a", f"{INGEST_ID}/b", f"{INGEST_ID}/c", "--limit", 3)

    assert done.stdout == "3 sent again\n"
    assert [request.limit for request in admin.asked] == [3, 1]


def test_ids_that_match_nothing_are_a_failure(data, admin):
    """A script that redrives one event must learn that it did not."""
    done = run("redrive", "--data", data, INGEST_ID)

    assert done.exit_code == 1
    assert "none of these is a dead letter" in done.stderr


def test_an_id_that_no_event_has_redrives_nothing(data, admin):
    """An empty selection would be all."""
    admin.redriven = 9

    done = run("redrive", "--data", data, "nobody-knows-me")

    assert done.exit_code == 1
    assert not any(isinstance(request, admin_pb2.RedriveRequest) for request in admin.asked)


def test_show_tells_the_story_with_each_attempt(data, admin):
    """What happened to this event is the question people have."""
    admin.stories = {"e-1": [a_story()]}

    story = json.loads(run("show", "e-1", "--data", data, "--json").stdout)

    assert (story["subscription"], story["size"], story["duplicates"]) == ("acme/chat", 1234, 2)
    assert [delivery["state"] for delivery in story["deliveries"]] == ["Pending", "Waiting"]
    assert story["deliveries"][0]["attempts"] == [
        {
            "number": 1,
            "started_at": "2025-06-15T15:06:40.250Z",
            "ended_at": "2025-06-15T15:06:41.750Z",
            "seconds": 1.5,
            "code": "UNAVAILABLE",
            "detail": "refused",
            "endpoint": "127.0.0.1:9000",
        }
    ]


def test_show_for_a_person_names_route_state_and_answer(data, admin):
    """A delivery without an attempt has a row too."""
    admin.stories = {"e-1": [a_story()]}

    shown = run("show", "e-1", "--data", data).stdout

    assert "notify\tPending\t1\t" in shown
    assert "\t1500.0 ms\tUNAVAILABLE\trefused\t127.0.0.1:9000" in shown
    assert "sync\tWaiting" in shown
    assert "2 (retries of the sender, not delivered again)" in shown


def test_an_unknown_event_is_a_failure_that_names_it(data, admin):
    """Exit codes mean something."""
    done = run("show", "e-404", "--data", data)

    assert done.exit_code == 1
    assert "no event e-404 is kept" in done.stderr


def test_a_data_folder_that_is_not_there_is_said_in_one_line(tmp_path):
    """The most likely mistake: the wrong folder."""
    done = run("dead", "--data", tmp_path / "nowhere")

    assert done.exit_code == 3
    assert done.stderr.startswith("hookline: ")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "nowhere") in done.stderr


def test_a_deep_data_folder_is_reached_all_the_same(tmp_path):
    """A socket's path ends at 107 bytes; a clone may lie deeper."""
    data = tmp_path / ("d" * 90) / ("e" * 90)
    admin = FakeAdmin()
    admin.letters = [a_dead_letter()]

    with admin_on(data, admin):
        done = run("dead", "--data", data, "--json")

    assert json.loads(done.stdout)["event_id"] == "e-1"


@pytest.mark.parametrize("name", ["acme/chat/notify", "/chat", ""])
def test_a_malformed_subscription_is_a_usage_error(data, name):
    """Before anything is asked."""
    assert run("dead", "--data", data, "--subscription", name).exit_code == 2


def test_events_as_json_say_everything_the_service_says(data, admin):
    """Scripts must not have to parse a table."""
    admin.events = [an_event(unrouted="MatchFailed: sync: no such key")]

    done = run("events", "--data", data, "--json")

    assert json.loads(done.stdout) == {
        "ingest_id": INGEST_ID,
        "event_id": "e-1",
        "subscription": "acme/chat",
        "trigger": "message_sent",
        "category": "message",
        "received_at": "2025-06-15T15:06:40.250Z",
        "stored_at": "2025-06-15T15:06:41.750Z",
        "size": 1234,
        "duplicates": 2,
        "unrouted": "MatchFailed: sync: no such key",
        "deliveries": [{"route": "notify", "state": "Dead", "reason": "Rejected"}],
    }


def test_options_of_events_select(data, admin):
    """Everything given must hold."""
    done = run(
        *("events", "--data", data, "--subscription", "acme/chat", "--trigger", "message_sent", "--unrouted"),
        *("--category", "message", "--route", "notify", "--state", "dead", "--limit", 7, "--oldest"),
        *("--since", "2026-01-31T12:00:00Z", "--until", "2026-01-31T14:00:00+01:00"),
    )

    assert done.exit_code == 0, done.stderr
    [request] = admin.asked
    assert (request.limit, request.newest_first) == (7, False)
    chosen = request.selection
    assert (chosen.namespace, chosen.subscription, chosen.route, chosen.state) == ("acme", "chat", "notify", "Dead")
    assert (chosen.trigger, chosen.category, chosen.unrouted) == ("message_sent", "message", True)
    assert (chosen.since.seconds, chosen.until.seconds) == (1769860800, 1769864400)


def test_an_age_is_counted_from_now(data, admin):
    """The most usual question: what came in lately."""
    before = time.time()

    run("events", "--data", data, "--since", "10m")

    assert before - 600 <= admin.asked[0].selection.since.ToNanoseconds() / 1e9 <= time.time() - 600


@pytest.mark.parametrize("text", ["yesterday", "10", "-5m", "2026-13-01", "9" * 30 + "d"])
def test_a_time_that_is_none_is_a_usage_error(data, text):
    """Before anything is asked."""
    assert run("events", "--data", data, f"--since={text}").exit_code == 2


def test_the_newest_events_are_shown_in_the_order_they_came(data, admin):
    """As a log reads: the last line is the last event."""
    admin.events = [an_event(ingest_id="new"), an_event(ingest_id="old", unrouted="NoRouteMatched")]

    done = run("events", "--data", data)

    assert admin.asked[0].newest_first
    heading, old, new = done.stdout.splitlines()
    assert "old" in old
    assert "unrouted: NoRouteMatched" in old
    assert "new" in new
    assert "notify Dead (Rejected)" in new
    assert heading.startswith("RECEIVED")


def test_without_events_standard_output_is_empty(data, admin):
    """`hookline events | wc -l` must say 0."""
    done = run("events", "--data", data)

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no events\n")


def test_a_redrive_goes_on_where_a_step_ended(data, admin):
    """What dies again at once must not be met again."""
    admin.redrives = [
        admin_pb2.RedriveResponse(redriven=5, without_route=2, next=77),
        admin_pb2.RedriveResponse(redriven=1),
    ]

    done = run("redrive", "--data", data, "--all", "--rate", 50, "--json")

    assert json.loads(done.stdout) == {"redriven": 6, "without_route": 2, "dry_run": False}
    assert [(one.after, one.limit) for one in admin.asked] == [(0, 5), (77, 5)]


def test_a_rate_is_kept_over_all_steps():
    """A handler that has just come back must not be run over."""
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(round(seconds, 6))
        now[0] += seconds

    pace = Pace(20.0, lambda: now[0], sleep)
    for done in (2, 4, 6):
        now[0] += 0.03
        pace.wait(done)

    assert pace.step == 2
    assert slept == [0.07, 0.07, 0.07]
    assert round(now[0] - 100, 6) == 6 / 20


@pytest.mark.parametrize(("rate", "step"), [(None, STEP), (0.5, 1), (1e9, STEP)], ids=["none", "slow", "fast"])
def test_steps_are_never_empty_nor_endless(rate, step):
    """Whatever rate is asked for."""
    assert Pace(rate).step == step


def test_replay_says_what_went_out_and_what_did_not(data, admin):
    """Each event is accounted for."""
    admin.replays = [
        admin_pb2.ReplayResponse(events=3, deliveries=4, under_way=1, next=9),
        admin_pb2.ReplayResponse(events=1, deliveries=1, without_route=2),
    ]

    done = run("replay", "--data", data, "--unrouted", "--since", "1h", "--to", "sync")

    assert (done.exit_code, done.stdout) == (0, "4 events, 5 deliveries sent again\n")
    assert "1 deliveries have not ended yet" in done.stderr
    assert "2 events stay: no route takes them now" in done.stderr
    assert [(one.after, list(one.routes), one.selection.unrouted) for one in admin.asked] == [
        (0, ["sync"], True),
        (9, ["sync"], True),
    ]


def test_a_replay_ends_at_its_own_beginning(data, admin):
    """Else a replay of everything would follow what comes in for ever."""
    before = time.time()

    run("replay", "--data", data, "--all")

    assert before <= admin.asked[0].selection.until.ToNanoseconds() / 1e9 <= time.time()
    assert admin.asked[0].all


def test_replay_without_a_selection_is_a_usage_error(data, admin):
    """Sending everything again must be asked for."""
    assert run("replay", "--data", data).exit_code == 2
    assert admin.asked == []


def test_replay_takes_ids_of_all_kinds(data, admin):
    """A delivery's name means that route only."""
    admin.stories = {"e-1": [a_story()]}
    other = INGEST_ID.replace("01976f2c", "01976f2d")
    admin.replays = [admin_pb2.ReplayResponse(events=1, deliveries=1) for _ in range(2)]

    done = run("replay", "--data", data, f"{other}/sync", "e-1", "--json", "--dry-run")

    assert json.loads(done.stdout) == {
        "events": 2,
        "deliveries": 2,
        "under_way": 0,
        "without_route": 0,
        "dry_run": True,
    }
    asked = [one for one in admin.asked if isinstance(one, admin_pb2.ReplayRequest)]
    assert [(list(one.selection.ingest_ids), list(one.routes), one.dry_run) for one in asked] == [
        ([other], ["sync"], True),
        ([INGEST_ID], [], True),
    ]


def test_a_replay_of_unknown_ids_is_a_failure_and_replays_nothing(data, admin):
    """An empty selection would be all."""
    done = run("replay", "--data", data, "nobody-knows-me")

    assert done.exit_code == 1
    assert not any(isinstance(request, admin_pb2.ReplayRequest) for request in admin.asked)


def test_the_limit_of_a_replay_holds_over_its_steps(data, admin):
    """A first few to try."""
    admin.replays = [admin_pb2.ReplayResponse(events=2, deliveries=2, next=5)] * 2

    done = run("replay", "--data", data, "--all", "--limit", 3)

    assert [one.limit for one in admin.asked] == [3, 1]
    assert done.stdout.startswith("4 events")


def test_an_erasure_asks_first_with_the_count(data, admin):
    """There is no way back."""
    admin.erasing = [admin_pb2.EraseResponse(events=4, unended=1)]

    done = CliRunner().invoke(cli, ["erase", "--data", str(data), "--user", "alice"], input="n\n")

    assert done.exit_code == 1
    assert "Erase 4 events (1 deliveries of them had not ended) for good?" in done.stderr
    assert [one.dry_run for one in admin.asked] == [True]


def test_an_erasure_goes_to_its_end_and_says_how_many(data, admin):
    """Asked, it counts; told yes, it erases from the beginning."""
    admin.erasing = [
        admin_pb2.EraseResponse(events=2, next=7),
        admin_pb2.EraseResponse(events=1, unended=1),
    ]

    done = run("erase", "--data", data, "--subscription", "acme", "--yes", "--json")

    assert json.loads(done.stdout) == {"events": 3, "unended": 1, "dry_run": False}
    assert [(one.after, one.dry_run, one.selection.namespace) for one in admin.asked] == [
        (0, False, "acme"),
        (7, False, "acme"),
    ]


def test_a_confirmed_erasure_erases_what_was_counted(data, admin):
    """From the beginning again, and not where the count had ended."""
    admin.erasing = [admin_pb2.EraseResponse(events=2, next=7), admin_pb2.EraseResponse(events=1)] * 2

    done = CliRunner().invoke(cli, ["erase", "--data", str(data), "--user", "alice"], input="y\n")

    assert done.exit_code == 0
    assert done.stdout == "3 events erased\n"
    assert [(one.after, one.dry_run) for one in admin.asked] == [(0, True), (7, True), (0, False), (7, False)]


def test_an_erasure_of_nobody_in_particular_is_a_usage_error(data, admin):
    """It would be everybody's."""
    assert run("erase", "--data", data, "--yes").exit_code == 2
    assert admin.asked == []


def test_what_was_erased_is_told_in_counts(data, admin):
    """That there was something, and how much: no more is left."""
    admin.erasures = [admin_pb2.Erasure(day="2026-01-31", namespace="acme", subscription="chat", events=3, unended=1)]

    done = run("erase", "--data", data, "--history")

    assert done.stdout.splitlines() == ["DAY\tSUBSCRIPTION\tEVENTS\tNOT DELIVERED", "2026-01-31\tacme/chat\t3\t1"]
