"""The objects of a plane, as they are applied: equal wishes give equal objects."""

import hashlib
from collections.abc import Mapping

from hookline_operator.decide.planes.plane import Plane
from hookline_operator.decide.planes.pod import HTTP_PORT, Json, PodSettings, pod_template
from hookline_routes.units import format_quantity

MANAGER = "hookline-operator"
PLANE_LABEL = "hookline.dev/plane"
COMMON_LABELS = {"app.kubernetes.io/name": "hookline-receiver", "app.kubernetes.io/managed-by": MANAGER}
"""What the objects of all planes bear."""

_STABLE_SECONDS = 300
"""How long load must be low before a pod is taken away: what it holds is handed over, which costs the others."""


def manifests(plane: Plane, settings: PodSettings) -> tuple[Json, ...]:
    """What should be there for *plane*, in the order in which it is made."""
    objects = [_headless(plane), _service(plane), _budget(plane), _stateful_set(plane, settings)]
    if plane.scaling:
        objects.append(_autoscaler(plane))
    return tuple(objects)


def object_name(plane: Plane) -> str:
    """
    Of the StatefulSet, the Service and all the others: at most 52 characters, which a StatefulSet's pods need.

    SECURITY: dots become dashes, so that default.a-b.c and default.a.b-c would be the same without the hash.
    """
    if "." not in plane.name:
        return f"hookline-{plane.label}"
    digest = hashlib.sha256(plane.name.encode()).hexdigest()[:10]
    return f"hookline-{plane.name.replace('.', '-')[:31].rstrip('-')}-{digest}"


def headless_name(plane: Plane) -> str:
    """Of the Service that gives pods their names: no gateway's other Service can be called so."""
    return f"pods-of-{object_name(plane)}"


def labels_of(plane: Plane) -> dict[str, str]:
    """What the plane's objects and pods are found by."""
    return {**COMMON_LABELS, PLANE_LABEL: plane.label}


def selector_of(plane: Plane) -> str:
    """The same as a selector, for the gateway's scale subresource."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels_of(plane).items()))


def _object(plane: Plane, api_version: str, kind: str, spec: Mapping[str, object], name: str = "") -> Json:
    owner = {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookGateway",
        "name": plane.gateway.name,
        "uid": plane.gateway_uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata = {
        "name": name or object_name(plane),
        "namespace": plane.gateway.namespace,
        "labels": labels_of(plane),
        "annotations": {"hookline.dev/plane": plane.name},
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _headless(plane: Plane) -> Json:
    ports = [{"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP"}]
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": labels_of(plane),
        "ports": ports,
    }
    return _object(plane, "v1", "Service", spec, headless_name(plane))


def _service(plane: Plane) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}]
    return _object(plane, "v1", "Service", {"type": "ClusterIP", "selector": labels_of(plane), "ports": ports})


def _budget(plane: Plane) -> Json:
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": labels_of(plane)},
        # A pod that is not ready anyway must not keep a node from being drained.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object(plane, "policy/v1", "PodDisruptionBudget", spec)


def _stateful_set(plane: Plane, settings: PodSettings) -> Json:
    claim: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": format_quantity(plane.storage_bytes)}},
    }
    if plane.storage_class:
        claim["storageClassName"] = plane.storage_class
    spec: Json = {
        "serviceName": headless_name(plane),
        "podManagementPolicy": "Parallel",
        "minReadySeconds": 5,
        "updateStrategy": {"type": "RollingUpdate"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "selector": {"matchLabels": labels_of(plane)},
        "template": pod_template(plane, settings, labels_of(plane)),
        "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": labels_of(plane)}, "spec": claim}],
    }
    if plane.replicas is not None:
        spec["replicas"] = plane.replicas
    return _object(plane, "apps/v1", "StatefulSet", spec)


def _autoscaler(plane: Plane) -> Json:
    scaling = plane.scaling
    assert scaling is not None
    metrics = [
        {
            "type": "ContainerResource",
            "containerResource": {
                "name": "cpu",
                "container": container,
                "target": {"type": "Utilization", "averageUtilization": scaling.target_cpu_utilization},
            },
        }
        for container in ("receiver", "forwarder")
    ]
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": object_name(plane)},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": metrics,
        "behavior": {
            "scaleDown": {
                "stabilizationWindowSeconds": _STABLE_SECONDS,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            },
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
            },
        },
    }
    return _object(plane, "autoscaling/v2", "HorizontalPodAutoscaler", spec)
