"""Which credentials open a subscription's endpoint: from the Secrets it names, or those that were generated for it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.inputs import Inputs, NeededVerifier, VerifierKey
from hookline_routes.problem import Reason, Severity
from hookline_routes.resource import ObjectKey, Secret, SecretRef, WebhookSubscription

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
    findings: tuple[Finding, ...]


def resolve_credentials(subscription: WebhookSubscription, secrets: "Secrets", inputs: Inputs) -> Credentials:
    """The verifiers that *inputs* has for the subscription's credentials, in the order they are named."""
    verifiers, findings = [], []
    for item in _candidates(subscription, secrets, inputs):
        if isinstance(item, Finding):
            findings.append(item)
        elif item.key in inputs.verifiers:
            verifiers.append(inputs.verifiers[item.key])
        else:
            message = f"the verifier of {item.credential} is not made yet"
            findings.append(Finding(Severity.WARNING, Reason.VERIFIER_PENDING, _FIELD, message))
    return Credentials(tuple(verifiers[:MAX_VERIFIERS]), tuple(findings))


def needed_verifiers(inputs: Inputs) -> tuple[NeededVerifier, ...]:
    """
    The verifiers that compiling *inputs* would miss, each once: to be made (slow), and put into `Inputs.verifiers`.

    A Secret that has not changed keeps its key, so that its verifier is made once, and never again at a reload.
    """
    secrets = index_secrets(inputs.secrets)
    needed: dict[VerifierKey, NeededVerifier] = {}
    for subscription in inputs.subscriptions:
        for item in _candidates(subscription, secrets, inputs):
            if isinstance(item, NeededVerifier) and item.key not in inputs.verifiers:
                needed.setdefault(item.key, item)
    return tuple(sorted(needed.values(), key=lambda each: (each.credential, each.key.secret, each.key.username_key)))


Secrets = Mapping[ObjectKey, Secret]

_FIELD = ("spec", "auth", "basic", "secretRefs")


def index_secrets(secrets: tuple[Secret, ...]) -> Secrets:
    """Secrets by name; of two with one name (which no API server has) always the same one."""
    ordered = sorted(
        secrets, key=lambda secret: (secret.metadata.resource_version, secret.type, sorted(secret.data.items()))
    )
    return {secret.metadata.key: secret for secret in ordered}


def _candidates(
    subscription: WebhookSubscription, secrets: Secrets, inputs: Inputs
) -> Iterator[NeededVerifier | Finding]:
    if subscription.secret_refs:
        for index, ref in enumerate(subscription.secret_refs):
            yield from _of_secret(subscription, ref, (*_FIELD, index), secrets)
        return
    generated = inputs.generated.get(subscription.metadata.key, ())
    if not generated:
        message = "no Secret is named and no credential has been generated yet"
        yield Finding(Severity.WARNING, Reason.NO_CREDENTIALS, _FIELD, message)
    for each in generated:
        yield NeededVerifier(each.key, each.name, each.username, each.password, generated=True)


def _of_secret(
    subscription: WebhookSubscription, ref: SecretRef, field: tuple[str | int, ...], secrets: Secrets
) -> Iterator[NeededVerifier | Finding]:
    key = ObjectKey(subscription.metadata.namespace, ref.name)
    secret = secrets.get(key)
    if secret is None:
        yield Finding(Severity.WARNING, Reason.SECRET_NOT_FOUND, field, f"Secret {key} does not exist")
        return
    read = _read(secret, ref)
    if isinstance(read, str):
        yield Finding(Severity.WARNING, Reason.INVALID_SECRET, field, f"Secret {key} {read}")
        return
    username, password = read
    complaint = _sender_limits(username, password)
    if complaint:
        message = f"Secret {key}: CometChat does not take {complaint}"
        yield Finding(Severity.WARNING, Reason.SENDER_LIMITS, field, message)
    yield NeededVerifier(_key(secret, ref), _name(secret), username, password, generated=False)


def _read(secret: Secret, ref: SecretRef) -> tuple[str, str] | str:
    # SECURITY: what is returned as a complaint holds no value of the Secret.
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


def _key(secret: Secret, ref: SecretRef) -> VerifierKey:
    metadata = secret.metadata
    return VerifierKey(
        metadata.uid or str(metadata.key),
        metadata.resource_version or _digest(secret.data),
        ref.username_key,
        ref.password_key,
    )


def _name(secret: Secret) -> str:
    # SECURITY: a manifest's Secret has no version, and a digest of its data would tell guesses from the password.
    return f"{secret.metadata.name}@{secret.metadata.resource_version or 'manifest'}"


def _digest(data: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(data.items()):
        for part in (key.encode(), value):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
