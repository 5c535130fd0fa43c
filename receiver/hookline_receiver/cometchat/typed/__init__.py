"""
A body becomes the contract's typed payload, or it is said why there is none. Off the path to 200; pure; never raises.

payload    `to_payload`: body → `Payload`, or `Untyped` with a reason that names the field
events     trigger → message, and the payloads whose parts have to be put in other places: edits, calls, receipts
filling    JSON object → message, field by field, along the messages' own descriptors
sources    where a field is found in the JSON, unless under its own name
values     times, booleans, numbers and texts, whatever unit and JSON type they come in
"""

from hookline_receiver.cometchat.typed.payload import to_payload
from hookline_receiver.cometchat.typed.values import elements

__all__ = ["elements", "to_payload"]
