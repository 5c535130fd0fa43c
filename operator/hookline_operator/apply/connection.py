"""How the API server is reached: from a pod with its service account, else by KUBECONFIG; once for calls, once for kopf."""

import os
from collections.abc import Mapping

import kopf
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from hookline_operator.apply.api import last_look

CONNECTIONS = 64
"""At once."""


async def connect(environment: Mapping[str, str] = os.environ) -> ApiClient:
    """A client for calls; a pod's token is read again every minute. Raises ConfigException where there is nothing to go by."""
    configuration = Configuration()
    if _is_in_pod(environment):
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = CONNECTIONS
    # PERF: aiohttp would look for .netrc and proxies in the environment, in threads, twice for each call: two thirds of its
    # cost. A proxy that a kubeconfig names is used all the same.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.trace_configs = [last_look()]
    return ApiClient(configuration)


def log_in() -> kopf.ConnectionInfo:
    """The same for kopf; asked again whenever the API server refuses what it has."""
    settings = kopf.OperatorSettings()
    in_pod = _is_in_pod(os.environ)
    found = (
        kopf.login_with_service_account(settings=settings) if in_pod else kopf.login_with_kubeconfig(settings=settings)
    )
    if found is None:
        raise kopf.LoginError("neither a service account nor KUBECONFIG")
    return found


def _is_in_pod(environment: Mapping[str, str]) -> bool:
    return not environment.get("KUBECONFIG") and bool(environment.get("KUBERNETES_SERVICE_HOST"))
