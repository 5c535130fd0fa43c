"""Keeps journal records that nobody can read, for a person to look at: `aside/{journal}-{segment}-{offset}.record`."""

import logging
import os
from pathlib import Path

from hookline_receiver.forwarder.files import make_folder, replace_file
from hookline_receiver.journal.port import Position

log = logging.getLogger(__name__)


class AsideFolder:
    """Records that no release could make sense of; at most *limit* bytes together, as their number has no other bound."""

    def __init__(self, folder: Path, limit: int = 64 << 20) -> None:
        self._folder = folder
        self._limit = limit

    def keep(self, journal: str, position: Position, payload: bytes, reason: str) -> None:
        """Write *payload* durably under a name that tells where it came from; without room, say so and go on."""
        path = self._folder / f"{journal}-{position.segment:08}-{position.offset}.record"
        fields = {"journal": journal, "file": str(path), "size": len(payload), "reason": reason}
        try:
            make_folder(self._folder)
            kept = sum(entry.stat().st_size for entry in os.scandir(self._folder))
            if kept + len(payload) > self._limit:
                log.error("an unreadable record was dropped, the folder for them is full", extra=fields)
                return
            replace_file(path, payload)
        except OSError as error:
            log.error("an unreadable record was dropped", extra=fields | {"error": str(error)})
            return
        log.error("an unreadable record was kept aside", extra=fields)
