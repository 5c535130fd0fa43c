"""Records that nobody can read are kept for a person."""

import logging
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


def test_the_folder_is_bounded_and_says_when_it_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It shares the volume with the journals: it must not be what fills it, and nothing may be dropped in silence."""
    aside = AsideFolder(tmp_path / "aside", limit=100)
    with caplog.at_level(logging.ERROR):
        for number in range(5):
            aside.keep("j-1", Position(1, number), b"x" * 40, "not a record")

    assert len(list((tmp_path / "aside").iterdir())) == 2
    assert sum("was dropped, the folder" in record.message for record in caplog.records) == 3


def test_a_folder_that_can_not_be_written_blocks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The events behind the record were acknowledged too."""
    (tmp_path / "aside").write_bytes(b"a file is in the way")

    with caplog.at_level(logging.ERROR):
        AsideFolder(tmp_path / "aside").keep("j-1", Position(1, 0), b"x", "not a record")

    assert "an unreadable record was dropped" in caplog.text
