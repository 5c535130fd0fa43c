"""The stores that the contract is run on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline_receiver.store.port import EventStore
from support.store import Stores


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    """An empty store of each engine."""
    stores = Stores(tmp_path, request.param)
    yield stores()
    stores.close()
