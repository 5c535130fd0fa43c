"""
What somebody else keeps changing is set right once, said, and left alone for longer each time: nobody is fought.

Pure: what was set right, and whether it is to be set right again.
"""

from collections.abc import Collection
from dataclasses import dataclass

FIRST_SECONDS, LONGEST_SECONDS = 600.0, 86_400.0
"""How long a field is left alone that did not stay as it was applied: doubled each time."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The last write of an object that was there."""

    digest: str
    """Of what was wished for: another wish is no correction."""
    fields: frozenset[str]
    """Paths of what differed then."""
    at: float
    times: int = 1

    def covers(self, digest: str, differs: Collection[str], now: float) -> bool:
        """Whether all that *differs* was set right a short while ago, so that somebody else must want it otherwise."""
        return digest == self.digest and self.fields.issuperset(differs) and now < self.at + self._patience

    @property
    def _patience(self) -> float:
        return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** (self.times - 1))

    def followed_by(self, digest: str, differs: Collection[str], now: float) -> "Correction":
        """The next one."""
        again = digest == self.digest and bool(self.fields & set(differs)) and now < self.at + 2 * LONGEST_SECONDS
        recent = digest == self.digest and now < self.at + self._patience
        fields = frozenset(differs) | (self.fields if recent else frozenset())
        return Correction(digest, fields, now, min(self.times + 1, 16) if again else 1)
