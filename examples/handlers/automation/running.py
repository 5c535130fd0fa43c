"""The rules that match, action by action, and what to answer the gateway."""

import logging
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Protocol

from automation.actions import Failure, Later, Never, Occasion
from automation.ledger import Ledger
from automation.rules import Action, Rule
from hookline_kit import Event, Handler, Reject, RetryAfter, SeenInMemory

log = logging.getLogger("automation")


class Does(Protocol):
    """Does actions."""

    def do(self, action: Action, occasion: Occasion) -> Failure | None:
        """None: done."""


class Automation:
    """
    Does each action of each matching rule once.

    An action that is done is noted by its key, so that a later try of the event goes on with the others. A crash
    between doing and noting does it again: with the same key, by which webhook and command can tell.
    """

    def __init__(self, rules: Sequence[Rule], doer: Does, ledger: Ledger) -> None:
        self._rules = rules
        self._doer = doer
        self._ledger = ledger

    def handle(self, event: Event) -> RetryAfter | Reject | None:
        """Come again if an action may work later, else reject if one never will: then a person redrives it, mended."""
        document = document_of(event)
        failures = [
            (name, failure)
            for rule in self._rules
            if rule.condition.holds(event.trigger, event.category, document)
            for name, failure in self._do(rule, event, document)
        ]
        for name, failure in failures:
            log.warning(
                "action failed", extra={"action": name, "delivery_id": event.delivery_id, "reason": failure.reason}
            )
        return answer(failures)

    def _do(self, rule: Rule, event: Event, document: dict[str, Any]) -> Sequence[tuple[str, Failure]]:
        """The rule's actions in their order; after one that failed the later ones wait, as they may build on it."""
        for number, action in enumerate(rule.actions):
            key = key_of(event, rule.name, number)
            if self._ledger.done(key):
                continue
            failure = self._doer.do(action, Occasion(key, rule.name, document, event.body))
            if failure is not None:
                return [(f"{rule.name}.then[{number}]", failure)]
            self._ledger.note(key)
        return []


def key_of(event: Event, rule: str, number: int) -> str:
    """The action's idempotency key: the same whenever the same event meets the same action."""
    return sha256("\0".join((event.source, event.id, rule, str(number))).encode()).hexdigest()[:32]


def document_of(event: Event) -> dict[str, Any]:
    """What paths lead into: the payload, and `event` for what the gateway says of it."""
    payload = event.json()
    told = {
        "id": event.id,
        "source": event.source,
        "namespace": event.namespace,
        "subscription": event.subscription,
        "subject": event.subject,
        "time": event.time.isoformat() if event.time else "",
    }
    return {**payload, "event": told}


def answer(failures: Sequence[tuple[str, Failure]]) -> RetryAfter | Reject | None:
    """What to answer for all of them."""
    for name, failure in failures:
        if isinstance(failure, Later):
            return RetryAfter(failure.seconds, f"{name}: {failure.reason}")
    for name, failure in failures:
        if isinstance(failure, Never):
            return Reject(f"{name}: {failure.reason}")
    return None


def make_handler(automation: Automation) -> Handler:
    """Takes every event; one that no rule is for is done at once. The memory keeps one event from running twice at once."""
    handler = Handler(seen=SeenInMemory())
    handler.default(automation.handle)
    return handler
