"""
What one tenant may take of what all share.

rate      pure: what a request costs, and how long to wait
buckets   tokens of all workers of a pod, in one file
share     bytes that are pending, as the forwarder reports them
"""
