"""
Mirrors messages, users, groups and their members into an SQL database.

Events come in any order and more than once: an edit before its message, a delete before the edit. The tables must be the
same in the end. So an event is taken apart into **facts**, each about one aspect of one row, and each with a version; of
two facts about the same aspect the one with the higher version stays, whichever came first.

An event's way through the modules:

facts      pure: an event → facts, and what a version is made of
mirror     SQL: a fact → one upsert that changes the row only if the fact is newer
showing    what the tables say, for a person
__main__   flags and wiring: `serve` and `show`
"""
