"""
A control plane for tests: etcd and kube-apiserver on free ports of 127.0.0.1, ready in about three seconds.

    with ControlPlane(tmp_path, provide(), guard) as plane:
        plane.kubectl("apply", "-f", "-", input=manifest)
        plane.api(user="system:serviceaccount:acme:default").get("v1", "Secret", "acme", "it")

There is nothing else: no controllers, scheduler or nodes. Validation, CEL, admission policies, RBAC, watches, server-side
apply and conflicts are the real ones; garbage collection, EndpointSlices and Pods are not made by anybody, a deleted
namespace never goes away. `support.kubernetes.objects` makes by hand what a test needs of these.
"""

import itertools
import json
import os
import random
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import trustme
import yaml

from support.kubernetes.api import Api, Object
from support.kubernetes.audit import POLICY, Audit
from support.kubernetes.guard import Guard
from support.kubernetes.process import Process, Processes
from tools.kubernetes import provide

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

ADMIN = "admin"
ADMIN_TOKEN = "token-of-the-admin"
PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: nobody takes one while the plane is down."""
IN_USE = "address already in use"
READY_WITHIN = 90.0
"""Seconds; three are usual, a machine with other work takes longer."""


@dataclass(frozen=True)
class PlaneOptions:
    """How a plane differs from the usual one."""

    watch_cache: bool = True
    """Without: watches come from etcd itself, so that `compact` alone makes an old one end in 410."""
    audit: bool = True
    """Without: `plane.audit` knows nothing. For measurements."""
    flags: Sequence[str] = ()
    """Further ones for kube-apiserver."""


class KubectlFailed(Exception):
    """kubectl ended with an error; the message is what it said."""

    def __init__(self, arguments: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: exit status {status}\n{said}")
        self.status = status
        self.said = said


class ControlPlane:
    """etcd and kube-apiserver; can be stopped, killed, paused and started again on the same data and port."""

    def __init__(
        self, folder: Path, programs: Mapping[str, Path], guard: Guard, options: PlaneOptions | None = None
    ) -> None:
        self.folder = folder
        self.options = options or PlaneOptions()
        self.programs = programs
        self._processes = Processes(folder / "log", guard)
        self._files = itertools.count(1)
        self._apis: list[Api] = []
        self._etcd: Process | None = None
        self._apiserver: Process | None = None
        self.port = 0
        self._etcd_port = 0
        self._compacted = 0
        self._write_files()
        self.audit = Audit(folder / "audit.jsonl")

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """Certificate of the authority that the API server's own comes from."""
        return self.folder / "ca.crt"

    @property
    def tls(self) -> ssl.SSLContext:
        """To call it."""
        return ssl.create_default_context(cafile=str(self.authority))

    @property
    def server_tls(self) -> ssl.SSLContext:
        """To stand in for it, as a proxy does."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        return context

    @property
    def apiserver(self) -> Process:
        """The running API server: `pause()` and `resume()` let it fall silent and go on."""
        assert self._apiserver is not None, "not started"
        return self._apiserver

    @property
    def etcd(self) -> Process:
        """The running etcd."""
        assert self._etcd is not None, "not started"
        return self._etcd

    def start(self) -> None:
        """Start both and return when the API server says it is ready."""
        self.port, self._etcd_port = 0, 0
        self._start_etcd()
        self.start_apiserver()

    def start_apiserver(self) -> None:
        """Start the API server alone, on its port of before if it had one: after `kill_apiserver`."""
        given = self.port
        for port in [given] * 20 if given else free_ports(5):
            self.port = port
            self._apiserver = self._processes.start("kube-apiserver", self._apiserver_command(port))
            if self._comes_up(self._apiserver, self._ready):
                return
            time.sleep(0.2)
        raise AssertionError(f"every port tried was in use\n{self.apiserver.tail()}")

    def kill_apiserver(self) -> None:
        """SIGKILL: its graceful end would wait for the watches."""
        self.apiserver.kill()

    def restart_apiserver(self) -> None:
        """
        Kill it and start it again, on the same port.

        Its watch cache begins anew, so a watch that goes on from before ends in 410 (if anything was written between).
        """
        self.kill_apiserver()
        self.start_apiserver()

    def stop(self) -> None:
        """End both for good; the data stays in the folder."""
        for api in self._apis:
            api.close()
        self._processes.close()

    def api(self, token: str = ADMIN_TOKEN, *, user: str = "", groups: Sequence[str] = ()) -> Api:
        """A client: the admin's, that of *token*, or the admin's impersonating *user*."""
        impersonated = {"Impersonate-User": user} if user else {}
        if groups:
            assert len(groups) == 1, "the client sends one Impersonate-Group; use kubectl for more"
            impersonated["Impersonate-Group"] = groups[0]
        made = Api(self.server, self.authority, token, impersonated)
        self._apis.append(made)
        return made

    @cached_property
    def admin(self) -> Api:
        """The admin's client, made once."""
        return self.api()

    def kubeconfig(self, token: str = ADMIN_TOKEN, *, server: str = "", namespace: str = "default") -> Path:
        """
        A fresh kubeconfig file for the bearer of *token* (see `service_account`).

        *server*: another URL that leads to this API server (a fault proxy's; without TLS if it begins with http:).
        """
        url = server or self.server
        cluster: Object = {"server": url}
        if url.startswith("https:"):
            cluster["certificate-authority-data"] = b64encode(self.authority.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        }
        path = self.folder / f"kubeconfig-{next(self._files)}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def service_account(self, namespace: str, name: str) -> str:
        """A token of that ServiceAccount, which is made if it is not there: it may do what RBAC lets it, and no more."""
        api = self.admin
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        api.apply(account)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
        return str(api.request("POST", path, asked)["status"]["token"])

    def account_folder(self, namespace: str, name: str) -> Path:
        """What a pod of that ServiceAccount finds under /var/run/secrets: `token`, `ca.crt`, `namespace`."""
        folder = self.folder / f"account-{next(self._files)}"
        folder.mkdir()
        (folder / "token").write_text(self.service_account(namespace, name), encoding="utf-8")
        (folder / "ca.crt").write_bytes(self.authority.read_bytes())
        (folder / "namespace").write_text(namespace, encoding="utf-8")
        return folder

    def aio(self, token: str = ADMIN_TOKEN, *, server: str = "") -> "ApiClient":
        """A client of kubernetes.aio, as the operator uses; to be closed: `async with plane.aio() as client`."""
        from kubernetes.aio.client import ApiClient, Configuration  # takes a second, in every run of any test

        configuration = Configuration(host=server or self.server, api_key={"authorization": f"Bearer {token}"})
        configuration.ssl_ca_cert = str(self.authority)
        return ApiClient(configuration)

    def start_controllers(self, *names: str) -> Process:
        """
        Start kube-controller-manager with the controllers of those *names*, e.g. "garbage-collector-controller".

        Needs the program, see the fixture `controller_manager`. What they do they do in the whole cluster: for a plane
        of one's own. They are at work within seconds; wait for what they do.
        """
        command: list[str | Path] = [
            self.programs["kube-controller-manager"],
            f"--kubeconfig={self.kubeconfig()}",
            f"--controllers={','.join(names)}",
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        return self._processes.start("kube-controller-manager", command)

    def kubectl(
        self, *arguments: str, input: str | None = None, namespace: str = "", timeout: float = 60.0, token: str = ""
    ) -> str:
        """Run kubectl; what it prints. Raises KubectlFailed with what it says."""
        command = [str(self.programs["kubectl"]), f"--kubeconfig={self._kubectl_config(token)}"]
        command += [f"--namespace={namespace}"] if namespace else []
        environment = {**os.environ, "HOME": str(self.folder), "KUBECTL_KUBERC": "false"}
        done = subprocess.run(
            [*command, *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlFailed(arguments, done.returncode, done.stderr + done.stdout)
        return done.stdout

    def compact(self) -> int:
        """
        Let etcd forget every revision before the current one, whose number is given back.

        A watch or paged list from before it is answered 410, if it reaches etcd: see PlaneOptions.watch_cache, and
        `forget_history`.
        """
        revision = int(self._ask_etcd("kv/range", {"key": b64encode(b"/").decode()})["header"]["revision"])
        if revision != self._compacted:
            self._ask_etcd("kv/compaction", {"revision": str(revision), "physical": True})
            self._compacted = revision
        return revision

    def install(self, *manifests: Path | str) -> None:
        """
        Apply manifests (files, or their text) and wait until every definition in them is served.

        Admission policies take effect a moment later than that, at most some seconds: wait for a refusal.
        """
        for manifest in manifests:
            text = manifest.read_text(encoding="utf-8") if isinstance(manifest, Path) else manifest
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)
            for thing in yaml.safe_load_all(text):
                if thing and thing["kind"] == "CustomResourceDefinition":
                    self._wait_served(thing)

    def _wait_served(self, definition: Object) -> None:
        """Established is not enough: a moment later it is "(re)initializing" its storage, and answers 429."""
        spec = definition["spec"]
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{definition['metadata']['name']}")
        deadline = time.monotonic() + READY_WITHIN
        for version in (version["name"] for version in spec["versions"] if version["served"]):
            url = f"{self.server}/apis/{spec['group']}/{version}/{spec['names']['plural']}?limit=1"
            while not self._get(url):
                assert time.monotonic() < deadline, f"not served within {READY_WITHIN:g} s: {url}"
                time.sleep(0.05)

    def forget_history(self) -> None:
        """After this every watch from before it is answered 410. The API server restarts: for a plane of one's own."""
        self.kill_apiserver()
        self.compact()
        self.start_apiserver()

    def __enter__(self) -> Self:
        """Started."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stopped."""
        self.stop()

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        issued = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        (self.folder / "server.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.folder / "server.key"))
        authority.issue_cert("accounts").private_key_pem.write_to_path(str(self.folder / "accounts.key"))
        (self.folder / "tokens.csv").write_text(f'{ADMIN_TOKEN},{ADMIN},{ADMIN},"system:masters"\n', encoding="utf-8")
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(POLICY), encoding="utf-8")

    def _kubectl_config(self, token: str) -> Path:
        if token:
            return self.kubeconfig(token)
        path = self.folder / f"kubectl-{self.port}.yaml"
        if not path.exists():
            self.kubeconfig().rename(path)
        return path

    def _start_etcd(self) -> None:
        for port in free_ports(5):
            self._etcd_port = port
            self._etcd = self._processes.start("etcd", self._etcd_command(port))
            if self._comes_up(self._etcd, self._etcd_ready):
                return
        raise AssertionError(f"every port tried was in use\n{self.etcd.tail()}")

    def _comes_up(self, process: Process, ready: Any) -> bool:
        """False if its port turned out to be in use."""
        deadline = time.monotonic() + READY_WITHIN
        while process.alive():
            if ready():
                return True
            assert time.monotonic() < deadline, f"not ready within {READY_WITHIN:g} s\n{process.tail()}"
            time.sleep(0.05)
        assert IN_USE in process.log(), f"{process.name} has ended with {process.exit_status}\n{process.tail()}"
        return False

    def _ready(self) -> bool:
        return self._get(f"{self.server}/readyz") == b"ok"

    def _etcd_ready(self) -> bool:
        return b"true" in self._get(f"http://127.0.0.1:{self._etcd_port}/health")

    def _get(self, url: str) -> bytes:
        tls = ssl.create_default_context(cafile=str(self.authority)) if url.startswith("https:") else None
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        try:
            with _opener(tls).open(request, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    def _ask_etcd(self, what: str, body: Object) -> Any:
        url = f"http://127.0.0.1:{self._etcd_port}/v3/{what}"
        with _opener(None).open(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as answer:
            return json.loads(answer.read())

    def _etcd_command(self, port: int) -> list[str | Path]:
        return [
            self.programs["etcd"],
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{port}",
            f"--advertise-client-urls=http://127.0.0.1:{port}",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_command(self, port: int) -> list[str | Path]:
        audit = [f"--audit-policy-file={self.folder / 'audit.yaml'}", f"--audit-log-path={self.audit.file}"]
        return [
            self.programs["kube-apiserver"],
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--etcd-compaction-interval=0",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=192.0.2.1",  # of no use: nobody is told of it
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self.folder / 'server.crt'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            f"--cert-dir={self.folder / 'cert'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=198.19.0.0/16",
            "--allow-privileged",
            "--profiling=false",
            f"--watch-cache={str(self.options.watch_cache).lower()}",
            *([*audit, "--audit-log-maxsize=100000"] if self.options.audit else []),
            *self.options.flags,
        ]


@contextmanager
def a_control_plane(options: PlaneOptions | None = None) -> Iterator[ControlPlane]:
    """One outside of pytest: for measurements, and to try things out."""
    with (
        tempfile.TemporaryDirectory(prefix="plane-", ignore_cleanup_errors=True) as folder,
        closing(Guard()) as guard,
        ControlPlane(Path(folder), provide(), guard, options) as plane,
    ):
        yield plane


def free_ports(count: int) -> Iterator[int]:
    """So many that are free now; another program may still be quicker, which the caller has to bear."""
    found = 0
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
        found += 1
        if found == count:
            return


def _opener(tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Never by way of a proxy that the environment names."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if tls is not None:
        handlers.append(urllib.request.HTTPSHandler(context=tls))
    return urllib.request.build_opener(*handlers)
