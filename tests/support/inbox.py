"""A handler of the kit, in the test's own process, that keeps what it accepts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hookline_kit.event import Event
from hookline_kit.outcome import Accepted, Outcome
from hookline_kit.server import Server


@dataclass
class Inbox:
    """A handler in the test's own process; keeps what it accepts."""

    events: list[Event] = field(default_factory=list)
    answer: Callable[[Event], Outcome] = lambda event: Accepted()
    server: Server | None = None

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Outcome]:
        """As the handler kit asks."""
        outcomes = {event.delivery_id: self.answer(event) for event in events}
        self.events.extend(event for event in events if isinstance(outcomes[event.delivery_id], Accepted))
        return outcomes

    def messages(self, route: str = "") -> list[str]:
        """Ids of the messages that came (by *route*, if given), in their order."""
        return [_message_of(event) for event in list(self.events) if route in ("", event.route)]

    def got(self, *messages: str, route: str = "") -> bool:
        """Whether all of these have come."""
        return set(messages) <= set(self.messages(route))


def _message_of(event: Event) -> str:
    return str(event.json()["data"]["message"]["id"])
