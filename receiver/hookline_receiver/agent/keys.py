"""The keys of the installation, from the files of a mounted Secret, read again when they change."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)

TAG_KEY_BYTES = 32


class KeyFile:
    """One key. SECURITY: never in a log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature: tuple[int, int, int] | None = None
        self._content = b""

    def read(self) -> bytes:
        """Its content now; what was read last where it can't be read, b"" if nothing ever was."""
        try:
            stat = self._path.stat()
            signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if signature != self._signature:
                self._content, self._signature = self._path.read_bytes(), signature
        except OSError as error:
            if self._signature != (0, 0, 0):
                log.warning("a key can't be read", extra={"file": str(self._path), "reason": str(error)})
            self._signature = (0, 0, 0)
        return self._content


class Keys:
    """All of them."""

    def __init__(self, folder: Path, api_token: Path) -> None:
        self._tag_key = KeyFile(folder / "tagKey")
        self._agent_token = KeyFile(folder / "agentToken")
        self._api_token = KeyFile(api_token)

    def tag_key(self) -> bytes:
        """32 bytes, or b"" where there is no such key (yet)."""
        key = self._tag_key.read()
        return key if len(key) == TAG_KEY_BYTES else b""

    def agent_token(self) -> bytes:
        """By which the operator is known; b"": nobody is."""
        return self._agent_token.read().strip()

    def api_token(self) -> str:
        """By which the API server knows us."""
        return self._api_token.read().decode("ascii", "replace").strip()
