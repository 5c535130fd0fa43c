"""
The journal: an event is durable here before its sender gets a 200.

    port      what the receiver (`Journal`) and the carrier (`JournalReader`, `Journals`) see
    writer    `SegmentJournal`: append, stamp, group commit; one thread writes
    log       segments in turn: write, flush, rotate, what happens after a failure
    reader    `SegmentJournalReader`, `SegmentJournals`: read on, from journals live and left behind
    segment   one segment as a reader sees it; pure: what a hole in it means
    format    pure: bytes of headers and records
    folder    names, lock, the shared `pending` stamp, making and removing
    disk      the file-system calls that durability hangs on, as a port
    memory    both ends in memory, for tests
"""
