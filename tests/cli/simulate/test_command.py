"""`hookline simulate` as a user runs it."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from support.cli import hookline
from support.endpoint import Request, a_scripted_endpoint, answer


async def simulate(url: str, *args: str | Path, **environment: str) -> tuple[int, str, str]:
    """Exit status, output and complaints."""
    result = await asyncio.to_thread(hookline, "simulate", "--to", url, *args, **environment)
    return result.returncode, result.stdout, result.stderr


def guarded(request: Request) -> bytes:
    """A well endpoint in few lines: authenticates, limits, parses."""
    if request.user != "hooks:secret":
        return answer(401)
    if len(request.body) > 100_000:
        return answer(413)
    try:
        payload = json.loads(request.body)
    except ValueError:
        return answer(400)
    good = isinstance(payload, dict) and isinstance(payload.get("trigger"), str)
    return answer(200 if good else 400)


ALL = ("--duplicates", "5", "--unknown", "3", "--bad-credentials", "4", "--broken", "6", "--oversize", "1")


async def test_a_well_endpoint_is_told_so() -> None:
    """Everything that can be played, in one run."""
    async with a_scripted_endpoint(guarded) as endpoint:
        status, out, _ = await simulate(
            endpoint.url, *ALL, "--oversize-bytes", "100001", "--disorder", "5", "--seed", "7", "--json",
            HOOKLINE_SIMULATE_USER="hooks:secret",
        )  # fmt: skip
    report = json.loads(out)

    assert status == 0
    assert [report[field] for field in ("well", "lost", "unexpected", "seed", "limitMs")] == [True, 0, 0, 7, 2000]
    assert report["kinds"]["event"] == {"sent": 57, "asExpected": 57}
    assert report["outcomes"] == {"200": 65, "400": 6, "401": 4, "413": 1}
    assert 0 < report["p50Ms"] <= report["p99Ms"] <= report["maxMs"]


async def test_a_person_is_told_what_was_lost_and_how_to_play_it_again() -> None:
    """In words, with the seed."""
    async with a_scripted_endpoint(lambda request: answer(503)) as endpoint:
        status, out, _ = await simulate(endpoint.url, "--count", "2", "--time-scale", "0", "--seed", "7")

    assert status == 1
    assert "lost 2" in out
    assert "wanted 200, got 503, 503, 503" in out
    assert "--seed 7" in out


async def test_each_failed_attempt_is_said_as_it_fails(tmp_path: Path) -> None:
    """The waits take half a minute, and whoever pipes the report into a file sees nothing else."""
    (tmp_path / "mine.json").write_text('{"trigger":"message_sent","data":{}}')
    async with a_scripted_endpoint(lambda request: answer(503)) as endpoint:
        _, _, complaints = await simulate(endpoint.url, "--samples", tmp_path, "--time-scale", "0.001", "--json")

    failed, again = [line.split("; ") for line in complaints.splitlines()], r"again in 0\.0\d+ s"
    assert [what for what, _ in failed] == ["event mine: wanted 200, got 503"] * 3
    assert all(re.fullmatch(again, then) for _, then in failed[:2])
    assert failed[2][1] == "no further attempt"


async def test_failures_without_end_do_not_fill_the_terminal() -> None:
    """The report counts them all."""
    async with a_scripted_endpoint(lambda request: answer(503)) as endpoint:
        _, out, complaints = await simulate(endpoint.url, "--count", "150", "--no-retry-on-failure", "--json")

    lines = complaints.splitlines()
    assert len(lines) == 100
    assert lines[-1].endswith("; no further attempt; the report counts the failures that follow")
    assert json.loads(out)["lost"] == 150


async def test_an_endpoint_where_nobody_answers_is_unavailable() -> None:
    """Another exit code than for a bad endpoint."""
    async with a_scripted_endpoint(guarded) as endpoint:
        pass
    status, _, complaint = await simulate(endpoint.url, "--count", "1", "--no-retry-on-failure")

    assert status == 3
    assert "nobody answered" in complaint


async def test_payloads_of_ones_own_can_be_sent(tmp_path: Path) -> None:
    """`--samples DIR`."""
    (tmp_path / "mine.json").write_text('{"trigger":"message_sent","data":{"mine":true}}')
    async with a_scripted_endpoint(guarded) as endpoint:
        status, _, _ = await simulate(endpoint.url, "--samples", tmp_path, "--app-id", "app", "--user", "hooks:secret")

    assert status == 0
    assert [json.loads(body) for body in endpoint.bodies()] == [
        {"trigger": "message_sent", "data": {"mine": True}, "appId": "app"}
    ]


@pytest.mark.parametrize("url", ["localhost", "http://user:pass@127.0.0.1:1/"])
async def test_a_wrong_url_is_a_wrong_command_line(url: str) -> None:
    """With click's own exit code, before anything is sent."""
    status, _, complaint = await simulate(url)

    assert status == 2
    assert "--to" in complaint
