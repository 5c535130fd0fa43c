"""
Receives CometChat webhooks, answers once they are durable, and forwards them.

A request's way: `edge` (the HTTP server) → `app` (Falcon) → `accept`: read, judge, store, answer.

accept          the way, top to bottom
├ request       the head; the body, read no further than allowed (`encoding`: gzip)
├ routes        pure: path → endpoint (`route_file`: swapped in when the file changes)
├ auth          Basic Auth
├ limits        rates, and shares of the storage
├ judge         pure: may this be an event? (`verdict`: the reasons)
├ cometchat     pure: envelope and identity (`ingest_id`: our own)
├ record        event ↔ bytes of the journal
└ journal       append: durable on return (`patience`: no longer than the sender waits)
problem         a refusal as an HTTP answer
settings        what can be set
workers         what the worker processes share
ops             readiness, metrics, logs

A delivery's way, in a process of its own: `carrying` (journals → event store) → `store` → `forwarder` → handlers.
"""
