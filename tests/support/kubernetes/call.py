"""A request to the API server, read as the API server reads it: verb, resource, namespace, name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
READS = frozenset(("get", "list", "watch"))


@dataclass(frozen=True)
class Request:
    """One request, as a proxy saw it."""

    method: str
    target: str
    """Path and query."""
    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection; for paths that are no resources as the method."""
    group: str
    resource: str
    """Plural; "" for paths that are no resources."""
    subresource: str
    namespace: str
    name: str
    agent: str
    user: str
    """Whom it impersonates; "" for the bearer of the token himself."""
    size: int
    """Bytes of the body."""

    @property
    def writes(self) -> bool:
        """Whether it would change something."""
        return self.verb not in READS


Match = Callable[[Request], bool]


def anything(request: Request) -> bool:
    """Match every request."""
    return True


def writing(request: Request) -> bool:
    """Match what would change something."""
    return request.writes


def matching(**like: Any) -> Match:
    """Match requests whose fields are as given; a tuple or set gives several: `matching(verb=("list", "watch"))`."""

    def match(request: Request) -> bool:
        return all(
            getattr(request, name) in value
            if isinstance(value, (tuple, set, frozenset))
            else getattr(request, name) == value
            for name, value in like.items()
        )

    return match


def read(method: str, target: str, headers: Mapping[str, str], size: int) -> Request:
    """Read a request's first line and its *headers* (names in lower case)."""
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    watch = query.get("watch", ["false"])[0] in ("1", "true", "True")
    group, rest = _group(parts.path.strip("/").split("/"))
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest[:2], *rest[2:3], "", "", "")[:3] if rest else ("", "", "")
    verb = VERBS.get(method, method.lower())
    if resource and not name:
        verb = {"get": "watch" if watch else "list", "delete": "deletecollection"}.get(verb, verb)
    elif watch:
        verb = "watch"
    agent, user = headers.get("user-agent", ""), headers.get("impersonate-user", "")
    return Request(method, target, verb, group, resource, subresource, namespace, name, agent, user, size)


def _group(parts: list[str]) -> tuple[str, list[str]]:
    """The API group and what follows its version; nothing follows where the path is no resource's."""
    if parts[0] == "api" and len(parts) > 2:
        return "", parts[2:]
    if parts[0] == "apis" and len(parts) > 3:
        return parts[1], parts[3:]
    return "", []
