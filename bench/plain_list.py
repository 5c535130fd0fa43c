"""
The yardstick of `bench.cluster`: list everything that the operator looks at, page by page, decode it, keep it.

`python -m bench.plain_list HOST PORT CA TOKEN` prints one line of JSON: objects, seconds from here, processor seconds and
peak memory (MiB) of the whole process. Nothing is imported that a list does not need, and nothing is made of the objects.
"""

import http.client
import json
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import Any

PATHS = (
    "/api/v1/namespaces",
    "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Fbasic-auth",
    "/api/v1/services",
    "/api/v1/pods",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/hookline.dev/v1alpha1/webhooksubscriptions",
    "/apis/hookline.dev/v1alpha1/webhookgateways",
)
PAGE = 500


def main(host: str, port: str, authority: str, token: str) -> None:
    """List, and say what it cost."""
    began = time.perf_counter()
    connection = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=authority))
    kept: list[Any] = []
    for path in PATHS:
        more = ""
        while True:
            page = f"{path}{'&' if '?' in path else '?'}limit={PAGE}{more}"
            connection.request("GET", page, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
            answer = json.loads(connection.getresponse().read())
            kept += answer["items"]
            if not answer["metadata"].get("continue"):
                break
            more = f"&continue={answer['metadata']['continue']}"
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not ru_maxrss: that begins with what the parent took.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    said = {
        "objects": len(kept),
        "seconds": time.perf_counter() - began,
        "processor": used.ru_utime + used.ru_stime,
        "memory": int(peak.split()[1]) / 1024,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
