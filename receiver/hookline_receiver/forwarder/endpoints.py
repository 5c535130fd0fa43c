"""
Channels to handlers: one per ready endpoint, and a picker of our own.

gRPC's core does for each channel what it does best: connecting with backoff, resolving names (`dns:///`, all of a
name's addresses in turn) and health checking. A channel is ready when the endpoint is connected and its
`grpc.health.v1` service does not say NOT_SERVING; an endpoint without that service counts as serving. Ours is to know
which endpoints there are, to pick the one with the least under way, and to close what is idle or gone.
"""

import asyncio
import logging
from collections.abc import Callable, Container
from dataclasses import dataclass

import grpc

from hookline_receiver.carrying.routebook import Handler
from hookline_receiver.forwarder.call import METHOD, Reply
from hookline_receiver.forwarder.channel import ChannelMaker
from hookline_receiver.forwarder.decide import CallFailed
from hookline_receiver.forwarder.tables import Addresses

log = logging.getLogger(__name__)

_UNSENT = "connections to all backends failing"
"""What gRPC's core says of a call that it had no connection for: the endpoint went, or stopped serving, a moment ago."""


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """Bounds on channels; times in seconds."""

    channels: int = 1024
    """All together; beyond, the ones unused for longest are closed."""
    per_handler: int = 32
    """Endpoints of one handler that are used at once."""
    idle: float = 300.0
    """Unused for so long, a channel is closed."""
    patience: float = 2.5
    """How long a call waits for an endpoint to be ready: longer than the longest pause between two connects."""


class Endpoint:
    """One endpoint's channel."""

    def __init__(self, address: str, channel: grpc.aio.Channel, changed: Callable[["Endpoint"], None]) -> None:
        self.address = address
        self.in_flight = 0
        self.retired = False
        self.ready = False
        self.used_at = asyncio.get_running_loop().time()
        self._channel = channel
        self._changed = changed
        self._deliver: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        self._watch = asyncio.get_running_loop().create_task(self._follow())

    async def call(self, request: bytes, timeout: float) -> Reply:
        """Send *request*; the deadline is *timeout* seconds from now."""
        self.in_flight += 1
        try:
            return Reply(self.address, await self._deliver(request, timeout=timeout))
        except grpc.aio.AioRpcError as error:
            detail = error.details() or ""
            return Reply(self.address, CallFailed(error.code().name, detail, reached=not detail.startswith(_UNSENT)))
        except (grpc.aio.UsageError, grpc.aio.InternalError) as error:
            return Reply(self.address, CallFailed("UNAVAILABLE", f"the channel is gone: {error}", reached=False))
        finally:
            self.in_flight -= 1
            self.used_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self.ready = False
        self._watch.cancel()
        await self._channel.close()

    async def _follow(self) -> None:
        """Keep `ready` true to the channel, connecting whenever it is idle."""
        while True:
            state = self._channel.get_state(try_to_connect=True)
            ready = state is grpc.ChannelConnectivity.READY
            if ready is not self.ready:
                self.ready = ready
                self._changed(self)
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                return
            await self._channel.wait_for_state_change(state)


class _Pool:
    """The endpoints of one handler."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.endpoints: dict[str, Endpoint] = {}
        self.changed = asyncio.Event()
        self._turn = 0

    def pick(self, besides: Container[str] = ()) -> Endpoint | None:
        """The ready endpoint with the least under way, *besides* these; equals in turn."""
        ready = [one for one in self.endpoints.values() if one.ready and one.address not in besides]
        if not ready:
            return None
        self._turn += 1
        offset = self._turn % len(ready)
        return min(ready[offset:] + ready[:offset], key=lambda one: one.in_flight)


class GrpcCaller:
    """Calls handlers over gRPC; `maintain` is to be called every second or so, and when the endpoint table changed."""

    def __init__(
        self,
        channels: ChannelMaker,
        addresses: Callable[[], Addresses | None],
        reachable: Callable[[Handler], None],
        limits: EndpointLimits | None = None,
    ) -> None:
        self._channels = channels
        self._addresses = addresses
        self._reachable = reachable
        self._limits = limits or EndpointLimits()
        self._pools: dict[Handler, _Pool] = {}
        self._retired: list[Endpoint] = []

    async def call(self, handler: Handler, request: bytes, timeout: float) -> Reply:
        """
        Send *request* to a ready endpoint of *handler*; waits for one for a while, never longer than *timeout*.

        One that stops serving in this very moment has not been sent the request: another one that is ready gets it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        endpoint = await self._ready_endpoint(handler, min(deadline, loop.time() + self._limits.patience))
        if endpoint is None:
            return Reply("", CallFailed("UNAVAILABLE", self._why_none(handler), reached=False))
        tried: set[str] = set()
        while True:
            reply = await endpoint.call(request, max(0.001, deadline - loop.time()))
            tried.add(endpoint.address)
            other = self._pool(handler).pick(tried) if _unsent(reply) else None
            if other is None:
                return reply
            endpoint = other

    def warm(self, handler: Handler) -> None:
        """Connect to *handler*'s endpoints now, for a call that is to come."""
        self._align(self._pool(handler))

    def ready(self, handler: Handler) -> int:
        """How many endpoints of *handler* are connected and serving."""
        pool = self._pools.get(handler)
        return sum(one.ready for one in pool.endpoints.values()) if pool else 0

    async def maintain(self) -> None:
        """Follow the endpoint table and the client certificate; close what is idle or gone."""
        if self._channels.refresh():
            for pool in self._pools.values():
                self._retire(pool, [one for one in pool.endpoints if pool.handler.tls])
        now = asyncio.get_running_loop().time()
        for pool in list(self._pools.values()):
            used_at = max((one.used_at for one in pool.endpoints.values()), default=0.0)
            busy = any(one.in_flight for one in pool.endpoints.values())
            if not busy and now - used_at > self._limits.idle:
                self._retire(pool, list(pool.endpoints))
                del self._pools[pool.handler]
            else:
                self._align(pool)
        await self._close_retired()

    async def close(self) -> None:
        """Close all channels."""
        for pool in self._pools.values():
            self._retire(pool, list(pool.endpoints))
        self._pools = {}
        for endpoint in self._retired:
            await endpoint.close()
        self._retired = []

    @property
    def open_channels(self) -> int:
        """How many there are, those that finish their last calls included."""
        return sum(len(pool.endpoints) for pool in self._pools.values()) + len(self._retired)

    def _pool(self, handler: Handler) -> _Pool:
        pool = self._pools.get(handler)
        if pool is None:
            pool = self._pools[handler] = _Pool(handler)
        return pool

    async def _ready_endpoint(self, handler: Handler, until: float) -> Endpoint | None:
        pool = self._pool(handler)
        self._align(pool)
        loop = asyncio.get_running_loop()
        while (endpoint := pool.pick()) is None:
            if not pool.endpoints or loop.time() >= until:
                return None
            pool.changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await pool.changed.wait()
            except TimeoutError:
                return pool.pick()
        return endpoint

    def _align(self, pool: _Pool) -> None:
        """Make channels for endpoints that are new in the table, and retire those that left it."""
        table = self._addresses()
        wanted = table.of(pool.handler)[: self._limits.per_handler] if table else ()
        self._retire(pool, [address for address in pool.endpoints if address not in wanted])
        for address in wanted:
            if address not in pool.endpoints and self._make_room():
                channel = self._channels.make(pool.handler, address)
                pool.endpoints[address] = Endpoint(address, channel, lambda one, pool=pool: self._changed(pool, one))  # type: ignore[misc]

    def _make_room(self) -> bool:
        """Whether another channel may be made; the pool unused for longest gives way, if nothing is under way there."""
        if self.open_channels < self._limits.channels:
            return True
        unused = [
            pool
            for pool in self._pools.values()
            if pool.endpoints and not any(one.in_flight for one in pool.endpoints.values())
        ]
        if not unused:
            return False
        oldest = min(unused, key=lambda pool: max(one.used_at for one in pool.endpoints.values()))
        self._retire(oldest, list(oldest.endpoints))
        return True

    def _retire(self, pool: _Pool, addresses: list[str]) -> None:
        """No new calls for these; each is closed once its last call has ended."""
        for address in addresses:
            endpoint = pool.endpoints.pop(address)
            endpoint.retired = True
            self._retired.append(endpoint)

    async def _close_retired(self) -> None:
        closing = [one for one in self._retired if not one.in_flight]
        self._retired = [one for one in self._retired if one.in_flight]
        for endpoint in closing:
            await endpoint.close()

    def _changed(self, pool: _Pool, endpoint: Endpoint) -> None:
        pool.changed.set()
        if endpoint.ready and not endpoint.retired:
            self._reachable(pool.handler)

    def _why_none(self, handler: Handler) -> str:
        table = self._addresses()
        if table is None:
            return "there is no endpoint table yet"
        addresses = table.of(handler)
        if not addresses:
            return table.reason(handler)
        pool = self._pools.get(handler)
        if pool is None or not pool.endpoints:
            full = self.open_channels >= self._limits.channels
            return (
                f"no channel to {handler}: all {self._limits.channels} are in use"
                if full
                else f"the endpoints of {handler} changed while the call waited for one"
            )
        return f"none of the endpoints of {handler} is connected and serving: {', '.join(addresses[:4])}"


def _unsent(reply: Reply) -> bool:
    return isinstance(reply.result, CallFailed) and not reply.result.reached
