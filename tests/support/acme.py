"""The example of the API (examples/acme.yaml), what stands around it in a cluster, and events for it."""

from pathlib import Path
from typing import Any

import yaml

from support.certificates import Certificates
from support.cometchat import body_of, changed, sample
from support.kubernetes.api import Object
from support.manifests import as_yaml

ACME = Path(__file__).parents[2] / "examples" / "acme.yaml"
APP_ID = "26753af2c0d24b10"
HOST = "hooks.example.com"
PORT = 9000
"""Of handlers, in acme.yaml."""
CLIENT_SECRET = "hookline-client"


def acme_yaml(namespace: str = "acme", *kinds: str) -> str:
    """The example as it is, in another namespace; only the objects of these *kinds*, if any are given."""
    text = ACME.read_text(encoding="utf-8")
    objects = [each for each in yaml.safe_load_all(text) if not kinds or each["kind"] in kinds]
    if namespace == "acme" and not kinds:
        return text
    moved = as_yaml(*objects).replace("namespace: acme", f"namespace: {namespace}")
    return moved.replace("notifier.acme.svc", f"notifier.{namespace}.svc").replace(
        "namespace: platform", f"namespace: {platform_of(namespace)}"
    )


def platform_of(namespace: str) -> str:
    """Where the example's handler of another team runs."""
    return "platform" if namespace == "acme" else f"{namespace}-platform"


def acme_gateway() -> Object:
    """The spec of the example's gateway."""
    (found,) = yaml.safe_load_all(acme_yaml("acme", "WebhookGateway"))
    return dict(found["spec"])


def an_event(message: str, trigger: str = "message_sent", *, app_id: str = APP_ID, **changes: Any) -> bytes:
    """A text message between two users, as CometChat sends it; *changes* of the message's own fields."""
    payload = {**changed(sample("message_sent"), "data.message.id", message), "appId": app_id, "trigger": trigger}
    for name, value in changes.items():
        payload = changed(payload, f"data.message.{name}", value)
    return body_of(payload)


def a_tls_secret(namespace: str, name: str, certificates: Certificates) -> Object:
    """The client's pair, as cert-manager writes it."""
    pair = certificates.client
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": certificates.authority}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": "kubernetes.io/tls",
        "stringData": {key: path.read_text(encoding="utf-8") for key, path in files.items()},
    }


def an_authority(namespace: str, name: str, certificate: Path) -> Object:
    """A ConfigMap with the certificate of an authority."""
    metadata = {"namespace": namespace, "name": name}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"ca.crt": certificate.read_text(encoding="utf-8")},
    }


def a_grant(namespace: str) -> Object:
    """Lets subscriptions of *namespace* name the Services of the other team."""
    source = {"group": "hookline.dev", "kind": "WebhookSubscription", "namespace": namespace}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"namespace": platform_of(namespace), "name": "tenants"},
        "spec": {"from": [source], "to": [{"group": "", "kind": "Service"}]},
    }
