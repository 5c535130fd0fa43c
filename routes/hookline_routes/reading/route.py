"""The routes of a subscription: which events, to which handler, and how."""

import re

from hookline_routes.expression import MAX_LENGTH
from hookline_routes.fields import KEY, LABEL, NAME, SERVICE, Fields, Pattern
from hookline_routes.reading.capacity import HOSTNAME, HOUR, MILLISECOND, MINUTE
from hookline_routes.resource import (
    CARef,
    DeliverySpec,
    HandlerSpec,
    HandlerTLS,
    MatchSpec,
    Ordering,
    PayloadForm,
    RefKind,
    RouteSpec,
    ServiceRef,
)
from hookline_routes.triggers import Category
from hookline_routes.units import SECOND

MAX_ROUTES = 32
_TRIGGER = Pattern(re.compile(r"[A-Za-z0-9_.:-]+"), "a trigger (letters, digits, '_' and '-')", 128)
_EXPRESSION = Pattern(re.compile(r"(?s).*"), f"an expression of at most {MAX_LENGTH} characters", MAX_LENGTH)
_CATEGORY = Pattern(re.compile("|".join(Category)), " or ".join(Category), 32)
_RECEIVER_TYPE = Pattern(re.compile("user|group"), "user or group", 8)


def read_routes(spec: Fields, namespace: str) -> tuple[RouteSpec, ...]:
    """The routes, each with a name of its own."""
    routes = spec.objects("routes", 1, MAX_ROUTES, lambda fields: _route(fields, namespace))
    seen: set[str] = set()
    for index, route in enumerate(routes):
        if route.name in seen:
            spec.wrong(("routes", index, "name"), f'must be unique in the subscription, got "{route.name}" again')
        seen.add(route.name)
    return routes


def _route(fields: Fields, namespace: str) -> RouteSpec:
    return RouteSpec(
        name=fields.text("name", LABEL),
        match=_match(fields.section("match")),
        handler=_handler(fields.section("handler", required=True), namespace),
        delivery=_delivery(fields.section("delivery")),
        paused=fields.boolean("paused", False),
    )


def _match(fields: Fields) -> MatchSpec:
    match = MatchSpec(
        triggers=fields.texts("triggers", _TRIGGER, 128),
        categories=fields.texts("categories", _CATEGORY, len(Category)),
        receiver_types=fields.texts("receiverTypes", _RECEIVER_TYPE, 2),
        expression=fields.text("expression", _EXPRESSION, ""),
    )
    fields.close()
    return match


def _handler(fields: Fields, namespace: str) -> HandlerSpec:
    service = fields.section("serviceRef", required=True)
    handler = HandlerSpec(
        service=ServiceRef(
            service.text("name", SERVICE),
            service.text("namespace", LABEL, "") or namespace,
            service.integer("port", 1, 65535),
        ),
        timeout=fields.duration("timeout", 100 * MILLISECOND, 10 * MINUTE, 10 * SECOND),
        tls=_tls(fields),
        payload=fields.one_of("payload", PayloadForm, PayloadForm.TYPED),
    )
    service.close()
    fields.close()
    return handler


def _tls(handler: Fields) -> HandlerTLS | None:
    present = handler.has("tls")
    tls = handler.section("tls")
    given = tls.has("caRef")
    ca = tls.section("caRef")
    ref = CARef("")
    if given:
        ref = CARef(
            ca.text("name", NAME), ca.one_of("kind", RefKind, RefKind.CONFIG_MAP), ca.text("key", KEY, "ca.crt")
        )
    server_name = tls.text("serverName", HOSTNAME, "")
    ca.close()
    tls.close()
    return HandlerTLS(ref if given else None, server_name) if present else None


def _delivery(fields: Fields) -> DeliverySpec:
    batch, retry = fields.section("batch"), fields.section("retry")
    delivery = DeliverySpec(
        ordering=fields.one_of("ordering", Ordering, Ordering.NONE),
        max_in_flight=fields.integer("maxInFlight", 1, 10_000, 64),
        batch_max_events=batch.integer("maxEvents", 1, 1000, 32),
        batch_max_wait=batch.duration("maxWait", 0, 10 * SECOND, 20 * MILLISECOND),
        initial_backoff=retry.duration("initialBackoff", MILLISECOND, HOUR, SECOND),
        max_backoff=retry.duration("maxBackoff", MILLISECOND, 24 * HOUR, 10 * MINUTE),
        max_age=retry.duration("maxAge", SECOND, 720 * HOUR, 72 * HOUR),
        max_attempts=retry.integer("maxAttempts", 1, 1_000_000) if retry.has("maxAttempts") else 0,
    )
    retry.ignore("maxAttempts")
    if delivery.max_backoff < delivery.initial_backoff:
        retry.wrong("maxBackoff", "must be at least retry.initialBackoff")
    for section in (batch, retry, fields):
        section.close()
    return delivery
