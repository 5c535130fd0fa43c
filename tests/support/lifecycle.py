"""What tests of the lifecycle ask a running gateway, and a handler that lets some events wait."""

import json
from collections.abc import Iterable
from typing import Any

from click.testing import CliRunner, Result

from hookline.handler.v1 import handler_pb2 as pb
from hookline_cli.main import cli
from support.forwarder import Handler
from support.gateway import BRISK, Gateway
from support.manifests import a_route

RETRY = {"retry": BRISK}


def a_paused_route(name: str = "main", service: str = "handler", **given: Any) -> dict[str, Any]:
    """A route whose events are kept."""
    return a_route(name, service, delivery=RETRY, paused=True, **given)


def states(running: Gateway) -> list[list[str]]:
    """Of each event, in the order they came, the state of each delivery."""
    return [[one["state"] for one in event["deliveries"]] for event in events(running)]


def events(running: Gateway, *arguments: str) -> list[dict[str, Any]]:
    """What `hookline events` lists."""
    return [json.loads(line) for line in ask("events", running, *arguments).stdout.splitlines()]


def reasons(running: Gateway) -> list[str]:
    """Why each dead letter is one."""
    return [json.loads(line)["reason"] for line in ask("dead", running).stdout.splitlines()]


def ask(command: str, running: Gateway, *arguments: str) -> Result:
    """What a command prints; in this process, as it is asked often."""
    done = CliRunner().invoke(cli, [command, *arguments, "--data", str(running.data), "--json"])
    assert done.exit_code == 0, done.output
    return done


class Patient(Handler):
    """A handler that has the events it holds come again, and takes all others."""

    def __init__(self, hold: Iterable[bytes] = ()) -> None:
        super().__init__(self._answer)
        self.held = set(hold)
        self._accepted: list[tuple[str, bytes]] = []

    def accepted(self, route: str = "main") -> list[bytes]:
        """The bodies that it took from *route*, in the order it took them."""
        return [body for name, body in self._accepted if name == route]

    def asked(self, body: bytes) -> int:
        """How often *body* came."""
        return self.bodies.count(body)

    def _answer(self, request: pb.DeliverRequest) -> pb.DeliverResponse:
        return pb.DeliverResponse(outcomes=[self._outcome(one) for one in request.deliveries])

    def _outcome(self, delivery: pb.Delivery) -> pb.Outcome:
        body = delivery.event.binary_data
        if body in self.held:
            return pb.Outcome(delivery_id=delivery.delivery_id, retry_after=pb.RetryAfter(reason="held"))
        self._accepted.append((delivery.event.attributes["hooklineroute"].ce_string, body))
        return pb.Outcome(delivery_id=delivery.delivery_id, accepted=pb.Accepted())
