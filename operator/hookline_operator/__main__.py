"""`python -m hookline_operator`: the operator, set by `HOOKLINE_OPERATOR_*`; SIGTERM stops it gracefully."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable

from kubernetes.aio.config import ConfigException

from hookline_operator.apply.installation import Misconfigured
from hookline_operator.logs import configure
from hookline_operator.main import run
from hookline_operator.settings import Settings, SettingsError, from_environment

log = logging.getLogger(__name__)

EX_CONFIG, EX_UNAVAILABLE, EX_SOFTWARE = 78, 69, 70


def main() -> int:
    """Run until SIGTERM or SIGINT; exit status as in sysexits.h."""
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        print(f"hookline operator: {error}", file=sys.stderr)
        return EX_CONFIG
    configure(settings.log_level)
    try:
        asyncio.run(_run(settings))
    except (Misconfigured, ConfigException) as error:
        log.error("operator can't start", extra={"reason": str(error)})
        return EX_CONFIG
    except OSError as error:
        log.error("operator can't start", extra={"reason": str(error)})
        return EX_UNAVAILABLE
    except Exception:
        # Nobody foresaw it: whoever supervises starts a new process, which begins with what is published.
        log.critical("operator failed", exc_info=True)
        return EX_SOFTWARE
    return 0


async def _run(settings: Settings) -> None:
    loop = asyncio.get_running_loop()

    def stopped_by(stop: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)

    await run(settings, stopped_by)


if __name__ == "__main__":
    sys.exit(main())
