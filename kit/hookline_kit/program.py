"""
A handler as a program of its own: its flags, the same settings from the environment, its logs, a graceful end.

    parser = argparse.ArgumentParser("greeter")
    flags = Flags(parser, "GREETER")
    add_server_flags(flags)
    sys.exit(serve(handler, parser.parse_args()))
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hookline_kit.handler import Handler
from hookline_kit.server import TLS, Server, ServerSettings, run_until_signalled

CANNOT_SERVE = 3
"""Exit status when the address, or a file of the certificates, can't be had."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Flags:
    """
    Adds flags to a parser, each of which the environment can give too: `--smtp-port` of "MAILER" is MAILER_SMTP_PORT.

    The command line wins over the environment. What is secret should come as the path of a file: flags and
    environment can be seen by others on the machine.
    """

    def __init__(self, parser: argparse.ArgumentParser, program: str, environ: Mapping[str, str] = os.environ) -> None:
        """Add to *parser*; variables begin with *program* and an underscore."""
        self._parser = parser
        self._program = program.upper()
        self._environ = environ

    def add(self, flag: str, *, help: str, **given: Any) -> None:
        """Add *flag*; *given* is what `ArgumentParser.add_argument` takes."""
        variable = f"{self._program}_{flag.lstrip('-').replace('-', '_').upper()}"
        if variable in self._environ:
            value = self._environ[variable]
            if value not in map(str, given.get("choices") or [value]):
                self._parser.error(f"{variable}: {value!r} is not one of {', '.join(map(str, given['choices']))}")
            # argparse turns a default that is text into the flag's type, and names the flag if it can't.
            given = {**given, "default": value, "required": False}
        self._parser.add_argument(flag, help=f"{help} [{variable}]", **given)


def add_server_flags(flags: Flags, port: int = 9000) -> None:
    """Add where and how to listen, and what to log; *port* is the default."""
    flags.add("--port", type=int, default=port, help="port to listen on; 0: a free one (default: %(default)s)")
    flags.add("--host", default="127.0.0.1", help="address to listen on, 0.0.0.0 in a container (default: %(default)s)")
    flags.add("--tls-certificate", type=Path, metavar="PEM", help="serve TLS with this certificate chain")
    flags.add("--tls-key", type=Path, metavar="PEM", help="its private key")
    flags.add("--tls-client-ca", type=Path, metavar="PEM", help="let in only callers with a certificate of this one")
    flags.add(
        "--log-level", choices=LEVELS, default="INFO", help="least level of what is logged (default: %(default)s)"
    )


def server_settings(given: argparse.Namespace) -> ServerSettings:
    """What the flags of `add_server_flags` say; raises ValueError when the TLS flags do not fit together."""
    if (given.tls_certificate is None) != (given.tls_key is None):
        raise ValueError("--tls-certificate and --tls-key need each other")
    if given.tls_certificate is None:
        if given.tls_client_ca is not None:
            raise ValueError("--tls-client-ca needs --tls-certificate and --tls-key")
        return ServerSettings(host=given.host, port=given.port)
    tls = TLS(given.tls_certificate, given.tls_key, given.tls_client_ca)
    return ServerSettings(host=given.host, port=given.port, tls=tls)


def serve(handler: Handler, given: argparse.Namespace) -> int:
    """
    Serve until SIGTERM or SIGINT, then stop gracefully; the exit status.

    Says `listening on HOST:PORT` on standard error as soon as it does; logs go there too.
    """
    configure_logs(given.log_level)
    try:
        asyncio.run(run_until_signalled(Server(handler.handle, server_settings(given)), _announce))
    except (OSError, ValueError) as error:
        print(f"can't serve: {error}", file=sys.stderr)
        return CANNOT_SERVE
    return 0


def configure_logs(level: str) -> None:
    """Send logs of *level* and above to standard error, a line each."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[lines], force=True)


class LineFormatter(logging.Formatter):
    """The fixed sentence of a log line, then the fields given as `extra`."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback."""
        fields = "".join(f" {name}={value}" for name, value in vars(record).items() if name not in _STANDARD)
        return super().formatMessage(record) + fields


def _announce(server: Server) -> None:
    print(f"listening on {server.address}", file=sys.stderr, flush=True)
