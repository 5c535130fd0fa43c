"""
The HTTP edge: what stands between the open Internet and the application.

In come TCP connections, out go whole, well-formed requests for an ASGI application; everything else is refused here.
The modules in the order a connection meets them:

- `gunicorn`   starts the master, which keeps the worker processes alive; `worker` is one of them; `lifespan` its application's start and end
- `listener`   the listening sockets: made, drained, closed without a reset
- `server`     accepts, keeps the deadlines, drains and stops; `admission` bounds the connections
- `connection` one connection: head, body, answer, next; `incoming` gathers a head, `message` reads requests (llhttp), `head`
  holds the rules for them, `forwarded` finds the client (all but the first pure)
- `exchange`   one request and its answer, as ASGI sees them
- `refusal`    what the edge answers itself
- `lifecycle`  what the application may know: is this worker draining, what did the edge refuse
"""
