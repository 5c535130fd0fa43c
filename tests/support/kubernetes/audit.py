"""
What the API server was asked, by whom, and how it answered: its own audit log.

    mark = plane.audit.mark()
    ...
    assert plane.audit.writes(mark, namespace=namespace) == []
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "nonResourceURLs": ["/readyz*", "/healthz*", "/livez*"]},
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "Metadata"},
    ],
}
READS = frozenset(("get", "list", "watch"))


@dataclass(frozen=True)
class Call:
    """One answered request; a watch appears once when it starts and once more when it ends."""

    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection."""
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    """Whose rights were asked for: the impersonated one where one was."""
    status: int
    agent: str
    stage: str
    path: str
    dry_run: bool

    @property
    def writes(self) -> bool:
        """Whether it changed something, or tried to."""
        return self.verb not in READS and not self.dry_run

    @property
    def right(self) -> tuple[str, str, str]:
        """Verb, API group and resource (with its subresource), as RBAC's rules name them."""
        return self.verb, self.group, "/".join(part for part in (self.resource, self.subresource) if part)


class Audit:
    """The log of one control plane."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def mark(self) -> int:
        """The place up to which the log is written now."""
        return self.file.stat().st_size if self.file.exists() else 0

    def calls(self, since: int = 0, **like: Any) -> list[Call]:
        """Every call since that mark whose fields are as given: `namespace="acme"`, `verb="patch"`, `user=...`."""
        return [call for call in self._read(since) if all(getattr(call, name) == value for name, value in like.items())]

    def writes(self, since: int = 0, **like: Any) -> list[Call]:
        """Those that changed something, or tried to. Reviews of tokens and rights change nothing."""
        return [call for call in self.calls(since, **like) if call.writes and not call.group.startswith("auth")]

    def _read(self, since: int) -> Iterator[Call]:
        if not self.file.exists():
            return
        with self.file.open("rb") as lines:
            lines.seek(since)
            for line in lines:
                if line.endswith(b"\n"):
                    yield _call(json.loads(line))


def _call(event: dict[str, Any]) -> Call:
    thing = event.get("objectRef", {})
    return Call(
        verb=event["verb"],
        group=thing.get("apiGroup", ""),
        resource=thing.get("resource", ""),
        subresource=thing.get("subresource", ""),
        namespace=thing.get("namespace", ""),
        name=thing.get("name", ""),
        user=event.get("impersonatedUser", event["user"])["username"],
        status=event.get("responseStatus", {}).get("code", 0),
        agent=event.get("userAgent", ""),
        stage=event["stage"],
        path=event["requestURI"],
        dry_run="dryRun=All" in event["requestURI"],
    )
