"""What a subscription refers to, looked up in what is true in the cluster. Pure."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_operator.observe.objects import SeenSecret
from hookline_operator.ports import ClusterView
from hookline_routes.credentials import credential_name, read_credential, verifier_key
from hookline_routes.inputs import GeneratedCredential, NeededVerifier
from hookline_routes.resource import ObjectKey, ReferenceGrant, RefKind, Secret, SecretRef, WebhookSubscription
from hookline_routes.surroundings import text_entry

_STRONG = re.compile(r"[A-Za-z0-9]{22,}")
"""What is generated has 128 bits of chance at least: 22 letters and digits."""


class SeenSurroundings:
    """Implements `hookline_routes.surroundings.Surroundings` for one turn."""

    single_plane = False
    omit_handler_tls = False

    def __init__(self, view: ClusterView, find: Callable[[NeededVerifier], routing.Verifier | None]) -> None:
        self._view = view
        self._grants: dict[str, list[ReferenceGrant]] | None = None
        self.verifier = find

    def secret(self, key: ObjectKey) -> Secret | None:
        """The Secret with credentials."""
        seen = self._view.secrets.get(key)
        return seen.secret if seen else None

    def authority(self, kind: RefKind, key: ObjectKey, entry: str) -> bytes | None:
        """What the ConfigMap or Secret holds under *entry*."""
        if kind is RefKind.SECRET:
            secret = self._view.ca_secrets.get(key)
            return secret.data.get(entry) if secret else None
        found = self._view.config_maps.get(key)
        return text_entry(found.data, entry) if found else None

    def grants_in(self, namespace: str) -> Sequence[ReferenceGrant]:
        """Those of the namespace: none where the cluster does not know the kind."""
        if self._grants is None:
            self._grants = defaultdict(list)
            for key in sorted(self._view.grants):
                self._grants[key.namespace].append(self._view.grants[key])
        return self._grants.get(namespace, ())

    def generated(self, subscription: WebhookSubscription) -> Sequence[GeneratedCredential]:
        """What was generated for it, the newest first: all its Secrets are live."""
        namespace = subscription.metadata.namespace
        # SECURITY: anybody can write an owner's uid into an object of a namespace of theirs.
        owned = [
            each for each in self._view.secrets_owned_by(subscription.metadata.uid) if each.key.namespace == namespace
        ]
        owned.sort(key=lambda each: each.key)
        owned.sort(key=lambda each: each.secret.metadata.created, reverse=True)
        found = (_generated(each) for each in owned)
        return [each for each in found if each]


def _generated(seen: SeenSecret) -> GeneratedCredential | None:
    ref = SecretRef(seen.key.name)
    read = read_credential(seen.secret, ref)
    if isinstance(read, str):
        return None
    username, password = read
    # SECURITY: a person may have written over it; the quick hash is for what nobody can guess.
    quick = _STRONG.fullmatch(password) is not None
    key = verifier_key(seen.secret, ref)
    return GeneratedCredential(credential_name(seen.secret), username, password, key, quick)
