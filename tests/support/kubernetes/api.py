"""
A plain client of the API server for tests: objects as dicts, no generated classes, as whomever the test likes.

    api = plane.api()
    api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {...}, "data": {...}})
    plane.api(user="system:serviceaccount:acme:default").get("v1", "Secret", "acme", "it")   # raises Refused (403)

Quick enough to set up thousands of objects (about 1 ms each), which kubectl is not.
"""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

Object = dict[str, Any]

JSON, APPLY, MERGE = "application/json", "application/apply-patch+yaml", "application/merge-patch+json"
FIELD_MANAGER = "test"


class Refused(Exception):
    """The API server answered with an error."""

    def __init__(self, call: str, status: int, body: bytes) -> None:
        try:
            self.answer: Object = json.loads(body)
        except ValueError:
            self.answer = {"message": body.decode("utf-8", "replace")}
        self.status = status
        self.reason = str(self.answer.get("reason", ""))
        self.message = str(self.answer.get("message", ""))
        super().__init__(f"{call}: {status} {self.reason}: {self.message}")


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind are."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of one object, or of all of them."""
        parts = [self.prefix, *(["namespaces", namespace] if self.namespaced and namespace else []), self.plural]
        return "/".join((*parts, *(part for part in (name, subresource) if part)))


class Api:
    """One user's calls. Safe to use from several threads; each has a connection of its own."""

    def __init__(
        self, server: str, authority: Path | None, token: str, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = urlsplit(server)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=str(authority)) if parts.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {token}", "Accept": JSON, "User-Agent": "test", **(headers or {})}
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._resources: dict[tuple[str, str], Resource] = {}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Any:
        """The answer's JSON (its text, if it is none); raises Refused, or OSError without an answer."""
        target = f"{path}?{urlencode(query)}" if query else path
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**self._headers, **({"Content-Type": content_type} if data is not None else {})}
        status, content = self._exchange(method, target, data, headers, timeout)
        if status >= 400:
            raise Refused(f"{method} {target}", status, content)
        try:
            return json.loads(content)
        except ValueError:
            return content.decode()

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where objects of that kind are, as the API server itself says; KeyError if it serves none (yet)."""
        if (api_version, kind) not in self._resources:
            prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            for found in self.request("GET", prefix)["resources"]:
                if "/" not in found["name"]:
                    known = Resource(prefix, found["name"], found["namespaced"])
                    self._resources[(api_version, found["kind"])] = known
        return self._resources[(api_version, kind)]

    def create(self, thing: Object) -> Object:
        """POST; the object as stored."""
        return self._object("POST", self._of(thing).path(_namespace(thing)), thing)

    def apply(self, *things: Object) -> list[Object]:
        """Server-side apply of each, in order, taking over what others had set; the objects as stored."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return [self._object("PATCH", self._path(thing), thing, content_type=APPLY, query=query) for thing in things]

    def replace(self, thing: Object) -> Object:
        """PUT; conditional if it has a resourceVersion."""
        return self._object("PUT", self._path(thing), thing)

    def patch(self, thing: Object, change: Object, subresource: str = "") -> Object:
        """Merge *change* into the object that *thing* names."""
        return self._object("PATCH", self._path(thing, subresource), change, content_type=MERGE)

    def set_status(self, thing: Object, status: Object) -> Object:
        """Merge *status* into its status."""
        return self.patch(thing, {"status": status}, "status")

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object:
        """One object; Refused with 404 if it is not there."""
        return self._object("GET", self.resource(api_version, kind).path(namespace, name))

    def objects(self, api_version: str, kind: str, namespace: str = "", **query: str) -> list[Object]:
        """All of them, in one namespace or in the cluster."""
        answer = self.request("GET", self.resource(api_version, kind).path(namespace), query=query)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def delete(self, thing: Object) -> None:
        """At once, without grace."""
        self.request("DELETE", self._path(thing), query={"gracePeriodSeconds": "0"})

    def delete_all(self, api_version: str, kind: str, namespace: str) -> None:
        """Every object of that kind in the namespace."""
        path = self.resource(api_version, kind).path(namespace)
        self.request("DELETE", path, query={"gracePeriodSeconds": "0"})

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections:
            connection.close()

    def _of(self, thing: Object) -> Resource:
        return self.resource(thing["apiVersion"], thing["kind"])

    def _path(self, thing: Object, subresource: str = "") -> str:
        return self._of(thing).path(_namespace(thing), thing["metadata"]["name"], subresource)

    def _object(self, method: str, path: str, body: Any = None, **options: Any) -> Object:
        answer = self.request(method, path, body, **options)
        assert isinstance(answer, dict)
        return answer

    def _exchange(
        self, method: str, target: str, data: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, bytes]:
        for fresh in self._attempts():
            connection = self._connection(timeout)
            try:
                connection.request(method, target, body=data, headers=dict(headers))
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, OSError):
                connection.close()
                if fresh:
                    raise
        raise AssertionError("one attempt is always made")

    def _attempts(self) -> Iterator[bool]:
        """A connection kept from before may have been closed meanwhile: then once more, on a fresh one."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.sock is not None:
            yield False
        yield True

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._tls is None:
                connection = http.client.HTTPConnection(self._host, self._port)
            else:
                connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
            self._local.connection = connection
            self._connections.append(connection)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


def _namespace(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))
