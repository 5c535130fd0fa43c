"""What people ask of an event store: `dead`, `redrive`, `show`; `connection` finds somebody who answers."""
