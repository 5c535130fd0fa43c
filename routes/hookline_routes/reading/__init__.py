"""
From the plain objects of a manifest or of the API server to typed values: every field, default and limit.

objects        any object → the value of its kind, or what is wrong with it
subscription   WebhookSubscription; its routes in `route`
gateway        WebhookGateway
surroundings   what subscriptions refer to: Secret, ConfigMap, ReferenceGrant
capacity       what both kinds say of rates and replicas
"""

from hookline_routes.reading.gateway import default_gateway
from hookline_routes.reading.objects import is_known, kind_of, read_object

__all__ = ["default_gateway", "is_known", "kind_of", "read_object"]
