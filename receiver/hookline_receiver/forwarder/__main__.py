"""`python -m hookline_receiver.forwarder`: the forwarder, set by `HOOKLINE_FORWARDER_*`; SIGTERM stops it gracefully."""

import os

# Its own complaints go to stderr as they come, past our logs; what matters of them comes back as a status.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import logging
import signal
import sys

from hookline_receiver.forwarder.process import Forwarder
from hookline_receiver.forwarder.settings import Settings, SettingsError, settings_from
from hookline_receiver.ops.logs import configure
from hookline_receiver.store.port import StoreUnavailable
from hookline_receiver.store.sqlite import StoreRefused

log = logging.getLogger(__name__)

EX_CONFIG, EX_UNAVAILABLE, EX_SOFTWARE = 78, 69, 70


def main() -> int:
    """Run until SIGTERM or SIGINT; exit status as in sysexits.h."""
    try:
        settings = settings_from(os.environ)
    except SettingsError as error:
        print(f"hookline forwarder: {error}", file=sys.stderr)
        return EX_CONFIG
    configure(settings.log_level)
    try:
        asyncio.run(_run(settings))
    except (StoreRefused, StoreUnavailable, OSError) as error:
        log.error("forwarder can't start", extra={"reason": str(error)})
        return EX_UNAVAILABLE
    except Exception:
        # A part failed in a way that nobody foresaw: whoever supervises starts a new process, which takes up the work.
        log.critical("forwarder failed", exc_info=True)
        return EX_SOFTWARE
    return 0


async def _run(settings: Settings) -> None:
    forwarder = Forwarder(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, forwarder.stop)
    await forwarder.run()


if __name__ == "__main__":
    sys.exit(main())
