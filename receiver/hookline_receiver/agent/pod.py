"""What the pod's programs serve now: asked on their ops ports."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 2.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Absent(Exception):
    """Nobody listens there: the program isn't running, and reads the newest files when it starts."""


class Silent(Exception):
    """No answer, or none that can be read: nobody knows."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What one program serves."""

    running: bool
    """Whether anybody listens on its port."""
    versions: frozenset[str] | None
    """Of each worker that lives ("" for one without routes); None: it does not say."""
    held: int | None = None
    """Deliveries that have not ended, dead letters too; None: not known."""


class Programs:
    """The receiver and the forwarder of this pod."""

    def __init__(self, receiver: tuple[str, int], forwarder: tuple[str, int]) -> None:
        self._receiver = receiver
        self._forwarder = forwarder

    async def receiver(self) -> Serving:
        """What each of its workers serves."""
        try:
            workers = await _ask(self._receiver, "/status")
            return Serving(True, frozenset(str(worker["version"]) for worker in workers))
        except Absent:
            return Serving(False, frozenset())
        except (Silent, KeyError, TypeError):
            return Serving(True, None)

    async def forwarder(self) -> Serving:
        """What it serves."""
        try:
            status = await _ask(self._forwarder, "/status")
            held = status.get("held")
            return Serving(True, frozenset({str(status["version"])}), held if isinstance(held, int) else None)
        except Absent:
            return Serving(False, frozenset())
        except (Silent, KeyError, TypeError, AttributeError):
            return Serving(True, None)

    async def credentials(self) -> Mapping[str, int]:
        """When each credential was last used, seconds since the epoch; raises Absent or Silent."""
        used = await _ask(self._receiver, "/credentials")
        if not isinstance(used, dict):
            raise Silent("no object")
        return {str(name): int(time) for name, time in used.items()}


async def _ask(address: tuple[str, int], path: str) -> Any:
    host, port = address
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, limit=MAX_ANSWER_BYTES)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise Silent(head.split(b"\r\n", 1)[0].decode("latin-1"))
            return json.loads(await reader.read(-1))
    except ConnectionRefusedError as error:
        raise Absent(str(error)) from error
    except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        raise Silent(f"{type(error).__name__}: {error}") from error
    finally:
        if writer is not None:
            writer.close()
