import json

import pytest
from click.testing import CliRunner, Result

from hookline.admin.v1 import admin_pb2
from hookline_cli.main import cli
from support.admin import INGEST_ID, FakeAdmin, a_dead_letter, a_story, admin_on


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
    assert admin.asked == [admin_pb2.RedriveRequest(selection=admin_pb2.Selection(), all=True)]


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
