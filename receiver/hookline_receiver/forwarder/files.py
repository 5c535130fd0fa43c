"""Files that two programs share: replaced whole by one, read whole by the other."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Make *content* the file *path*, durably and at once: a reader sees the old file or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
