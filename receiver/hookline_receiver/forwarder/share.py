"""Writes `share/pending.binpb`, by which receivers hold each subscription to its share of the storage."""

from collections.abc import Mapping
from pathlib import Path

from hookline.routing.v1.snapshot_pb2 import PendingBytes, PendingTable
from hookline_receiver.carrying.routebook import FORMAT
from hookline_receiver.event import SubscriptionRef
from hookline_receiver.forwarder.files import replace_file


class ShareFile:
    """The table of pending bytes, replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: bytes | None = None

    def write(self, pending: Mapping[SubscriptionRef, int], *, anew: bool) -> None:
        """
        Write *pending* if it changed, or with *anew*; raises OSError.

        Receivers add to the table what they appended since it was last written, so it is written *anew*, unchanged,
        after everything that was carried: what was delivered meanwhile would count for ever else.
        """
        table = PendingTable(
            format=FORMAT,
            subscriptions=[
                PendingBytes(uid=ref.uid, bytes=size)
                for ref, size in sorted(pending.items(), key=lambda item: item[0].uid)
                if size > 0
            ],
        )
        content = table.SerializeToString(deterministic=True)
        if content == self._written and not anew:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, content, durable=False)
        self._written = content
