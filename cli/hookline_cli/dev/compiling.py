"""From manifests to routes: what is to be served, or why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hookline_cli.check import distinct
from hookline_cli.dev.keyring import Keyring
from hookline_cli.manifest_files import read_sources
from hookline_routes.compile import compile
from hookline_routes.credentials import needed_verifiers
from hookline_routes.inputs import Inputs, Tables, inputs_for_dev
from hookline_routes.manifest import read_manifests
from hookline_routes.problem import Problem
from hookline_routes.resource import Secret, WebhookSubscription


@dataclass(frozen=True, slots=True)
class Compilation:
    """What some manifests come to."""

    tables: Tables
    subscriptions: tuple[WebhookSubscription, ...]
    secrets: tuple[Secret, ...]
    problems: tuple[Problem, ...]
    """Errors first."""

    @property
    def refused(self) -> bool:
        """Whether there is an error anywhere: then nothing of it is served, and what was served before stays."""
        return any(problem.is_error for problem in self.problems)


def compile_paths(paths: Sequence[Path], keyring: Keyring) -> Compilation:
    """The manifests as they are now, compiled; takes 20 ms for each chosen password that is new."""
    sources = read_sources(paths)
    manifests = read_manifests(sources.texts)
    inputs = _with_credentials(inputs_for_dev(manifests, keyring.tag_key), keyring)
    compiled = compile(inputs)
    return Compilation(
        tables=compiled.sole,
        subscriptions=inputs.subscriptions,
        secrets=inputs.secrets,
        problems=tuple(distinct([*sources.problems, *manifests.problems, *compiled.problems])),
    )


def _with_credentials(inputs: Inputs, keyring: Keyring) -> Inputs:
    without = [each.metadata.key for each in inputs.subscriptions if not each.secret_refs]
    inputs = replace(inputs, generated={key: (keyring.generated(key),) for key in without})
    return replace(inputs, verifiers=keyring.verifiers(needed_verifiers(inputs)))
