"""
Credentials that outlive a restart, in `keys/`: the tags' key, the verifiers made with it, generated passwords.

A verifier of a chosen password takes 20 ms to make, and its salt is new each time: kept, a restart hashes nothing and
publishes the same bytes. SECURITY: everything here is readable by its owner alone; no password is stored but those
that were generated here.
"""

import hmac
import os
import secrets
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_receiver.forwarder.files import make_folder
from hookline_routes.inputs import GeneratedCredential, NeededVerifier, VerifierKey
from hookline_routes.resource import ObjectKey
from hookline_routes.verifier import SALT_BYTES, TAG_KEY_BYTES, make_verifier

ALPHABET = string.ascii_letters + string.digits
USERNAME_LENGTH, PASSWORD_LENGTH = 20, 40
"""Within what CometChat takes (letters and digits, 50 and 100); 40 characters are 238 bits of chance."""


class Keyring:
    """The folder `keys/` of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verifiers = folder / "verifiers"
        self._generated = folder / "generated"
        for inside in (self._verifiers, self._generated):
            make_folder(inside)
            inside.chmod(0o700)
        self.tag_key = self._tag_key()

    def verifiers(self, needed: Iterable[NeededVerifier]) -> Mapping[VerifierKey, routing.Verifier]:
        """The verifiers that are *needed*: kept ones, and new ones where there is none (20 ms of CPU each)."""
        return {each.key: self._verifier(each) for each in needed}

    def generated(self, subscription: ObjectKey) -> GeneratedCredential:
        """The credential of a subscription that names no Secret, made when it is first asked for."""
        file = self.generated_file(subscription)
        if not file.exists():
            write_private(file, f"{_chance(USERNAME_LENGTH)}:{_chance(PASSWORD_LENGTH)}\n".encode())
        username, _, password = file.read_text(encoding="ascii").strip().partition(":")
        return GeneratedCredential(
            name="generated@1",
            username=username,
            password=password,
            key=VerifierKey(f"generated {subscription}", self._digest(username, password)),
        )

    def generated_file(self, subscription: ObjectKey) -> Path:
        """Where that credential is, "username:password" as curl's -u takes it."""
        return self._generated / f"{subscription.namespace}.{subscription.name}"

    def _verifier(self, needed: NeededVerifier) -> routing.Verifier:
        # A kept verifier is found by a keyed digest: the version of a Secret in a manifest is a digest of the
        # password, which nobody should be able to try guesses on.
        key = needed.key
        parts = (key.secret, key.version, key.username_key, key.password_key, needed.credential)
        file = self._verifiers / self._digest(*parts)
        try:
            return routing.Verifier.FromString(file.read_bytes())
        except (FileNotFoundError, DecodeError):
            made = make_verifier(
                needed.credential,
                needed.username,
                needed.password,
                generated=needed.generated,
                salt=secrets.token_bytes(SALT_BYTES),
                tag_key=self.tag_key,
            )
            write_private(file, made.SerializeToString(deterministic=True))
            return made

    def _digest(self, *parts: str) -> str:
        framed = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
        return hmac.digest(self.tag_key, framed, "sha256").hex()[:32]

    def _tag_key(self) -> bytes:
        file = self._folder / "tag_key"
        if not file.exists():
            write_private(file, secrets.token_bytes(TAG_KEY_BYTES))
        key = file.read_bytes()
        if len(key) != TAG_KEY_BYTES:
            raise ValueError(f"{file} must hold {TAG_KEY_BYTES} bytes, got {len(key)}; remove it to have one made")
        return key


def write_private(file: Path, content: bytes) -> None:
    """Make *content* the file, durably and at once, readable by its owner alone."""
    fresh = file.with_name(f".{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _chance(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
