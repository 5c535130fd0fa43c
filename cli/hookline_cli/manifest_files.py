"""The files that `-f` names: which they are, what is in them, and whether they have changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from hookline_routes.problem import Place, Problem, Reason, Severity

SUFFIXES = (".yaml", ".yml", ".json")

paths_option = click.option(
    "-f",
    "--filename",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="PATH",
    help="A manifest, or a folder of them (*.yaml, *.yml, *.json); may be repeated.",
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Manifests as they were at one moment."""

    texts: dict[str, str]
    """By file name, as it was given or found."""
    problems: tuple[Problem, ...]
    """Files that could not be read."""


Stamp = tuple[tuple[str, int, int, int], ...]
"""Which files there are, and for each what changes when its content does: time, size, inode."""


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those of folders by name; each once, hidden ones left out, as kubectl does it."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
            found.update(dict.fromkeys(file for file in inside if not file.name.startswith(".")))
        else:
            found[path] = None
    return list(found)


def read_sources(paths: Sequence[Path]) -> Sources:
    """The text of every file; what can't be read is a problem, not an exception."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files_of(paths):
        try:
            texts[str(file)] = file.read_text(encoding="utf-8")
        except OSError as error:
            problems.append(_unreadable(file, error.strerror or str(error)))
        except UnicodeDecodeError as error:
            problems.append(_unreadable(file, f"is not UTF-8: byte {error.start} is {error.reason}"))
    if not texts and not problems:
        named = ", ".join(map(str, paths))
        problems.append(_unreadable(Path(named), f"there is no {' or '.join('*' + each for each in SUFFIXES)} here"))
    return Sources(texts, tuple(problems))


def stamp_of(paths: Sequence[Path]) -> Stamp:
    """Something that is another one after every change; cheap, reads no content."""
    stamps = []
    for file in files_of(paths):
        try:
            stat = file.stat()
        except OSError:
            stamps.append((str(file), 0, 0, 0))
        else:
            stamps.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(stamps)


def _unreadable(file: Path, message: str) -> Problem:
    return Problem(Severity.ERROR, Reason.INVALID_SYNTAX, message, place=Place(str(file), 0))
