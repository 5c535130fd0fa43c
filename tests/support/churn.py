"""
Tenants who change everything all the time, by chance: subscriptions, Secrets, Services' endpoints.

    churn = Churn(plane, random.Random(seed))
    churn.begin()
    churn.change()                    # one thing, somewhere
    churn.revoked                     # what must not be published again
"""

import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.kubernetes.api import Object
from support.kubernetes.network import Address
from support.kubernetes.objects import make_service
from support.kubernetes.plane import ControlPlane
from support.manifests import a_route, a_secret, a_subscription
from support.published import API, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = 9000
SECRETS = "v1", "Secret"
SUBSCRIPTIONS = API, "WebhookSubscription"


@dataclass
class Churn:
    """So many tenants (namespaces), each with a handler, and Secrets and subscriptions that come and go."""

    plane: ControlPlane
    chance: random.Random
    tenants: int = 4
    prefix: str = "churn"
    revoked: list[Revoked] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """What was changed, for a test that fails."""
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def namespaces(self) -> list[str]:
        """Of the tenants."""
        return [f"{self.prefix}-{index}" for index in range(self.tenants)]

    def begin(self, subscriptions: int = 4) -> None:
        """Make the namespaces, and so many subscriptions in each."""
        for index, namespace in enumerate(self.namespaces):
            self.plane.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            make_service(self.plane.admin, namespace, "handler", [Address(f"198.18.{index}.7", PORT)], port=PORT)
            for _ in range(subscriptions):
                self.subscribe(namespace)

    def change(self) -> None:
        """Something, somewhere."""
        namespace = self.chance.choice(self.namespaces)
        acts: list[Callable[[str], object]] = [
            self.subscribe,
            self.suspend,
            self.change_routes,
            self.change_secrets,
            self.unsubscribe,
            self.replace_password,
            self.delete_secret,
            self.move_pods,
        ]
        self.chance.choice(acts)(namespace)

    def subscribe(self, namespace: str) -> Object:
        """A new subscription with a Secret of its own; as stored."""
        number = next(self._numbers)
        self._keep(namespace, f"secret-{number}")
        made = a_subscription(name=f"chat-{number}", namespace=namespace, secrets=(f"secret-{number}",))
        self.done.append(f"subscribe {namespace}/chat-{number}")
        return self.plane.admin.create(made)

    def subscriptions(self, namespace: str) -> list[Object]:
        """All of them, as they are now."""
        return self.plane.admin.objects(*SUBSCRIPTIONS, namespace)

    def secret_of(self, subscription: Object) -> Object:
        """The first Secret that it names."""
        name = subscription["spec"]["auth"]["basic"]["secretRefs"][0]["name"]
        found = self.plane.admin.get(*SECRETS, subscription["metadata"]["namespace"], name)
        return {"apiVersion": "v1", "kind": "Secret", **found}

    def suspend(self, namespace: str) -> None:
        """Or take up again."""
        for found in self._one(namespace, SUBSCRIPTIONS):
            self._patch(found, {"suspend": not found["spec"].get("suspend", False)})

    def suspend_all(self, namespace: str) -> list[str]:
        """Every one of the tenant's; their uids."""
        found = self.subscriptions(namespace)
        for each in found:
            self._patch(each, {"suspend": True})
        return [each["metadata"]["uid"] for each in found]

    def change_routes(self, namespace: str) -> None:
        """Another time limit, another number of routes."""
        for found in self._one(namespace, SUBSCRIPTIONS):
            routes = [a_route(f"r-{index}") for index in range(self.chance.randint(1, 3))]
            routes[0]["handler"]["timeout"] = f"{self.chance.randint(2, 20)}s"
            self._patch(found, {"routes": routes})

    def change_secrets(self, namespace: str) -> None:
        """Name another Secret, beside the first or instead of it."""
        for found in self._one(namespace, SUBSCRIPTIONS):
            self.name_other_secret(found, keep=self.chance.random() < 0.6)

    def name_other_secret(self, subscription: Object, *, keep: bool = False) -> None:
        """A new one, beside the last that it names if that is to be kept."""
        named = [each["name"] for each in subscription["spec"]["auth"]["basic"]["secretRefs"]]
        name = f"secret-{next(self._numbers)}"
        self._keep(subscription["metadata"]["namespace"], name)
        wanted = [*(named[-1:] if keep else ()), name]
        self._patch(subscription, {"auth": {"basic": {"secretRefs": [{"name": each} for each in wanted]}}})

    def unsubscribe(self, namespace: str) -> None:
        """Delete a subscription; its Secret stays."""
        for found in self._one(namespace, SUBSCRIPTIONS):
            self.delete(found)

    def replace_password(self, namespace: str) -> None:
        """In the Secret as it is."""
        for found in self._one(namespace, SECRETS):
            self.replace(found)

    def replace(self, secret: Object) -> Revoked:
        """Another password; what is revoked by that."""
        metadata = secret["metadata"]
        changed = self._keep(metadata["namespace"], metadata["name"])
        revoked = Revoked(metadata["uid"], metadata["resourceVersion"], int(changed["metadata"]["resourceVersion"]))
        self.revoked.append(revoked)
        self.done.append(
            f"replace {metadata['namespace']}/{metadata['name']}, {metadata['resourceVersion']} by {revoked.at}"
        )
        return revoked

    def delete_secret(self, namespace: str) -> None:
        """Half of the time one of the same name comes at once."""
        for found in self._one(namespace, SECRETS):
            self.delete(found)
            if self.chance.random() < 0.5:
                self._keep(namespace, found["metadata"]["name"])

    def move_pods(self, namespace: str) -> None:
        """To other addresses."""
        index = self.namespaces.index(namespace)
        address = Address(f"198.18.{index}.{self.chance.randint(2, 250)}", PORT)
        make_service(self.plane.admin, namespace, "handler", [address], port=PORT)
        self.done.append(f"move {namespace}/handler to {address.host}")

    def delete(self, thing: Object) -> Revoked:
        """A Secret or a subscription; what is revoked by that."""
        metadata = thing["metadata"]
        self.plane.admin.delete(thing)
        revoked = Revoked(metadata["uid"], at=self.version())
        self.revoked.append(revoked)
        self.done.append(f"delete {thing['kind']} {metadata['namespace']}/{metadata['name']} by {revoked.at}")
        return revoked

    def version(self) -> int:
        """Of the cluster, at least as late as all that was answered."""
        resource = self.plane.admin.resource("v1", "Namespace")
        return int(
            self.plane.admin.request("GET", resource.path(), query={"limit": "1"})["metadata"]["resourceVersion"]
        )

    def _keep(self, namespace: str, name: str) -> Object:
        password = "".join(self.chance.choices("abcdefghkmnpqrstuvwxyz23456789", k=16))
        return self.plane.admin.apply(
            a_secret(name, namespace, username=f"user{name[-3:]}".replace("-", "x"), password=password)
        )[0]

    def _patch(self, thing: Object, spec: dict[str, Any]) -> None:
        self.plane.admin.patch(thing, {"spec": spec})
        self.done.append(f"patch {thing['metadata']['namespace']}/{thing['metadata']['name']} {spec}")

    def _one(self, namespace: str, kind: tuple[str, str]) -> list[Object]:
        """One of them; none if there is none."""
        found = sorted(self.plane.admin.objects(*kind, namespace), key=lambda each: each["metadata"]["name"])
        return [self.chance.choice(found)] if found else []
