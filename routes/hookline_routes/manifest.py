"""
Manifests: YAML text in, typed objects and problems out, each with the line that it stands on.

    manifests = read_manifests({"acme.yaml": text})
    manifests.objects    what was read            manifests.ignored    kinds that are nobody's business here
    manifests.problems   what was refused         manifests.unreadable objects that can't be read

YAML as kubectl reads it where that matters: a time is a string, 1:30 is a string, a key may stand once, several
documents may share a file. Aliases are followed within a bound, so that a small file can't become a large object.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import yaml

from hookline_routes.problem import Place, Problem, Reason, Severity
from hookline_routes.reading import is_known, kind_of, read_object
from hookline_routes.resource import Origin, Resource, Unreadable

MAX_TEXT = 16 * 1024 * 1024
"""Characters of one file."""
MAX_NODES = 100_000
"""Values of one file, those that aliases repeat counted each time."""
MAX_DEPTH = 64
"""Levels of nesting."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """An object of a kind that is not compiled: a Service, a Namespace."""

    kind: str
    place: Place


@dataclass(frozen=True, slots=True)
class Manifests:
    """What some files say."""

    objects: tuple[Resource, ...]
    unreadable: tuple[Unreadable, ...]
    ignored: tuple[Ignored, ...]
    problems: tuple[Problem, ...]
    """Of all files, those of the unreadable objects included, in the order of the files."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file, and the line of each of its fields."""

    value: object
    origin: Origin


class _Refused(Exception):
    def __init__(self, message: str, mark: yaml.Mark | None) -> None:
        super().__init__(message)
        self.line = mark.line + 1 if mark else 0


def read_manifests(files: Mapping[str, str]) -> Manifests:
    """What *files* (name → text) say; all that is wrong is said at once, and nothing raises."""
    objects: list[Resource] = []
    unreadable: list[Unreadable] = []
    ignored: list[Ignored] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, str, str], Place] = {}
    for file, text in files.items():
        for item in read_documents(file, text):
            if isinstance(item, Problem):
                problems.append(item)
                continue
            place = item.origin.place(())
            if not is_known(item.value):
                _note_unknown(item, place, ignored, problems)
                continue
            read = read_object(item.value, strict=True, origin=item.origin)
            if isinstance(read, Unreadable):
                unreadable.append(read)
                problems.extend(read.problems)
            elif read is not None:
                repeated = _repeated(read, item, seen)
                if repeated:
                    problems.append(repeated)
                else:
                    objects.append(read)
    return Manifests(tuple(objects), tuple(unreadable), tuple(ignored), tuple(problems))


def read_documents(file: str, text: str) -> Iterator[Document | Problem]:
    """The objects of one file, a `List`'s each for itself; what comes before a syntax error is read."""
    try:
        if len(text) > MAX_TEXT:
            raise _Refused(f"must be at most {MAX_TEXT} characters, got {len(text)}", None)
        builder = _Builder(file)
        loader = _Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                if node is not None:
                    yield from _flatten(builder.document(node))
        finally:
            loader.dispose()
    except _Refused as error:
        yield Problem(Severity.ERROR, Reason.INVALID_SYNTAX, str(error), place=Place(file, error.line))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        message = " ".join(part for part in (error.context, error.problem) if part)
        yield Problem(Severity.ERROR, Reason.INVALID_SYNTAX, f"is not YAML: {message}", place=Place(file, line))
    except yaml.reader.ReaderError as error:
        message = f"is not YAML: character {error.position} is {error.reason}"
        yield Problem(Severity.ERROR, Reason.INVALID_SYNTAX, message, place=Place(file, 0))


def _note_unknown(item: Document, place: Place, ignored: list[Ignored], problems: list[Problem]) -> None:
    kind = kind_of(item.value)
    version = item.value.get("apiVersion") if isinstance(item.value, Mapping) else None
    if item.value is None:
        return
    if not kind or not isinstance(version, str):
        message = "must be an object with apiVersion and kind"
        problems.append(Problem(Severity.ERROR, Reason.INVALID_SYNTAX, message, place=place))
    elif version.startswith("hookline.dev/"):
        message = f'must be a WebhookSubscription or WebhookGateway of hookline.dev/v1alpha1, got "{version}" {kind}'
        problems.append(Problem(Severity.ERROR, Reason.UNKNOWN_KIND, message, place=place))
    else:
        ignored.append(Ignored(kind, place))


def _repeated(read: Resource, item: Document, seen: dict[tuple[str, str, str], Place]) -> Problem | None:
    kind, place = kind_of(item.value), item.origin.place(("metadata", "name"))
    subject = f"{kind} {read.metadata.key}"
    first = seen.setdefault((kind, read.metadata.namespace, read.metadata.name), place)
    if first is place:
        return None
    return Problem(Severity.ERROR, Reason.DUPLICATE_OBJECT, f"is there already, at {first}", subject, "", place)


def _flatten(document: Document) -> Iterator[Document]:
    value = document.value
    if not isinstance(value, Mapping) or value.get("kind") != "List" or value.get("apiVersion") != "v1":
        yield document
        return
    items = value.get("items")
    every = items if isinstance(items, list) else []
    lines: list[dict[tuple[str | int, ...], int]] = [{} for _ in every]
    for path, line in document.origin.lines.items():
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int):
            lines[path[1]][path[2:]] = line
    for item, own in zip(every, lines, strict=True):
        yield Document(item, Origin(document.origin.file, own))


class _Loader(yaml.SafeLoader):
    """Ends too deep a nesting while it is parsed, where it would cost the square of its depth."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:
            raise _Refused(f"must not be nested deeper than {MAX_DEPTH} levels", parent.start_mark if parent else None)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Plain values from YAML's nodes, with the lines they stand on."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._nodes = 0
        self._constructor = yaml.constructor.SafeConstructor()
        self._lines: dict[tuple[str | int, ...], int] = {}

    def document(self, node: yaml.Node) -> Document:
        self._lines = {}
        value = self._value(node, ())
        return Document(value, Origin(self._file, self._lines))

    def _value(self, node: yaml.Node, path: tuple[str | int, ...]) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Refused(f"must hold at most {MAX_NODES} values, aliases counted each time", node.start_mark)
        # A node that holds itself by an alias ends here too.
        if len(path) > MAX_DEPTH:
            raise _Refused(f"must not be nested deeper than {MAX_DEPTH} levels", node.start_mark)
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each, (*path, index)) for index, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise _Refused(f"a {type(node).__name__} is not read", node.start_mark)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise _Refused("merge keys (<<) are not read; write the fields out", key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Refused("a key must be a string", key_node.start_mark)
            key = key_node.value
            if key in found:
                raise _Refused(f'the key "{key}" must stand once', key_node.start_mark)
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            found[key] = self._value(value_node, (*path, key))
        return found

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text = node.value
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "null":
                return None
            case "bool":
                return self._constructor.construct_yaml_bool(node)
            case "int" if ":" not in text:
                return self._number(node, self._constructor.construct_yaml_int)
            case "float" if ":" not in text:
                return self._number(node, self._constructor.construct_yaml_float)
            case "int" | "float" | "timestamp" | "str" | "value":
                return text
            case other:
                raise _Refused(f"the tag {other} is not read", node.start_mark)

    def _number(self, node: yaml.ScalarNode, construct: Callable[[yaml.ScalarNode], object]) -> object:
        try:
            return construct(node)
        except (ValueError, OverflowError):
            raise _Refused(f'is no number: "{node.value[:40]}"', node.start_mark) from None
