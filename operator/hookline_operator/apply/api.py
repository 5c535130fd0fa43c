"""
The calls of the API server: raw JSON, time limits, one kind of error for each way to go on.

    api = Api(client)                              # reads, and writes whenever asked
    api = Api(client, may_write=election.remaining)  # writes only while the Lease is held

Answers are plain dicts: model classes decode ten times slower and keep what nobody asks for.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from hookline_operator.resource_types import ResourceType

Json = dict[str, Any]

FIELD_MANAGER = "hookline-operator"
PAGE = 500
_JSON, _MERGE, _APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
_METADATA = "application/json;as={};v=v1;g=meta.k8s.io"


class ApiError(Exception):
    """The API server did not do what was asked; the message says what, and what it answered."""

    def __init__(self, call: str, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{call}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        """Seconds; 0 if it did not say."""


class NotFound(ApiError):
    """404: the object, or its whole kind, is not there."""


class Conflict(ApiError):
    """409: somebody has written since what was read; or it exists already (`reason` AlreadyExists)."""


class Expired(ApiError):
    """410: the position is too old; begin anew."""


class Refused(ApiError):
    """400, 401, 403, 413, 422 …: it will be refused again until something else changes."""


class Unavailable(ApiError):
    """429, 5xx, no answer or none in time: whether a write was done is not known; try again later."""


class NotLeading(Exception):
    """A write that was not made: the Lease is not surely held any more."""


_WRITING: ContextVar[Callable[[], object] | None] = ContextVar("_WRITING", default=None)
"""Raises NotLeading if the write that this task is about to send may not be made any more."""


def last_look() -> aiohttp.TraceConfig:
    """
    For the client's configuration: has an Api that asks who leads ask once more when it has a connection, and when it sends.

    A process that was stopped (SIGSTOP, a paused machine) while it waited for one goes on in there when it wakes, before
    any timer is looked at: by then another may lead. It asks before the first byte is sent too.
    """

    async def look(*_: object) -> None:
        if may_go_on := _WRITING.get():
            may_go_on()

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(look)
    config.on_connection_reuseconn.append(look)
    # Before the first byte: it is sent by a task of its own, whose turn may come late.
    config.on_request_chunk_sent.append(look)
    return config


@dataclass(frozen=True, slots=True)
class Listing:
    """A consistent list."""

    items: tuple[Json, ...]
    resource_version: int
    """The position in the kind's history that it shows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may take, and how often it is tried."""

    seconds: float = 10.0
    """For one attempt; of a page of a list six times that."""
    attempts: int = 4
    """Of a read without an answer, and of anything that was answered 429."""
    longest_pause: float = 5.0
    """Seconds between two attempts, whatever Retry-After says."""


class Api:
    """The calls. For one event loop."""

    def __init__(
        self, client: ApiClient, *, may_write: Callable[[], float] | None = None, limits: Limits | None = None
    ) -> None:
        """*may_write*: seconds for which writing is surely allowed, 0 for not; asked directly before each write."""
        self._client = client
        self._may_write = may_write
        self._limits = limits or Limits()
        self.writes = 0
        """Writes that were sent."""

    async def get(self, kind: ResourceType, namespace: str, name: str) -> Json | None:
        """The object; None if it is not there."""
        try:
            return await self._read(kind.path(namespace, name))
        except NotFound:
            return None

    async def list(
        self,
        kind: ResourceType,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> Listing:
        """
        All of them as of one moment that is not before the call, in pages; begins anew if it takes too long for the server.

        *metadata_only*: of each only its metadata. NotFound if the API server does not know the kind.
        """
        for attempt in range(self._limits.attempts):
            try:
                pages = [
                    page
                    async for page in self.pages(
                        kind, namespace, labels=labels, fields=fields, metadata_only=metadata_only
                    )
                ]
                return Listing(tuple(item for page in pages for item in page.items), pages[-1].resource_version)
            except Expired:
                if attempt + 1 == self._limits.attempts:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def pages(
        self,
        kind: ResourceType,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[Listing]:
        """The same page by page, so that not all of it is in memory at once; Expired if it takes too long."""
        accept = _METADATA.format("PartialObjectMetadataList") if metadata_only else _JSON
        query = {"limit": str(PAGE)}
        query |= {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        while True:
            page = await self._read(kind.path(namespace), query, accept, self._limits.seconds * 6)
            metadata = page["metadata"]
            yield Listing(tuple(page.get("items") or ()), int(metadata["resourceVersion"]))
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def create(self, kind: ResourceType, namespace: str, body: Mapping[str, Any]) -> Json:
        """POST; the object as stored. Conflict with reason AlreadyExists if its name is taken."""
        return await self._write("POST", kind.path(namespace), {"fieldManager": FIELD_MANAGER}, _JSON, body)

    async def replace(self, kind: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        """PUT; Conflict if metadata.resourceVersion of *body* is not the stored one's."""
        return await self._write("PUT", kind.path(namespace, name), {"fieldManager": FIELD_MANAGER}, _JSON, body)

    async def apply(
        self,
        kind: ResourceType,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        force: bool = True,
        manager: str = FIELD_MANAGER,
    ) -> Json:
        """Server-side apply, as owner *manager*; the object as stored. Conflict, if not *force*, over others' fields."""
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._write("PATCH", kind.path(namespace, name), query, _APPLY, body)

    async def merge(
        self, kind: ResourceType, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """Merge *change* into the object or its *subresource* ("status"); a value of None removes a field."""
        path = kind.path(namespace, name, subresource)
        return await self._write("PATCH", path, {"fieldManager": FIELD_MANAGER}, _MERGE, change)

    async def delete(
        self, kind: ResourceType, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> bool:
        """Whether it was there; Conflict if *uid* or *resource_version* is given and not the stored one's."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        conditions = {field: value for field, value in wanted.items() if value}
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if conditions:
            body["preconditions"] = conditions
        try:
            await self._write("DELETE", kind.path(namespace, name), {}, _JSON, body)
        except NotFound:
            return False
        return True

    async def _read(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = _JSON, seconds: float = 0.0
    ) -> Json:
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return await self._call(
                    "GET", path, query or {}, {"Accept": accept}, None, seconds or self._limits.seconds
                )
            except Unavailable as error:
                if attempt == self._limits.attempts:
                    raise
                await asyncio.sleep(self._pause(attempt, error.retry_after))
        raise AssertionError("the last attempt returns or raises")

    async def _write(
        self, method: str, path: str, query: Mapping[str, str], content_type: str, body: Mapping[str, Any]
    ) -> Json:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        for attempt in range(1, self._limits.attempts + 1):
            seconds = self._seconds_to_write(method, path)
            asked = _WRITING.set(lambda: self._must_lead(method, path))
            try:
                return await self._call(method, path, query, headers, body, seconds)
            except Unavailable as error:
                # Whatever else went wrong may have been done; who asked must look again.
                if error.status != 429 or attempt == self._limits.attempts:
                    raise
                pause = self._pause(attempt, error.retry_after)
            finally:
                _WRITING.reset(asked)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _seconds_to_write(self, method: str, path: str) -> float:
        left = self._must_lead(method, path)
        self.writes += 1
        return min(left, self._limits.seconds)

    def _must_lead(self, method: str, path: str) -> float:
        """Seconds for which writing is surely allowed, and more than none."""
        left = self._limits.seconds if self._may_write is None else self._may_write()
        if left <= 0:
            raise NotLeading(f"{method} {path}: the Lease is not surely held")
        return left

    def _pause(self, attempt: int, retry_after: float) -> float:
        chosen = retry_after or 0.2 * 2.0**attempt * random.random()
        return min(self._limits.longest_pause, chosen)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        seconds: float,
    ) -> Json:
        call = f"{method} {path}"
        given = dict(headers)
        try:
            async with asyncio.timeout(seconds):
                await self._client.update_params_for_auth(given, [], ["BearerToken"], path, method, body)
                url = f"{self._client.configuration.host}{path}{'?' if query else ''}{urlencode(query)}"
                limit = aiohttp.ClientTimeout(total=seconds)
                answer = await self._client.rest_client.request(  # type: ignore[no-untyped-call]
                    method, url, headers=given, body=body, _request_timeout=limit
                )
                content = await answer.read()
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise Unavailable(call, 0, type(error).__name__, str(error) or f"no answer within {seconds:g} s") from error
        if answer.status >= 400:
            raise _error(call, answer.status, content, answer.getheader("Retry-After", ""))
        return _decoded(call, answer.status, content)


def _decoded(call: str, status: int, content: bytes) -> Json:
    try:
        decoded = json.loads(content)
    except ValueError as error:
        raise Unavailable(call, status, "NotJSON", f"{len(content)} bytes that are not JSON") from error
    if not isinstance(decoded, dict):
        raise Unavailable(call, status, "NotAnObject", f"JSON that is a {type(decoded).__name__}")
    return cast("Json", decoded)


def _error(call: str, status: int, content: bytes, retry_after: str) -> ApiError:
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {"message": content[:200].decode("utf-8", "replace")}
    wait = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 0.0
    kinds: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Expired, 429: Unavailable}
    kind = kinds.get(status, Unavailable if status >= 500 else Refused)
    return kind(call, status, str(said.get("reason", "")), str(said.get("message", "")), wait)
