"""Certificates of authorities, when the API server does not tell them."""

import asyncio
from typing import Any

from hookline_operator.apply.api import Refused
from hookline_operator.observe.authorities import Authorities, AuthorityPace
from hookline_operator.observe.kinds import Body
from hookline_operator.observe.objects import Change, KindName
from hookline_routes.resource import ObjectKey
from support.operator_core import a_cluster, a_route_to, a_subscription, metadata
from support.waiting import until

KEY = ObjectKey("acme", "handlers")


class Server:
    """An API server with one ConfigMap."""

    def __init__(self) -> None:
        self.calls = 0
        self.refuses = False
        self.body: Body | None = {"metadata": metadata("acme", "handlers"), "data": {"ca.crt": "old"}}

    async def get(self, kind: object, namespace: str, name: str) -> Body | None:
        self.calls += 1
        if self.refuses:
            raise Refused("GET", 403, "Forbidden", "roles are not read yet")
        return self.body


async def test_an_authority_that_may_not_be_read_for_a_moment_stays_known() -> None:
    """An API server that starts answers 403 until it has read its roles: no route may be held for that."""
    cluster, server, changes = a_cluster(), Server(), list[Change]()
    subscription = a_subscription(spec={"routes": [a_route_to("handler", tls={"caRef": {"name": "handlers"}})]})
    cluster.apply(KindName.SUBSCRIPTIONS, None, subscription)
    authorities = Authorities(as_api(server), cluster, changes.append, pace=AuthorityPace(period=0.01))
    await authorities.read_missing()
    assert cluster.config_maps[KEY].data["ca.crt"] == "old"

    server.refuses = True
    before = server.calls
    running = asyncio.create_task(authorities.run())
    await until(lambda: server.calls >= before + 3)
    assert KEY in cluster.config_maps

    server.refuses, server.body = False, None
    await until(lambda: KEY not in cluster.config_maps)
    running.cancel()


def as_api(server: Server) -> Any:
    """The part of it that is called."""
    return server
