"""The command lines of the control plane's programs, and the one place that knows their flags."""

from dataclasses import dataclass
from pathlib import Path

from entra_sandbox.local.certs import Certificates

CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "token-cleaner-controller",
    "clusterrole-aggregation-controller",
    "root-ca-certificate-publisher-controller",
    "validatingadmissionpolicy-status-controller",
)
"""What a control plane without nodes needs. Workloads are stored but never run."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A service that the API server asks over HTTPS."""

    url: str
    ca_file: Path
    """The authority that signed the service's certificate."""
    cache_ttl: float = 0.0
    """Seconds that an answer is used again; 0 asks each time."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a control plane is to be. The defaults are a plain cluster with RBAC."""

    port: int = 0
    """Of the API server; 0 takes a free one, and the same one when started again in the same folder."""
    authorization_modes: tuple[str, ...] = ("RBAC",)
    token_webhook: Webhook | None = None
    """Asked (TokenReview v1) for bearer tokens that are no service account's.

    Below its `cache_ttl` there is a cache in the API server that no flag switches off: an accepted token is
    not asked for again within 10 seconds.
    """
    authorization_webhook: Webhook | None = None
    """Asked (SubjectAccessReview v1) when `authorization_modes` has Webhook."""
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    audiences: tuple[str, ...] = ()
    """Of service-account tokens, and asked for in token reviews; empty is the issuer."""
    controllers: tuple[str, ...] = CONTROLLERS
    manifests: tuple[Path, ...] = ()
    """Applied before the controllers start. CRDs belong here: the garbage collector learns of later ones only
    at its next look, up to 30 seconds on."""
    apiserver_arguments: tuple[str, ...] = ()
    """More flags for kube-apiserver; the last one of a name counts."""
    controller_manager_arguments: tuple[str, ...] = ()
    """More flags for kube-controller-manager."""


ETCD_SOCKET = "etcd:2379"
"""The file, in the folder where the programs run, by which the API server reaches etcd.

A socket in the folder cannot be taken by anybody else, cannot be mixed up with another control plane's etcd,
and is closed to other users of the machine. The name must look like host and port: etcd insists.
"""
_PEER_SOCKET = "etcd:2380"


def etcd(program: Path) -> list[str]:
    """Give the command line of etcd."""
    return [
        str(program),
        "--name=local",
        "--data-dir=etcd-data",
        f"--listen-client-urls=unix://{ETCD_SOCKET}",
        f"--advertise-client-urls=unix://{ETCD_SOCKET}",
        f"--listen-peer-urls=unix://{_PEER_SOCKET}",
        f"--initial-advertise-peer-urls=unix://{_PEER_SOCKET}",
        f"--initial-cluster=local=unix://{_PEER_SOCKET}",
        # A power cut may cost the data, which nobody needs after one: disks are slow, and tests share them.
        "--unsafe-no-fsync",
        # It has nobody to wait for before it elects itself.
        "--heartbeat-interval=10",
        "--election-timeout=100",
        f"--quota-backend-bytes={8 * 1024**3}",
        "--log-level=warn",
    ]


def apiserver(
    program: Path, port: int, certs: Certificates, options: Options, configs: dict[str, Path]
) -> list[str]:
    """Give the command line of kube-apiserver.

    `configs` are the files that describe the webhooks, by the option's name.
    """
    audiences = options.audiences or (options.service_account_issuer,)
    return [
        str(program),
        f"--etcd-servers=unix://{ETCD_SOCKET}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        # The endpoints of the service "kubernetes" may not be a loopback address, and nobody here looks at
        # them.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        f"--client-ca-file={certs.ca.cert}",
        f"--tls-cert-file={certs.server.cert}",
        f"--tls-private-key-file={certs.server.key}",
        f"--service-account-issuer={options.service_account_issuer}",
        f"--service-account-key-file={certs.service_accounts.cert}",
        f"--service-account-signing-key-file={certs.service_accounts.key}",
        f"--api-audiences={','.join(audiences)}",
        f"--authorization-mode={','.join(options.authorization_modes)}",
        "--profiling=false",
        *_token_webhook(options, configs),
        *_authorization_webhook(options, configs),
        *options.apiserver_arguments,
    ]


def _token_webhook(options: Options, configs: dict[str, Path]) -> list[str]:
    if options.token_webhook is None:
        return []
    return [
        f"--authentication-token-webhook-config-file={configs['token_webhook']}",
        "--authentication-token-webhook-version=v1",
        f"--authentication-token-webhook-cache-ttl={options.token_webhook.cache_ttl}s",
    ]


def _authorization_webhook(options: Options, configs: dict[str, Path]) -> list[str]:
    if options.authorization_webhook is None:
        return []
    ttl = options.authorization_webhook.cache_ttl
    return [
        f"--authorization-webhook-config-file={configs['authorization_webhook']}",
        "--authorization-webhook-version=v1",
        f"--authorization-webhook-cache-authorized-ttl={ttl}s",
        f"--authorization-webhook-cache-unauthorized-ttl={ttl}s",
    ]


def controller_manager(program: Path, kubeconfig: Path, certs: Certificates, options: Options) -> list[str]:
    """Give the command line of kube-controller-manager."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(options.controllers)}",
        # Each controller under its own name, as on every real cluster: admission policies exempt some of
        # them.
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={certs.service_accounts.key}",
        f"--root-ca-file={certs.ca.cert}",
        "--leader-elect=false",
        "--secure-port=0",  # nobody asks it anything
        # The defaults (20 and 30 requests a second) make the collection of a thousand objects take a minute.
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--concurrent-namespace-syncs=20",
        "--profiling=false",
        *options.controller_manager_arguments,
    ]
