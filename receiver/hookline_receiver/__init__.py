"""
Receives CometChat webhooks, answers once they are durable, and forwards them.

A request's way: `edge` (the HTTP server) → `app` (Falcon) → `accept`: read, judge, store, answer.

accept          the way, top to bottom
├ request       the head; the body, read no further than allowed (`encoding`: gzip)
├ routes        pure: path → endpoint (`route_file`: swapped in when the file changes)
├ authenticate  Basic Auth (`basic_auth` reads, `credentials` and decoys, `slow_hash` queues)
├ judge         pure: may this be an event? (`verdict`: the reasons; `rate`, `share`: limits)
├ cometchat     pure: envelope and identity
├ record        event ↔ bytes of the journal
└ journal       append: durable on return (`patience`: no longer than the sender waits)
problem         a refusal as an HTTP answer
settings, logs  what can be set; what is told
ops             readiness and metrics, of all workers (`worker_slot`, `worker_status`, `cells`, `metrics`, `exposition`,
                `last_used`, `buckets`: what workers share in the run folder)

The forwarder's way begins in `forwarder`.
"""
