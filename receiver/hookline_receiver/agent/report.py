"""Tells the operator what all workers serve, and which credentials are used: gRPC, known by a shared token."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from hookline.agent.v1 import agent_pb2 as pb
from hookline.agent.v1 import agent_pb2_grpc as rpc

EVERY_SECONDS = 5.0
MAX_STREAMS = 16
"""Two operators follow, and for a moment those of before."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What the pod serves at one moment."""

    revisions: tuple[int, ...]
    in_sync: bool
    trouble: str
    held: int | None = field(default=None, compare=False)
    """What would be lost with the pod's volume; told with the next report, and no reason for one. None: not known."""


@dataclass(frozen=True, slots=True)
class Use:
    """When a credential was last used."""

    subscription_uid: str
    credential: str
    at: int
    """Seconds since the epoch."""


class Reports(Protocol):
    """Whose reports these are."""

    @property
    def report(self) -> Report:
        """Now."""

    async def moved(self, seen: Report, within: float) -> None:
        """Return when the report is not *seen* any more, or after *within* seconds."""

    async def used(self) -> Sequence[Use]:
        """All that the pod remembers."""


class AgentServicer(rpc.AgentServiceServicer):
    """Serves `Follow`."""

    def __init__(
        self, plane: str, reports: Reports, token: Callable[[], bytes], max_streams: int = MAX_STREAMS
    ) -> None:
        self._max_streams = max_streams
        self._plane = plane
        self._reports = reports
        self._token = token
        self.streams = 0

    async def Follow(
        self, request: pb.FollowRequest, context: grpc.aio.ServicerContext[pb.FollowRequest, pb.FollowResponse]
    ) -> AsyncIterator[pb.FollowResponse]:
        """Stream what is served, until the caller is gone."""
        if not self._known(context.invocation_metadata()):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "metadata authorization: Bearer TOKEN is not the token"
            )
        if self.streams >= self._max_streams:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._max_streams} streams are open")
        self.streams += 1
        try:
            told: dict[tuple[str, str], int] = {}
            while True:
                report = self._reports.report
                yield self._response(report, _news(await self._reports.used(), told))
                await self._reports.moved(report, EVERY_SECONDS)
        finally:
            self.streams -= 1

    def _known(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
        token = self._token()
        shown = [value for key, value in metadata or () if key == "authorization"]
        given = shown[0] if len(shown) == 1 else ""
        given = given.encode() if isinstance(given, str) else given
        # SECURITY: in constant time; without a token nobody is known.
        return bool(token) and hmac.compare_digest(given, b"Bearer " + token)

    def _response(self, report: Report, used: Iterable[Use]) -> pb.FollowResponse:
        return pb.FollowResponse(
            plane=self._plane,
            route_revisions=report.revisions,
            in_sync=report.in_sync,
            trouble=report.trouble,
            held=report.held,
            used=[
                pb.CredentialUse(
                    subscription_uid=each.subscription_uid,
                    credential=each.credential,
                    last_used=Timestamp(seconds=each.at),
                )
                for each in used
            ],
        )


class ReportServer:
    """The gRPC server."""

    def __init__(self, servicer: AgentServicer) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.keepalive_timeout_ms", 10_000),
            ]
        )
        rpc.add_AgentServiceServicer_to_server(servicer, self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; raises OSError if the address can't be had."""
        try:
            bound = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"{host}:{port} can't be listened on: {error}") from error
        await self._server.start()
        return bound

    async def stop(self) -> None:
        """Serve no longer."""
        with_patience = self._server.stop(0.2)
        await asyncio.shield(with_patience)


def _news(uses: Iterable[Use], told: dict[tuple[str, str], int]) -> Sequence[Use]:
    """Those that are newer than what *told* holds, which learns them."""
    news = [each for each in uses if told.get((each.subscription_uid, each.credential), -1) < each.at]
    told.update({(each.subscription_uid, each.credential): each.at for each in news})
    return news
