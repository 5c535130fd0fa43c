"""
What those who run the receiver are told.

server         readiness and metrics of all workers, on a port of their own
exposition     counters of all workers as Prometheus reads them
metrics        what the receiver counts (`edge_metrics`: what its HTTP server counts)
logs           lines of JSON, and how often one may be repeated
"""
