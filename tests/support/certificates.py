"""Certificates for tests of TLS: an authority, a server's pair and a client's pair, as PEM files."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """Everything one side needs to trust the other."""

    authority: Path
    server: Pair
    client: Pair


def make_certificates(folder: Path, *names: str) -> Certificates:
    """Fresh ones in *folder*; the server's is good for "localhost", 127.0.0.1 and *names*."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    server = authority.issue_cert("localhost", "127.0.0.1", *names)
    client = authority.issue_cert("hookline-gateway.test")
    return Certificates(folder / "ca.crt", _write(folder, "server", server), _write(folder, "client", client))


def _write(folder: Path, name: str, issued: trustme.LeafCert) -> Pair:
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    issued.cert_chain_pems[0].write_to_path(str(pair.certificate))
    issued.private_key_pem.write_to_path(str(pair.key))
    return pair
