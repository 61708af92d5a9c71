"""The whole set-up in one folder: the sandbox, a control plane that signs in through it, and the operator.

The operator is started as any user would start it: a program with settings in its environment, signed in to
Kubernetes as the service account of `manifests/`, and to Azure by that account's federated token.
"""

import base64
import json
import os
import re
import secrets
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from entra_sandbox import seed
from entra_sandbox.client import SandboxClient
from entra_sandbox.local import processes
from entra_sandbox.local.commands import Options, Webhook
from entra_sandbox.local.controlplane import ControlPlane
from entra_sandbox.local.processes import Process
from entra_sandbox.local.state import State

ROOT = Path(__file__).parents[3]
NAMESPACE = "entra-access-system"
ACCOUNT = "entra-access-operator"
AUDIENCE = "api://AzureADTokenExchange"
APP_ROLES = ("Group.ReadWrite.All", "User.Read.All", "Application.Read.All")
"""What the README tells people to grant, and no more. To write a service principal as a group's member Graph
wants Application.ReadWrite.All too."""
CLUSTERS = {"aks": seed.CLUSTER_ID, "arc": seed.ARC_CLUSTER_ID}
"""The kinds of cluster that the API server can be, and their ids in ARM."""
_TOKEN_HOURS = 720
_READY_SECONDS = 60.0


class StackError(RuntimeError):
    """A part could not be started; the message has the end of its log."""


@dataclass
class Stack:
    """One set-up. A context manager: entered it is ready (without an operator), left it is gone.

    `detached`: it goes on running when this process ends, until `stop` is called for the same folder.
    """

    folder: Path
    replication_delay: float = 0.0
    detached: bool = False
    operator_settings: dict[str, str] = field(default_factory=dict)
    cluster: str = "aks"
    """Which cluster of the sandbox the API server is: aks or arc."""
    app_roles: tuple[str, ...] = APP_ROLES
    """The application permissions in Graph that the operator has."""

    def __post_init__(self) -> None:
        if self.cluster not in CLUSTERS:
            raise StackError(f"there is no cluster '{self.cluster}': it is {' or '.join(CLUSTERS)}")
        self.folder = self.folder.absolute()
        self._state = State.load(self.folder)
        self._azure_folder = self.folder / "azure"
        self._client: SandboxClient | None = None
        self._plane: ControlPlane | None = None

    @property
    def azure(self) -> SandboxClient:
        """The sandbox, by its own routes."""
        if self._client is None:
            facts = json.loads((self._azure_folder / "sandbox.json").read_text())
            self._client = SandboxClient(facts["url"], facts["ca"])
        return self._client

    @property
    def cluster_id(self) -> str:
        """The ARM id of the cluster that the API server is."""
        return CLUSTERS[self.cluster]

    @property
    def plane(self) -> ControlPlane:
        """The control plane."""
        if self._plane is None:
            self._plane = ControlPlane(self.folder / "control-plane", self._plane_options())
        return self._plane

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str | None = None) -> str:
        """Run kubectl, as administrator or as anybody in the directory, and give its output.

        Raises `ControlPlaneError` with kubectl's own words when it fails.
        """
        config = self.kubeconfig_of(user) if user else None
        return self.plane.run_kubectl(*arguments, stdin=stdin, config=config)

    def kubeconfig_of(self, who: str) -> Path:
        """Write a kubeconfig that signs in with a fresh token: a user by user principal name or object id,
        an application by its id, object id or display name.
        """
        return self.plane.token_kubeconfig(_file_name(who), self.azure.token_of(who))

    def kubeconfig_of_secret(self, namespace: str, secret: str) -> Path:
        """Write a kubeconfig that signs in with the token in a service account's Secret: what is given to
        the person who is to use it.

        Raises `ControlPlaneError` when there is no such Secret, `StackError` when it has no token (yet).
        """
        found = json.loads(self.kubectl("get", "secret", secret, "-n", namespace, "-o", "json"))
        token = found.get("data", {}).get("token")
        if not token:
            raise StackError(f"the Secret {namespace}/{secret} has no token")
        name = _file_name(f"{namespace}.{secret}")
        return self.plane.token_kubeconfig(name, base64.b64decode(token).decode())

    def start(self) -> Self:
        """Start the sandbox and the control plane, and install the operator's manifests."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start_azure()
            self.plane.start(detached=self.detached)
            self.kubectl("apply", "-k", str(ROOT / "manifests"))
            self._federate()
        except BaseException:
            self.stop()
            raise
        return self

    def start_operator(self, *arguments: str, **settings: str) -> Process:
        """Start the operator with further arguments; further settings win over those of the set-up."""
        command = [str(Path(sys.executable).with_name("entra-access")), "run", *arguments]
        environment = self.operator_environment() | settings
        number = sum(process.name.startswith("operator") for process in self._state.processes)
        return self._start(f"operator-{number}" if number else "operator", command, environment)

    def operator_environment(self) -> dict[str, str]:
        """The settings by which the operator runs here: the same ones that any other cloud would need."""
        url, ca = self.azure.url, self.azure.ca
        return {
            "PATH": os.environ.get("PATH", ""),
            # The operator of the same sources that this runs from.
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "KUBECONFIG": str(self._operator_folder / "kubeconfig"),
            "AZURE_TENANT_ID": seed.TENANT_ID,
            "AZURE_CLIENT_ID": seed.OPERATOR_CLIENT_ID,
            "AZURE_FEDERATED_TOKEN_FILE": str(self._operator_folder / "token"),
            "AZURE_AUTHORITY_HOST": url,
            "ENTRA_ACCESS_CLUSTER_ID": self.cluster_id,
            "ENTRA_ACCESS_GRAPH_URL": url,
            "ENTRA_ACCESS_ARM_URL": url,
            "ENTRA_ACCESS_CA_FILE": ca,
            "ENTRA_ACCESS_INSTANCE_DISCOVERY": "false",
            "ENTRA_ACCESS_PROBE_PORT": "0",
            # Somebody watches: look again sooner than in production at what a person mended.
            "ENTRA_ACCESS_STALLED_SECONDS": "5",
            "ENTRA_ACCESS_SWEEP_SECONDS": "5",
            **self.operator_settings,
        }

    def user_environment(self) -> dict[str, str]:
        """What a person needs in the shell, without PATH.

        KUBECONFIG signs in by a token, not by a certificate: that of a certificate would win over
        ``kubectl --token``, and every user would be the administrator.
        """
        return {
            "KUBECONFIG": str(self.plane.token_kubeconfig("user", self._admin_token())),
            "SANDBOX_URL": self.azure.url,
            "SANDBOX_CA": self.azure.ca,
            "CLUSTER_ID": self.cluster_id,
            "TENANT_ID": seed.TENANT_ID,
        }

    def running(self) -> bool:
        """Say whether anything of it runs."""
        return bool(self._state.running())

    def stop(self) -> None:
        """End what was started in this folder, and nothing else; does nothing when nothing runs."""
        operators = [process for process in self._state.processes if process.name.startswith("operator")]
        for process in operators:
            process.stop(10.0)
        if (self.folder / "control-plane").exists():
            # What is stopped may have been started for another address of the sandbox: options do not matter.
            plane = self._plane or ControlPlane(self.folder / "control-plane")
            plane.stop()
        for process in self._state.processes:
            process.stop(5.0)
        if self._client:
            self._client.close()
        self._client = self._plane = None
        self._state = State()
        if self.folder.exists():
            self._state.save(self.folder)

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def _operator_folder(self) -> Path:
        return self.folder / "operator"

    def _plane_options(self) -> Options:
        def webhook(kind: str) -> Webhook:
            # The cluster is in the path: the API server drops a query.
            url = f"{self.azure.url}/webhooks/{kind}{self.cluster_id}"
            return Webhook(url, Path(self.azure.ca), cache_ttl=0)

        crds = tuple(sorted((ROOT / "crds").glob("*s.yaml")))
        tokens = self.folder / "tokens.csv"
        self._admin_token()
        arguments = (f"--token-auth-file={tokens}",)
        return Options(
            # RBAC first: what it allows is not asked of Azure, and holds when Azure does not answer.
            authorization_modes=("RBAC", "Webhook"),
            token_webhook=webhook("token"),
            authorization_webhook=webhook("authorize"),
            manifests=crds,
            apiserver_arguments=arguments,
        )

    def _admin_token(self) -> str:
        """The bearer token of the cluster's administrator, kept with the folder."""
        file = self.folder / "tokens.csv"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(f'{secrets.token_urlsafe(32)},admin,admin,"system:masters"\n')
        return file.read_text().partition(",")[0]

    def _start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> Process:
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        process = processes.start(
            name,
            command,
            log=logs / f"{name}.log",
            folder=self.folder,
            detached=self.detached,
            environment=environment,
        )
        self._state.processes.append(process)
        self._state.save(self.folder)
        return process

    def _start_azure(self) -> None:
        facts = self._azure_folder / "sandbox.json"
        facts.unlink(missing_ok=True)
        command = [sys.executable, "-m", "entra_sandbox.cli", "serve", "--dir", str(self._azure_folder)]
        process = self._start("azure", [*command, f"--replication-delay={self.replication_delay:g}"])
        deadline = time.monotonic() + _READY_SECONDS
        while not facts.exists():
            if not process.alive() or time.monotonic() > deadline:
                end = processes.tail(process.log)
                raise StackError(f"the sandbox did not start; the end of its log:\n{end}")
            time.sleep(0.03)

    def _federate(self) -> None:
        """Let the operator's service account sign in to Entra: workload identity, as on AKS and Arc."""
        folder = self._operator_folder
        folder.mkdir(exist_ok=True, mode=0o700)
        token = ("-n", NAMESPACE, "create", "token", ACCOUNT, f"--duration={_TOKEN_HOURS}h")
        (folder / "token").write_text(self.kubectl(*token, f"--audience={AUDIENCE}").strip())
        config = self.plane.token_kubeconfig("operator", self.kubectl(*token).strip())
        shutil.copy(config, folder / "kubeconfig")
        keys: dict[str, Any] = json.loads(self.kubectl("get", "--raw", "/openid/v1/jwks"))
        credential = {
            "issuer": self.plane.options.service_account_issuer,
            "subject": f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}",
            "audience": AUDIENCE,
            "jwks": keys,
        }
        self.azure.change_app(
            seed.OPERATOR_CLIENT_ID, federatedCredentials=[credential], appRoles=list(self.app_roles)
        )


def _file_name(who: str) -> str:
    """Give a name that may stand in a path; what differs stays different enough to be told apart."""
    return re.sub(r"[^A-Za-z0-9.-]+", ".", who)
