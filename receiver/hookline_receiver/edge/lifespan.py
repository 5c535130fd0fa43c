"""Starts and ends an application by ASGI's lifespan protocol."""

import asyncio
from typing import Any

from hookline_receiver.edge.lifecycle import ASGIApp, Message


class StartFailed(Exception):
    """The application can't start; the message is its own reason."""


class EndFailed(Exception):
    """The application could not end in order; the message is its own reason."""


class Lifespan:
    """
    One application's start and end.

    The application must speak the protocol: one that fails on it, or returns, is one that did not start.
    """

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the application can serve, else raise StartFailed. Takes as long as the application does."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._task = asyncio.create_task(self._run(scope))
        await self._tell("lifespan.startup", StartFailed)

    def abandon(self) -> None:
        """Give up a start that is not wanted any more."""
        if self._task is not None:
            self._task.cancel()

    async def end(self, timeout: float) -> None:
        """Let the application close what it opened, else raise EndFailed."""
        if self._task is None or self._task.done():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._tell("lifespan.shutdown", EndFailed)
                await self._task
        except TimeoutError:
            raise EndFailed(f"the application did not end within {timeout:g} s") from None

    async def _tell(self, kind: str, failure: type[Exception]) -> None:
        self._told.put_nowait({"type": kind})
        answer = await self._heard.get()
        if answer["type"] != f"{kind}.complete":
            raise failure(answer.get("message") or f"the application answered {kind} with {answer['type']}")

    async def _run(self, scope: dict[str, Any]) -> None:
        async def send(message: Message) -> None:
            self._heard.put_nowait(message)

        try:
            await self._app(scope, self._told.get, send)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the reason to be told
            self._heard.put_nowait({"type": "error", "message": f"{type(error).__name__}: {error}"})
        else:
            self._heard.put_nowait({"type": "return"})
