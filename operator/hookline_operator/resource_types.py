"""Where the objects of each kind are at the API server."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class ResourceType:
    """Where the objects of a kind are."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of one object, of a namespace's, or of all."""
        parts = [f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural, *(quote(part, safe="") for part in (name, subresource) if part)]
        return "/".join(parts)


_HOOKLINE = "hookline.dev/v1alpha1"
SUBSCRIPTIONS = ResourceType(_HOOKLINE, "WebhookSubscription", "webhooksubscriptions")
GATEWAYS = ResourceType(_HOOKLINE, "WebhookGateway", "webhookgateways")
ROUTE_TABLES = ResourceType(_HOOKLINE, "RouteTable", "routetables")
ENDPOINT_TABLES = ResourceType(_HOOKLINE, "EndpointTable", "endpointtables")
SECRETS = ResourceType("v1", "Secret", "secrets")
CONFIG_MAPS = ResourceType("v1", "ConfigMap", "configmaps")
SERVICES = ResourceType("v1", "Service", "services")
PODS = ResourceType("v1", "Pod", "pods")
NAMESPACES = ResourceType("v1", "Namespace", "namespaces", namespaced=False)
EVENTS = ResourceType("events.k8s.io/v1", "Event", "events")
ENDPOINT_SLICES = ResourceType("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
REFERENCE_GRANTS = ResourceType("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "referencegrants")
LEASES = ResourceType("coordination.k8s.io/v1", "Lease", "leases")
STATEFUL_SETS = ResourceType("apps/v1", "StatefulSet", "statefulsets")
AUTOSCALERS = ResourceType("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
DISRUPTION_BUDGETS = ResourceType("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
