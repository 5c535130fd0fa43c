"""
The forwarder: carries journals into the event store, and delivers what is due to handlers over gRPC.

In: journals, `routes/forwarder.binpb`, `routes/endpoints.binpb`. Out: calls, `share/pending.binpb`, answers to people.

    process      wires everything, runs the parts, stops gracefully
    settings     HOOKLINE_FORWARDER_*
    tables       routes and endpoints, swapped in while it runs
    loop         due routes → claim → call → decide → settle
      turn         what one visit to the store's thread does
      lane         how much of each route is under way, how much may be
      tries        failures in a row; batches split until the poison event is alone
      board        circuit breakers, by `breaker` (pure)
      sending      calls as tasks: message → call → decide
      telling      what is counted and said of them
      message      claimed deliveries as requests that fit, with the typed form
      call         an answer for each delivery
      decide       pure: what an answer means
    endpoints    picker and life of channels, made by `channel`
    upkeep       pause, expire, retire, purge, backlog
    share        how much waits for each subscription, for the receivers
    admin        what people ask; `offline` without a forwarder
    metrics, ops what operators see
    store_thread, clock, files, aside   the store's thread, time, shared files, unreadable records
"""
