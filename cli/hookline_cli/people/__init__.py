"""
What people ask of an event store: `events`, `show`, `dead`; and have done: `redrive`, `replay`, `erase`.

`connection` finds somebody who answers, `selection` and `event_selection` read which are meant, `pace` does long work in
steps.
"""
