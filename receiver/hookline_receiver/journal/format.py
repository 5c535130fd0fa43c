"""
How a segment's bytes are laid out. Pure: bytes in, values out.

A segment is a header, twice (at 0 and at 4096, so that a lost block does not take the segment along), then records from
8192 on. A record is a head of 32 bytes and the payload:

    marker 4 | length 4 | stamp 8 | synced 8 | payload checksum 4 | head checksum 4

- *marker* and both checksums' start values come from 16 random bytes in the header: a body can't hold what a reader, in
  search of its footing behind damage, would take for a record (96 bits to guess, without an answer to learn from).
- The head's checksum covers its place in the file: a block that a disk wrote elsewhere is no record there.
- *synced* is how much of the file was on stable storage when the record was written: a hole below it was once
  acknowledged and is damage, one above it may be what a power failure left of an unanswered batch.
- A stamp of 0 seals: the writer ended in good order, everything before is on stable storage.
- Checksums are CRC-32 (zlib: in every Python, 1 GB/s and more, releases the GIL for large bodies): against faults, where
  it finds every burst up to 32 bits; against forgers the salt stands, not the polynomial.
- A header names where its predecessor ends. That is how a segment is sealed from outside: after a failed flush nothing
  is written to it any more, not even a seal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from hookline_receiver.journal.port import Position

FORMAT = 1
"""What this release writes."""
READABLE = frozenset({1})
"""What it reads: its own and the previous release's."""
COPY_AT = 4096
FIRST = 8192
"""Where the first record stands."""
MAX_PAYLOAD = 64 * 2**20
"""Largest payload in bytes; far above any body, so that a length can't ask a reader for the whole memory."""

_MAGIC = b"hookjrnl"
_PREFIX = Struct("<8sHHI")
_FIELDS = Struct("<16sQQ16s16sQQ")
_CRC = Struct("<I")
_HEAD = Struct("<4sIQQI")
_WHOLE_HEAD = Struct("<4sIQQII")
HEAD_SIZE = _WHOLE_HEAD.size


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself."""

    journal: bytes
    """The journal's 16 bytes of UUID."""
    number: int
    created_at: int
    """Nanoseconds since the epoch: orders the journals of earlier boots."""
    boot: bytes
    """16 bytes; zeros where the system does not tell."""
    salt: bytes
    previous: Position
    """Where the acknowledged records before this segment end; Position(0, 0) in the first."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A header that this release can't go by."""

    reason: str
    newer: bool = False
    """Whether a later release wrote it: nothing is wrong with it, and nobody but that release may remove it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is what was written."""

    payload: bytes
    stamp: int
    synced: int
    size: int
    """Bytes that it takes in the file."""

    @property
    def seals(self) -> bool:
        """Whether it is the seal of an orderly end instead of a record."""
        return self.stamp == 0


@dataclass(frozen=True, slots=True)
class Cut:
    """The bytes end before the record does; so many are needed from its start on."""

    size: int


@dataclass(frozen=True, slots=True)
class Broken:
    """No record: of *size* bytes if its head still stands, else of unknown length (0)."""

    size: int
    reason: str


def encode_header(header: Header) -> bytes:
    """The first `FIRST` bytes of a segment."""
    fields = _FIELDS.pack(
        header.journal,
        header.number,
        header.created_at,
        header.boot,
        header.salt,
        header.previous.segment,
        header.previous.offset,
    )
    prefix = _prefix(FORMAT, len(fields) + _CRC.size)
    copy = prefix + fields + _CRC.pack(crc32(prefix + fields))
    return copy.ljust(COPY_AT, b"\0") + copy.ljust(FIRST - COPY_AT, b"\0")


def _prefix(number: int, length: int) -> bytes:
    start = _PREFIX.pack(_MAGIC, number, length, 0)[: -_CRC.size]
    return start + _CRC.pack(crc32(start))


def decode_header(data: bytes) -> Header | Unreadable:
    """The header of a segment that begins with *data*, from the copy that stands."""
    first = _decode_copy(data, 0)
    if isinstance(first, Header):
        return first
    second = _decode_copy(data, COPY_AT)
    return second if isinstance(second, Header) or second.newer else first


def _decode_copy(data: bytes, at: int) -> Header | Unreadable:
    end = at + _PREFIX.size + _FIELDS.size
    if len(data) < at + _PREFIX.size:
        return Unreadable(f"header of {len(data)} bytes is cut short")
    magic, number, _length, checksum = _PREFIX.unpack_from(data, at)
    if magic != _MAGIC or checksum != crc32(data[at : at + _PREFIX.size - _CRC.size]):
        return Unreadable("not a segment, or its header is damaged")
    if number not in READABLE:
        return Unreadable(
            f"segment format {number}, this release reads {sorted(READABLE)}: a later release wrote it", newer=True
        )
    if len(data) < end + _CRC.size or _CRC.unpack_from(data, end)[0] != crc32(data[at:end]):
        return Unreadable("header is damaged")
    journal, number, created_at, boot, salt, segment, offset = _FIELDS.unpack_from(data, at + _PREFIX.size)
    return Header(journal, number, created_at, boot, salt, Position(segment, offset))


class Framing:
    """Turns payloads into a segment's bytes and back; one per segment, made of its salt."""

    def __init__(self, salt: bytes) -> None:
        self._marker = salt[:4]
        self._head_seed = int.from_bytes(salt[4:8], "little")
        self._payload_seed = int.from_bytes(salt[8:12], "little")

    def encode(self, records: Iterable[tuple[int, bytes]], offset: int) -> list[bytes]:
        """Pieces that make up (stamp, payload) *records* at *offset*, everything before being on stable storage."""
        # PERF: once per event on the way to its 200, so names are bound once and calls are few.
        marker, seed, payload_seed, synced = self._marker, self._head_seed, self._payload_seed, offset
        pack, pack_crc = _HEAD.pack, _CRC.pack
        pieces: list[bytes] = []
        for stamp, payload in records:
            length = len(payload)
            head = pack(marker, length, stamp, synced, crc32(payload, payload_seed))
            pieces += (head, pack_crc(crc32(head, (seed ^ offset) & 0xFFFFFFFF)), payload)
            offset += HEAD_SIZE + length
        return pieces

    def seal(self, offset: int) -> bytes:
        """What says, at *offset*, that the writer ended in good order."""
        return b"".join(self.encode([(0, b"")], offset))

    def decode(self, data: bytes, at: int, base: int) -> Record | Cut | Broken:
        """The record at index *at* of *data*, whose first byte stands at *base* in the file."""
        start = at + HEAD_SIZE
        if len(data) < start:
            return Cut(HEAD_SIZE)
        marker, length, stamp, synced, payload_checksum, checksum = _WHOLE_HEAD.unpack_from(data, at)
        seed = self._seed_at(base + at)
        if marker != self._marker or checksum != crc32(data[at : start - _CRC.size], seed) or length > MAX_PAYLOAD:
            return Broken(0, "head of a record is damaged")
        end = start + length
        if len(data) < end:
            return Cut(HEAD_SIZE + length)
        payload = data[start:end]
        if crc32(payload, self._payload_seed) != payload_checksum:
            return Broken(HEAD_SIZE + length, "payload is damaged")
        return Record(payload, stamp, synced, HEAD_SIZE + length)

    def find(self, data: bytes, at: int, base: int) -> tuple[int, int] | None:
        """Index and *synced* of the first record's head in *data* from index *at* on."""
        while (at := data.find(self._marker, at)) >= 0 and at + HEAD_SIZE <= len(data):
            if not isinstance(self.decode(data[at : at + HEAD_SIZE], 0, base + at), Broken):
                return at, _WHOLE_HEAD.unpack_from(data, at)[3]
            at += 1
        return None

    def _seed_at(self, offset: int) -> int:
        return (self._head_seed ^ offset) & 0xFFFFFFFF


def usable(salt: bytes) -> bool:
    """Whether *salt*'s marker can't be met in a run of zeros, which is what a file system leaves where nothing was written."""
    return len(salt) == 16 and 0 not in salt[:4]
