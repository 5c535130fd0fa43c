"""Passwords, as a tenant changes them: what works is what stands in Secrets, within a second."""

import base64
import json
import statistics

import pytest

from support.acme import acme_yaml
from support.manifests import PASSWORD, USERNAME, a_secret
from support.tenancy import Cluster, Credential, Tenant, example, example_tenant

pytestmark = pytest.mark.needs_network_namespace

FIRST, SECOND = (USERNAME, PASSWORD), ("acmehooks2", "Zz9fKq2LmX7tVb4R")
AT_ONCE = 1.0
"""Seconds that a password may go on working after it was taken away."""
ROUNDS = 3


def test_a_second_secret_is_accepted_beside_the_first(cluster: Cluster) -> None:
    """A rotation without a gap: both work until the old one is taken off the list, and that one no longer then."""
    tenant = example(cluster, "rotated")
    tenant.apply(a_secret("next", tenant.namespace, username=SECOND[0], password=SECOND[1]))
    assert tenant.statuses(SECOND) == {401}
    took = []

    for _ in range(ROUNDS):
        name_secrets(tenant, "cometchat", "next")
        tenant.until_answered(200, SECOND)
        tenant.until_answered(200, FIRST)
        name_secrets(tenant, "next")
        took.append(tenant.until_answered(401, FIRST))
        assert tenant.statuses(SECOND) == {200}

    print(f"a Secret off the list: {took} s after kubectl patch")
    assert statistics.median(took) < AT_ONCE


def test_a_deleted_secrets_password_stops_working_at_once(cluster: Cluster) -> None:
    """Whoever deletes a Secret because it has leaked must not have to wait; made again it works again."""
    tenant = example(cluster, "leaked")
    tenant.apply(a_secret("next", tenant.namespace, username=SECOND[0], password=SECOND[1]))
    name_secrets(tenant, "cometchat", "next")
    tenant.until_answered(200, SECOND)
    took = []

    for _ in range(ROUNDS):
        tenant.kubectl("delete", "secret", "cometchat")
        took.append(tenant.until_answered(401, FIRST))
        assert tenant.statuses(SECOND) == {200}
        tenant.until(lambda: tenant.says("ResolvedRefs", "False", "SecretNotFound"), what="SecretNotFound")
        tenant.apply(acme_yaml(tenant.namespace, "Secret"))
        tenant.until_answered(200, FIRST)
        tenant.wait("Ready")

    print(f"a Secret deleted: {took} s after kubectl delete")
    assert statistics.median(took) < AT_ONCE


def test_without_any_credential_left_senders_are_told_to_come_again(cluster: Cluster) -> None:
    """An accident with a Secret must not cost events that the sender would have sent again."""
    tenant = example(cluster, "accident")

    tenant.kubectl("delete", "secret", "cometchat")
    tenant.until_answered(503, FIRST)

    tenant.apply(acme_yaml(tenant.namespace, "Secret"))
    tenant.until_answered(200, FIRST)
    tenant.wait("Ready")


def test_a_secrets_new_password_replaces_the_old_one(cluster: Cluster) -> None:
    """`kubectl apply` of a Secret with another password is a change like any other."""
    tenant = example(cluster, "replaced")

    tenant.apply(a_secret(namespace=tenant.namespace, username=SECOND[0], password=SECOND[1]))

    tenant.until_answered(200, SECOND)
    assert tenant.statuses(FIRST) == {401}


def test_a_subscription_without_secrets_gets_one_and_rotates_it_on_request(cluster: Cluster) -> None:
    """Pending until it is seen in use, then the old one is retired, its password with it: all of it from kubectl."""
    tenant = example_tenant(cluster, "generated")
    wanted = tenant.manifest("WebhookSubscription")
    wanted["spec"]["auth"] = {"basic": {"rotation": {"overlap": "0s"}}}
    tenant.apply(wanted)
    tenant.wait("Ready")
    ((first, state),) = credentials(tenant).items()
    old = read(tenant, first)
    assert state == "Active"
    assert tenant.statuses(old) == {200}

    tenant.kubectl("annotate", "webhooksubscription", "chat", "hookline.dev/rotate=today")
    tenant.until(lambda: "Pending" in credentials(tenant).values(), what="a new credential")
    (second,) = credentials(tenant).keys() - {first}
    new = read(tenant, second)
    assert new[1] != old[1]
    assert tenant.says("RotationPending", "True", "EnterNewCredential")
    assert second in tenant.conditions()["RotationPending"]["message"]
    tenant.until_answered(200, new)
    assert tenant.statuses(old) == {200}

    tenant.until(lambda: tenant.statuses(new) == {200} and credentials(tenant) == {second: "Active"}, 40, "retirement")
    tenant.until_answered(401, old)
    assert tenant.statuses(new) == {200}
    assert not tenant.kubectl("get", "secret", "--ignore-not-found", first)
    assert tenant.says("Ready", "True")


def test_a_revoked_credential_stops_working_at_once(cluster: Cluster) -> None:
    """Apart from rotation: nothing is waited for, and another one is made."""
    tenant = example_tenant(cluster, "revoked")
    wanted = tenant.manifest("WebhookSubscription")
    del wanted["spec"]["auth"]
    tenant.apply(wanted)
    tenant.wait("Ready")
    (first,) = credentials(tenant)
    old = read(tenant, first)
    tenant.until_answered(200, old)

    tenant.kubectl("annotate", "webhooksubscription", "chat", f"hookline.dev/revoke={first}")

    took = tenant.until(lambda: 200 not in tenant.statuses(old), what="the revoked password refused")
    tenant.until(lambda: bool(credentials(tenant).keys() - {first}), what="another credential")
    (second,) = credentials(tenant)
    tenant.until_answered(200, read(tenant, second))
    assert tenant.statuses(old) == {401}
    print(f"revoked {took:.2f} s after kubectl annotate")
    assert took < AT_ONCE


def name_secrets(tenant: Tenant, *names: str) -> None:
    """Let the example name these Secrets."""
    tenant.patch({"auth": {"basic": {"secretRefs": [{"name": name} for name in names]}}})


def credentials(tenant: Tenant) -> dict[str, str]:
    """States of generated credentials by the names of their Secrets, by the status."""
    listed = tenant.subscription().get("status", {}).get("credentials", [])
    return {each["secretName"]: each["state"] for each in listed}


def read(tenant: Tenant, secret: str) -> Credential:
    """What a person would enter at CometChat."""
    data = json.loads(tenant.kubectl("get", "secret", secret, "-o", "json"))["data"]
    return base64.b64decode(data["username"]).decode(), base64.b64decode(data["password"]).decode()
