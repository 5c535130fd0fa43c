"""The admin service on a data folder that no forwarder runs on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hookline_cli.failure import UNAVAILABLE, Failure
from hookline_receiver.forwarder import offline
from hookline_receiver.store.port import StoreUnavailable
from hookline_receiver.store.sqlite import StoreRefused


@contextmanager
def serving_offline(data: Path) -> Iterator[str]:
    """A socket that answers from the store in *data*, which is locked as long as the block lasts; or a Failure."""
    serving = offline.serving_offline(data)
    try:
        path = serving.__enter__()
    except FileNotFoundError as error:
        raise Failure(f"no forwarder runs on {data}, and {error}", UNAVAILABLE) from error
    except (StoreRefused, StoreUnavailable, OSError) as error:
        raise Failure(f"no forwarder answers on {data}, and its store can't be opened: {error}", UNAVAILABLE) from error
    try:
        yield str(path)
    finally:
        serving.__exit__(None, None, None)
