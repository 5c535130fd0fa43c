"""
What receiver and forwarder may be given next, so that no event arrives that the forwarder knows no routes of. Pure.

A new subscription goes to the receiver once the forwarder serves it; whatever changes or revokes goes at once. One that is
gone stays with the forwarder while the receiver may still take its events. Each shard is decided on its own, from what is
published, what is in force and what is served; done again and again it ends where the target is.
"""

from collections.abc import Iterable
from dataclasses import dataclass

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReceiverShard:
    """What is known of one shard on the receiver's side: uids of subscriptions."""

    target: frozenset[str]
    in_force: frozenset[str]
    """In the file: what a worker that starts now would serve."""


@dataclass(frozen=True, slots=True)
class ForwarderShard:
    """The same on the forwarder's side."""

    target: frozenset[str]
    in_force: frozenset[str]


def held_back(receiver: ReceiverShard, forwarder_serves: frozenset[str] | None) -> frozenset[str]:
    """
    Subscriptions of the target that the receiver is not to be given yet; None: the forwarder isn't running.

    One that the receiver has already is never held back: that would refuse events for nothing. A forwarder that is not
    running reads the newest file when it starts.
    """
    if forwarder_serves is None:
        return NOTHING
    return receiver.target - receiver.in_force - forwarder_serves


def leaving(forwarder: ForwarderShard, receivers_serve: Iterable[frozenset[str]] | None) -> frozenset[str]:
    """
    Subscriptions that are not in the target and that the forwarder is to keep for now.

    *receivers_serve*: all that any worker may serve, or served a moment ago; None: what they serve is not known, so
    everything may be.
    """
    gone = forwarder.in_force - forwarder.target
    if receivers_serve is None or not gone:
        return gone
    return gone & NOTHING.union(*receivers_serve)
