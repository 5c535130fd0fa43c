"""`hookline simulate`: play CometChat against an endpoint, and say how it did."""

import asyncio
import json
import random
import ssl
import sys
from pathlib import Path
from typing import Any

import click

from hookline_cli.failure import FAILED, UNAVAILABLE, Failure
from hookline_cli.output import print_json, print_table, printable
from hookline_cli.simulate.client import parse_url
from hookline_cli.simulate.day import Script, UnknownTrigger, moments, seconds_after
from hookline_cli.simulate.payloads import DOCUMENTED, BadSample, read_samples
from hookline_cli.simulate.plan import Mix, Played, Shot, make_plan
from hookline_cli.simulate.report import Report, Sent, record_of
from hookline_cli.simulate.sender import Endpoint, Failed, Manner, Simulator
from hookline_cli.simulate.world import Size

COUNT = click.IntRange(min=0)


def _url(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        parse_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@click.command("simulate")
@click.option(
    "--to",
    "url",
    required=True,
    callback=_url,
    metavar="URL",
    help="Where to POST, as in http://127.0.0.1:8080/acme/chat.",
)
@click.option(
    "--user",
    metavar="NAME:PASSWORD",
    envvar="HOOKLINE_SIMULATE_USER",
    help="Basic Auth. HOOKLINE_SIMULATE_USER does the same and stays out of the list of processes.",
)
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file of authorities.")
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=DOCUMENTED,
    show_default="the documented payloads",
    help="Folder of payloads, one a .json file.",
)
@click.option("--app-id", help="appId of all payloads, where the subscription accepts certain apps only.")
@click.option("--count", type=COUNT, show_default="each payload once", help="Events to send.")
@click.option("--users", type=COUNT, help="Play a world of so many users instead of sending samples.  [100]")
@click.option("--groups", type=COUNT, help="... of so many groups.  [10]")
@click.option(
    "--conversations", type=COUNT, help="... of so many conversations, a few of which have most traffic.  [200]"
)
@click.option("--triggers", metavar="NAME,...", help="... of which only these triggers' events are sent.")
@click.option(
    "--day",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="... whose day takes so long, with its nights and rush hours.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write what was sent to a file, one JSON object a line, with the id that each event's payload bears.",
)
@click.option("--duplicates", type=COUNT, default=0, help="Of the events, so many are sent again once answered.")
@click.option("--unknown", type=COUNT, default=0, help="Events with triggers that nobody knows.")
@click.option("--bad-credentials", type=COUNT, default=0, help="Requests with wrong, malformed or no credentials.")
@click.option("--broken", type=COUNT, default=0, help="Bodies that are no events.")
@click.option("--oversize", type=COUNT, default=0, help="Bodies above the limit.")
@click.option("--oversize-bytes", type=click.IntRange(min=1), default=Mix().oversize_bytes, show_default=True)
@click.option("--disorder", type=COUNT, default=0, help="How many places each request may be late.")
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="Requests a second; 0: as fast as answered.")
@click.option("--burst", type=click.IntRange(min=1), default=1, show_default=True, help="So many leave at once.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=16, show_default=True)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=2.0, show_default=True, metavar="SECONDS"
)
@click.option(
    "--retry-on-failure/--no-retry-on-failure",
    default=True,
    show_default=True,
    help="Try at 0, 10 and 30 seconds, as a webhook with retries does, or once.",
)
@click.option(
    "--time-scale", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Of the waits between attempts."
)
@click.option("--seed", type=COUNT, show_default="by chance", help="The same seed sends the same bodies.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def command(
    url: str, user: str | None, ca: Path | None, samples: Path, seed: int | None, as_json: bool, **given: Any
) -> None:
    """
    Play CometChat against an endpoint.

    Sends documented payloads, each with ids of its own, and reports how the endpoint did against CometChat's rule:
    an answer within 2 seconds, or the event is tried again at 10 and 30 seconds and is then gone.

    With --users, --groups, --conversations, --triggers or --day it plays a world instead: messages with their receipts,
    reactions and edits, calls, meetings, groups, campaigns; every trigger at least once, then as people's days go, until
    --count. Each payload bears an id of its own in the member "simulation".

    Exits with 0 if nothing was lost and every refusal was the right one, with 1 if not, with 3 if nobody answered.
    """
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    mix = Mix(events=given["count"], app_id=given["app_id"], **{name: given[name] for name in _OF_MIX})
    manner = Manner(
        attempts_at=Manner().attempts_at if given["retry_on_failure"] else (0.0,),
        **{name: given[name] for name in _OF_MANNER},
    )
    name, _, password = (user or "").partition(":")
    endpoint = Endpoint(url, name, password, ssl.create_default_context(cafile=ca) if ca else None)
    try:
        plan = make_plan(read_samples(samples), mix, seed, _played(seed, given))
    except (BadSample, UnknownTrigger) as error:
        raise Failure(str(error)) from error
    report = asyncio.run(_send(endpoint, manner, plan, progress=not as_json))
    if given["record"]:
        _write_record(given["record"], report)
    _tell(report, seed, as_json)


_OF_A_WORLD = ("users", "groups", "conversations", "triggers", "day")


def _played(seed: int, given: dict[str, Any]) -> Played | None:
    """The events of a world, if one was asked for."""
    if all(given[name] is None for name in _OF_A_WORLD):
        return None
    size = Size(**{name: given[name] for name in _OF_A_WORLD[:3] if given[name] is not None})
    triggers = frozenset(filter(None, (given["triggers"] or "").split(",")))
    played = moments(Script(size, given["count"], triggers, given["app_id"] or "simulated"), seed)
    return Played(played, seconds_after(played, given["day"]) if given["day"] else ())


def _write_record(path: Path, report: Report) -> None:
    try:
        with path.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(record_of(sent)) + "\n" for sent in report.sent)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error


_OF_MIX = ("duplicates", "unknown", "bad_credentials", "broken", "oversize", "oversize_bytes", "disorder")
_OF_MANNER = ("rate", "burst", "concurrency", "timeout", "time_scale")


class Complaints:
    """A line on standard error for each failed attempt, *most* of them: the waits between attempts take a minute."""

    def __init__(self, most: int = 100) -> None:
        self._left = most

    def __call__(self, failed: Failed) -> None:
        """Say it."""
        self._left -= 1
        if self._left < 0:
            return
        shot, outcome = failed.shot, failed.attempt.outcome
        then = "no further attempt" if failed.again_in is None else f"again in {failed.again_in:.3g} s"
        more = "" if self._left else "; the report counts the failures that follow"
        click.echo(printable(f"{shot.kind} {shot.name}: wanted {shot.expected}, got {outcome}; {then}{more}"), err=True)


async def _send(endpoint: Endpoint, manner: Manner, plan: list[Shot], *, progress: bool) -> Report:
    if not (progress and sys.stderr.isatty()):
        return await Simulator(endpoint, manner, on_failed=Complaints()).send(plan)
    with click.progressbar(length=len(plan), label="sending", file=sys.stderr) as bar:

        def advance(sent: Sent) -> None:
            bar.update(1)

        return await Simulator(endpoint, manner, advance).send(plan)


def _tell(report: Report, seed: int, as_json: bool) -> None:
    told = {**report.as_object(), "seed": seed}
    if as_json:
        print_json(told)
    else:
        _tell_a_person(report, told)
    if report.sent and not report.times:
        raise Failure(f"nobody answered at {report.url}", UNAVAILABLE)
    if not report.well:
        sys.exit(FAILED)


def _tell_a_person(report: Report, told: dict[str, Any]) -> None:
    kinds = report.as_object()["kinds"]
    print_table(
        ("what", "sent", "as expected"), [(name, row["sent"], row["asExpected"]) for name, row in kinds.items()]
    )
    print_table(("outcome of an attempt", "times"), list(report.as_object()["outcomes"].items()))
    for sent in report.unexpected[:10]:
        outcomes = ", ".join(attempt.outcome for attempt in sent.attempts)
        click.echo(printable(f"{sent.shot.kind} {sent.shot.name}: wanted {sent.shot.expected}, got {outcomes}"))
    click.echo(
        f"accepted {told['accepted']} of {told['sent']}, lost {told['lost']}, "
        f"first attempts failed {told['firstAttemptsFailed']}, over {report.limit:g} s {told['overLimit']}"
    )
    click.echo(
        f"answered in p50 {told['p50Ms']} ms, p99 {told['p99Ms']} ms, max {told['maxMs']} ms; "
        f"{told['seconds']} s in all; --seed {told['seed']}"
    )
