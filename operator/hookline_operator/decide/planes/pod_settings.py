"""
The file of pod settings: what the platform's owners set for all receiver pods of an installation. Strict YAML.

    image: registry.example.com/hookline/receiver:1.4.0
    workers: 2
    resources:
      receiver: {requests: {cpu: "1", memory: 512Mi}}
    nodeSelector: {pool: webhooks}
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import ip_network

import yaml

from hookline_operator.decide.planes.pod import DEFAULT_RESOURCES, DEFAULT_WORKERS, PodSettings, own_variables
from hookline_routes.fields import ANY_TEXT, LABEL_KEY, LABEL_VALUE, NAME, Fields, Report
from hookline_routes.reading.capacity import read_resources

MAX_WORKERS = 64
_MANY = 64
"""Entries of any list or map."""


class PodSettingsError(Exception):
    """The file asks for something that can't be; the message has a line for each field that is wrong."""


class _PullPolicy(StrEnum):
    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"
    NEVER = "Never"


class _Level(StrEnum):
    INFO = "INFO"
    DEBUG = "DEBUG"
    WARNING = "WARNING"
    ERROR = "ERROR"


def read_pod_settings(text: str) -> PodSettings:
    """The settings in *text*; PodSettingsError for unknown fields and values that can't be, all of them at once."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PodSettingsError(f"not YAML: {error}") from error
    report = Report(strict=True)
    fields = Fields(document if document is not None else {}, (), report)
    settings = _settings(fields)
    fields.close()
    if report.problems:
        raise PodSettingsError("\n".join(f"{each.field or 'the file'} {each.message}" for each in report.problems))
    return settings


def _settings(fields: Fields) -> PodSettings:
    return PodSettings(
        image=fields.text("image", ANY_TEXT),
        image_pull_policy=fields.one_of("imagePullPolicy", _PullPolicy, _PullPolicy.IF_NOT_PRESENT).value,
        image_pull_secrets=fields.texts("imagePullSecrets", NAME, _MANY),
        workers=fields.integer("workers", 1, MAX_WORKERS, DEFAULT_WORKERS),
        log_level=fields.one_of("logLevel", _Level, _Level.INFO).value,
        trusted_proxies=_networks(fields),
        resources=_resources(fields.section("resources")),
        labels=fields.pairs("labels", _MANY, LABEL_KEY, LABEL_VALUE),
        annotations=fields.pairs("annotations", _MANY, LABEL_KEY, ANY_TEXT),
        node_selector=fields.pairs("nodeSelector", _MANY, LABEL_KEY, LABEL_VALUE),
        tolerations=_entries(fields, "tolerations", lambda each, path: None),
        affinity=_mapping(fields, "affinity"),
        priority_class=fields.text("priorityClassName", NAME, ""),
        env=_environment(fields),
    )


def _networks(fields: Fields) -> tuple[str, ...]:
    found = fields.texts("trustedProxies", ANY_TEXT, _MANY)
    for index, each in enumerate(found):
        try:
            ip_network(each)
        except ValueError as error:
            fields.wrong(("trustedProxies", index), f'must be a network such as "10.0.0.0/8", {error}')
    return found


def _resources(fields: Fields) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    found = {name: read_resources(fields.section(name)) for name in DEFAULT_RESOURCES if fields.has(name)}
    fields.ignore(*DEFAULT_RESOURCES)
    fields.close()
    return found


def _environment(fields: Fields) -> tuple[Mapping[str, object], ...]:
    """Entries as in a container's `env`; what the operator sets itself stays its own."""
    ours = own_variables()
    seen: set[str] = set()

    def look(entry: Mapping[str, object], path: tuple[str | int, ...]) -> None:
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            fields.wrong((*path, "name"), "is required")
        elif name in ours:
            fields.wrong((*path, "name"), f"must not be one that the operator sets, got {name}")
        elif name in seen:
            fields.wrong((*path, "name"), f"must not be repeated, got {name}")
        else:
            seen.add(name)

    return _entries(fields, "env", look)


def _entries(
    fields: Fields, name: str, look: Callable[[Mapping[str, object], tuple[str | int, ...]], None]
) -> tuple[Mapping[str, object], ...]:
    """A list of objects that are Kubernetes' own; the API server says what is wrong inside."""
    value = fields.raw(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MANY:
        fields.wrong(name, f"must be a list of at most {_MANY} objects")
        return ()
    found: list[Mapping[str, object]] = []
    for index, each in enumerate(value):
        if isinstance(each, Mapping):
            look(each, (name, index))
            found.append(each)
        else:
            fields.wrong((name, index), "must be an object")
    return tuple(found)


def _mapping(fields: Fields, name: str) -> Mapping[str, object]:
    value = fields.raw(name)
    if value is not None and not isinstance(value, Mapping):
        fields.wrong(name, "must be an object")
    return value if isinstance(value, Mapping) else {}
