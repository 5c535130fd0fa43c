import json
import signal
import socket
import stat
from pathlib import Path

import pytest

from support.cli import hookline, running
from support.gateway import gateway
from support.manifests import PASSWORD, a_secret, a_subscription, as_yaml
from support.waiting import until_sync


@pytest.fixture
def manifest(tmp_path):
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_secret(), a_subscription()))
    return file


def test_it_says_where_events_go_to_and_stops_in_order(tmp_path):
    """What one needs to know, and a stop that keeps everything."""
    with gateway(tmp_path, a_secret(), a_subscription(), a_subscription(name="other", secrets=())) as running_gateway:
        command = running_gateway.command
        assert command.line("  acme/chat").startswith(f"  {running_gateway.url}/acme/chat")
        assert "main -> handler.acme:9000 at 127.0.0.1:9000" in command.line("main ->")
        assert "generated, see " in command.line("generated")
        started = running_gateway.processes()
        assert [len(started[what]) for what in ("master", "worker", "forwarder")] == [1, 1, 1]

        assert command.stop(signal.SIGINT) == 0

        assert command.out[-3:] == [
            "stopping: the receiver finishes what is in flight",
            "stopping: the forwarder delivers what is due",
            "stopped; nothing is pending",
        ]
        assert not any(process.alive() for what in started.values() for process in what)
        assert PASSWORD not in "\n".join(command.out + command.err)


def test_it_is_killed_and_nothing_stays_behind(tmp_path):
    """kill -9 of `hookline dev` must leave the port and the folder free for the next one."""
    with gateway(tmp_path, a_secret(), a_subscription()) as first:
        left = [process for what in first.processes().values() for process in what]
        port = int(first.url.rpartition(":")[2])

        first.command.process.kill()
        first.command.process.wait()

        until_sync(lambda: not any(process.alive() for process in left), within=40, what="its processes to end")
    with gateway(tmp_path, port=port):
        pass


@pytest.mark.parametrize(("what", "name"), [("forwarder", "forwarder"), ("master", "receiver")])
def test_a_crash_is_said_and_mended(tmp_path, what, name):
    """One program's crash must not end the gateway, nor go unseen."""
    with gateway(tmp_path, a_secret(), a_subscription()) as running_gateway:
        (before,) = running_gateway.processes()[what]
        before.kill()

        running_gateway.command.line(f"the {name} ended (killed by SIGKILL); starting it again in 0.1 s")
        until_sync(lambda: any(process != before for process in running_gateway.processes()[what]), within=40)


def test_a_port_in_use_is_one_line_and_exit_3_and_starts_nothing(manifest, tmp_path):
    """Better than a receiver that is restarted for ever."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        failed = hookline("dev", "-f", manifest, "--data", tmp_path / "data", "--listen", address)

    assert failed.returncode == 3
    assert failed.stderr == f"hookline: can't listen on {address}: Address already in use\n"
    assert failed.stdout == ""


def test_two_on_one_folder_are_refused(manifest, tmp_path):
    """Two forwarders on one store would deliver everything twice."""
    data = tmp_path / "data"
    with running("dev", "-f", manifest, "--data", data, "--listen", "127.0.0.1:0") as first:
        first.line("hookline dev on")

        second = hookline("dev", "-f", manifest, "--data", data, "--listen", "127.0.0.1:0")

    assert (second.returncode, second.stderr) == (3, f"hookline: another hookline dev runs on {data}\n")


def test_a_manifest_that_is_not_there_is_one_line(tmp_path):
    """The most likely mistake."""
    failed = hookline("dev", "-f", tmp_path / "nowhere.yaml", "--data", tmp_path / "data")

    assert (failed.returncode, failed.stderr) == (1, f"hookline: {tmp_path / 'nowhere.yaml'} does not exist\n")
    assert not (tmp_path / "data").exists()


def test_a_handler_that_no_route_names_is_pointed_out(manifest, tmp_path):
    """A typing mistake there looks like a dead handler."""
    arguments = ["dev", "-f", manifest, "--data", tmp_path / "data", "--listen", "127.0.0.1:0"]
    with running(*arguments, "--handler", "handlr=127.0.0.1:1") as command:
        command.line("warning: no route's handler is named handlr (127.0.0.1:1)")


def test_data_is_readable_by_its_owner_alone(manifest, tmp_path):
    """Bodies of events and keys are in there."""
    data = tmp_path / "data"
    with running("dev", "-f", manifest, "--data", data, "--listen", "127.0.0.1:0") as command:
        command.line("hookline dev on")

    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.parametrize("program", ["receiver", "forwarder"])
def test_a_setting_that_a_program_does_not_know_is_one_line_and_starts_nothing(manifest, tmp_path, program):
    """It would end as soon as it is started, and be started again for ever."""
    variable = f"HOOKLINE_{program.upper()}_NO_SUCH_THING"

    failed = hookline("dev", "-f", manifest, "--data", tmp_path / "data", "--listen", "127.0.0.1:0", **{variable: "1"})

    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"hookline: {variable} is not a setting of the {program}\n"


def test_it_is_said_why_it_is_not_ready(manifest, tmp_path):
    """A disk that is nearly full is found out by whoever waits for "ready", and by nobody else."""
    arguments = ["dev", "-f", manifest, "--data", tmp_path / "data", "--listen", "127.0.0.1:0"]
    with running(*arguments, env={"HOOKLINE_RECEIVER_JOURNAL_RESERVE_BYTES": str(1 << 60)}) as command:
        said = command.line("not ready yet: the receiver: ")

    assert f"bytes free, {1 << 60} are kept in reserve" in said


def test_the_documented_example_is_fine_but_for_what_is_not_there():
    """examples/acme.yaml is what a tenant copies; it names a CA and a grant that come from the platform."""
    example = Path(__file__).parent.parent.parent / "examples" / "acme.yaml"
    done = hookline("check", "-f", example, "--json")
    problems = [each for each in map(json.loads, done.stdout.splitlines()) if "severity" in each]
    assert done.returncode == 0
    assert {(each["severity"], each["reason"]) for each in problems} == {
        ("warning", "CANotFound"),
        ("warning", "RefNotPermitted"),
    }
