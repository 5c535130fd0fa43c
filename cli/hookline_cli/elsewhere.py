"""
What manifests refer to and don't hold: a cluster may have it, so `hookline check` only warns of it.

Pure. A tenant's files rarely hold the platform's ReferenceGrants, or the ConfigMap that cert-manager's trust-manager makes.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from hookline_routes.manifest import Manifests
from hookline_routes.problem import Problem, Reason, Severity
from hookline_routes.resource import (
    ConfigMap,
    ReferenceGrant,
    RefKind,
    RouteSpec,
    Secret,
    WebhookSubscription,
)

_ROUTE = re.compile(r"spec\.routes\[(\d+)\]")
_SUBJECT = "WebhookSubscription {}"
MISSING = (Reason.SECRET_NOT_FOUND, Reason.CA_NOT_FOUND, Reason.REF_NOT_PERMITTED)
"""Reasons that speak of another object."""


def as_far_as_is_known(problems: Sequence[Problem], manifests: Manifests, *, self_contained: bool) -> list[Problem]:
    """
    *problems* with the severity of what refers to other objects: an error where *manifests* hold the object and it is wrong.

    Where they don't hold it, a warning; *self_contained*, they are all that there will be: an error.
    """
    return [
        replace(each, severity=Severity.ERROR)
        if self_contained and each.reason in MISSING
        else _warning(each)
        if each.is_error and each.reason in MISSING and _elsewhere(each, manifests)
        else each
        for each in problems
    ]


def _warning(problem: Problem) -> Problem:
    return replace(
        problem,
        severity=Severity.WARNING,
        message=f"{problem.message} (it is not in these files; the cluster may have it)",
    )


def _elsewhere(problem: Problem, manifests: Manifests) -> bool:
    """Whether it is about an object that *manifests* don't hold."""
    subscription, route = _referrer(problem, manifests)
    if subscription is None or route is None:
        return False
    if problem.reason is Reason.REF_NOT_PERMITTED:
        grants = [each for each in manifests.objects if isinstance(each, ReferenceGrant)]
        return all(each.metadata.namespace != route.handler.service.namespace for each in grants)
    ref = route.handler.tls.ca_ref if route.handler.tls else None
    if ref is None:
        return False
    kind, place = (Secret if ref.kind is RefKind.SECRET else ConfigMap), (subscription.metadata.namespace, ref.name)
    held = [each.metadata for each in manifests.objects if isinstance(each, kind)]
    return all((each.namespace, each.name) != place for each in held)


def _referrer(problem: Problem, manifests: Manifests) -> tuple[WebhookSubscription | None, RouteSpec | None]:
    found = _ROUTE.match(problem.field)
    for each in manifests.objects if found else ():
        if isinstance(each, WebhookSubscription) and problem.subject == _SUBJECT.format(each.metadata.key):
            index = int(found[1]) if found else 0
            return each, each.routes[index] if index < len(each.routes) else None
    return None, None
