"""
Whether a payload names a user: what an erasure goes by.

A user is named where their uid stands alone: as a value or as a key of the JSON at any depth (`sender`, `user.uid`, the
keys of `mentions`), as one of the two in a conversation's id ("alice_user_bob"), or in a mention within a text
("<@uid:alice>"). Upper and lower case differ. Not found: names, e-mail addresses, and a uid within other text or a URL.
A uid that is also something else's id (the message "42") is found there too: nothing tells them apart.
"""

import json
from collections.abc import Iterator


def names_user(body: bytes, uid: str) -> bool:
    """Whether the payload *body* names the user *uid*. Never raises; what is no JSON is searched as text."""
    plain = uid.encode("utf-8", "surrogatepass")
    # PERF: without an escape anywhere, what is not there as bytes is not there.
    if b"\\" not in body and plain not in body:
        return False
    try:
        payload = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return plain in body
    return any(_is_or_mentions(text, uid) for text in _texts(payload))


class _Pairs(list[tuple[str, object]]):
    """A JSON object with every pair that was there, those of equal names too."""


def _texts(payload: object) -> Iterator[str]:
    """Every string, keys included; without recursion, as depth is the sender's."""
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, _Pairs):
            for key, inner in value:
                yield key
                waiting.append(inner)
        elif isinstance(value, list):
            waiting.extend(value)


def _is_or_mentions(text: str, uid: str) -> bool:
    return text == uid or text.startswith(f"{uid}_user_") or text.endswith(f"_user_{uid}") or f"<@uid:{uid}>" in text
