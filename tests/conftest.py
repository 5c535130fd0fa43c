"""The layers that the tests stand in, what each needs of the machine, and the table at the end of a run that says which ran."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from support.kubernetes import network
from tools.kubernetes import why_not

TESTS = Path(__file__).parent

pytest_plugins = ("support.kubernetes.fixtures",)


@dataclass(frozen=True)
class Need:
    """Something that a test needs of the machine."""

    marker: str
    what: str
    there: Callable[[], bool]


NEEDS = (
    Need(
        "needs_root",
        "root on Linux, to mount small file systems",
        lambda: os.geteuid() == 0 and sys.platform == "linux",
    ),
    Need("needs_go", "Go (1.24 or later)", lambda: shutil.which("go") is not None),
    Need("needs_node", "Node (20 or later) and npm", lambda: all(map(shutil.which, ("node", "npm")))),
    Need("needs_cc", "a C compiler on Linux", lambda: shutil.which("cc") is not None and sys.platform == "linux"),
    Need(
        "needs_kubernetes",
        "etcd, kube-apiserver and kubectl, in KUBEBUILDER_ASSETS or built by Go (1.26 or later)",
        lambda: not os.environ.get("HOOKLINE_WITHOUT_KUBERNETES") and not why_not(),
    ),
    Need(
        "needs_controller_manager",
        "kube-controller-manager, built by Go (1.26 or later)",
        lambda: not os.environ.get("HOOKLINE_WITHOUT_KUBERNETES") and not why_not(("kube-controller-manager",)),
    ),
    Need(
        "needs_network_namespace",
        "network namespaces: root on Linux, or user namespaces",
        lambda: network.how() is not None,
    ),
)

LAYERS = (
    ("routes", "manifests to routes"),
    ("receiver/cometchat", "envelope and identity"),
    ("receiver/journal", "journal"),
    ("receiver/store", "event store"),
    ("receiver/edge", "HTTP edge"),
    ("receiver/powerloss", "power loss"),
    ("receiver/carrier", "carrier"),
    ("receiver/forwarder", "forwarder"),
    ("receiver/order", "order"),
    ("receiver", "receiver"),
    ("operator/testbed", "cluster test bed"),
    ("operator/loop", "the loop in a cluster"),
    ("operator", "operator"),
    ("kit", "handler kit"),
    ("cli", "command"),
    ("charts", "chart"),
    ("tools", "project"),
    ("examples", "examples"),
    ("e2e", "end to end"),
)


@dataclass
class Row:
    """What happened in a layer."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter)


ROWS = pytest.StashKey[dict[str, Row]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known; a machine with other work must not fail a test of properties for being slow."""
    settings.register_profile("hookline", deadline=None)
    settings.load_profile("hookline")
    for need in NEEDS:
        config.addinivalue_line("markers", f"{need.marker}: needs {need.what}")
    config.stash[ROWS] = {name: Row() for _, name in LAYERS}


def layer_of(path: Path) -> str:
    """The layer that the test file *path* stands in."""
    inside = path.relative_to(TESTS).as_posix()
    return next((name for folder, name in LAYERS if inside.startswith(f"{folder}/")), "project")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, visibly, what this machine can't carry."""
    missing = [need for need in NEEDS if not need.there()]
    kept, left_out = [], []
    for item in items:
        need = next((need for need in missing if item.get_closest_marker(need.marker)), None)
        (left_out if need else kept).append(item)
        if need:
            config.stash[ROWS][layer_of(item.path)].left_out[need.what] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Count each test in its layer."""
    report = (yield).get_result()
    row = item.config.stash[ROWS][layer_of(item.path)]
    row.seconds += report.duration
    if report.when == "call" or report.outcome != "passed":
        row.outcomes[report.outcome] += 1


def incomplete(config: pytest.Config) -> list[str]:
    """Why this run does not count as whole, where it must be."""
    if os.environ.get("HOOKLINE_ALL_LAYERS") != "1":
        return []
    rows = config.stash[ROWS]
    unrun = [f"{name}: {count} tests need {what}" for name, row in rows.items() for what, count in row.left_out.items()]
    skipped = [f"{name}: {row.outcomes['skipped']} skipped" for name, row in rows.items() if row.outcomes["skipped"]]
    empty = [
        f"{name}: no test ran" for folder, name in LAYERS if has_tests(folder) and not rows[name].outcomes["passed"]
    ]
    return [*unrun, *skipped, *empty]


def has_tests(folder: str) -> bool:
    """Whether the layer's folder holds any."""
    return any((TESTS / folder).rglob("test_*.py"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A whole run that is not whole has failed."""
    if exitstatus == pytest.ExitCode.OK and incomplete(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of layers run and not run."""
    terminalreporter.section("layers")
    terminalreporter.line(f"{'layer':<24}{'passed':>8}{'failed':>8}{'not run':>9}{'seconds':>10}")
    terminalreporter.line(f"{'check':<24}{os.environ.get('HOOKLINE_CHECK', 'not run'):>8}")
    for folder, name in LAYERS:
        row = config.stash[ROWS][name]
        if not has_tests(folder):
            continue
        failed = row.outcomes["failed"]
        terminalreporter.line(
            f"{name:<24}{row.outcomes['passed']:>8}{failed:>8}{row.left_out.total():>9}{row.seconds:>10.1f}"
        )
        for what, count in row.left_out.items():
            terminalreporter.line(f"{'':<24}{count} not run: no {what}")
    for why in incomplete(config):
        terminalreporter.line(f"not whole: {why}", red=True)
