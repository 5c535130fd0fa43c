"""What a subscription refers to, looked up by name: in the inputs of one compilation, or in what an operator has seen."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.inputs import GeneratedCredential, Inputs, NeededVerifier
from hookline_routes.resource import ObjectKey, ReferenceGrant, RefKind, Secret, WebhookSubscription


class Surroundings(Protocol):
    """Everything that compiling one subscription looks at beside the subscription and its gateway."""

    @property
    def single_plane(self) -> bool:
        """Whether there is one plane for all."""

    @property
    def omit_handler_tls(self) -> bool:
        """Whether handlers are called without TLS, whatever routes say."""

    def secret(self, key: ObjectKey) -> Secret | None:
        """The Secret with credentials."""

    def authority(self, kind: RefKind, key: ObjectKey, entry: str) -> bytes | None:
        """What the ConfigMap or Secret holds under *entry*."""

    def grants_in(self, namespace: str) -> Sequence[ReferenceGrant] | None:
        """Those of the namespace; None: none are needed."""

    def generated(self, subscription: WebhookSubscription) -> Sequence[GeneratedCredential]:
        """What was generated for a subscription that names no Secret, all of it live."""

    def verifier(self, needed: NeededVerifier) -> routing.Verifier | None:
        """The verifier, if it is made already."""


class InputsIndex:
    """The inputs of one compilation, by name. Of two of one name (which no API server has) always the same one."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        secrets = sorted(
            inputs.secrets, key=lambda each: (each.metadata.resource_version, each.type, sorted(each.data.items()))
        )
        self._secrets = {each.metadata.key: each for each in secrets}
        config_maps = sorted(
            inputs.config_maps, key=lambda each: (each.metadata.resource_version, sorted(each.data.items()))
        )
        self._config_maps = {each.metadata.key: each for each in config_maps}
        self._grants: dict[str, list[ReferenceGrant]] = defaultdict(list)
        for grant in inputs.grants or ():
            self._grants[grant.metadata.namespace].append(grant)

    @property
    def single_plane(self) -> bool:
        """See `Surroundings`."""
        return self._inputs.single_plane

    @property
    def omit_handler_tls(self) -> bool:
        """See `Surroundings`."""
        return self._inputs.omit_handler_tls

    def secret(self, key: ObjectKey) -> Secret | None:
        """See `Surroundings`."""
        return self._secrets.get(key)

    def authority(self, kind: RefKind, key: ObjectKey, entry: str) -> bytes | None:
        """See `Surroundings`."""
        if kind is RefKind.SECRET:
            secret = self._secrets.get(key)
            return secret.data.get(entry) if secret else None
        found = self._config_maps.get(key)
        return text_entry(found.data, entry) if found else None

    def grants_in(self, namespace: str) -> Sequence[ReferenceGrant] | None:
        """See `Surroundings`."""
        return None if self._inputs.grants is None else self._grants.get(namespace, ())

    def generated(self, subscription: WebhookSubscription) -> Sequence[GeneratedCredential]:
        """See `Surroundings`."""
        return self._inputs.generated.get(subscription.metadata.key, ())

    def verifier(self, needed: NeededVerifier) -> routing.Verifier | None:
        """See `Surroundings`."""
        return self._inputs.verifiers.get(needed.key)


def text_entry(data: Mapping[str, str], entry: str) -> bytes | None:
    """What a ConfigMap holds under *entry*, as bytes."""
    text = data.get(entry)
    return None if text is None else text.encode("utf-8", "replace")
