"""Files that two programs share: replaced whole by one, read whole by the other."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """
    Make *content* the file *path* at once: a reader sees the old file or the new one.

    Without *durable* a power failure may leave either, or an empty one: for what is written again anyway.
    """
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        _sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """
    Make *path* and the folders above it, so that their names outlast a loss of power.

    Else all that is flushed into files in there is lost with the folder's own name.
    """
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
