"""Records that nobody can read are kept for a person."""

from pathlib import Path

import pytest

from hookline_receiver.forwarder.aside import AsideFolder
from hookline_receiver.journal.port import Position


def test_a_record_is_kept_under_a_name_that_tells_where_it_came_from(tmp_path: Path) -> None:
    """Byte for byte; and a batch that is carried again does not keep it twice."""
    aside = AsideFolder(tmp_path / "aside")

    for _ in range(2):
        aside.keep("j-1", Position(3, 4096), b"\xff\x00 what is this", "not a record")

    [file] = (tmp_path / "aside").iterdir()
    assert (file.name, file.read_bytes()) == ("j-1-00000003-4096.record", b"\xff\x00 what is this")


def test_a_record_that_can_not_be_kept_stops_the_carrier(tmp_path: Path) -> None:
    """It was acknowledged: it stays in its journal until there is a place for it, and is never dropped."""
    (tmp_path / "aside").write_bytes(b"a file is in the way")

    with pytest.raises(OSError, match="aside"):
        AsideFolder(tmp_path / "aside").keep("j-1", Position(1, 0), b"x", "not a record")
