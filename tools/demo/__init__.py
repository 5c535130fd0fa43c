"""
`make run`: the main job on this machine, from CometChat's POST to the handlers, held to account at the end.

`stage` starts what a user would start: `hookline dev` on the manifests beside this file, and handlers written with the
kit (`handler`). `scenario` says what is sent and where each event must arrive; `ledger` reads what the handlers noted
and finds what is missing, changed or invented; `account` makes the table. `__main__` is the play itself.
"""
