"""Reads objects of a cluster: by KUBECONFIG (or ~/.kube/config), as kubectl does, or as a pod's service account."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hookline_cli.failure import FAILED, UNAVAILABLE, Failure

GROUP = "/apis/hookline.dev/v1alpha1"
PLURALS = {"WebhookSubscription": "webhooksubscriptions", "WebhookGateway": "webhookgateways"}
PAGE = 500
SECONDS = 30.0
"""For each answer."""


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster."""

    kubeconfig: str = ""
    """A file; "": what KUBECONFIG says."""
    context: str = ""
    """"": the current one."""


class Cluster:
    """One API server, asked by hand: objects as plain JSON."""

    def __init__(self, access: Access) -> None:
        """Raises Failure where there is nothing to go by."""
        # PERF: half a second of imports, for this command alone.
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise Failure(
                "this command needs the Python package kubernetes: install hookline[cli]", UNAVAILABLE
            ) from error
        configuration = client.Configuration()
        try:
            self.namespace = _load(config, configuration, access)
        except (config.ConfigException, OSError) as error:
            raise Failure(f"no cluster to ask: {error}", UNAVAILABLE) from error
        configuration.retries = False
        self._client = client.ApiClient(configuration)

    def one(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """An object; raises Failure if it is not there."""
        return {"kind": kind, **self._get(_path(kind, namespace, name), f"{kind} {namespace}/{name}")}

    def all(self, kind: str, namespace: str) -> Iterator[dict[str, Any]]:
        """Those of a *namespace*, or of all where it is "", by namespace and name."""
        position = ""
        while True:
            query = {"limit": str(PAGE), **({"continue": position} if position else {})}
            page = self._get(f"{_path(kind, namespace)}?{urlencode(query)}", f"{kind}s")
            for item in page.get("items", ()):
                yield {"kind": kind, **item}
            position = page.get("metadata", {}).get("continue", "")
            if not position:
                return

    def _get(self, path: str, what: str) -> dict[str, Any]:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
        server = self._client.configuration.host
        try:
            answer = self._client.rest_client.request(  # type: ignore[no-untyped-call]
                "GET", f"{server}{path}", headers, _request_timeout=SECONDS
            )
            content = answer.read() or b""
        except (ApiException, HTTPError, OSError) as error:
            reason = str(error).strip() or type(error).__name__
            raise Failure(f"the API server at {server} does not answer: {reason}", UNAVAILABLE) from error
        if answer.status >= 400:
            raise _failure(answer.status, content, what)
        found = json.loads(content)
        assert isinstance(found, dict)
        return found


def _load(config: Any, configuration: Any, access: Access) -> str:
    """Fill *configuration*; the namespace that is meant where none is given."""
    in_pod = not (access.kubeconfig or access.context or os.environ.get("KUBECONFIG"))
    if in_pod and os.environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=configuration)
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as file:
            return file.read().strip()
    file_name, context = access.kubeconfig or None, access.context or None
    contexts, current = config.list_kube_config_contexts(config_file=file_name)
    config.load_kube_config(
        config_file=file_name, context=context, client_configuration=configuration, persist_config=False
    )
    chosen = next((each for each in contexts if each["name"] == context), None) if context else current
    return str((chosen or {}).get("context", {}).get("namespace") or "default")


def _failure(status: int, body: bytes, what: str) -> Failure:
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    message = said.get("message", "") if isinstance(said, dict) else ""
    if status == 404 and "the server could not find" in message:
        return Failure("the cluster does not know hookline.dev: is Hookline installed there?", UNAVAILABLE)
    if status == 404:
        return Failure(f"{what} does not exist")
    if status in (401, 403):
        return Failure(f"the API server refuses to show {what}: {message or status}", UNAVAILABLE)
    return Failure(f"the API server answers {status} when asked for {what}: {message}", FAILED)


def _path(kind: str, namespace: str, name: str = "") -> str:
    parts = [GROUP, *(["namespaces", quote(namespace, safe="")] if namespace else []), PLURALS[kind]]
    return "/".join([*parts, quote(name, safe="")] if name else parts)
