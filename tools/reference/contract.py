"""The messages of proto/ with their comments."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
PACKAGE = ".hookline.cometchat.v1."

_SCALARS = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
}
_MESSAGE, _FIELD = 4, 2
"""Numbers of `message_type` in a file and of `field` in a message: the steps of a place in a file."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message."""

    name: str
    type: str
    """ "string", "Timestamp", "User", ..."""
    repeated: bool
    oneof: str
    """"" if it is in none."""
    comment: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the contract."""

    name: str
    file: str
    """Without folder and ".proto"."""
    comment: str
    fields: tuple[Field, ...]


def messages() -> Mapping[str, Message]:
    """All messages of hookline.cometchat.v1 by name, in the order of their files."""
    return {message.name: message for message in _read()}


def _read() -> Iterator[Message]:
    for file in _descriptors().file:
        if f".{file.package}." != PACKAGE:
            continue
        comments = {tuple(place.path): _flowing(place.leading_comments) for place in file.source_code_info.location}
        for index, message in enumerate(file.message_type):
            place = (_MESSAGE, index)
            name = Path(file.name).stem
            yield Message(message.name, name, comments.get(place, ""), _fields(message, place, comments))


def _fields(
    message: DescriptorProto, place: tuple[int, ...], comments: Mapping[tuple[int, ...], str]
) -> tuple[Field, ...]:
    return tuple(
        Field(
            field.name,
            _SCALARS.get(field.type) or field.type_name.removeprefix(PACKAGE).removeprefix(".google.protobuf."),
            field.label == FieldDescriptorProto.LABEL_REPEATED,
            message.oneof_decl[field.oneof_index].name
            if field.HasField("oneof_index") and not field.proto3_optional
            else "",
            comments.get((*place, _FIELD, index), ""),
        )
        for index, field in enumerate(message.field)
    )


def _descriptors() -> FileDescriptorSet:
    bundled = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "hookline" / "cometchat").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract.binpb"
        flags = [f"-I{PROTO}", f"-I{bundled}", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main(["protoc", *flags, *sources]) != 0:
            raise SystemExit("protoc failed")
        return FileDescriptorSet.FromString(out.read_bytes())


def _flowing(comment: str) -> str:
    """Lines joined, paragraphs kept."""
    paragraphs = comment.strip().split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in one.splitlines()) for one in paragraphs)
