"""
Counts what happens: messages by conversation and hour, active users by day, minutes of calls, events by trigger.

An event's way through the modules:

reading    pure: an event → what it adds to which table
together   many events → one transaction
counting   SQLite: adds an event's increments once, whatever comes again
asking     the same file, read only: what the tables say
__main__   flags and wiring: `serve` and `query`
"""
