"""
The credentials lane: subscriptions without secretRefs → Secrets that are made, rotated, retired, revoked.

    lane = CredentialsLane(cluster, routes, uses, api, events, now=..., on_change=...)
    lane.add(subscriptions)      # something about them, or about Secrets that they own, may have changed
    lane.used(uids)              # receivers have seen credentials of these in use
    await lane.run()             # for one term

A look decides by what is known of the cluster. If something is to be done, the subscription and its Secrets are read from the
API server and it is decided once more: what is known may be older than what this lane did a moment ago. At rest it reads and
writes nothing. Revocations are not looked up first, and wait for nothing.

SECURITY: no log, Event or status holds anything of them.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from hookline_operator.apply.api import ApiError, Refused
from hookline_operator.apply.generated_secrets import GeneratedSecrets, SecretsApi, generated
from hookline_operator.decide.conditions import Said
from hookline_operator.decide.credentials import (
    CONDITION,
    Creation,
    Decision,
    Entry,
    Facts,
    Generated,
    RotationReason,
    Why,
    Wish,
    decide,
    entries_in,
    request_in,
    revoked_in,
    written,
)
from hookline_operator.decide.happenings import Happening
from hookline_operator.decide.status import Contribution, conditions_in
from hookline_operator.observe.objects import Declared, SeenSecret
from hookline_operator.resource_types import SUBSCRIPTIONS
from hookline_operator.work import WorkQueue
from hookline_routes.resource import ObjectKey, RotationSpec, WebhookSubscription

log = logging.getLogger(__name__)

Json = dict[str, Any]
StatusKey = tuple[str, ObjectKey]
_SECOND = 10**9


class CredentialsView(Protocol):
    """The part of `ports.ClusterView` that the lane reads."""

    @property
    def subscriptions(self) -> Mapping[ObjectKey, Declared]:
        """All of the cluster."""

    def secrets_owned_by(self, uid: str) -> tuple[SeenSecret, ...]:
        """Those that name the subscription with that uid as their owner."""


class Attaching(Protocol):
    """What the routes lane knows."""

    def report_of(self, kind: str, key: ObjectKey) -> object | None:
        """None: not compiled yet in this term, or not ours: it is left alone."""

    def gateway_of(self, subscription: ObjectKey) -> ObjectKey | None:
        """The gateway that serves it."""


class Uses(Protocol):
    """What the agents say."""

    def last_used(self, subscription_uid: str) -> Mapping[str, datetime]:
        """When each credential ("{secret}@{resourceVersion}") was last used."""


class Telling(Protocol):
    """Events."""

    async def tell(self, declared: Declared, happening: Happening) -> None:
        """Say it; a failure to do so is no failure."""


@dataclass(frozen=True, slots=True)
class CredentialsPace:
    """How much at once, and how fast."""

    workers: int = 8
    """Subscriptions that are looked at at once."""
    interval: float = 1.0
    """Seconds between two creations for one subscription: nobody's fast changes use up what all share."""
    settle: float = 15.0
    """Seconds of a term before anything is retired: by then agents have told when credentials were last used."""
    longest: float = 3600.0
    """Seconds until time is looked at again, however far off the next date is: clocks are set."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a look came to, for the status and for the next look."""

    uid: str
    entries: tuple[Entry, ...]
    condition: Said | None


class CredentialsLane:
    """Implements `ports.Lane` for keys of subscriptions, and `status.Contributor`. For one event loop."""

    def __init__(
        self,
        cluster: CredentialsView,
        routes: Attaching,
        uses: Uses,
        api: SecretsApi,
        events: Telling,
        *,
        now: Callable[[], datetime],
        on_change: Callable[[Iterable[StatusKey]], None] = lambda keys: None,
        pace: CredentialsPace | None = None,
        choose: Callable[[Sequence[str]], str] = secrets.choice,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*on_change* hears of subscriptions whose status is to say something else; *choose* must be unpredictable."""
        self._cluster, self._routes, self._uses, self._events = cluster, routes, uses, events
        self._secrets = GeneratedSecrets(api, choose)
        self._now, self._on_change, self._pace = now, on_change, pace or CredentialsPace()
        self._clock = clock
        self.queue: WorkQueue[ObjectKey] = WorkQueue(lambda key: key.namespace, clock=clock)
        self._begin()

    def add(self, keys: Iterable[ObjectKey], *, urgent: bool = False) -> None:
        """Look at these subscriptions again."""
        self.queue.add(keys, urgent=urgent)

    def used(self, uids: Iterable[str]) -> None:
        """Receivers have seen credentials of these subscriptions in use."""
        self.queue.add([self._watching[uid] for uid in uids if uid in self._watching])

    async def run(self) -> None:
        """For one term, until cancelled."""
        self._begin()
        self.add(self._cluster.subscriptions)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._pace.workers):
                    workers.create_task(self._worker())
        finally:
            self.queue.clear()

    def contribution(self, kind: str, key: ObjectKey) -> Contribution:
        """What the subscription's status says of its credentials: see `apply.status.Contributor`."""
        declared = self._cluster.subscriptions.get(key) if kind == SUBSCRIPTIONS.kind else None
        said = self._said.get(key)
        if declared is None or said is None or said.uid != declared.uid:
            return Contribution()
        conditions = (said.condition,) if said.condition else ()
        fields = {"credentials": written(said.entries) or None}
        return Contribution(conditions, fields, frozenset((CONDITION,)))

    async def look(self, key: ObjectKey) -> None:
        """Bring one up to date; `run` does so with what was added."""
        declared = self._cluster.subscriptions.get(key)
        if declared is None or declared.deleting or self._routes.report_of(SUBSCRIPTIONS.kind, key) is None:
            self._forget(key)
            return
        decision: Decision | None = decide(self._facts(declared, self._seen(declared)), self._seconds())
        if decision and decision.has_steps:
            decision = await self._carry_out(declared, decision)
        if decision:
            self._note(declared, decision)

    def _begin(self) -> None:
        self._said: dict[ObjectKey, _Said] = {}
        self._watching: dict[str, ObjectKey] = {}
        """By uid: those for which a use may change something."""
        self._created: dict[ObjectKey, float] = {}
        self._settled = self._clock() + self._pace.settle

    async def _worker(self) -> None:
        while True:
            for key in await self.queue.take():
                await self._work_on(key)
            # PERF: ten thousand that are as they should be must not hold up the loop that publishes routes.
            await asyncio.sleep(0)

    async def _work_on(self, key: ObjectKey) -> None:
        try:
            await self.look(key)
        except ApiError as error:
            delay = self.queue.failed(key)
            fields = {"subscription": str(key), "reason": str(error), "again_in": delay}
            log.warning("credentials of a subscription could not be brought up to date", extra=fields)
            await self._tell_refusal(key, error)
        else:
            self.queue.done(key)

    def _facts(self, declared: Declared, live: tuple[Generated, ...]) -> Facts:
        said = self._said.get(declared.key)
        if said is not None and said.uid == declared.uid:
            entries = {each.name: each for each in said.entries}
            old_in_use = said.condition is not None and said.condition.reason == RotationReason.OLD_IN_USE
        else:
            entries = entries_in(declared.status)
            old_in_use = conditions_in(declared.status).get(CONDITION, {}).get("reason") == RotationReason.OLD_IN_USE
        settling = max(0, round(self._settled - self._clock() + 0.5))
        return Facts(
            declared.key,
            declared.generation,
            self._wish(declared),
            live,
            entries,
            self._last_used(declared.uid),
            old_in_use,
            settling,
        )

    def _wish(self, declared: Declared) -> Wish:
        subscription = declared.resource
        readable = isinstance(subscription, WebhookSubscription)
        rotation = subscription.rotation if isinstance(subscription, WebhookSubscription) else RotationSpec()
        return Wish(
            interval=rotation.interval // _SECOND,
            overlap=-(-rotation.overlap // _SECOND),
            named=isinstance(subscription, WebhookSubscription) and bool(subscription.secret_refs),
            request=request_in(declared.annotations),
            revoked=revoked_in(declared.annotations),
            attached=readable and self._routes.gateway_of(declared.key) is not None,
        )

    def _last_used(self, uid: str) -> Mapping[str, int]:
        times: dict[str, int] = {}
        for credential, time_used in self._uses.last_used(uid).items():
            # The version counts for nothing: a label on the Secret makes it another.
            name = credential.partition("@")[0]
            times[name] = max(times.get(name, 0), int(time_used.timestamp()))
        return times

    def _seen(self, declared: Declared) -> tuple[Generated, ...]:
        """By what is known of the cluster."""
        owned = self._cluster.secrets_owned_by(declared.uid)
        # SECURITY: anybody can write an owner's uid into an object of a namespace of theirs.
        return tuple(
            generated(each.key.name, each.secret.metadata.uid, each.secret.metadata.created, annotations)
            for each in owned
            if each.key.namespace == declared.key.namespace
            for annotations in (each.secret.metadata.annotations,)
        )

    async def _carry_out(self, declared: Declared, decision: Decision) -> Decision | None:
        """Do it, by what is there now; what is decided afterwards, None if there is nothing left to decide."""
        for each in decision.revoked:
            await self._remove(declared, each, _revoked(declared, each))
        if decision.creation and not decision.retired and (wait := self._wait(declared.key)) > 0:
            self.queue.add((declared.key,), after=wait)
            return None
        live = await self._secrets.live(declared)
        if live is None:
            return None
        declared, there = live
        facts = self._facts(declared, there)
        decision = decide(facts, self._seconds())
        for each in decision.revoked:
            await self._remove(declared, each, _revoked(declared, each))
        for each in decision.retired:
            await self._remove(declared, each, _retired(declared, each))
        gone = {*decision.revoked, *decision.retired}
        made = await self._create(declared, decision.creation) if decision.creation else None
        left = tuple(each for each in there if each not in gone) + ((made,) if made else ())
        decision = decide(replace(facts, live=left), self._seconds())
        if decision.has_steps:
            self.queue.add((declared.key,), after=self._pace.interval)
        return decision

    def _wait(self, key: ObjectKey) -> float:
        """Seconds until another may be created for it."""
        return self._created.get(key, float("-inf")) + self._pace.interval - self._clock()

    async def _remove(self, declared: Declared, each: Generated, happening: Happening) -> None:
        if not await self._secrets.remove(declared, each):
            return
        fields = {"subscription": str(declared.key), "secret": each.name, "reason": happening.reason}
        log.info("a generated credential was removed", extra=fields)
        await self._events.tell(declared, happening)

    async def _create(self, declared: Declared, creation: Creation) -> Generated | None:
        made = await self._secrets.create(declared, creation)
        if made.secret is None or not made.is_new:
            return made.secret
        self._created[declared.key] = self._clock()
        fields = {"subscription": str(declared.key), "secret": made.secret.name, "why": creation.why.name}
        log.info("a credential was generated", extra=fields)
        await self._events.tell(declared, _created(declared, made.secret.name, creation.why))
        return made.secret

    def _note(self, declared: Declared, decision: Decision) -> None:
        key = declared.key
        if decision.watching:
            self._watching[declared.uid] = key
        else:
            self._watching.pop(declared.uid, None)
        if decision.again is not None:
            self.queue.add((key,), after=min(float(decision.again), self._pace.longest))
        said = _Said(declared.uid, decision.entries, decision.condition)
        if self._said.get(key) != said:
            self._said[key] = said
            self._on_change(((SUBSCRIPTIONS.kind, key),))

    def _forget(self, key: ObjectKey) -> None:
        said = self._said.pop(key, None)
        self._created.pop(key, None)
        if said:
            self._watching.pop(said.uid, None)

    async def _tell_refusal(self, key: ObjectKey, error: ApiError) -> None:
        declared = self._cluster.subscriptions.get(key)
        if declared and isinstance(error, Refused):
            note = f"credentials could not be brought up to date: {error.reason}: {error.message}"
            await self._events.tell(declared, Happening(True, "CredentialsNotWritten", note))

    def _seconds(self) -> int:
        return int(self._now().astimezone(UTC).timestamp())


def _created(declared: Declared, name: str, why: Why) -> Happening:
    where = f"Secret {declared.key.namespace}/{name}"
    note = f"{where} was made, as {why}: enter its username and password at CometChat; it is accepted already"
    return Happening(False, "CredentialCreated", note)


def _retired(declared: Declared, each: Generated) -> Happening:
    note = f"Secret {declared.key.namespace}/{each.name} was removed: it is replaced, and the overlap has passed"
    return Happening(False, "CredentialRetired", note)


def _revoked(declared: Declared, each: Generated) -> Happening:
    note = f"Secret {declared.key.namespace}/{each.name} was removed, as the subscription's annotation revokes it"
    return Happening(False, "CredentialRevoked", note)
