"""One documented or derived payload for each trigger and shape."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

from hookline.cometchat.v1.payload_pb2 import Payload
from hookline_cli.simulate.payloads import DERIVED, DOCUMENTED, Sample, read_samples
from hookline_receiver.cometchat.envelope import Reading, read
from hookline_receiver.cometchat.rules import RULES, Rule
from hookline_receiver.cometchat.typed import to_payload


@dataclass(frozen=True, slots=True)
class Example:
    """A payload and what becomes of it."""

    sample: Sample
    derived: bool
    """Made of the shapes that are described; documented payloads are published as they are."""
    event: str
    """The field of `Payload`."""
    typed: Mapping[str, Any]
    rule: Rule | None
    """What it is identified by."""

    @property
    def raw(self) -> str:
        """As JSON for people."""
        return json.dumps(self.sample.payload, indent=2, ensure_ascii=False)


def examples() -> Mapping[str, Sequence[Example]]:
    """By trigger; of those with several shapes or documented variants all of them, the shortest name first."""
    found: dict[str, list[Example]] = {}
    for folder in (DOCUMENTED, DERIVED):
        for sample in read_samples(folder):
            found.setdefault(sample.trigger, []).append(_example(sample, derived=folder is DERIVED))
    return {
        trigger: sorted(each, key=lambda one: (len(one.sample.name), one.sample.name))
        for trigger, each in found.items()
    }


def _example(sample: Sample, *, derived: bool) -> Example:
    body = json.dumps(sample.payload).encode()
    typed, reading = to_payload(body), read(body)
    if not isinstance(typed, Payload) or not isinstance(reading, Reading):
        raise SystemExit(f"{sample.name} has no typed form")
    rule = next((rule for rule in RULES.get(sample.trigger, ()) if rule.when(reading.data)), None)
    shown = MessageToDict(typed, preserving_proto_field_name=True)
    return Example(sample, derived, str(typed.WhichOneof("event")), shown, rule)
