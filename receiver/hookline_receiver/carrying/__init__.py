"""
From the journals into the event store.

carrier     journals, merged in order, added in batches with their positions
├ fanout    pure: event + routes → deliveries
└ routebook the routes as values, from the snapshot's messages
"""
