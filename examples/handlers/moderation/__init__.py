"""
A queue of messages that a person has to look at, and what their decisions do.

CometChat's moderation engine blocks a message, or fails to judge it: it comes into the queue. A reviewer lists the queue,
approves or rejects; the decision is called out to CometChat's API.

An event's way:       reading → queue
A decision's way:     __main__ → queue → calls → cometchat

reading     pure: an event → a finding, an approval made elsewhere, or a deletion
item        pure: a message in the queue, and whether anybody has to look at it
queue       SQLite: what is to be reviewed, decisions, calls that are due
calls       pure: a decision → the call to CometChat's API that carries it out
cometchat   the port to that API, and its two adapters: one calls, one only says what it would call
reviewing   what a reviewer does: decide, carry out, and the same again for what failed
showing     the queue as text
__main__    flags and wiring: `serve`, `list`, `show`, `approve`, `reject`, `apply`
"""
