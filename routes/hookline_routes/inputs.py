"""What is compiled, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_routes.manifest import Manifests
from hookline_routes.problem import Condition, Problem
from hookline_routes.reading import default_gateway
from hookline_routes.resource import (
    ConfigMap,
    ObjectKey,
    ReferenceGrant,
    Secret,
    Unreadable,
    WebhookGateway,
    WebhookSubscription,
)

R = TypeVar("R", WebhookSubscription, WebhookGateway, Secret, ConfigMap, ReferenceGrant)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What a verifier was made of, so that it is made once: a version of a Secret, and which keys of it."""

    secret: str
    """metadata.uid, or "namespace/name" where there is none."""
    version: str
    """metadata.resourceVersion, or a digest of the data where there is none. SECURITY: never published."""
    username_key: str = "username"
    password_key: str = "password"


@dataclass(frozen=True, slots=True)
class GeneratedCredential:
    """A credential of 128 bits of chance or more that Hookline made for a subscription without secretRefs."""

    name: str
    """Names it for people, "{secret}@{resourceVersion}"."""
    username: str
    password: str = field(repr=False)
    key: VerifierKey
    quick: bool = True
    """False: it may not have as much chance as that, and gets the slow hash."""


@dataclass(frozen=True, slots=True)
class NeededVerifier:
    """A verifier that is to be made before compiling: `make_verifier(credential, username, password, generated=…)`."""

    key: VerifierKey
    credential: str
    username: str
    password: str = field(repr=False)
    generated: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    Everything that compiling looks at, in any order.

    The operator gives all it has seen of a cluster; `hookline dev` and `hookline check` what the manifests say.
    """

    tag_key: bytes
    """Key of the verifiers' tags, 32 bytes; ends up in the receivers' tables alone."""
    subscriptions: tuple[WebhookSubscription, ...] = ()
    gateways: tuple[WebhookGateway, ...] = ()
    secrets: tuple[Secret, ...] = ()
    config_maps: tuple[ConfigMap, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    """Objects that could not be read: they get their conditions, and nothing is compiled of them."""
    grants: tuple[ReferenceGrant, ...] | None = None
    """None: handlers in other namespaces need no grant (`hookline dev`)."""
    namespaces: Mapping[str, Mapping[str, str]] | None = None
    """Labels of each namespace; None: selectors on them are not checked."""
    verifiers: Mapping[VerifierKey, routing.Verifier] = field(default_factory=dict)
    generated: Mapping[ObjectKey, tuple[GeneratedCredential, ...]] = field(default_factory=dict)
    """By subscription; used where it names no Secret."""
    default_gateway: WebhookGateway | None = None
    """Stands in for the gateway of its name where that is not there; in a single plane, for any."""
    gateway_namespace: str = ""
    """
    The installation's namespace: only its gateways are ours, and what refers to another's is not looked at.

    "": there are no installations; a gateway that is referred to without a namespace is the first of its name by age.
    """
    cluster_default: bool = True
    """Whether the installation takes references without a namespace."""
    single_plane: bool = False
    """All gateways' subscriptions go into one pair of tables, under any host name (`hookline dev`)."""
    omit_handler_tls: bool = False
    """Handlers are called without TLS, whatever their routes say (`hookline dev`, on loopback)."""


def inputs_for_dev(manifests: Manifests, tag_key: bytes) -> Inputs:
    """What `hookline dev` compiles: one plane on loopback, no TLS to handlers, no grants, a gateway if none is there."""
    return Inputs(
        tag_key=tag_key,
        subscriptions=_of(manifests, WebhookSubscription),
        gateways=_of(manifests, WebhookGateway),
        secrets=_of(manifests, Secret),
        config_maps=_of(manifests, ConfigMap),
        unreadable=manifests.unreadable,
        default_gateway=default_gateway(),
        single_plane=True,
        omit_handler_tls=True,
    )


def inputs_for_check(manifests: Manifests, tag_key: bytes) -> Inputs:
    """What `hookline check` compiles: what the operator would say if a cluster held these manifests and nothing else."""
    return Inputs(
        tag_key=tag_key,
        subscriptions=_of(manifests, WebhookSubscription),
        gateways=_of(manifests, WebhookGateway),
        secrets=_of(manifests, Secret),
        config_maps=_of(manifests, ConfigMap),
        unreadable=manifests.unreadable,
        grants=_of(manifests, ReferenceGrant),
        default_gateway=default_gateway(),
    )


def _of(manifests: Manifests, kind: type[R]) -> tuple[R, ...]:
    return tuple(each for each in manifests.objects if isinstance(each, kind))


@dataclass(frozen=True, slots=True)
class Tables:
    """The two parts of a compilation; `version` is the same in both."""

    receiver: routing.ReceiverSnapshot
    forwarder: routing.ForwarderSnapshot

    @property
    def version(self) -> str:
        """Hash of the content."""
        return self.receiver.version


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """What is to be said of one object."""

    kind: str
    key: ObjectKey
    uid: str
    generation: int
    conditions: tuple[Condition, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """
    Tables by plane, and a report of each object.

    A plane is "{namespace}/{gateway}", one of a subscription's own "{namespace}/{gateway}.{its namespace}.{its name}"; with
    `single_plane` the one key is "".
    """

    tables: Mapping[str, Tables]
    reports: tuple[ObjectReport, ...]
    """Sorted by kind, namespace and name."""

    @property
    def sole(self) -> Tables:
        """The tables of the single plane."""
        return self.tables[""]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, errors first."""
        every = [problem for report in self.reports for problem in report.problems]
        return tuple(sorted(every, key=lambda problem: not problem.is_error))
