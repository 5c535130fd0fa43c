"""Which events: the options that commands share, and what they become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import click
from google.protobuf.timestamp_pb2 import Timestamp

from hookline.admin.v1 import admin_pb2
from hookline_cli.people.moments import Moment
from hookline_cli.people.selection import SubscriptionName

F = TypeVar("F", bound=Callable[..., None])

STATES = ("Pending", "Waiting", "InFlight", "Delivered", "Dead")


@dataclass(frozen=True, slots=True)
class EventCriteria:
    """What was given on the command line; everything given must hold."""

    subscription: tuple[str, str] = ("", "")
    """Namespace and name."""
    trigger: str = ""
    category: str = ""
    route: str = ""
    state: str = ""
    unrouted: bool = False
    since: Timestamp | None = field(default=None, hash=False)
    until: Timestamp | None = field(default=None, hash=False)

    @property
    def empty(self) -> bool:
        """Whether nothing was given."""
        return self == EventCriteria()

    def selection(self, ingest_ids: Sequence[str] = (), until: Timestamp | None = None) -> admin_pb2.EventSelection:
        """The selection for a request; *until* where none was given."""
        namespace, name = self.subscription
        return admin_pb2.EventSelection(
            namespace=namespace,
            subscription=name,
            trigger=self.trigger,
            category=self.category,
            route=self.route,
            state=self.state,
            unrouted=self.unrouted,
            since=self.since,
            until=self.until or until,
            ingest_ids=ingest_ids,
        )


def event_options(function: F) -> F:
    """`--subscription`, `--trigger`, `--category`, `--route`, `--state`, `--unrouted`, `--since`, `--until`."""
    state = click.Choice(STATES, case_sensitive=False)
    options = [
        click.option("--subscription", type=SubscriptionName(), default=("", ""), help="Of this subscription."),
        click.option("--trigger", default="", help="Of this trigger."),
        click.option("--category", default="", help="Of this category: message, user, group, call, …"),
        click.option("--route", default="", help="With a delivery to this route."),
        click.option("--state", type=state, help="With a delivery that stands so (to --route, if given)."),
        click.option("--unrouted", is_flag=True, help="For which a route was missing."),
        click.option("--since", type=Moment(), help="Accepted then or later: 90s, 10m, 2h, 3d ago, or RFC 3339."),
        click.option("--until", type=Moment(), help="Accepted before."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def criteria_of(
    subscription: tuple[str, str],
    trigger: str,
    category: str,
    route: str,
    state: str | None,
    unrouted: bool,
    since: Timestamp | None,
    until: Timestamp | None,
) -> EventCriteria:
    """What the options of `event_options` say."""
    return EventCriteria(subscription, trigger, category, route, state or "", unrouted, since, until)
