"""What lies around `hookline dev`: full disks, files of the user's own, folders that can't be written."""

import asyncio
import os
import subprocess
import sys

import pytest

from hookline_cli.dev.folder import DataFolder
from hookline_cli.dev.programs import Listen, forwarder, receiver
from hookline_cli.dev.supervising import Program, Supervisor
from hookline_cli.dev.telling import Teller
from hookline_cli.failure import UNAVAILABLE, Failure
from support.cli import HOOKLINE
from support.manifests import a_secret, a_subscription, as_yaml
from support.waiting import until, until_sync

MUCH = 8 << 20
"""Bytes: more than the pipe and everything in front of it hold."""


async def test_a_log_that_cannot_be_written_does_not_stop_the_program_that_writes_it(tmp_path):
    """On a full disk the receiver must go on answering 503: a pipe that nobody reads would make it hang for ever."""
    (tmp_path / "receiver.log").symlink_to("/dev/full")
    said = []
    teller = Teller(tmp_path, said.append, verbose=False)
    done = tmp_path / "done"
    source = (
        f"import pathlib\nfor _ in range({MUCH} // 100): print('x' * 99)\npathlib.Path({str(done)!r}).touch()\ninput()"
    )
    program = Program("receiver", [sys.executable, "-c", source], dict(os.environ), 1.0)
    supervisor = Supervisor(program, said.append, teller.line)
    running = asyncio.create_task(supervisor.run())

    await until(done.exists, within=30, what="the program to have said everything")
    async with asyncio.timeout(30):
        await supervisor.stop()
        await running
    teller.close()

    assert sum("receiver.log" in line for line in said) == 1


def test_a_log_goes_on_when_there_is_space_again(tmp_path):
    """What was lost is lost; the next line is not."""
    file = tmp_path / "receiver.log"
    file.symlink_to("/dev/full")
    said = []
    teller = Teller(tmp_path, said.append, verbose=False)
    teller.line("receiver", b"lost")
    file.unlink()

    teller.line("receiver", b"kept")
    teller.close()

    assert file.read_bytes() == b"kept\n"
    assert [line for line in said if not line.startswith("receiver: ")] == [
        f"{file} can't be written, what the receiver says is lost meanwhile: No space left on device",
        f"{file} can be written again",
    ]


def test_a_standard_output_that_is_full_does_not_end_the_gateway(tmp_path):
    """`hookline dev > FILE` on the disk that is full: what serves goes on, unheard."""
    manifest = tmp_path / "acme.yaml"
    manifest.write_text(as_yaml(a_secret(), a_subscription()))
    arguments = ["dev", "-f", manifest, "--data", tmp_path / "data", "--listen", "127.0.0.1:0"]
    with open("/dev/full", "wb") as full:
        command = subprocess.Popen([*HOOKLINE, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE)
    try:
        socket = tmp_path / "data" / "run" / "admin.sock"
        until_sync(lambda: socket.exists() or command.poll() is not None, within=60, what="the forwarder to answer")
        assert command.poll() is None, command.stderr.read()
    finally:
        command.terminate()
        command.communicate(timeout=60)


@pytest.mark.parametrize("which", [receiver, forwarder])
def test_modules_of_the_users_own_folder_are_not_taken_for_the_librarys(tmp_path, which):
    """Who calls a handler `queue.py` and runs `hookline dev` beside it gets the gateway, and not that file."""
    for name in ("queue", "secrets", "email"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user')")
    listen = Listen("127.0.0.1", 0, "127.0.0.1", 0, 0)
    addition = (listen,) if which is forwarder else (listen, 1)
    surroundings = {**os.environ, "HOOKLINE_RECEIVER_X": "1", "HOOKLINE_FORWARDER_X": "1"}
    program = which(DataFolder(tmp_path / "data"), *addition, surroundings)

    ended = subprocess.run(
        program.arguments,
        env=program.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # It got as far as its settings, of which one does not exist.
    assert "_X is not a setting" in ended.stderr
    assert "a file of the user" not in ended.stderr


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path):
    """A data folder on a disk that went read-only is no fault of ours, and says which file it is."""
    (tmp_path / "lock").mkdir()

    with pytest.raises(Failure, match="lock: Is a directory") as failure:
        DataFolder(tmp_path).lock()

    assert failure.value.exit_code == UNAVAILABLE
