"""What an installation has once: its internal Secret, and the gateway that its configuration asks for."""

import base64
import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from hookline_operator.apply.api import Api, Conflict, Json
from hookline_operator.resource_types import GATEWAYS, SECRETS

log = logging.getLogger(__name__)

INTERNAL_SECRET = "hookline-internal"
DEFAULT_GATEWAY = "default"
CONFIGURATION = "hookline.dev/configuration"
"""Annotation of the gateway that was made: digest of the configuration that it was made from."""
TAG_KEY_BYTES = 32
_MANAGED = {"app.kubernetes.io/managed-by": "hookline-operator"}


class Misconfigured(Exception):
    """Something that a person wrote can't be used; the message says what."""


@dataclass(frozen=True, slots=True)
class Internal:
    """What the installation's own parts share. SECURITY: left out of `repr`."""

    tag_key: bytes = field(repr=False)
    """Key of the verifiers' tags, 32 bytes."""
    agent_token: str = field(repr=False)
    """By which agents know the operator."""


class Installation:
    """Makes what is missing; to be asked by the leader only."""

    def __init__(self, api: Api, namespace: str, gateway_spec: Mapping[str, Any] | None) -> None:
        """*gateway_spec*: what the configuration says of the gateway "default"; None: none is made."""
        self._api, self._namespace, self._gateway_spec = api, namespace, gateway_spec

    async def internal(self) -> Internal | None:
        """What the Secret says; None if it, or something in it, is not there."""
        secret = await self._api.get(SECRETS, self._namespace, INTERNAL_SECRET)
        data = (secret or {}).get("data") or {}
        if not data.get("tagKey") or not data.get("agentToken"):
            return None
        tag_key = base64.b64decode(data["tagKey"])
        if len(tag_key) != TAG_KEY_BYTES:
            where = f"Secret {self._namespace}/{INTERNAL_SECRET}"
            raise Misconfigured(f"{where}: tagKey must be {TAG_KEY_BYTES} bytes, got {len(tag_key)}")
        return Internal(tag_key, base64.b64decode(data["agentToken"]).decode().strip())

    async def make_internal(self) -> Internal:
        """The same; made if it is not there. What is there is never replaced."""
        while (internal := await self.internal()) is None:
            there = await self._api.get(SECRETS, self._namespace, INTERNAL_SECRET)
            made = {
                "tagKey": base64.b64encode(secrets.token_bytes(TAG_KEY_BYTES)).decode(),
                "agentToken": base64.b64encode(secrets.token_hex(32).encode()).decode(),
            }
            try:
                await self._write_internal(there, made)
            except Conflict:
                continue
        return internal

    async def make_default_gateway(self) -> bool:
        """
        Make the gateway if it is not there, or follow the configuration if that has changed; whether something was written.

        What people change of it stays until then; one that they made themselves is left alone.
        """
        if self._gateway_spec is None:
            return False
        digest = hashlib.sha256(json.dumps(self._gateway_spec, sort_keys=True).encode()).hexdigest()[:16]
        there = await self._api.get(GATEWAYS, self._namespace, DEFAULT_GATEWAY)
        if there is not None and _annotation(there) in ("", digest):
            return False
        body = {
            "apiVersion": GATEWAYS.api_version,
            "kind": GATEWAYS.kind,
            "metadata": {
                "name": DEFAULT_GATEWAY,
                "namespace": self._namespace,
                "labels": _MANAGED,
                "annotations": {CONFIGURATION: digest},
            },
            "spec": self._gateway_spec,
        }
        await self._api.apply(GATEWAYS, self._namespace, DEFAULT_GATEWAY, body)
        log.info("default gateway written", extra={"namespace": self._namespace, "there": there is not None})
        return True

    async def _write_internal(self, there: Json | None, made: Mapping[str, str]) -> None:
        if there is None:
            metadata = {"name": INTERNAL_SECRET, "namespace": self._namespace, "labels": _MANAGED}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": dict(made)}
            await self._api.create(SECRETS, self._namespace, body)
        else:
            data = {**made, **{key: value for key, value in (there.get("data") or {}).items() if value}}
            change = {"metadata": {"resourceVersion": there["metadata"]["resourceVersion"]}, "data": data}
            await self._api.merge(SECRETS, self._namespace, INTERNAL_SECRET, change)
        log.info("internal Secret written", extra={"namespace": self._namespace})


def gateway_spec(text: str) -> Mapping[str, Any]:
    """The `spec` in *text*, YAML; Misconfigured if it is none."""
    try:
        spec = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Misconfigured(f"the default gateway's spec is not YAML: {error}") from error
    spec = {} if spec is None else spec
    if not isinstance(spec, dict):
        raise Misconfigured(f"the default gateway's spec must be a mapping, got {type(spec).__name__}")
    return spec


def _annotation(gateway: Json) -> str:
    annotations = gateway["metadata"].get("annotations") or {}
    return str(annotations.get(CONFIGURATION, ""))
