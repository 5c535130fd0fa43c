"""`hookline check`: what the operator would say of manifests, without a cluster."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_cli.elsewhere import as_far_as_is_known
from hookline_cli.failure import FAILED
from hookline_cli.manifest_files import paths_option, read_sources
from hookline_cli.output import print_json, print_table, printable
from hookline_routes.compile import compile
from hookline_routes.credentials import needed_verifiers
from hookline_routes.inputs import GeneratedCredential, Inputs, ObjectReport, VerifierKey, inputs_for_check
from hookline_routes.manifest import read_manifests
from hookline_routes.problem import Condition, Problem
from hookline_routes.verifier import TAG_KEY_BYTES


@click.command()
@paths_option
@click.option(
    "--self-contained",
    is_flag=True,
    help="The files hold everything that there will be: what they refer to and do not hold is an error.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: objects, then problems.")
def command(paths: tuple[Path, ...], self_contained: bool, as_json: bool) -> None:
    """
    Compile manifests and say what is wrong with them.

    Prints each object with its conditions, then each problem with its file, line and field. Exit status 1 if there is
    an error; warnings alone are 0. Secrets, certificates and grants that the files refer to and do not hold are
    warnings, since the cluster may have them. No password is hashed, and nothing is written.
    """
    sources = read_sources(paths)
    manifests = read_manifests(sources.texts)
    compiled = compile(_with_credentials(inputs_for_check(manifests, bytes(TAG_KEY_BYTES))))
    found = as_far_as_is_known(compiled.problems, manifests, self_contained=self_contained)
    problems = distinct([*sources.problems, *manifests.problems, *found])
    if as_json:
        for report in compiled.reports:
            print_json(report_object(report))
        for problem in problems:
            print_json(problem_object(problem))
    else:
        print_reports(compiled.reports)
        print_problems(problems)
    if any(problem.is_error for problem in problems):
        raise SystemExit(FAILED)


def _with_credentials(inputs: Inputs) -> Inputs:
    """
    As if the operator had generated what is to be generated, and made every verifier.

    Real verifiers are slow to make, and nothing of what is asked here depends on them: nothing is published.
    """
    generated = GeneratedCredential("generated", "", "", VerifierKey("generated", ""))
    without = [each.metadata.key for each in inputs.subscriptions if not each.secret_refs]
    inputs = replace(inputs, generated=dict.fromkeys(without, (generated,)))
    needed = needed_verifiers(inputs)
    return replace(inputs, verifiers={each.key: routing.Verifier(credential=each.credential) for each in needed})


def distinct(problems: Sequence[Problem]) -> list[Problem]:
    """Each once, errors first, in the order of files and lines."""
    return sorted(dict.fromkeys(problems), key=lambda each: (not each.is_error, _position(each)))


def _position(problem: Problem) -> tuple[str, int]:
    return (problem.place.file, problem.place.line) if problem.place else ("", 0)


def print_reports(reports: Sequence[ObjectReport]) -> None:
    """A table of objects with what is true of them."""
    if reports:
        rows = [[report.kind, str(report.key), *_columns(report.conditions)] for report in reports]
        print_table(("KIND", "NAME", "ACCEPTED", "RESOLVED REFS"), rows)


def print_problems(problems: Sequence[Problem]) -> None:
    """One line each on standard error, as compilers do."""
    for problem in problems:
        click.echo(f"{problem.severity}: {printable(str(problem))}", err=True)


def _columns(conditions: Sequence[Condition]) -> list[str]:
    said = {each.type: "yes" if each.status else f"no: {each.reason}" for each in conditions}
    return [said.get("Accepted", ""), said.get("ResolvedRefs", "")]


def report_object(report: ObjectReport) -> dict[str, object]:
    """What `--json` says of an object."""
    return {
        "kind": report.kind,
        "namespace": report.key.namespace,
        "name": report.key.name,
        "conditions": [
            {"type": each.type, "status": each.status, "reason": each.reason, "message": each.message}
            for each in report.conditions
        ],
    }


def problem_object(problem: Problem) -> dict[str, object]:
    """What `--json` says of a problem."""
    return {
        "severity": problem.severity,
        "reason": problem.reason,
        "message": problem.message,
        "subject": problem.subject,
        "field": problem.field,
        "file": problem.place.file if problem.place else "",
        "line": problem.place.line if problem.place else 0,
    }
