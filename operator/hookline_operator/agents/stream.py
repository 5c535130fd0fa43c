"""Follows one agent: a stream of its reports, begun anew with backoff for as long as its pod is there."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

import grpc

from hookline.agent.v1.agent_pb2 import FollowRequest, FollowResponse
from hookline.agent.v1.agent_pb2_grpc import AgentServiceStub

SILENCE = 15.0
"""Seconds without a report after which nothing is known of a pod: it reports every 5."""

BACKOFF_FIRST, BACKOFF_LONGEST = 0.2, 10.0
"""Seconds; doubled with each failure, and half of it random: all pods come back at once after a network's fault."""

MAX_REPORT_BYTES = 16 * 1024 * 1024
"""The first one names all credentials that were used."""

log = logging.getLogger(__name__)


Hears = Callable[[FollowResponse], None]
"""Who is told what an agent reports."""


class AgentStream:
    """One agent at one address."""

    def __init__(
        self,
        pod: str,
        address: str,
        token: Callable[[], str],
        hears: Hears,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*pod* names it in logs; *token* is asked for each stream."""
        self._pod = pod
        self._address = address
        self._token = token
        self._hears = hears
        self._chance = chance
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            began = self._clock()
            heard, reason = await self._follow()
            failures = 0 if heard else failures + 1
            if failures == 1 or (heard and self._clock() - began < SILENCE):
                log.info("an agent's reports ended, it is asked again", extra={"pod": self._pod, "reason": reason})
            longest = min(BACKOFF_LONGEST, BACKOFF_FIRST * 2 ** min(failures, 10))
            await asyncio.sleep(longest * (0.5 + 0.5 * self._chance()))

    async def _follow(self) -> tuple[bool, str]:
        """Whether anything was heard, and why it ended."""
        heard = False
        options = [
            ("grpc.max_receive_message_length", MAX_REPORT_BYTES),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),  # each attempt is a new connection: gRPC's own backoff is longer
        ]
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            metadata = (("authorization", f"Bearer {self._token()}"),)
            call = AgentServiceStub(channel).Follow(FollowRequest(), metadata=metadata)
            try:
                reports = aiter(call)
                while True:
                    async with asyncio.timeout(SILENCE):
                        report = await anext(reports)
                    heard = True
                    self._hears(report)
            except StopAsyncIteration:
                return heard, "the agent ended the stream"
            except TimeoutError:
                return heard, f"no report for {SILENCE:g} s"
            except grpc.RpcError as error:
                return heard, _words(error)
            except Exception:
                # Nobody waits for this task: if it ended, its pod would count as silent for as long as it is there.
                log.exception("an agent's report can't be taken", extra={"pod": self._pod})
                return False, "a report can't be taken"
            finally:
                call.cancel()


def _words(error: grpc.RpcError) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error)
