"""
Which subscriptions are served, by which gateway and plane, on which path: the oldest wins, then the first by name.

    attachments = Attachments(rules)
    attachments.set_gateways(gateways)
    attachments.put(subscription, labels of its namespace)     # or remove(key)
    changed = attachments.settle()                             # keys whose verdict is another one now

The same from whatever sequence of changes: `attach` does it in one go. A step costs what it touches: the claims of a path
are held against each other, and all of a gateway's only while one of its quotas is exceeded.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hookline_routes.inputs import Inputs
from hookline_routes.problem import Reason
from hookline_routes.resource import (
    AllowedNamespaces,
    GatewayRef,
    LabelRequirement,
    NamespacesFrom,
    ObjectKey,
    PlaneMode,
    WebhookGateway,
    WebhookSubscription,
)

Owned = TypeVar("Owned", WebhookSubscription, WebhookGateway)
Labels = Mapping[str, str]
Age = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose gateways are looked at, and what becomes of references that are not of theirs."""

    gateway_namespace: str = ""
    """Only gateways of this namespace are ours; "": all are, and a reference without one takes the first by age."""
    cluster_default: bool = True
    """Whether references without a namespace are ours."""
    default_gateway: WebhookGateway | None = None
    """Stands in for the gateway of its name where that is not there; in a single plane, for any."""
    single_plane: bool = False
    """All gateways share one set of paths, and nobody has a plane of their own."""

    @staticmethod
    def of(inputs: Inputs) -> "Rules":
        """Those of *inputs*."""
        return Rules(inputs.gateway_namespace, inputs.cluster_default, inputs.default_gateway, inputs.single_plane)

    def is_ours(self, ref: GatewayRef) -> bool:
        """Whether *ref* refers to a gateway of this installation; what does not is nobody's business here."""
        if not self.gateway_namespace:
            return True
        return ref.namespace == self.gateway_namespace or (not ref.namespace and self.cluster_default)


@dataclass(frozen=True, slots=True)
class Attached:
    """A subscription that is served, and the gateway that serves it."""

    subscription: WebhookSubscription
    gateway: WebhookGateway
    dedicated: bool = False
    """By a plane of its own."""

    @property
    def shared_plane(self) -> str:
        """Name of the gateway's plane."""
        return self.gateway.metadata.name

    @property
    def own_plane(self) -> str:
        """Name of the plane that is, or would be, the subscription's own."""
        metadata = self.subscription.metadata
        return f"{self.gateway.metadata.name}.{metadata.namespace}.{metadata.name}"

    @property
    def plane(self) -> str:
        """Name of the plane that serves it."""
        return self.own_plane if self.dedicated else self.shared_plane


@dataclass(frozen=True, slots=True)
class Rejected:
    """A subscription that is not served, and why."""

    subscription: WebhookSubscription
    reason: Reason
    field: tuple[str | int, ...]
    message: str


Verdict = Attached | Rejected


def attach(inputs: Inputs) -> tuple[list[Attached], list[Rejected]]:
    """Each subscription of ours is either attached or rejected; the order of *inputs* does not matter."""
    attachments = Attachments(Rules.of(inputs))
    attachments.set_gateways(inputs.gateways)
    rejected: list[Rejected] = []
    seen: set[ObjectKey] = set()
    for subscription in _ordered(inputs.subscriptions):
        key = subscription.metadata.key
        if key in seen:
            rejected.append(Rejected(subscription, Reason.DUPLICATE_OBJECT, ("metadata", "name"), "is there already"))
            continue
        seen.add(key)
        attachments.put(subscription, None if inputs.namespaces is None else inputs.namespaces.get(key.namespace, {}))
    attachments.settle()
    attached: list[Attached] = []
    for verdict in attachments.verdicts():
        if isinstance(verdict, Attached):
            attached.append(verdict)
        else:
            rejected.append(verdict)
    return attached, rejected


@dataclass(slots=True, eq=False)
class _Budget:
    """What a gateway's subscriptions share; only so many may draw on it."""

    limit: int
    namespace: str = ""
    """Of the dedicated planes that share it; "": all subscriptions of the gateway."""
    claims: int = 0
    """Claims that would draw on it."""
    oldest: int = 0
    """Those of them that are the oldest of their path."""
    drawn: int = 0
    """Scratch, for going over all claims."""


@dataclass(slots=True, eq=False)
class _Claim:
    """A subscription that may attach to its gateway, if the path is free and the quotas are not used up."""

    age: Age
    subscription: WebhookSubscription
    gateway: WebhookGateway
    domain: str
    """Within which a path is taken once."""
    dedicated: bool
    budgets: tuple[_Budget, ...]
    """Which it draws on."""
    outcome: "_Claim | _Budget | None" = None
    """As settled last: itself, which is attached, or what is in its way."""

    @property
    def place(self) -> tuple[str, str]:
        """What it claims."""
        return self.domain, self.subscription.path


@dataclass(slots=True)
class _Domain:
    """What shares a set of paths: the subscriptions of a gateway."""

    claims: list[_Claim] = field(default_factory=list)
    """By age, where `sorted`."""
    is_sorted: bool = True
    budgets: dict[tuple[ObjectKey, int, str], _Budget] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    """Paths whose claims have changed."""
    tight: bool = False
    """Whether a quota was exceeded when it was settled last."""

    def exceeded(self) -> bool:
        """Whether not all of the oldest of each path may attach."""
        return any(budget.oldest > budget.limit for budget in self.budgets.values())

    def put(self, claim: _Claim) -> None:
        """Appended: sorting a list of which all but the end is sorted costs one look at each."""
        self.claims.append(claim)
        self.is_sorted = False

    def drop(self, claim: _Claim) -> None:
        """It is there."""
        if self.is_sorted:
            del self.claims[bisect_left(self.claims, claim.age, key=_claim_age)]
        else:
            self.claims.remove(claim)

    def in_order(self) -> list[_Claim]:
        """The claims by age."""
        if not self.is_sorted:
            self.claims.sort(key=_claim_age)
            self.is_sorted = True
        return self.claims


class Attachments:
    """The verdicts on all subscriptions, kept up to date."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._gateways: dict[str, list[WebhookGateway]] = {}
        self._known: dict[ObjectKey, tuple[WebhookSubscription, Labels | None]] = {}
        self._claims: dict[ObjectKey, _Claim] = {}
        self._paths: dict[tuple[str, str], list[_Claim]] = {}
        self._domains: dict[str, _Domain] = {}
        self._verdicts: dict[ObjectKey, Verdict] = {}
        self._attached: Counter[ObjectKey] = Counter()
        self._before: dict[ObjectKey, Verdict | None] = {}
        """Verdicts as they were when it was settled last, of those that have changed since, be it for a moment."""

    def set_gateways(self, gateways: Iterable[WebhookGateway]) -> bool:
        """These are all there are; whether any has changed in what it asks for. Looks at every subscription if so."""
        known = [each for several in self._gateways.values() for each in several]
        given = _ordered(gateways)
        if len(known) == len(given) and all(map(_alike, _ordered(known), given)):
            return False
        self._gateways = {}
        for gateway in given:
            self._gateways.setdefault(gateway.metadata.name, []).append(gateway)
        for key, (subscription, labels) in list(self._known.items()):
            self._put(key, subscription, labels)
        return True

    def put(self, subscription: WebhookSubscription, labels: Labels | None) -> None:
        """It is there, or is another now; *labels* of its namespace, None: not to be held against selectors."""
        key = subscription.metadata.key
        known = self._known.get(key)
        if known and known[0] is subscription and known[1] == labels:
            return
        self._put(key, subscription, labels)

    def _put(self, key: ObjectKey, subscription: WebhookSubscription, labels: Labels | None) -> None:
        self.remove(key)
        self._known[key] = (subscription, labels)
        found = self._candidate(subscription, labels)
        if isinstance(found, _Claim):
            self._enter(key, found)
        else:
            self._decide(key, found)

    def remove(self, key: ObjectKey) -> None:
        """It is not there any more."""
        self._known.pop(key, None)
        claim = self._claims.pop(key, None)
        if claim:
            self._leave(claim)
        self._decide(key, None)

    def settle(self) -> frozenset[ObjectKey]:
        """Subscriptions whose verdict has changed since the last time."""
        for name, domain in list(self._domains.items()):
            if domain.touched:
                self._settle(name, domain)
            if not domain.claims:
                del self._domains[name]
        before, self._before = self._before, {}
        return frozenset(key for key, verdict in before.items() if self._verdicts.get(key) != verdict)

    def verdict(self, key: ObjectKey) -> Verdict | None:
        """As settled; None: it is not there, or refers to another installation's gateway."""
        return self._verdicts.get(key)

    def verdicts(self) -> Iterator[Verdict]:
        """All, in no particular order."""
        return iter(self._verdicts.values())

    def attached_to(self, gateway: ObjectKey) -> int:
        """How many subscriptions it serves."""
        return self._attached[gateway]

    def _candidate(self, subscription: WebhookSubscription, labels: Labels | None) -> _Claim | Rejected | None:
        ref, own = subscription.gateway_ref, subscription.metadata.namespace
        if not self._rules.is_ours(ref):
            return None
        gateway = self._find(ref) or self._stand_in(ref)
        if gateway is None:
            place = ref.namespace or self._rules.gateway_namespace
            message = f"WebhookGateway {place + '/' if place else ''}{ref.name} does not exist"
            return Rejected(subscription, Reason.NO_MATCHING_GATEWAY, ("spec", "gatewayRef"), message)
        if not _allows(gateway, own, labels):
            message = f"WebhookGateway {gateway.metadata.key} does not take subscriptions of the namespace {own}"
            return Rejected(subscription, Reason.NAMESPACE_NOT_ALLOWED, ("spec", "gatewayRef"), message)
        return self._claim(subscription, gateway)

    def _find(self, ref: GatewayRef) -> WebhookGateway | None:
        place = ref.namespace or self._rules.gateway_namespace
        for gateway in self._gateways.get(ref.name, ()):
            if place in ("", gateway.metadata.namespace):
                return gateway
        return None

    def _stand_in(self, ref: GatewayRef) -> WebhookGateway | None:
        default = self._rules.default_gateway
        if default is None or self._rules.single_plane:
            return default
        same = ref.name == default.metadata.name and ref.namespace in ("", default.metadata.namespace)
        return default if same else None

    def _claim(self, subscription: WebhookSubscription, gateway: WebhookGateway) -> _Claim | Rejected:
        key = gateway.metadata.key
        domain = "" if self._rules.single_plane else str(key)
        dedicated = subscription.data_plane.mode is PlaneMode.DEDICATED and not self._rules.single_plane
        policy = gateway.dedicated
        if dedicated and not (policy.allowed and policy.max_per_namespace):
            message = f"WebhookGateway {key} does not allow dedicated data planes"
            return Rejected(subscription, Reason.DEDICATED_NOT_ALLOWED, _MODE, message)
        quotas = [(key, gateway.limits.max_subscriptions, "")] if gateway.limits.max_subscriptions else []
        if dedicated:
            quotas.append((key, policy.max_per_namespace, subscription.metadata.namespace))
        budgets = self._domains.setdefault(domain, _Domain()).budgets
        shared = tuple(budgets.setdefault(quota, _Budget(quota[1], quota[2])) for quota in quotas)
        return _Claim(_age(subscription), subscription, gateway, domain, dedicated, shared)

    def _enter(self, key: ObjectKey, claim: _Claim) -> None:
        self._claims[key] = claim
        domain = self._domains[claim.domain]
        domain.put(claim)
        domain.touched.add(claim.subscription.path)
        for budget in claim.budgets:
            budget.claims += 1
        claims = self._paths.setdefault(claim.place, [])
        _draw(claims, -1)
        claims.append(claim)
        claims.sort(key=_claim_age)
        _draw(claims, 1)

    def _leave(self, claim: _Claim) -> None:
        domain = self._domains[claim.domain]
        domain.drop(claim)
        domain.touched.add(claim.subscription.path)
        for budget in claim.budgets:
            budget.claims -= 1
        claims = self._paths[claim.place]
        _draw(claims, -1)
        claims.remove(claim)
        _draw(claims, 1)
        if not claims:
            del self._paths[claim.place]

    def _settle(self, name: str, domain: _Domain) -> None:
        exceeded = domain.exceeded()
        if exceeded or domain.tight:
            self._settle_all(domain)
        else:
            # Every quota has room for the oldest claim of each path: only those of one path are in each other's way.
            for path in domain.touched:
                claims = self._paths.get((name, path), [])
                for claim in claims:
                    self._conclude(claim, claims[0])
        domain.touched.clear()
        domain.tight = exceeded
        domain.budgets = {quota: budget for quota, budget in domain.budgets.items() if budget.claims}

    def _settle_all(self, domain: _Domain) -> None:
        # PERF: goes over all subscriptions of a gateway whenever one changes while its quota is exceeded.
        taken: dict[str, _Claim] = {}
        for budget in domain.budgets.values():
            budget.drawn = 0
        for claim in domain.in_order():
            path = claim.subscription.path
            outcome: _Claim | _Budget | None = taken.get(path)
            if outcome is None:
                outcome = claim
                for budget in claim.budgets:
                    if budget.drawn >= budget.limit:
                        outcome = budget
                        break
                else:
                    taken[path] = claim
                    for budget in claim.budgets:
                        budget.drawn += 1
            if outcome is not claim.outcome:
                self._conclude(claim, outcome)

    def _conclude(self, claim: _Claim, outcome: _Claim | _Budget) -> None:
        claim.outcome = outcome
        if outcome is claim:
            verdict: Verdict = Attached(claim.subscription, claim.gateway, claim.dedicated)
        elif isinstance(outcome, _Claim):
            verdict = _conflict(claim, outcome)
        else:
            verdict = _too_many(claim, outcome)
        self._decide(claim.subscription.metadata.key, verdict)

    def _decide(self, key: ObjectKey, verdict: Verdict | None) -> None:
        before = self._verdicts.get(key)
        if before == verdict:
            return
        if isinstance(before, Attached):
            self._attached[before.gateway.metadata.key] -= 1
        if isinstance(verdict, Attached):
            self._attached[verdict.gateway.metadata.key] += 1
        if verdict is None:
            del self._verdicts[key]
        else:
            self._verdicts[key] = verdict
        self._before.setdefault(key, before)


_MODE = ("spec", "dataPlane", "mode")


def _draw(claims: list[_Claim], amount: int) -> None:
    for budget in claims[0].budgets if claims else ():
        budget.oldest += amount


def _conflict(loser: _Claim, winner: _Claim) -> Rejected:
    # SECURITY: a name is told within its namespace only.
    own, other = loser.subscription.metadata, winner.subscription.metadata
    who = f"the older subscription {other.key}" if own.namespace == other.namespace else "another subscription"
    message = f'the path "{loser.subscription.path}" belongs to {who}'
    return Rejected(loser.subscription, Reason.PATH_CONFLICT, ("spec", "path"), message)


def _too_many(claim: _Claim, budget: _Budget) -> Rejected:
    limit = budget.limit
    if budget.namespace:
        message = f"the gateway takes at most {limit} dedicated data planes of a namespace, and older ones fill it"
        return Rejected(claim.subscription, Reason.TOO_MANY_DEDICATED, _MODE, message)
    message = f"the gateway takes at most {limit} subscriptions, and older ones fill it"
    return Rejected(claim.subscription, Reason.TOO_MANY_SUBSCRIPTIONS, ("spec", "gatewayRef"), message)


def _age(each: WebhookSubscription | WebhookGateway) -> Age:
    metadata = each.metadata
    return (metadata.created, metadata.namespace, metadata.name, metadata.uid)


def _claim_age(claim: _Claim) -> Age:
    return claim.age


def _ordered(objects: Iterable[Owned]) -> list[Owned]:
    every = list(objects)
    if len({_age(each) for each in every}) == len(every):
        return sorted(every, key=_age)
    # Two of one name and uid: no API server has that, but the order of the inputs must not show even so.
    return sorted(every, key=lambda each: (*_age(each), repr(each)))


def _alike(one: WebhookGateway, other: WebhookGateway) -> bool:
    """Whether they ask for the same: a status that was written changes nothing."""
    return one is other or (_age(one) == _age(other) and replace(one, metadata=other.metadata) == other)


def _allows(gateway: WebhookGateway, namespace: str, labels: Labels | None) -> bool:
    allowed: AllowedNamespaces = gateway.allowed_namespaces
    if allowed.source is NamespacesFrom.ALL:
        return True
    if allowed.source is NamespacesFrom.SAME:
        return gateway.metadata.namespace == namespace
    if labels is None:
        return True
    own = {"kubernetes.io/metadata.name": namespace, **labels}
    return all(_holds(requirement, own) for requirement in allowed.requirements)


def _holds(requirement: LabelRequirement, labels: Labels) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case _:
            return value is None
