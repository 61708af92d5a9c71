"""The operator's settings, read from the environment once, at the start."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from entra_access.adapters.credentials import Identity
from entra_access.api.resources import Mode

_CLUSTER_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/[^/]+/providers/"
    r"(Microsoft\.ContainerService/managedClusters|Microsoft\.Kubernetes/connectedClusters)/[^/]+",
    re.IGNORECASE,
)
_TENANT: Final = re.compile(r"[A-Za-z0-9.-]+")
_OWNER_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


class SettingError(ValueError):
    """A setting is missing or cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What differs from one installation to another. The environment variables are in manifests/config.env.

    Attributes
    ----------
    cluster_id
        The ARM id of the cluster.
    owner_id
        Tells this cluster's groups from those of others; None: the UID of the kube-system namespace.
    resync_seconds
        How often everything is looked at although nothing was heard of it.
    sweep_seconds
        How often it is asked what has changed in Entra and Azure.
    stalled_seconds
        How often something that a person must mend is looked at again.
    replication_seconds
        How long a new group may stay invisible to some replicas of Entra.
    assignments_seconds
        How old the list of role assignments that a pass uses may be.
    mode
        The mode of policies that give none.
    cluster_seconds
        How often the cluster's own resource in Azure is read, for what the cluster is set up for.
    """

    cluster_id: str
    subscription: str
    identity: Identity
    owner_id: str | None = None
    graph_url: str = "https://graph.microsoft.com"
    arm_url: str = "https://management.azure.com"
    workers: int = 16
    resync_seconds: float = 3600.0
    sweep_seconds: float = 60.0
    stalled_seconds: float = 60.0
    replication_seconds: float = 120.0
    assignments_seconds: float = 10.0
    cluster_seconds: float = 21600.0
    mode: Mode = Mode.ENFORCE
    probe_port: int = 8080
    log_format: str = "plain"
    log_level: str = "info"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises
    ------
    SettingError
        One is missing or cannot be used.
    """
    env = _Environment(environment)
    cluster_id = env.required("ENTRA_ACCESS_CLUSTER_ID", "the ARM id of the cluster").rstrip("/")
    match = _CLUSTER_ID.fullmatch(cluster_id)
    if not match:
        raise SettingError(
            "ENTRA_ACCESS_CLUSTER_ID must be the ARM id of an AKS or Arc-connected cluster, as "
            "`az aks show --query id` or `az connectedk8s show --query id` prints it"
        )
    return Settings(
        cluster_id=cluster_id,
        subscription=match["subscription"],
        identity=_read_identity(env),
        owner_id=_read_owner_id(env),
        graph_url=env.url("ENTRA_ACCESS_GRAPH_URL", Settings.graph_url),
        arm_url=env.url("ENTRA_ACCESS_ARM_URL", Settings.arm_url),
        workers=int(env.number("ENTRA_ACCESS_WORKERS", Settings.workers, least=1)),
        resync_seconds=env.number("ENTRA_ACCESS_RESYNC_SECONDS", Settings.resync_seconds, least=1),
        sweep_seconds=env.number("ENTRA_ACCESS_SWEEP_SECONDS", Settings.sweep_seconds, least=1),
        stalled_seconds=env.number("ENTRA_ACCESS_STALLED_SECONDS", Settings.stalled_seconds, least=1),
        replication_seconds=env.number("ENTRA_ACCESS_REPLICATION_SECONDS", Settings.replication_seconds),
        assignments_seconds=env.number("ENTRA_ACCESS_ASSIGNMENTS_SECONDS", Settings.assignments_seconds),
        cluster_seconds=env.number("ENTRA_ACCESS_CLUSTER_SECONDS", Settings.cluster_seconds, least=1),
        mode=Mode(env.choice("ENTRA_ACCESS_MODE", ("enforce", "observe")).capitalize()),
        probe_port=int(env.number("ENTRA_ACCESS_PROBE_PORT", Settings.probe_port, most=65535)),
        log_format=env.choice("ENTRA_ACCESS_LOG_FORMAT", ("plain", "json")),
        log_level=env.choice("ENTRA_ACCESS_LOG_LEVEL", ("info", "warning", "debug")),
    )


def _read_owner_id(env: "_Environment") -> str | None:
    owner_id = env.optional("ENTRA_ACCESS_OWNER_ID")
    if owner_id and not _OWNER_ID.fullmatch(owner_id):
        raise SettingError("ENTRA_ACCESS_OWNER_ID must be 1 to 64 letters, digits and hyphens")
    return owner_id


def _read_tenant(env: "_Environment") -> str:
    tenant = env.required("AZURE_TENANT_ID", "the id of the Entra tenant")
    if not _TENANT.fullmatch(tenant):
        raise SettingError("AZURE_TENANT_ID must be the id or a domain of the Entra tenant")
    return tenant


def _read_identity(env: "_Environment") -> Identity:
    token_file = env.optional("AZURE_FEDERATED_TOKEN_FILE")
    secret = env.optional("AZURE_CLIENT_SECRET")
    if not (token_file or secret):
        raise SettingError(
            "the operator has no identity: set AZURE_FEDERATED_TOKEN_FILE (workload identity sets it) "
            "or AZURE_CLIENT_SECRET"
        )
    return Identity(
        tenant_id=_read_tenant(env),
        client_id=env.required("AZURE_CLIENT_ID", "the app id of the operator's application"),
        authority=env.url("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com"),
        token_file=token_file,
        client_secret=None if token_file else secret,
        ca_file=env.optional("ENTRA_ACCESS_CA_FILE"),
        instance_discovery=env.choice("ENTRA_ACCESS_INSTANCE_DISCOVERY", ("true", "false")) == "true",
    )


class _Environment:
    """Environment variables, with errors that name them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def optional(self, name: str) -> str | None:
        return self._values.get(name, "").strip() or None

    def required(self, name: str, meaning: str) -> str:
        value = self.optional(name)
        if value is None:
            raise SettingError(f"{name} must be set: {meaning}")
        return value

    def url(self, name: str, default: str) -> str:
        value = self.optional(name) or default
        if not re.fullmatch(r"https://[^/\s]+(/\S*)?", value):
            raise SettingError(f"{name} must be an address that begins with https://: tokens are sent there")
        return value.rstrip("/")

    def number(self, name: str, default: float, *, least: float = 0, most: float = 1e6) -> float:
        text = self.optional(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            raise SettingError(f"{name} must be a number") from None
        if not least <= value <= most:
            raise SettingError(f"{name} must be from {least:g} to {most:g}")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = (self.optional(name) or choices[0]).lower()
        if value not in choices:
            raise SettingError(f"{name} must be one of {', '.join(choices)}")
        return value
