"""The admin service on a data folder that no forwarder runs on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hookline_cli.failure import UNAVAILABLE, Failure


@contextmanager
def serving_offline(data: Path) -> Iterator[str]:
    """A socket that answers from the store in *data*, as long as the block lasts."""
    raise Failure(f"no forwarder runs on {data}: start hookline dev with --data {data}", UNAVAILABLE)
    yield ""
