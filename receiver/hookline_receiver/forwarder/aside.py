"""Keeps journal records that nobody can read, for a person to look at: `aside/{journal}-{segment}-{offset}.record`."""

import logging
from pathlib import Path

from hookline_receiver.forwarder.files import make_folder, replace_file
from hookline_receiver.journal.port import Position

log = logging.getLogger(__name__)


class AsideFolder:
    """
    Records that this release can make nothing of, kept until a person has dealt with them.

    Not bounded by itself: each of them was answered with 200, and what was acknowledged is not thrown away.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, journal: str, position: Position, payload: bytes, reason: str) -> None:
        """
        Write *payload* durably under a name that tells where it came from.

        Raises OSError if it can't be kept: the carrier then stays where it is, with the record safe in its journal.
        """
        path = self._folder / f"{journal}-{position.segment:08}-{position.offset}.record"
        make_folder(self._folder)
        replace_file(path, payload)
        fields = {"journal": journal, "file": str(path), "size": len(payload), "reason": reason}
        log.error("an unreadable record was kept aside", extra=fields)
