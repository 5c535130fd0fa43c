"""
`hookline status`: why a subscription is not ready, and what to do.

`cluster` reads the objects as they are → `explaining` (pure) makes a sentence of each status, with `advice` by reason →
`command` prints. It says what the operator wrote and nothing of its own: it needs no more rights than to read the objects.
"""
