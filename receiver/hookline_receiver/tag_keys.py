"""The keys of the verifiers' tags: one, and while it is being changed several. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TagKeys:
    """What tags are looked at with."""

    key: bytes = field(default=b"", repr=False)
    """The decoys' too."""
    further: tuple[bytes, ...] = field(default=(), repr=False)
    incomplete: bool = False
    """Some tags were made with a key that is not here: a tag that does not match says nothing."""

    @property
    def all(self) -> tuple[bytes, ...]:
        """Each key."""
        return (self.key, *self.further) if self.key else self.further
