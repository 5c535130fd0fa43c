"""
The pure compile step: from what people declare to what receiver and forwarder go by.

In order: `manifest` reads YAML, `reading` (with `fields`, `units`) makes typed values of plain objects, whether from a
manifest or from an API server (`resource`); `credentials` says which verifiers are needed and `verifier` makes them;
`compile` takes them all (`inputs`), attaches subscriptions to gateways (`attach`), checks every reference, builds the
tables (`table`) and reports what is wrong (`problem`). Beside it what the tables are used with: `verifier` in the
receiver, `match` (with `expression` and `payload`) in the forwarder.

No clock, I/O, logger or framework anywhere; nothing of the receiver, nothing of Kubernetes.
"""
