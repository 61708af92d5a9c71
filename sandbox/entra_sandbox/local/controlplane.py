"""A real Kubernetes control plane in a folder: etcd, API server, controller manager as plain processes.

    with ControlPlane(tmp_path) as plane:
        plane.run_kubectl("get", "namespaces")

The folder holds everything: certificates, data, logs, kubeconfigs and the list of processes. Started again in
its folder, a control plane has its objects, its tokens and its port again. Any number of them run side by
side.
"""

import contextlib
import functools
import os
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from entra_sandbox.local import binaries, certs, commands, kubeconfig, processes
from entra_sandbox.local.certs import Certificates
from entra_sandbox.local.commands import Options
from entra_sandbox.local.programs import Binaries
from entra_sandbox.local.state import State, locked

_STOP_SECONDS = 5.0


class ControlPlaneError(RuntimeError):
    """The control plane cannot do what was asked; the message says why, with the end of the log."""


class _PortTakenError(Exception):
    """Somebody took the port between the choice and the use of it."""


class ControlPlane:
    """One control plane. A context manager: entered it is ready, left it is gone (its folder stays)."""

    folder: Path
    ca_file: Path
    """The authority to trust at `url`."""
    kubeconfig: Path
    """Signs in as a member of system:masters."""
    kubectl: Path
    """The program, of the API server's version."""
    etcd_socket: Path
    """A Unix socket: etcd's gRPC, and over HTTP `/metrics` and `/readyz`."""

    def __init__(self, folder: Path, options: Options | None = None, found: Binaries | None = None) -> None:
        """Describe a control plane in that folder and find its programs.

        That may take minutes the first time, see `binaries`; raises `BinariesError` when they cannot be had.
        """
        self.folder = folder.absolute()
        self.options = options or Options()
        self._binaries = found or binaries.ensure()
        self._state = State.load(self.folder)
        self.ca_file = self.folder / "certs" / "ca.crt"
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.kubectl = self._binaries.kubectl
        self.etcd_socket = self.folder / commands.ETCD_SOCKET

    @property
    def url(self) -> str:
        """Where clients find the API server; raises `ControlPlaneError` before the first start."""
        if not self._state.port:
            raise ControlPlaneError(f"no control plane was started in {self.folder}")
        return f"https://127.0.0.1:{self._state.port}"

    def start(self, *, detached: bool = False, seconds: float = 120.0) -> Self:
        """Start the processes and wait until the cluster is ready for use.

        They end when this process ends, however it ends, unless `detached`: then they run until `stop` is
        called, here or in a later run for the same folder. Raises `ControlPlaneError` when one of them dies,
        when it takes longer than `seconds`, or when a control plane runs in the folder already; nothing is
        left running then.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.folder / ".lock"):
            before = State.load(self.folder)
            if before.running():
                raise ControlPlaneError(f"a control plane is already running in {self.folder}")
            own = certs.prepare(self.folder / "certs")
            deadline = time.monotonic() + seconds
            port = self.options.port or before.port or _free_port()
            while True:
                try:
                    self._launch(port, own, deadline, detached=detached)
                    return self
                except BaseException as error:
                    self._stop()
                    if not isinstance(error, _PortTakenError):
                        raise
                    if self.options.port:
                        raise ControlPlaneError(f"port {port} is taken by another program") from None
                    port = _free_port()

    def stop(self) -> None:
        """End the processes that were started in this folder, and nothing else; none is fine, too."""
        if not self.folder.exists():
            return
        with locked(self.folder / ".lock"):
            # What the folder says counts: another run may have started anew here. About its own
            # processes this run knows more.
            own = {process.identity: process for process in self._state.processes}
            self._state = State.load(self.folder)
            self._state.processes = [own.get(p.identity, p) for p in self._state.processes]
            self._stop()

    def check(self) -> None:
        """Raise `ControlPlaneError`, with the end of its log, when a process has died."""
        if not self._state.processes:
            raise ControlPlaneError(f"no control plane is running in {self.folder}")
        for process in self._state.processes:
            if not process.alive():
                raise ControlPlaneError(
                    f"{process.name} {process.exit_status()}; the end of {process.log}:\n"
                    f"{processes.tail(process.log)}"
                )

    def running(self) -> bool:
        """Say whether all processes run; does not ask whether they are well."""
        return bool(self._state.processes) and all(process.alive() for process in self._state.processes)

    def client(self) -> httpx.Client:
        """Make an HTTP client that may do everything, to be closed by the caller."""
        return httpx.Client(base_url=self.url, verify=self._tls(), timeout=10.0, trust_env=False)

    def run_kubectl(self, *arguments: str, stdin: str | None = None, config: Path | None = None) -> str:
        """Run kubectl, as administrator unless another kubeconfig is given, and give its output.

        Raises `ControlPlaneError` with what it complained of when it fails.
        """
        # Its cache goes by host and port, which another cluster may have had an hour ago.
        base = [
            str(self.kubectl),
            f"--kubeconfig={config or self.kubeconfig}",
            f"--cache-dir={self.folder}/cache",
        ]
        # Given empty input rather than the terminal's: a command that reads would wait for ever.
        done = subprocess.run(
            [*base, *arguments], input=stdin or "", capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def token_kubeconfig(self, name: str, token: str, namespace: str | None = None) -> Path:
        """Write `<name>.kubeconfig`, which signs in with the bearer token, and give its path."""
        file = self.folder / f"{name}.kubeconfig"
        kubeconfig.for_token(file, self.url, self.ca_file, token, namespace)
        return file

    def service_account_token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """Ask for a token of a service account that is valid so long (at least 600).

        Raises `httpx.HTTPStatusError` when there is no such account.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        with self.client() as client:
            answer = client.post(path, json=body).raise_for_status().json()
        return str(answer["status"]["token"])

    def service_account_kubeconfig(self, namespace: str, name: str, seconds: int = 3600) -> Path:
        """Write a kubeconfig that signs in as the service account, and give its path."""
        token = self.service_account_token(namespace, name, seconds)
        return self.token_kubeconfig(f"{namespace}.{name}", token, namespace)

    def system_uid(self) -> str:
        """Give the UID of the namespace kube-system, by which a cluster is known."""
        with self.client() as client:
            found = client.get("/api/v1/namespaces/kube-system").raise_for_status().json()
        return str(found["metadata"]["uid"])

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def _launch(self, port: int, own: Certificates, deadline: float, *, detached: bool) -> None:
        """Start everything in order and wait for it; whatever is running at an error is in the state."""
        self._state = State(port)
        self.etcd_socket.unlink(missing_ok=True)  # of an etcd that was killed: the new one's is waited for
        kubeconfig.for_certificate(self.kubeconfig, self.url, self.ca_file, own.admin)
        manager = self.folder / "controller-manager.kubeconfig"
        kubeconfig.for_certificate(manager, self.url, self.ca_file, own.controller_manager)

        programs, options = self._binaries, self.options
        self._run("etcd", commands.etcd(programs.etcd), detached=detached)
        self._wait("etcd to listen", self.etcd_socket.exists, deadline)
        configs = self._webhook_files()
        command = commands.apiserver(programs.kube_apiserver, port, own, options, configs)
        self._run("kube-apiserver", command, detached=detached)
        with self.client() as client:
            self._wait("the API server to be ready", lambda: _ok(client, "/readyz"), deadline)
            for manifest in options.manifests:
                self.run_kubectl("apply", "--server-side", "--filename", str(manifest))
            command = commands.controller_manager(programs.kube_controller_manager, manager, own, options)
            self._run("kube-controller-manager", command, detached=detached)
            # The owner id of everything in Entra, and the first thing that the controllers make.
            for path in ("kube-system", "default/serviceaccounts/default"):
                there = functools.partial(_ok, client, f"/api/v1/namespaces/{path}")
                self._wait(f"namespaces/{path}", there, deadline)

    def _run(self, name: str, command: list[str], *, detached: bool) -> None:
        """Start a program and write it down."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        # etcd takes settings from such variables too, and a user of etcdctl has some.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
        try:
            process = processes.start(
                name,
                command,
                log=logs / f"{name}.log",
                folder=self.folder,
                detached=detached,
                environment=environment,
            )
        except OSError as error:
            raise ControlPlaneError(f"{name} cannot be started: {error}") from error
        self._state.processes.append(process)
        self._state.save(self.folder)

    def _webhook_files(self) -> dict[str, Path]:
        files = {}
        for name in ("token_webhook", "authorization_webhook"):
            webhook: commands.Webhook | None = getattr(self.options, name)
            if webhook is not None:
                files[name] = self.folder / f"{name}.kubeconfig"
                kubeconfig.for_webhook(files[name], webhook)
        return files

    def _wait(self, what: str, ready: Callable[[], bool], deadline: float) -> None:
        """Poll until it is so; raise when a process dies before, or the deadline passes."""
        while not ready():
            self._fail_on_taken_port()
            self.check()
            if time.monotonic() > deadline:
                last = self._state.processes[-1]
                raise ControlPlaneError(
                    f"waited in vain for {what}; the end of {last.log}:\n{processes.tail(last.log)}"
                )
            time.sleep(0.03)

    def _fail_on_taken_port(self) -> None:
        for process in self._state.processes:
            if not process.alive() and "address already in use" in processes.tail(process.log, 200):
                raise _PortTakenError

    def _stop(self) -> None:
        """End what is in the state, the last started first, and write down that nothing runs."""
        # An API server without its etcd would take its time in vain.
        seconds = _STOP_SECONDS if self.running() else 0.2
        for process in reversed(self._state.processes):
            process.stop(seconds)
        self._state = State(self._state.port)
        self._state.save(self.folder)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        certificate = self.folder / "certs" / "admin.crt"
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return context


def _ok(client: httpx.Client, path: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        # Soon given up: on a port that is taken somebody may listen who never answers.
        return client.get(path, timeout=1.0).is_success
    return False


def _free_port() -> int:
    """Choose a port that is free at this moment.

    Below the range from which the kernel serves outgoing connections: it would hand out a port that is free
    but promised. Seeded by the operating system, so that parallel runs choose differently.
    """
    chooser = random.SystemRandom()
    for _ in range(100):
        port = chooser.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ControlPlaneError(f"found no free port for process {os.getpid()}")
