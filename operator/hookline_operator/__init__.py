"""
The kopf operator: Kubernetes objects in, published route tables, Secrets and receivers out.

`python -m hookline_operator` starts it. `observe` what is true → `work` what is to be looked at → `decide` what should be →
`apply` it, one lane for each kind of work, in the replica that holds the Lease (`leadership`); `main` wires.
"""
