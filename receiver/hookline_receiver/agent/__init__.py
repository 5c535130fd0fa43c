"""
The agent of a receiver pod: what was published for its plane, as files for receiver and forwarder. The only one with a token.

In: RouteTables and EndpointTables of one plane in one namespace. Out: indexes and parts (`hookline_receiver.parts`), and a
report of what all workers serve. What can't be read or is missing leaves the last good snapshot in force, through restarts.

watch      lists and watches one kind (`api`: the calls)
collect    pure: objects → whole shards, and what is wrong with the others
contents   pure: a shard → the receiver's part and the forwarder's
order      pure: what may be served next: the forwarder hears of additions first, of removals last
snapshots  the files: parts, indexes, what is no longer named
pod        what the pod's programs serve now, by their ops ports
follow     wires it: target → files → what is served
report     gRPC: tells the operator
numbers    metrics
settings   what can be set
"""
