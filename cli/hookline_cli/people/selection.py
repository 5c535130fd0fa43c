"""Which deliveries: the options that commands share, and what they become."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import click

from hookline.admin.v1 import admin_pb2, admin_pb2_grpc

F = TypeVar("F", bound=Callable[..., None])

REASONS = ("Rejected", "Expired", "AttemptsExhausted", "RouteRemoved", "TooLarge")


@dataclass(frozen=True, slots=True)
class Criteria:
    """What was given on the command line; everything given must hold."""

    subscription: tuple[str, str] = ("", "")
    """Namespace and name."""
    route: str = ""
    trigger: str = ""
    reason: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing was given."""
        return self == Criteria()


class SubscriptionName(click.ParamType[tuple[str, str]]):
    """NAMESPACE/NAME, or NAMESPACE for all subscriptions in it."""

    name = "namespace/name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Namespace and name, the latter "" where it is left out."""
        if isinstance(value, tuple):
            return value
        namespace, _, name = str(value).partition("/")
        if not namespace or "/" in name:
            self.fail(f"{value!r} is not NAMESPACE/NAME", param, ctx)
        return namespace, name


def criteria_options(function: F) -> F:
    """`--subscription`, `--route`, `--trigger`, `--reason`."""
    options = [
        click.option("--subscription", type=SubscriptionName(), default=("", ""), help="Of this subscription."),
        click.option("--route", default="", help="Of this route."),
        click.option("--trigger", default="", help="Of this trigger."),
        click.option("--reason", type=click.Choice(REASONS, case_sensitive=False), help="Ended so."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def selection_of(criteria: Criteria, route: str = "", ingest_ids: Sequence[str] = ()) -> admin_pb2.Selection:
    """The selection for a request; *route* goes before the criteria's."""
    namespace, subscription = criteria.subscription
    return admin_pb2.Selection(
        namespace=namespace,
        subscription=subscription,
        route=route or criteria.route,
        trigger=criteria.trigger,
        reason=criteria.reason,
        ingest_ids=ingest_ids,
    )


def by_route(ids: Sequence[str]) -> Mapping[str, list[str]]:
    """Ingest ids by the route that was named with them: "" for a bare one, "notify" for "{ingest id}/notify"."""
    found: dict[str, list[str]] = {}
    for ident in ids:
        ingest_id, _, route = ident.partition("/")
        found.setdefault(route, []).append(ingest_id)
    return found


def is_ingest_id(ident: str) -> bool:
    """Whether *ident* is an ingest id or a delivery's id, and not a CloudEvent's."""
    try:
        uuid.UUID(ident.partition("/")[0])
    except ValueError:
        return False
    return True


def ingest_ids_of(admin: admin_pb2_grpc.EventAdminServiceStub, ids: Sequence[str]) -> list[str]:
    """*ids* as ingest ids and delivery names; a CloudEvent id is looked up."""
    known = [ident for ident in ids if is_ingest_id(ident)]
    for ident in ids:
        if not is_ingest_id(ident):
            found = admin.ShowEvent(admin_pb2.ShowEventRequest(id=ident), timeout=60)
            known.extend(event.ingest_id for event in found.events)
    return known
