"""The released contract is guarded: handlers that were built against it keep working."""

import shutil
import subprocess
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.contract import BUF, PROTO, RELEASED, ROOT

SHAPES = "hookline/cometchat/v1/shapes.proto"
TEXT = "  optional string text = 9;\n"


def breaking(proto: Path) -> subprocess.CompletedProcess[str]:
    """What `python -m tools.contract breaking` finds in a copy of the repository."""
    command = [BUF, "breaking", "--against", str(RELEASED)]
    return subprocess.run(command, cwd=proto.parent, capture_output=True, text=True, check=False)


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    """A copy of proto/ that a test may change."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return Path(shutil.copytree(PROTO, tmp_path / "proto", ignore=shutil.ignore_patterns("*_pb2*", "__pycache__")))


def test_the_contract_as_it_stands_breaks_nothing(proto: Path) -> None:
    """And the guard does not cry wolf."""
    done = breaking(proto)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TEXT, "", 'Previously present field "9" with name "text"'),
        (TEXT, TEXT.replace("9", "90"), 'Previously present field "9" with name "text"'),
        (TEXT, TEXT.replace("string", "bytes"), 'changed type from "string" to "bytes"'),
        (TEXT, TEXT.replace("text", "words"), 'changed name from "text" to "words"'),
    ],
    ids=["removed", "renumbered", "another type", "renamed"],
)
def test_a_field_that_handlers_read_can_not_be_taken_away(proto: Path, old: str, new: str, said: str) -> None:
    """A handler built last year would find nothing, or something else, where the text was."""
    file = proto / SHAPES
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))

    done = breaking(proto)

    assert done.returncode != 0
    assert said in done.stdout


def test_every_file_is_in_the_released_contract() -> None:
    """A file that was never released would not be guarded at all."""
    released = FileDescriptorSet.FromString(RELEASED.read_bytes())
    files = {path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto")}

    assert files <= {file.name for file in released.file}


def test_a_field_more_breaks_nothing(proto: Path) -> None:
    """The contract can grow."""
    file = proto / SHAPES
    file.write_text(file.read_text().replace(TEXT, f"{TEXT}  // New.\n  optional string fresh = 900;\n"))

    assert breaking(proto).returncode == 0
