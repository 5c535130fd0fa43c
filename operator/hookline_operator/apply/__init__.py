"""Lanes: each works off its queue, compares what should be with what is there, and writes only what differs."""
