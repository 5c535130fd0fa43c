"""`python -m hookline_receiver.agent`: the agent, set by `HOOKLINE_AGENT_*`; SIGTERM stops it."""

import os

# Its own complaints go to stderr as they come, past our logs.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import logging
import signal
import sys

from hookline_receiver.agent.process import Agent
from hookline_receiver.agent.settings import Settings, SettingsError, settings_from
from hookline_receiver.ops.logs import configure

log = logging.getLogger(__name__)

EX_CONFIG, EX_UNAVAILABLE, EX_SOFTWARE = 78, 69, 70


def main() -> int:
    """Run until SIGTERM or SIGINT; exit status as in sysexits.h."""
    try:
        settings = settings_from(os.environ)
    except SettingsError as error:
        print(f"hookline agent: {error}", file=sys.stderr)
        return EX_CONFIG
    configure(settings.log_level)
    try:
        asyncio.run(_run(settings))
    except OSError as error:
        log.error("agent can't go on", extra={"reason": str(error)})
        return EX_UNAVAILABLE
    except Exception:
        log.critical("agent failed", exc_info=True)
        return EX_SOFTWARE
    return 0


async def _run(settings: Settings) -> None:
    agent = Agent(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()


if __name__ == "__main__":
    sys.exit(main())
