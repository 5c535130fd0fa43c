"""
A receiver pod: agent and forwarder as native sidecars (up before the receiver, down after it), and the receiver.

Each container reaches what it needs. The one that faces the Internet: its journal, its own routes, the table of pending bytes.
The agent alone has a token, and the key of the tags. The forwarder alone has the event store and the client certificate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hookline_operator.decide.planes.plane import Plane
from hookline_operator.decide.planes.resources import laid_over
from hookline_routes.resource import ObjectKey

Json = dict[str, object]

HTTP_PORT, RECEIVER_OPS_PORT, FORWARDER_OPS_PORT, REPORT_PORT, AGENT_OPS_PORT = 8080, 8081, 8082, 8083, 8084

DRAIN_SECONDS = 10
"""How long a pod that ends goes on accepting until every proxy knows: endpoints travel for seconds."""
GRACE_SECONDS = 75
"""Drain (10), idle connections (2), requests in flight (20), the forwarder's calls (25), and something for the machine."""

PLANE_ANNOTATION = "hookline.dev/plane"
REPORT_PORT_ANNOTATION = "hookline.dev/agent-port"

RUN_DIR = "/run/hookline"
_CERTIFICATE_DIR = "/etc/hookline/client"
_USER = 65532

DEFAULT_WORKERS = 2


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the platform's owners set for all receiver pods of the installation."""

    image: str
    agent_service_account: str = "hookline-agent"
    """May read the tables of its namespace, nothing else; its token is mounted into the agent alone."""
    internal_secret: str = "hookline-internal"
    """Holds tagKey and agentToken."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    workers: int = DEFAULT_WORKERS
    """Of the receiver: processes that accept, each with a journal."""
    log_level: str = "INFO"
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    resources: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    """By container (receiver, forwarder, agent): requests and limits; what is not said has the defaults."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, object], ...] = ()
    affinity: Mapping[str, object] = field(default_factory=dict)
    priority_class: str = ""
    env: tuple[Mapping[str, object], ...] = ()
    """Further environment of all three containers, none of `own_variables`."""


DEFAULT_RESOURCES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "receiver": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    "forwarder": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    "agent": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
}
"""No limit of CPU: throttling in the middle of an answer costs the sender's two seconds."""


def pod_template(plane: Plane, settings: PodSettings, labels: Mapping[str, str]) -> Json:
    """The template of the plane's pods; *labels* are those that its StatefulSet selects by."""
    annotations = {
        **settings.annotations,
        PLANE_ANNOTATION: plane.name,
        REPORT_PORT_ANNOTATION: str(REPORT_PORT),
        "kubectl.kubernetes.io/default-container": "receiver",
    }
    spec: Json = {
        "serviceAccountName": settings.agent_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": _spread(labels),
        "initContainers": [_agent(plane, settings), _forwarder(plane, settings)],
        "containers": [_receiver(plane, settings)],
        "volumes": _volumes(plane, settings),
    }
    for key, value in (
        ("imagePullSecrets", [{"name": name} for name in settings.image_pull_secrets]),
        ("nodeSelector", dict(settings.node_selector)),
        ("tolerations", [dict(each) for each in settings.tolerations]),
        ("affinity", dict(settings.affinity)),
        ("priorityClassName", settings.priority_class),
    ):
        if value:
            spec[key] = value
    return {"metadata": {"labels": {**settings.labels, **labels}, "annotations": annotations}, "spec": spec}


def own_variables() -> frozenset[str]:
    """What the containers get from us, whatever else is set for them."""
    plane = Plane("default", ObjectKey("", "default"), "", None, None, 0, "", "certificate")
    settings = PodSettings(image="", trusted_proxies=("10.0.0.0/8",))
    return frozenset(
        _receiver_environment(settings) | _forwarder_environment(plane, settings) | _agent_environment(plane, settings)
    )


def _spread(labels: Mapping[str, str]) -> list[Json]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(labels)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _receiver_environment(settings: PodSettings) -> dict[str, str]:
    environment = {
        "HOOKLINE_RECEIVER_DATA_DIR": "/data",
        "HOOKLINE_RECEIVER_ROUTES_FILE": "/data/routes/receiver.binpb",
        "HOOKLINE_RECEIVER_RUN_DIR": RUN_DIR,
        "HOOKLINE_RECEIVER_RUN_FOLDER": RUN_DIR,
        "HOOKLINE_RECEIVER_BIND": f"[::]:{HTTP_PORT}",
        "HOOKLINE_RECEIVER_OPS_BIND": f"[::]:{RECEIVER_OPS_PORT}",
        "HOOKLINE_RECEIVER_WORKERS": str(settings.workers),
        "HOOKLINE_RECEIVER_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "HOOKLINE_RECEIVER_LOG_LEVEL": settings.log_level,
    }
    if settings.trusted_proxies:
        environment["HOOKLINE_RECEIVER_TRUSTED_PROXIES"] = ",".join(settings.trusted_proxies)
    return environment


def _receiver(plane: Plane, settings: PodSettings) -> Json:
    mounts = (
        _data("/data/journal", "journal"),
        _data("/data/routes", "routes/receiver", read_only=True),
        _data("/data/share", "share", read_only=True),
        {"name": "run", "mountPath": RUN_DIR, "subPath": "receiver"},
        {"name": "tmp", "mountPath": "/tmp", "subPath": "receiver"},
    )
    container = _container("receiver", "hookline_receiver", settings, _receiver_environment(settings), mounts)
    if plane.resources:
        container["resources"] = laid_over(plane.resources, _resources("receiver", settings))
    container["ports"] = [
        {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
        {"name": "receiver-ops", "containerPort": RECEIVER_OPS_PORT, "protocol": "TCP"},
    ]
    container["startupProbe"] = _probe("/livez", RECEIVER_OPS_PORT, period=1, failures=60)
    container["readinessProbe"] = _probe("/readyz", RECEIVER_OPS_PORT, period=2, failures=2)
    container["livenessProbe"] = _probe("/livez", RECEIVER_OPS_PORT, period=10, failures=3)
    return container


def _forwarder_environment(plane: Plane, settings: PodSettings) -> dict[str, str]:
    environment = {
        "HOOKLINE_FORWARDER_DATA_DIR": "/data",
        "HOOKLINE_FORWARDER_ROUTES_FILE": "/data/routes/forwarder.binpb",
        "HOOKLINE_FORWARDER_ENDPOINTS_FILE": "/data/routes/endpoints.binpb",
        "HOOKLINE_FORWARDER_ADMIN_SOCKET": f"{RUN_DIR}/admin.sock",
        "HOOKLINE_FORWARDER_OPS_BIND": f"[::]:{FORWARDER_OPS_PORT}",
        "HOOKLINE_FORWARDER_LOG_LEVEL": settings.log_level,
    }
    if plane.client_certificate:
        environment["HOOKLINE_FORWARDER_CLIENT_CERTIFICATE"] = f"{_CERTIFICATE_DIR}/tls.crt"
        environment["HOOKLINE_FORWARDER_CLIENT_KEY"] = f"{_CERTIFICATE_DIR}/tls.key"
    return environment


def _forwarder(plane: Plane, settings: PodSettings) -> Json:
    mounts: list[Json] = [
        _data("/data/journal", "journal"),
        _data("/data/routes", "routes/forwarder", read_only=True),
        _data("/data/store", "store"),
        _data("/data/share", "share"),
        _data("/data/aside", "aside"),
        {"name": "run", "mountPath": RUN_DIR, "subPath": "forwarder"},
        {"name": "tmp", "mountPath": "/tmp", "subPath": "forwarder"},
    ]
    if plane.client_certificate:
        mounts.append({"name": "client-certificate", "mountPath": _CERTIFICATE_DIR, "readOnly": True})
    environment = _forwarder_environment(plane, settings)
    container = _container("forwarder", "hookline_receiver.forwarder", settings, environment, mounts)
    container["restartPolicy"] = "Always"
    container["ports"] = [{"name": "forwarder-ops", "containerPort": FORWARDER_OPS_PORT, "protocol": "TCP"}]
    container["startupProbe"] = _probe("/livez", FORWARDER_OPS_PORT, period=1, failures=120)
    container["livenessProbe"] = _probe("/livez", FORWARDER_OPS_PORT, period=10, failures=6)
    return container


def _agent_environment(plane: Plane, settings: PodSettings) -> dict[str, str]:
    return {
        "HOOKLINE_AGENT_DATA_DIR": "/data",
        "HOOKLINE_AGENT_PLANE": plane.name,
        "HOOKLINE_AGENT_NAMESPACE": plane.gateway.namespace,
        "HOOKLINE_AGENT_RECEIVER_ROUTES": "/data/routes/receiver",
        "HOOKLINE_AGENT_FORWARDER_ROUTES": "/data/routes/forwarder",
        "HOOKLINE_AGENT_KEYS_DIR": "/etc/hookline/internal",
        "HOOKLINE_AGENT_RECEIVER_OPS": f"127.0.0.1:{RECEIVER_OPS_PORT}",
        "HOOKLINE_AGENT_FORWARDER_OPS": f"127.0.0.1:{FORWARDER_OPS_PORT}",
        "HOOKLINE_AGENT_REPORT_BIND": f"[::]:{REPORT_PORT}",
        "HOOKLINE_AGENT_OPS_BIND": f"[::]:{AGENT_OPS_PORT}",
        "HOOKLINE_AGENT_LOG_LEVEL": settings.log_level,
    }


def _agent(plane: Plane, settings: PodSettings) -> Json:
    mounts = (
        _data("/data/routes", "routes"),
        {"name": "internal", "mountPath": "/etc/hookline/internal", "readOnly": True},
        {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp", "subPath": "agent"},
    )
    environment = _agent_environment(plane, settings)
    container = _container("agent", "hookline_receiver.agent", settings, environment, mounts)
    container["restartPolicy"] = "Always"
    container["ports"] = [
        {"name": "report", "containerPort": REPORT_PORT, "protocol": "TCP"},
        {"name": "agent-ops", "containerPort": AGENT_OPS_PORT, "protocol": "TCP"},
    ]
    container["startupProbe"] = _probe("/livez", AGENT_OPS_PORT, period=1, failures=60)
    container["readinessProbe"] = _probe("/readyz", AGENT_OPS_PORT, period=2, failures=3)
    container["livenessProbe"] = _probe("/livez", AGENT_OPS_PORT, period=10, failures=6)
    return container


def _container(
    name: str,
    module: str,
    settings: PodSettings,
    environment: Mapping[str, str],
    mounts: Sequence[Mapping[str, object]],
) -> Json:
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", module],
        "env": [
            *({"name": key, "value": value} for key, value in sorted(environment.items())),
            *(dict(each) for each in settings.env),
        ],
        "resources": _resources(name, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [dict(each) for each in mounts],
    }


def _resources(name: str, settings: PodSettings) -> dict[str, dict[str, str]]:
    return laid_over(settings.resources.get(name, {}), DEFAULT_RESOURCES[name])


def _data(path: str, folder: str, *, read_only: bool = False) -> Json:
    mount: Json = {"name": "data", "mountPath": path, "subPath": folder}
    if read_only:
        mount["readOnly"] = True
    return mount


def _probe(path: str, port: int, *, period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _volumes(plane: Plane, settings: PodSettings) -> list[Json]:
    token = {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    }
    volumes: list[Json] = [
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "internal", "secret": {"secretName": settings.internal_secret}},
        {"name": "token", "projected": token},
    ]
    if plane.client_certificate:
        volumes.append({"name": "client-certificate", "secret": {"secretName": plane.client_certificate}})
    return volumes
