"""`python -m hookline_receiver`: read the settings, then become the HTTP server."""

import os
import sys
from functools import partial

from hookline_receiver.app import make_app
from hookline_receiver.edge.gunicorn import run
from hookline_receiver.ops.logs import configure
from hookline_receiver.settings import SettingsError, from_environment


def main() -> None:
    """Serve until told to stop; exit status 1 and one line on stderr where the settings can't be."""
    try:
        settings = from_environment(os.environ)
    except SettingsError as exc:
        sys.exit(f"hookline_receiver: {exc}")
    configure(settings.log_level)
    run(settings.edge, partial(make_app, settings))


if __name__ == "__main__":
    main()
