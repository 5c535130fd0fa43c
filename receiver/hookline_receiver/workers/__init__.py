"""
What the worker processes of a pod share: places in the run folder, one each, taken by a lock.

slot            a place, and whether its worker lives
status          what a worker tells of itself, and what they make of it together
cells           its counters
shared_memory   files as memory
"""
