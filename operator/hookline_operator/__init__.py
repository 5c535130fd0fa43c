"""
The kopf operator: Kubernetes objects in, published route tables, secrets and receivers out.

Not in this release. What it will run on is: the contract of the route tables (`hookline.routing.v1`) and the compile step
(`hookline_routes`), which `hookline dev` uses today and the operator will use unchanged. It will be started with
`kopf run -m hookline_operator.main`; until then `python -m hookline_operator` says so.
"""
