"""A Lease as an API server keeps it, in memory: conditional writes, failures to order."""

from typing import Any

from hookline_operator.apply.api import Conflict, Json, NotFound, Unavailable


class LeaseServer:
    """Stands in for `Api` in an election; every replica has one `seat` at it."""

    def __init__(self) -> None:
        self.stored: Json | None = None
        self._version = 0

    def seat(self) -> "Seat":
        """What one replica calls."""
        return Seat(self)

    def put(self, body: Json, version: str | None) -> Json:
        """Store, if *version* is the stored one's."""
        known = str(self.stored["metadata"]["resourceVersion"]) if self.stored else None
        if known != version:
            raise Conflict("PUT lease", 409, "Conflict", "the object has been modified")
        self._version += 1
        spec = {field: value for field, value in body["spec"].items() if value is not None}
        self.stored = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}, "spec": spec}
        return self.stored

    def touch(self) -> None:
        """Somebody else changes something of it that means nothing."""
        assert self.stored is not None
        self.put(self.stored, str(self.stored["metadata"]["resourceVersion"]))

    @property
    def holder(self) -> str:
        """As stored."""
        return str(self.stored["spec"].get("holderIdentity", "")) if self.stored else ""


class Seat:
    """One replica's way to the server."""

    def __init__(self, server: LeaseServer) -> None:
        self._server = server
        self.cut_off = False
        """Nothing arrives."""
        self.fails_reads = False
        """Reads are refused at once."""
        self.calls = 0
        self.loses_answers = 0
        """So many writes are done without an answer."""
        self.writes = 0

    async def get(self, kind: Any, namespace: str, name: str) -> Json | None:
        self._reach()
        if self.fails_reads:
            raise Unavailable("GET lease", 503, "ServiceUnavailable", "not now")
        return self._server.stored

    async def create(self, kind: Any, namespace: str, body: Json) -> Json:
        self._reach()
        return self._answer(self._server.put(body, None))

    async def replace(self, kind: Any, namespace: str, name: str, body: Json) -> Json:
        self._reach()
        if self._server.stored is None:
            raise NotFound("PUT lease", 404, "NotFound", "not found")
        return self._answer(self._server.put(body, body["metadata"]["resourceVersion"]))

    def _reach(self) -> None:
        self.calls += 1
        if self.cut_off:
            raise Unavailable("lease", 0, "TimeoutError", "no answer")

    def _answer(self, stored: Json) -> Json:
        self.writes += 1
        if self.loses_answers:
            self.loses_answers -= 1
            raise Unavailable("PUT lease", 0, "TimeoutError", "no answer")
        return stored
