"""
What one tenant may take of what all share.

rate      pure: what a request costs, and how long to wait
buckets   tokens of all workers of a pod, in one file
arriving  bytes of bodies that are on their way in
share     bytes that are pending, as the forwarder reports them
"""
