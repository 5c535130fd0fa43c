"""
Writes docs/triggers.md and docs/reference/ from what the code goes by: `python -m tools.reference`.

contract   the messages of proto/ with their comments
payloads   one documented or derived payload for each trigger and shape
words      the table of identities in words
table      docs/triggers.md: every trigger in a line
pages      docs/reference/triggers/: a page for each, with its fields, its payload and the typed form
shapes     docs/reference/shapes.md: the messages that events share

`python -m tools.reference --check` says which files are not what the code gives.
"""
