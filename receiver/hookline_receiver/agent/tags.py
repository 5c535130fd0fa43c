"""Which keys of tags the receiver needs for the shards that it is given: pure, and the same after a restart in between."""

from collections.abc import Iterable

from hookline_receiver.tag_keys import TagKeys
from hookline_routes.verifier import tag_key_id


def tag_keys(made_with: Iterable[bytes | None], mounted: bytes, in_file: TagKeys | None) -> TagKeys:
    """
    The keys of shards that were *made_with* keys of these names.

    A key is mounted into pods at any time before or after the tables are made with it, and those are published one by
    one: so the key in the file stays for as long as there are shards made with it. None is a shard that the last process
    left, which is made with any key in the file; b"" one that doesn't say, which counts as made with the *mounted* one.
    """
    before = in_file or TagKeys()
    known = {tag_key_id(key): key for key in (*before.all, mounted)}
    needed: list[bytes] = []
    incomplete = False
    for name in dict.fromkeys(made_with):
        if name is None:
            needed += before.all
            incomplete |= before.incomplete
        elif not name:
            needed.append(mounted)
        elif name in known:
            needed.append(known[name])
        else:
            incomplete = True
    # The mounted one first, so that pods agree; then by name, so that the order of shards is no change.
    unique = sorted(set(needed or before.all or [mounted]), key=lambda key: (key != mounted, tag_key_id(key)))
    return TagKeys(unique[0], tuple(unique[1:]), incomplete)
