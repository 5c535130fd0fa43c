"""`hookline dev`: what it takes on the command line."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import click

from hookline_cli.dev.addresses import ServiceAddress, ServiceAddressType
from hookline_cli.dev.folder import DataFolder
from hookline_cli.dev.keyring import Keyring
from hookline_cli.dev.ports import HostPort, available
from hookline_cli.dev.programs import Listen
from hookline_cli.dev.session import DevSettings, Session, paths_exist
from hookline_cli.dev.telling import Teller
from hookline_cli.failure import FAILED, Failure
from hookline_cli.manifest_files import paths_option


@click.command()
@paths_option
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".hookline"),
    show_default=True,
    help="Folder for journals, event store, routes and logs; kept from one run to the next.",
)
@click.option("--listen", type=HostPort(), default="127.0.0.1:8080", show_default=True, help="Port 0: a free one.")
@click.option("--ops", type=HostPort(), default="127.0.0.1:0", help="Readiness and metrics.  [default: a free port]")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that receive.")
@click.option(
    "--handler",
    "handlers",
    type=ServiceAddressType(),
    multiple=True,
    help="Where a Service that routes name is found; else on 127.0.0.1 at its port. May be repeated.",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="At the end, wait so long at most for what is due to be delivered.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show all that receiver and forwarder say, not only warnings.")
def command(
    paths: tuple[Path, ...],
    data: Path,
    listen: tuple[str, int],
    ops: tuple[str, int],
    workers: int,
    handlers: tuple[ServiceAddress, ...],
    drain: float,
    verbose: bool,
) -> None:
    """
    Run receiver, event store and forwarder on this machine.

    Compiles the manifests with the code that the operator uses, serves them, and takes up changes while it runs: a
    manifest that can't be served is refused with a message, and the last good routes stay. Ctrl-C stops it in order.
    """
    paths_exist(paths)
    folder = DataFolder(data)
    folder.prepare()
    lock = folder.lock()
    try:
        addresses = Listen(listen[0], available(*listen), ops[0], available(*ops), available(ops[0], 0))
        settings = DevSettings(paths, folder, addresses, workers, handlers, drain)
        keyring = _keyring(folder)
        teller = Teller(folder.logs, _say, verbose=verbose)
        try:
            asyncio.run(Session(settings, keyring, teller, _say).run())
        finally:
            teller.close()
    finally:
        os.close(lock)


def _say(line: str) -> None:
    """Tell a person; a full disk behind standard output, or nobody there to read it, must not end what serves."""
    with suppress(OSError):
        click.echo(line)


def _keyring(folder: DataFolder) -> Keyring:
    try:
        return Keyring(folder.keys)
    except (OSError, ValueError) as error:
        raise Failure(str(error), FAILED) from error
