"""
The tables, as numbered steps from one format to the next.

A step expands: it adds tables, and columns with a default, so that the release before it goes on reading and writing the
file after a roll-back. What is no longer used is dropped a release later, by a step whose `compatible_since` says from
which format on a release can still open the file. Steps are never edited once released.
"""

from dataclasses import dataclass

APPLICATION_ID = 0x484B4C4E
"""Marks the file as ours ("HKLN"), for `file(1)` and against opening somebody else's database."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step."""

    version: int
    """The format that this step leads to: 1, 2, 3, …"""
    compatible_since: int
    """The lowest format that a release must know of to read and write this one."""
    statements: tuple[str, ...]


_STATE = """
CREATE TABLE state (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID
"""
_POSITIONS = """
CREATE TABLE positions (
    journal TEXT NOT NULL PRIMARY KEY, segment INTEGER NOT NULL, byte_offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
_SUBSCRIPTIONS = """
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    events INTEGER NOT NULL DEFAULT 0,         -- rows of events
    pending_bytes INTEGER NOT NULL DEFAULT 0,  -- bodies of events with an unended delivery
    UNIQUE (uid, namespace, name)
) STRICT
"""
_ROUTES = """
CREATE TABLE routes (
    id INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL REFERENCES subscriptions (id),
    name TEXT NOT NULL,
    unended INTEGER NOT NULL DEFAULT 0,        -- deliveries pending, waiting or in flight
    dead INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,     -- rows of deliveries
    next_due INTEGER,                          -- the first that can be claimed; null: there is none
    held_until INTEGER NOT NULL DEFAULT 0,
    paused_since INTEGER,                      -- null: not paused
    paused_total INTEGER NOT NULL DEFAULT 0,   -- ended pauses, nanoseconds
    ready_at INTEGER GENERATED ALWAYS AS (
        CASE WHEN paused_since IS NULL AND next_due IS NOT NULL THEN max(next_due, held_until) END
    ) VIRTUAL,
    UNIQUE (subscription, name)
) STRICT
"""
_EVENTS = """
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,              -- given out once, in the order of arrival
    ingest_id BLOB NOT NULL UNIQUE,
    subscription INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    trigger_name TEXT NOT NULL,
    category TEXT NOT NULL,
    app_id TEXT NOT NULL,
    receiver_type TEXT NOT NULL,
    identity BLOB NOT NULL,
    strong INTEGER NOT NULL,
    own_id INTEGER NOT NULL,                   -- 1: its CloudEvent id is the ingest id, 0: the identity
    partition_key TEXT NOT NULL,
    subject TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    traceparent TEXT NOT NULL,
    size INTEGER NOT NULL,                     -- bytes of the body
    duplicates INTEGER NOT NULL DEFAULT 0,
    duplicate_until INTEGER NOT NULL,
    unrouted TEXT NOT NULL
) STRICT
"""
_BODIES = """
CREATE TABLE bodies (
    sequence INTEGER PRIMARY KEY REFERENCES events (sequence) ON DELETE CASCADE, body BLOB NOT NULL
) STRICT
"""
_IDENTITIES = """
CREATE TABLE identities (
    identity BLOB NOT NULL, subscription INTEGER NOT NULL, sequence INTEGER NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (identity, subscription, sequence)
) STRICT, WITHOUT ROWID
"""
_DELIVERIES = """
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,                    -- sequence * 1024 + n: an event's deliveries lie together
    route INTEGER NOT NULL,
    state INTEGER NOT NULL,                    -- 0 pending, 1 in flight, 2 waiting, 3 delivered, 4 dead
    due_at INTEGER NOT NULL,                   -- in flight: when the lease runs out
    ordering_key TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    answers INTEGER NOT NULL DEFAULT 0,        -- handler's, since the last redrive
    tries INTEGER NOT NULL DEFAULT 0,          -- attempts ever: numbers the rows of attempts
    since INTEGER NOT NULL,                    -- accepted, or redriven
    born INTEGER NOT NULL,                     -- since, on the route's own clock that stands while it is paused
    replay INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    ended_at INTEGER
) STRICT
"""
_ATTEMPTS = """
CREATE TABLE attempts (
    delivery INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL, ended_at INTEGER NOT NULL,
    code TEXT NOT NULL, detail TEXT NOT NULL, endpoint TEXT NOT NULL, answered INTEGER NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID
"""
_ENDED = """
CREATE TABLE ended (                           -- events with nothing left to do, by when their retention begins
    subscription INTEGER NOT NULL, dead INTEGER NOT NULL, kept_from INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (subscription, dead, kept_from, sequence)
) STRICT, WITHOUT ROWID
"""
_ERASURES = """
CREATE TABLE erasures (                        -- what is left of erased events: how many, of whom, on which day
    day INTEGER NOT NULL, uid TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    events INTEGER NOT NULL, unended INTEGER NOT NULL,
    PRIMARY KEY (day, uid, namespace, name)
) STRICT, WITHOUT ROWID
"""
_INDEXES = (
    "CREATE INDEX routes_ready ON routes (ready_at) WHERE ready_at IS NOT NULL",
    "CREATE INDEX routes_unended ON routes (id) WHERE unended > 0",
    "CREATE INDEX routes_idle ON routes (id) WHERE deliveries = 0",
    "CREATE INDEX routes_paused ON routes (id) WHERE paused_since IS NOT NULL",
    "CREATE INDEX subscriptions_idle ON subscriptions (id) WHERE events = 0",
    "CREATE INDEX subscriptions_pending ON subscriptions (id) WHERE pending_bytes > 0",
    "CREATE INDEX deliveries_due ON deliveries (route, due_at) WHERE state <= 1",
    "CREATE INDEX deliveries_age ON deliveries (route, born) WHERE state <= 2",
    "CREATE INDEX deliveries_waiting ON deliveries (route, ordering_key) WHERE state = 2",
    "CREATE INDEX deliveries_dead ON deliveries (route) WHERE state = 4",
    # One delivery of an ordering key is out at a time: the database itself refuses a second.
    "CREATE UNIQUE INDEX deliveries_key ON deliveries (route, ordering_key) WHERE state <= 1 AND ordering_key IS NOT NULL",
)

MIGRATIONS = (
    Migration(
        version=1,
        compatible_since=1,
        statements=(
            _STATE,
            _POSITIONS,
            _SUBSCRIPTIONS,
            _ROUTES,
            _EVENTS,
            _BODIES,
            _IDENTITIES,
            _DELIVERIES,
            _ATTEMPTS,
            _ENDED,
            *_INDEXES,
            "INSERT INTO state (name, value) VALUES ('compatible_since', 1), ('next_sequence', 1)",
        ),
    ),
    Migration(version=2, compatible_since=1, statements=(_ERASURES,)),
)
