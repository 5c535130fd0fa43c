"""Where disks are rebuilt."""

from pathlib import Path

import pytest


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """In memory if possible: they are many, and flushing them is not what is tested."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else tmp_path
