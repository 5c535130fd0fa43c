"""The kinds that a cluster has when the project is installed: its own, and the Gateway API's ReferenceGrant."""

from support.crds import install_api
from support.kubernetes.plane import ControlPlane

REFERENCE_GRANTS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: referencegrants.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/gateway-api/pull/1538"}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: ReferenceGrant, listKind: ReferenceGrantList, plural: referencegrants, singular: referencegrant}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [from, to]
            properties:
              from:
                type: array
                items:
                  type: object
                  required: [group, kind, namespace]
                  properties: {group: {type: string}, kind: {type: string}, namespace: {type: string}}
              to:
                type: array
                items:
                  type: object
                  required: [group, kind]
                  properties: {group: {type: string}, kind: {type: string}, name: {type: string}}
"""
"""As much of the Gateway API's definition as says anything about an object."""


def install_kinds(plane: ControlPlane, *, reference_grants: bool = True) -> None:
    """Let *plane* serve the project's kinds, and, as most clusters do, *reference_grants*."""
    install_api(plane)
    if reference_grants:
        plane.install(REFERENCE_GRANTS)
