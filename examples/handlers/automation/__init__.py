"""
Does what rules say when something happens: calls a webhook, runs a command, writes a log line.

A rules file's way:   loading → rules
An event's way:       running → conditions → templates → actions → ledger

rules       what a rule consists of
loading     a YAML file → rules, or everything that is wrong with it
paths       a path like data.message.sender → the value in a payload
conditions  pure: whether a rule is for an event
templates   pure: "{data.message.sender} wrote" → text
actions     webhook, command, log: each done, to be tried again, or failed for good
ledger      SQLite: which actions were done, by their idempotency key
running     the rules that match, action by action, and what to answer the gateway
__main__    flags and wiring: `serve` and `check`
"""
