"""
What CometChat sends: which event it is, and what tells it from another. Pure: bytes in, values out.

envelope   body → `Reading`, or why it is no event; one pass, only the fields that are needed
wire       the fields that are needed: shapes to decode, and what is decoded when a payload keeps to none of them
mending    text that is almost JSON (byte order mark, lone surrogates, bytes that are not UTF-8) made readable
triggers   every trigger that is known of, and its category
identity   `Reading` → `Identity`: one table says which fields identify the events of each trigger
sameness   whether two bodies with one identity tell the same event
"""
