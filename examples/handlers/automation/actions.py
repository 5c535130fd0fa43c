"""Doing it: each action is done, to be tried again later, or failed for good."""

import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from automation.rules import Action, Command, Log, Webhook
from automation.templates import Missing, begins_with_a_path, fill, fill_json

TRY_AGAIN = 75
"""Exit status of a command that wants to be run again later (EX_TEMPFAIL of sysexits.h)."""
_PASSING = frozenset([408, 425, 429])
"""Statuses below 500 that say "not now"."""
_LONGEST_WAIT = 3600

log = logging.getLogger("automation")


@dataclass(frozen=True, slots=True)
class Later:
    """It may work later."""

    reason: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """It will never work as it is."""

    reason: str


Failure: TypeAlias = Later | Never


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an action is done for."""

    key: str
    """The same for the same action and event at every try: whoever does it can tell a repetition."""
    rule: str
    document: Mapping[str, Any]
    body: bytes


class Doer:
    """Does actions, in the thread that asks."""

    def __init__(self, folder: Path) -> None:
        """Commands run in *folder*."""
        self._folder = folder

    def do(self, action: Action, occasion: Occasion) -> Failure | None:
        """None: done."""
        try:
            match action:
                case Webhook():
                    return post(action, occasion)
                case Command():
                    return run(action, occasion, self._folder)
                case Log():
                    text = "".join(each if each.isprintable() else "?" for each in fill(action.text, occasion.document))
                    log.info("rule says", extra={"rule": occasion.rule, "text": text})
                    return None
        except Missing as missing:
            return Never(str(missing))


def post(webhook: Webhook, occasion: Occasion) -> Failure | None:
    """POST; no redirect is followed, as a token would go along."""
    body = occasion.body
    if webhook.body is not None:
        body = json.dumps(fill_json(webhook.body, occasion.document), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": occasion.key}
    parts = urlsplit(webhook.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc.rpartition("@")[2], timeout=webhook.timeout)
    try:
        if webhook.token_file is not None:
            headers["Authorization"] = f"Bearer {webhook.token_file.read_text().strip()}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        return _judged(answer.status, answer.headers.get("Retry-After", ""))
    except (OSError, HTTPException) as error:
        return Later(f"{parts.netloc} can't be reached: {type(error).__name__}")
    finally:
        connection.close()


def _judged(status: int, retry_after: str) -> Failure | None:
    if 200 <= status < 300:
        return None
    if status in _PASSING or status >= 500:
        wait = min(int(retry_after), _LONGEST_WAIT) if retry_after.isdecimal() else None
        return Later(f"status {status}", wait)
    return Never(f"status {status}")


def run(command: Command, occasion: Occasion, folder: Path) -> Failure | None:
    """
    Run a program: exit status 0 is done, 75 is later, any other is never.

    SECURITY: arguments come from payloads. There is no shell; and one that would be taken for an option, because of
    what somebody wrote, is refused.
    """
    arguments = [fill(each, occasion.document).replace("\0", "") for each in command.arguments]
    for template, argument in zip(command.arguments, arguments, strict=True):
        if begins_with_a_path(template) and argument.startswith("-"):
            return Never(f"the argument {template} would be taken for an option")
    environment = {**os.environ, "HOOKLINE_IDEMPOTENCY_KEY": occasion.key, "HOOKLINE_RULE": occasion.rule}
    null = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [command.program, *arguments], stdin=subprocess.PIPE, stdout=null, stderr=null,
            cwd=folder, env=environment, start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return Later(f"the program can't be started: {type(error).__name__}")
    return _ended(process, command.timeout, occasion.body)


def _ended(process: subprocess.Popen[bytes], timeout: float, body: bytes) -> Failure | None:
    with process:
        try:
            process.communicate(body, timeout)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it began a session, so its children go too
            return Later(f"the program took longer than {timeout:g} s")
    if process.returncode == 0:
        return None
    reason = f"the program ended with status {process.returncode}"
    return Later(reason) if process.returncode == TRY_AGAIN else Never(reason)
