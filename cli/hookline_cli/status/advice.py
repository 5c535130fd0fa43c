"""What to do about each reason that a condition may give; docs/operate/conditions.md has the same at length."""

from collections.abc import Mapping

DO: Mapping[str, str] = {
    # Accepted
    "InvalidSyntax": "write the object anew from a manifest that `hookline check` accepts",
    "InvalidField": "correct the field; `hookline check -f FILE` says the same of a manifest before it is applied",
    "UnknownField": "remove the field, or correct its name; `kubectl explain` lists what there is",
    "InvalidExpression": "correct the expression; `hookline check -f FILE` tries it before it is applied",
    "NoMatchingGateway": "create that WebhookGateway, or name another one in spec.gatewayRef",
    "NamespaceNotAllowed": "ask the gateway's owner to admit the namespace in spec.allowedNamespaces, or use another gateway",
    "TooManySubscriptions": "delete subscriptions that nobody uses, or ask the gateway's owner for a higher limit",
    "DedicatedNotAllowed": "use spec.dataPlane.mode Shared, or ask the gateway's owner to allow dedicated planes",
    "TooManyDedicated": "use spec.dataPlane.mode Shared here or elsewhere, or ask the gateway's owner for a higher limit",
    "TooLarge": "make the subscription smaller: fewer routes, shorter expressions",
    "InternalError": "report it with what the operator's log says of the object; another way to write it may do meanwhile",
    "PathNotAllowed": "choose a path that begins with the namespace, or leave spec.path out",
    "PathConflict": "choose another spec.path, or leave it out; the oldest subscription keeps a path",
    # ResolvedRefs
    "SecretNotFound": "create the Secret (type kubernetes.io/basic-auth), or correct spec.auth.basic.secretRefs",
    "InvalidSecret": "create the Secret anew with type kubernetes.io/basic-auth and both keys filled",
    "SenderLimits": "choose a username and password that CometChat can be given, and enter them there",
    "VerifierPending": "wait a moment: the password is being hashed",
    "NoCredentials": "wait for the Secret that the operator makes, or name one in spec.auth.basic.secretRefs",
    "RefNotPermitted": "ask the owner of that namespace for a ReferenceGrant, or use a Service of your own namespace",
    "CANotFound": "create what spec.routes[].handler.tls.caRef names, or correct it",
    "InvalidCA": "put the authority's certificate in PEM there",
    "ServiceNotFound": "create the Service, or correct serviceRef; events wait until then",
    "ServicePortNotFound": "correct serviceRef.port, or add the port to the Service; events wait until then",
    "UnsupportedService": "use a Service of type ClusterIP whose selector finds the handler's Pods; events wait until then",
    # Programmed, Ready
    "NotAccepted": "see the condition Accepted",
    "Pending": "wait a moment; if it lasts, look at the operator's log and at the receiver pods that are named",
    "NoReceivers": "look at the gateway (`hookline status --gateway`) and at the events of its StatefulSet and Pods",
    "Suspended": "set spec.suspend to false when events may come again",
}
"""By reason, an imperative that ends a sentence."""

ELSE = "see the message, and `kubectl describe` for the events of the object"

NOT_LOOKED_AT: Mapping[str, str] = {
    "WebhookSubscription": "see that the operator runs, and that spec.gatewayRef names a gateway of an installation "
    "(without a namespace: the cluster's default one)",
    "WebhookGateway": "see that an operator runs in its namespace",
}
"""What to do about an object that no operator has looked at."""
