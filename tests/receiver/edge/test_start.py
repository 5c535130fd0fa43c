"""Starting: what is wrong is said and ends the process; what a container does not have is not needed."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edge import PATIENCE, a_post, an_edge, children, read_one, start_process, state_of, until


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name: 107 bytes in all."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_an_application_that_can_not_start_ends_everything_with_its_reason(tmp_path: Path) -> None:
    """Not an endless loop of workers that come and go."""
    folder = tmp_path / "edge"
    folder.mkdir()
    (folder / "broken").write_text("the journal's folder is read-only")
    process = start_process(folder, {"bind": "127.0.0.1:0", "workers": 2})

    assert process.wait(PATIENCE) == 3
    log = (folder / "log").read_text()
    assert "the application can't start: the journal's folder is read-only" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(("told", "status"), [(None, 3), (signal.SIGTERM, 0)], ids=["alone", "while it ends"])
def test_workers_that_can_not_start_at_the_same_moment_end_in_order(
    tmp_path: Path, told: signal.Signals | None, status: int
) -> None:
    """The master meets the second one while it already ends because of the first, or because it was told to."""
    folder = tmp_path / "edge"
    folder.mkdir()
    (folder / "broken").write_text("the journal's folder is read-only")
    (folder / "held").touch()
    process = start_process(folder, {"bind": "127.0.0.1:0", "workers": 2})
    workers = until(lambda: len(found := children(process.pid)) == 2 and found, "both workers")
    process.send_signal(signal.SIGSTOP)
    until(lambda: state_of(process.pid) == "T", "the master's standstill")
    (folder / "held").unlink()
    until(lambda: [state_of(worker) for worker in workers] == ["Z", "Z"], "the end of both")
    if told:
        process.send_signal(told)
    process.send_signal(signal.SIGCONT)

    assert process.wait(PATIENCE) == status
    assert "Traceback" not in (folder / "log").read_text()


def test_a_worker_that_can_not_come_back_does_not_take_the_others_along(tmp_path: Path) -> None:
    """A full disk hinders a new worker; those that run may still have room, and at least say 503."""
    with an_edge(tmp_path / "edge", workers=2) as edge:
        (edge.folder / "broken").write_text("no space left on device")
        victim, survivor = edge.workers()
        os.kill(victim, 9)
        until(lambda: edge.log.count("can't start: no space left on device") >= 2, "two attempts")

        assert edge.get("/echo").status == 200
        assert survivor in edge.workers()
        (edge.folder / "broken").unlink()
        until(lambda: len(edge.noted("startup")) == 3, "the worker's return")


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    """The message names the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        folder = tmp_path / "edge"
        folder.mkdir()
        process = start_process(folder, {"bind": f"127.0.0.1:{port}"})

        assert process.wait(PATIENCE) == 1
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in (folder / "log").read_text()


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_it_listens_where_it_is_told(tmp_path: Path, bind: str) -> None:
    """IPv4, IPv6, a name."""
    with an_edge(tmp_path / "edge", bind=bind) as edge:
        assert edge.get("/echo").json["client"] in ("127.0.0.1", "::1")


def test_it_serves_a_unix_socket_and_takes_it_away_at_the_end(tmp_path: Path, short_path: Path) -> None:
    """Behind a proxy on the same machine; a socket left by a killed receiver is no obstacle."""
    path = short_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with an_edge(tmp_path / "edge", bind=f"unix:{path}", trusted_proxies=["unix"], idle_grace=0.1) as edge:
        assert edge.get("/echo").json["client"] is None
        assert edge.get("/echo", X_Forwarded_For="1.2.3.4").json["client"] == "1.2.3.4"
        with edge.connect() as connection:
            connection.sendall(a_post("/echo", b"hello"))
            assert read_one(connection).json["body"] == "hello"
        edge.process.terminate()
        assert edge.wait() == 0
    assert not path.exists()


def test_a_file_where_the_socket_should_be_is_left_alone(tmp_path: Path, short_path: Path) -> None:
    """It may be precious."""
    path = short_path / "http.sock"
    path.write_text("precious")
    folder = tmp_path / "edge"
    folder.mkdir()
    process = start_process(folder, {"bind": f"unix:{path}"})

    assert process.wait(PATIENCE) == 1
    assert path.read_text() == "precious"


def test_it_needs_no_home(tmp_path: Path) -> None:
    """A container's user often has none, or one it may not write to; gunicorn would put its control socket there."""
    with an_edge(tmp_path / "edge", environment={"HOME": "/nonexistent", "XDG_RUNTIME_DIR": ""}) as edge:
        assert edge.get("/echo").status == 200
        assert "control" not in edge.log.lower()


@pytest.mark.needs_root
def test_it_gets_along_with_a_read_only_root_and_another_user(short_path: Path) -> None:
    """Pods run so: nothing is writable but the mounts that are given."""
    folder = short_path
    folder.chmod(0o777)
    inside = (
        "mount -o bind FOLDER FOLDER && mount -t tmpfs none /dev/shm && mount -o remount,ro,bind / && "
        "{ touch /readonly 2>/dev/null && exit 77 || true; } && exec setpriv --reuid 65534 --regid 65534 --clear-groups "
    ).replace("FOLDER", str(folder))
    prefix = ("unshare", "-m", "sh", "-c", inside + '"$@"', "sh")
    process = start_process(folder, {"bind": "127.0.0.1:0", "workers": 2}, {"HOME": "/nonexistent"}, prefix)
    try:
        until(lambda: (folder / "record").exists() or process.poll() is not None, "the start")
        assert process.poll() is None, (folder / "log").read_text()
        until(lambda: (folder / "record").read_text().count('"startup"') == 2, "both workers")
        port = int((folder / "log").read_text().split("Listening at: http://127.0.0.1:")[1].split(" ")[0])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(a_post("/echo", b"hello"))
            assert read_one(connection).json["body"] == "hello"
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Uid:\t65534" in status
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    """Heartbeats are files without a name."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with an_edge(tmp_path / "edge", environment={"TMPDIR": str(temporary)}):
        assert list(temporary.iterdir()) == []
