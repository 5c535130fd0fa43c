"""The admin service of a forwarder that runs on a data folder, or of ours while none does."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import click
import grpc

from hookline.admin.v1 import admin_pb2_grpc
from hookline_cli.failure import FAILED, UNAVAILABLE, Failure

F = TypeVar("F", bound=Callable[..., None])

LONGEST_SOCKET_PATH = 100
"""Linux takes 107 bytes, the final zero not counted."""


def data_option(function: F) -> F:
    """`--data DIR`, the folder that `hookline dev` runs on."""
    decorate = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".hookline"),
        show_default=True,
        help="Data folder of hookline dev.",
    )
    return decorate(function)


@contextmanager
def admin_of(data: Path) -> Iterator[admin_pb2_grpc.EventAdminServiceStub]:
    """The admin service of the forwarder on *data*, or one on its store; calls that fail become Failures."""
    with ExitStack() as stack:
        path = stack.enter_context(short_path(data / "run", "admin.sock"))
        if path is None or not answers(path):
            # PERF: a store and all that belongs to it, which nobody needs while a forwarder answers.
            from hookline_cli.people.offline import serving_offline

            path = stack.enter_context(serving_offline(data))
        channel = stack.enter_context(grpc.insecure_channel(f"unix:{path}"))
        try:
            yield admin_pb2_grpc.EventAdminServiceStub(channel)
        except grpc.RpcError as error:
            raise _failure(data, error) from error


@contextmanager
def short_path(folder: Path, name: str) -> Iterator[str | None]:
    """A path for the socket *name* in *folder* that is short enough for the kernel; None: there is no such folder."""
    path = str(folder.absolute() / name)
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        yield path
        return
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        yield None
        return
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def answers(path: str) -> bool:
    """Whether somebody listens on the socket; a file that a killed process left behind does not count."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise Failure(f"{path}: {error.strerror or error}", UNAVAILABLE) from error
        return True


def _failure(data: Path, error: grpc.RpcError) -> Failure:
    code, details = error.code(), error.details()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return Failure(f"the forwarder on {data} does not answer: {details}", UNAVAILABLE)
    return Failure(details or code.name, FAILED)
