"""What a person sees of receiver and forwarder: warnings as they come, everything else in files."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from hookline_cli.output import printable

LARGEST_LOG = 10 * 1024 * 1024
"""Bytes of one log file; the one before it is kept too."""

SHOWN = ("WARNING", "ERROR", "CRITICAL")
NOT_FIELDS = ("time", "level", "logger", "message", "pid")


class LogFile:
    """A program's log, cut off in time: `hookline dev` may run for weeks."""

    def __init__(self, path: Path, largest: int = LARGEST_LOG) -> None:
        self._path = path
        self._largest = largest
        self._file: BinaryIO = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Append a line."""
        if self._file.tell() > self._largest:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab", buffering=0)
        self._file.write(line + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Teller:
    """Gives each line of a program to its file, and to a person what a person should see."""

    def __init__(self, logs: Path, say: Callable[[str], None], *, verbose: bool) -> None:
        self._logs = logs
        self._say = say
        self._verbose = verbose
        self._files: dict[str, LogFile] = {}
        self._failing: set[str] = set()

    def line(self, program: str, line: bytes) -> None:
        """
        One line of *program*'s log. Never raises for a file that can't be written: that is said once.

        A program whose output nobody takes any more would soon hang in the middle of writing it.
        """
        try:
            self._keep(program, line)
        except OSError as error:
            self._drop(program, error)
        text = for_person(program, line, verbose=self._verbose)
        if text:
            self._say(text)

    def _keep(self, program: str, line: bytes) -> None:
        path = self._logs / f"{program}.log"
        if program not in self._files:
            self._files[program] = LogFile(path)
        self._files[program].write(line)
        if program in self._failing:
            self._failing.remove(program)
            self._say(f"{path} can be written again")

    def _drop(self, program: str, error: OSError) -> None:
        """Let go of the file, which the next line opens anew."""
        file = self._files.pop(program, None)
        if file is not None:
            file.close()
        if program not in self._failing:
            self._failing.add(program)
            path = self._logs / f"{program}.log"
            self._say(f"{path} can't be written, what the {program} says is lost meanwhile: {error.strerror or error}")

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()


def for_person(program: str, line: bytes, *, verbose: bool) -> str:
    """*line* as a person reads it; "" if there is no need to. What is not one of our JSON lines is shown as it is."""
    text = line.decode("utf-8", "backslashreplace")
    try:
        record = json.loads(text)
        level, message, time = record["level"], record["message"], datetime.fromisoformat(record["time"])
    except (ValueError, KeyError, TypeError):
        return printable(f"{program}: {text}")
    if level not in SHOWN and not verbose:
        return ""
    fields = " ".join(f"{name}={value}" for name, value in record.items() if name not in NOT_FIELDS)
    return printable(f"{time.astimezone():%H:%M:%S} {program} {level}: {message} {fields}".rstrip())
