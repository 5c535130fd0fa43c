"""
Who may post: Basic Auth, off the hot path once a header was proven.

authenticate   judges a header: remembered, fast, slow, in this order
├ basic_auth   reads the header
├ credentials  the verifiers of an endpoint, filled up with decoys
└ slow_hash    slow hashes, one at a time, paths taking turns
last_used      when each credential was last shown
"""
