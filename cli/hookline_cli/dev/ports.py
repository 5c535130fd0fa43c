"""Ports that can be had."""

import socket

import click

from hookline_cli.failure import UNAVAILABLE, Failure


class HostPort(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Host (without brackets) and port; 0 means any free one."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host, int(port)


def available(host: str, port: int) -> int:
    """
    *port*, or a free one for 0, after seeing that it can be listened on; Failure if not.

    Asked before anything is started: a port in use should be one line, not a receiver that keeps being restarted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(f"can't listen on {host}:{port}: {error.strerror or error}", UNAVAILABLE) from error
        return int(probe.getsockname()[1])
