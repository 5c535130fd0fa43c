"""What the receiver does while the world around it changes: routes, disks, workers, floods."""

import asyncio
import base64
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.receiver import (
    EVENT,
    Credential,
    Receiver,
    a_receiver,
    a_snapshot,
    an_endpoint,
    basic,
)
from support.waiting import until_sync


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of *size*."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remounted(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


@pytest.mark.needs_root
def test_a_full_disk_is_503_and_space_brings_200_back(tmp_path: Path) -> None:
    """No 200 for what is not durable; what was acknowledged stays readable; nobody has to restart anything."""
    body = b'{"trigger":"x","t":"%s"}' % (b"y" * 60_000)
    with (
        small_disk(tmp_path / "disk", "32m") as disk,
        a_receiver(tmp_path / "data", JOURNAL_DIR=str(disk / "journal"), JOURNAL_RESERVE_BYTES="70000") as receiver,
    ):
        accepted = 0
        while (answer := receiver.post(body=body)).status == 200:
            accepted += 1
        smaller = [receiver.post().status for _ in range(700)]  # may still fit, at 100 bytes each
        assert smaller[-1] == 503
        assert (answer.status, answer.reason) == (503, "JournalUnavailable")
        assert "retry-after" in answer.headers
        assert accepted > 100
        until_sync(lambda: receiver.ops("/readyz").status == 503)
        assert b"bytes free" in receiver.ops("/readyz").body
        assert "bytes free" in receiver.log_lines("request refused")[0]["cause"]

        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        until_sync(lambda: receiver.ops("/readyz").status == 200, what="ready again")
        assert receiver.post(body=body).status == 200
        stored = [event.body for event in receiver.events(disk / "journal")]
        assert [each for each in stored if each != EVENT] == [body] * (accepted + 1)


@pytest.mark.needs_root
def test_a_read_only_disk_is_a_refused_start(tmp_path: Path) -> None:
    """With the reason; and not a receiver that answers 503 to everything for ever."""
    with (
        small_disk(tmp_path / "disk", "64m") as disk,
        a_receiver(tmp_path / "data", start=False, JOURNAL_DIR=str(disk / "journal")) as receiver,
    ):
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        with pytest.raises(AssertionError):
            receiver.start()

        assert receiver.process is not None
        assert receiver.process.wait(20) != 0
        assert "Read-only file system" in receiver.log()


def test_swapping_routes_under_load_loses_and_refuses_nothing(tmp_path: Path) -> None:
    """A change for one tenant is no event for the others."""
    versions = 12
    with a_receiver(tmp_path, workers=2) as receiver:
        statuses: list[int] = []
        stop = threading.Event()

        def load() -> None:
            connection = receiver.connect()
            while not stop.is_set():
                headers = {"Authorization": basic()}
                statuses.append(receiver.request("POST", "/acme/chat", EVENT, headers, connection).status)
            connection.close()

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n in range(2, versions):
            others = [an_endpoint(f"/other/s{m}") for m in range(n)]
            receiver.publish(an_endpoint(), *others, version=str(n))
        stop.set()
        for thread in threads:
            thread.join()

        assert set(statuses) == {200}
        assert len(statuses) > 100
        assert len(receiver.events()) == len(statuses)


def test_a_revoked_credential_stops_with_the_swap(tmp_path: Path) -> None:
    """Also for who was verified before, on a connection that is kept alive."""
    old, new = Credential(generated=False), Credential(username="new")
    with a_receiver(tmp_path, an_endpoint("/acme/chat", old, new), workers=2) as receiver:
        connections = [receiver.connect() for _ in range(8)]

        def statuses(username: str) -> set[int]:
            headers = {"Authorization": basic(username)}
            return {receiver.request("POST", "/acme/chat", EVENT, headers, c).status for c in connections}

        until_sync(lambda: statuses("acmehooks") == {200})
        receiver.publish(an_endpoint("/acme/chat", new), version="2")

        assert statuses("acmehooks") == {401}
        for connection in connections:
            connection.close()
        connections = [receiver.connect() for _ in range(8)]
        assert statuses("new") == {200}
        for connection in connections:
            connection.close()


def test_a_broken_snapshot_leaves_the_last_good_one(tmp_path: Path) -> None:
    """And says so: an error in the log, a metric, the version that is served."""
    with a_receiver(tmp_path) as receiver:
        receiver.write_snapshot(b"\xff\xff\xff")
        until_sync(lambda: receiver.metric("hookline_receiver_routes_stale") == 1)

        assert receiver.post().status == 200
        assert receiver.metric("hookline_receiver_routes_served", version="1") == 1
        assert receiver.ops("/readyz").status == 200
        assert len(receiver.log_lines("routes can't be loaded, the last good ones stay in force")) == 1

        receiver.publish(an_endpoint(), version="3")
        assert receiver.metric("hookline_receiver_routes_stale") == 0


def test_without_routes_it_is_not_ready_and_says_503(tmp_path: Path) -> None:
    """401 would tell every tenant that its password is wrong."""
    with a_receiver(tmp_path, start=False) as receiver:
        (tmp_path / "routes" / "receiver.binpb").unlink()
        receiver.start(ready=False)
        until_sync(lambda: ops_status(receiver) == 503)

        answer = receiver.post()
        assert (answer.status, answer.reason) == (503, "NoRoutes")
        assert b"no routes" in receiver.ops("/readyz").body

        receiver.write_snapshot(a_snapshot(an_endpoint()).SerializeToString())
        until_sync(lambda: ops_status(receiver) == 200)
        assert receiver.post().status == 200


def ops_status(receiver: Receiver) -> int:
    try:
        return receiver.ops("/readyz").status
    except OSError:
        return 0


def test_a_killed_worker_loses_no_count_and_no_event(tmp_path: Path) -> None:
    """Its successor goes on counting where it was; its journal stays to be read."""
    with a_receiver(tmp_path, workers=2) as receiver:
        accepted = 0
        for _ in range(3):
            for _ in range(20):
                accepted += receiver.post().status == 200
            before = set(receiver.worker_pids())
            victim = random.choice(sorted(before))
            os.kill(victim, signal.SIGKILL)
            until_sync(lambda gone=victim: receiver.ready() and gone not in receiver.worker_pids(), what="replaced")  # type: ignore[misc]

        assert receiver.metric("hookline_receiver_accepted_events_total") == accepted == 60
        assert len(receiver.events()) == 60
        assert receiver.metric("hookline_receiver_workers") == 2


def test_after_the_kill_of_everything_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    """And the next start goes on."""
    with a_receiver(tmp_path, workers=2) as receiver:
        bodies = [json.dumps({"trigger": "x", "n": n}).encode() for n in range(50)]
        for body in bodies:
            assert receiver.post(body=body).status == 200
        receiver.kill()

        assert sorted(event.body for event in receiver.events()) == sorted(bodies)
        receiver.start()
        assert receiver.post().status == 200
        assert receiver.metric("hookline_receiver_accepted_events_total") == 51


def test_stopping_is_said_before_it_is_done(tmp_path: Path) -> None:
    """Readiness goes first, so that nobody is sent here any more; what still comes is accepted."""
    with a_receiver(tmp_path, workers=2, DRAIN_SECONDS="2") as receiver:
        assert receiver.process is not None
        receiver.process.send_signal(signal.SIGTERM)

        until_sync(lambda: receiver.ops("/readyz").status == 503)
        assert b"told to stop" in receiver.ops("/readyz").body
        assert receiver.post().status == 200
        assert receiver.process.wait(20) == 0
        assert len(receiver.events()) == 1


async def test_a_flood_of_wrong_passwords_keeps_no_right_one_waiting(tmp_path: Path) -> None:
    """Same address, same user, hundreds a second; a right password, seen for the first time, within a second."""
    chosen = [Credential(username=f"user{n}", generated=False) for n in range(4)]
    with a_receiver(tmp_path, an_endpoint("/acme/chat", *chosen), workers=1) as receiver:
        stop = asyncio.Event()
        answered = [0]
        flood = [asyncio.create_task(flooding(receiver, n, stop, answered)) for n in range(24)]
        began = time.monotonic()
        while answered[0] < 500:
            await asyncio.sleep(0.02)
            assert time.monotonic() < began + 20

        waits = []
        for n in range(4):
            first = time.monotonic()
            answer = await asyncio.to_thread(receiver.post, auth=basic(f"user{n}"))
            waits.append(time.monotonic() - first)
            assert answer.status == 200
        rate = answered[0] / (time.monotonic() - began)
        stop.set()
        await asyncio.gather(*flood)

        print(f"{rate:.0f} wrong passwords/s; right ones, first seen, after {[f'{w * 1000:.0f} ms' for w in waits]}")
        assert rate > 100
        assert max(waits) < 1
        assert receiver.metric("hookline_receiver_auth_seconds_count", way="slow") == 4


PACE = 0.03
"""Seconds between one connection's requests: 24 of them send up to 800 a second, and leave this process time to measure."""


async def flooding(receiver: Receiver, number: int, stop: asyncio.Event, answered: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    count = 0
    while not stop.is_set():
        count += 1
        shown = base64.b64encode(f"user0:wrong-{number}-{count}".encode()).decode()
        head = f"POST /acme/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {shown}\r\nContent-Length: {len(EVENT)}\r\n\r\n"
        writer.write(head.encode() + EVENT)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 "), answer
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        answered[0] += 1
        await asyncio.sleep(PACE)
    writer.close()


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    """In one line, with status 1, before anything is opened."""
    with a_receiver(tmp_path, start=False, APPEND_TIMEOUTS="1") as receiver:
        with pytest.raises(AssertionError, match="ended"):
            receiver.start()

        assert "HOOKLINE_RECEIVER_APPEND_TIMEOUTS is not a setting of the receiver" in receiver.log()
        assert "Traceback" not in receiver.log()
