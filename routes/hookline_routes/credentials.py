"""Which credentials open a subscription's endpoint: from the Secrets it names, or those that were generated for it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.inputs import Inputs, NeededVerifier, VerifierKey
from hookline_routes.problem import Reason, Severity
from hookline_routes.resource import ObjectKey, Secret, SecretRef, WebhookSubscription
from hookline_routes.surroundings import InputsIndex, Surroundings

SECRET_TYPE = "kubernetes.io/basic-auth"
MAX_VERIFIERS = 4

MAX_USERNAME, MAX_PASSWORD = 50, 100
"""Characters that CometChat takes, letters and digits only."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one reference, or with all together."""

    severity: Severity
    reason: Reason
    field: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The verifiers of a subscription, and what is wrong with the rest."""

    verifiers: tuple[routing.Verifier, ...]
    sources: tuple[VerifierKey, ...]
    """What each of them was made of."""
    missing: tuple[NeededVerifier, ...]
    """Verifiers that are not made yet."""
    findings: tuple[Finding, ...]


def resolve_credentials(subscription: WebhookSubscription, surroundings: Surroundings) -> Credentials:
    """The verifiers that there are for the subscription's credentials, in the order they are named."""
    verifiers, sources, missing, findings = [], [], [], []
    for item in _candidates(subscription, surroundings):
        if isinstance(item, Finding):
            findings.append(item)
        elif verifier := surroundings.verifier(item):
            verifiers.append(verifier)
            sources.append(item.key)
        else:
            missing.append(item)
            message = f"the verifier of {item.credential} is not made yet"
            findings.append(Finding(Severity.WARNING, Reason.VERIFIER_PENDING, _FIELD, message))
    return Credentials(tuple(verifiers), tuple(sources), tuple(missing), tuple(findings))


def needed_verifiers(inputs: Inputs) -> tuple[NeededVerifier, ...]:
    """
    The verifiers that compiling *inputs* would miss, each once: to be made (slow), and put into `Inputs.verifiers`.

    A Secret that has not changed keeps its key, so that its verifier is made once, and never again at a reload.
    """
    index = InputsIndex(inputs)
    needed: dict[VerifierKey, NeededVerifier] = {}
    for subscription in inputs.subscriptions:
        for item in _candidates(subscription, index):
            if isinstance(item, NeededVerifier) and item.key not in inputs.verifiers:
                needed.setdefault(item.key, item)
    return tuple(sorted(needed.values(), key=lambda each: (each.credential, each.key.secret, each.key.username_key)))


_FIELD = ("spec", "auth", "basic", "secretRefs")


def _candidates(subscription: WebhookSubscription, surroundings: Surroundings) -> Iterator[NeededVerifier | Finding]:
    if subscription.secret_refs:
        for index, ref in enumerate(subscription.secret_refs[:MAX_VERIFIERS]):
            yield from _of_secret(subscription, ref, (*_FIELD, index), surroundings)
        return
    generated = surroundings.generated(subscription)
    if not generated:
        message = "no Secret is named and no credential has been generated yet"
        yield Finding(Severity.WARNING, Reason.NO_CREDENTIALS, _FIELD, message)
    for each in generated[:MAX_VERIFIERS]:
        yield NeededVerifier(each.key, each.name, each.username, each.password, generated=each.quick)


def _of_secret(
    subscription: WebhookSubscription, ref: SecretRef, field: tuple[str | int, ...], surroundings: Surroundings
) -> Iterator[NeededVerifier | Finding]:
    key = ObjectKey(subscription.metadata.namespace, ref.name)
    secret = surroundings.secret(key)
    if secret is None:
        yield Finding(Severity.WARNING, Reason.SECRET_NOT_FOUND, field, f"Secret {key} does not exist")
        return
    read = read_credential(secret, ref)
    if isinstance(read, str):
        yield Finding(Severity.WARNING, Reason.INVALID_SECRET, field, f"Secret {key} {read}")
        return
    username, password = read
    complaint = _sender_limits(username, password)
    if complaint:
        message = f"Secret {key}: CometChat does not take {complaint}"
        yield Finding(Severity.WARNING, Reason.SENDER_LIMITS, field, message)
    yield NeededVerifier(verifier_key(secret, ref), credential_name(secret), username, password, generated=False)


def read_credential(secret: Secret, ref: SecretRef) -> tuple[str, str] | str:
    """Username and password, or what is wrong with the Secret. SECURITY: a complaint holds no value of the Secret."""
    if secret.type != SECRET_TYPE:
        return f"must be of type {SECRET_TYPE}, got {secret.type}"
    found = []
    for key in (ref.username_key, ref.password_key):
        value = secret.data.get(key)
        if not value:
            return f'has no key "{key}"' if value is None else f'has nothing under the key "{key}"'
        try:
            found.append(value.decode())
        except UnicodeDecodeError:
            return f'must hold UTF-8 under the key "{key}"'
    username, password = found
    if ":" in username:
        return f'must hold a username without ":" under the key "{ref.username_key}", as Basic Auth ends it there'
    return username, password


def _sender_limits(username: str, password: str) -> str:
    for what, value, limit in (("username", username, MAX_USERNAME), ("password", password, MAX_PASSWORD)):
        if value != value.rstrip("\r\n"):
            return f"a {what} that ends with a line break (was it made with echo, and not echo -n?)"
        if len(value) > limit:
            return f"a {what} of more than {limit} characters, got {len(value)}"
        if not (value.isascii() and value.isalnum()):
            return f"a {what} of other characters than letters and digits"
    return ""


def verifier_key(secret: Secret, ref: SecretRef) -> VerifierKey:
    """Of the credential that *ref* names in *secret*."""
    metadata = secret.metadata
    return VerifierKey(
        metadata.uid or str(metadata.key),
        metadata.resource_version or _digest(secret.data),
        ref.username_key,
        ref.password_key,
    )


def credential_name(secret: Secret) -> str:
    """Names a credential for people, "{secret}@{resourceVersion}"."""
    # SECURITY: a manifest's Secret has no version, and a digest of its data would tell guesses from the password.
    return f"{secret.metadata.name}@{secret.metadata.resource_version or 'manifest'}"


def _digest(data: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(data.items()):
        for part in (key.encode(), value):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
