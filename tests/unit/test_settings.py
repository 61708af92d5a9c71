"""The settings: each error names its variable."""

import pytest

from entra_access.api.resources import Mode
from entra_access.settings import SettingError, Settings, read_settings
from unit.builders import SCOPE

ARC = SCOPE.replace("Microsoft.ContainerService/managedClusters", "Microsoft.Kubernetes/connectedClusters")
ENVIRONMENT = {
    "ENTRA_ACCESS_CLUSTER_ID": SCOPE,
    "AZURE_TENANT_ID": "tenant",
    "AZURE_CLIENT_ID": "client",
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/token",
}


def read(**changes: str) -> Settings:
    return read_settings(ENVIRONMENT | changes)


def test_what_is_enough() -> None:
    settings = read()
    assert settings.cluster_id == SCOPE
    assert settings.subscription == "99999999-0000-0000-0000-000000000000"
    assert settings.owner_id is None
    assert settings.graph_url == "https://graph.microsoft.com"
    assert settings.arm_url == "https://management.azure.com"
    assert (settings.workers, settings.probe_port) == (16, 8080)
    assert settings.cluster_seconds == 6 * 3600
    assert (settings.resync_seconds, settings.sweep_seconds) == (3600, 60)
    assert settings.mode is Mode.ENFORCE
    assert (settings.log_format, settings.log_level) == ("plain", "info")
    identity = settings.identity
    assert (identity.tenant_id, identity.client_id) == ("tenant", "client")
    assert (identity.token_file, identity.client_secret) == ("/var/run/token", None)
    assert identity.authority == "https://login.microsoftonline.com"
    assert (identity.ca_file, identity.instance_discovery) == (None, True)


def test_everything() -> None:
    settings = read(
        ENTRA_ACCESS_OWNER_ID="fleet-7",
        ENTRA_ACCESS_GRAPH_URL="https://graph.example/",
        ENTRA_ACCESS_ARM_URL="https://arm.example",
        ENTRA_ACCESS_WORKERS="3",
        ENTRA_ACCESS_RESYNC_SECONDS="30.5",
        ENTRA_ACCESS_STALLED_SECONDS="5",
        ENTRA_ACCESS_REPLICATION_SECONDS="0",
        ENTRA_ACCESS_ASSIGNMENTS_SECONDS="1",
        ENTRA_ACCESS_CLUSTER_SECONDS="60",
        ENTRA_ACCESS_SWEEP_SECONDS="7",
        ENTRA_ACCESS_MODE="observe",
        ENTRA_ACCESS_PROBE_PORT="0",
        ENTRA_ACCESS_LOG_FORMAT="JSON",
        ENTRA_ACCESS_LOG_LEVEL="Debug",
        ENTRA_ACCESS_CA_FILE="/ca.pem",
        ENTRA_ACCESS_INSTANCE_DISCOVERY="false",
        AZURE_AUTHORITY_HOST="https://login.example/",
    )
    assert (settings.owner_id, settings.graph_url, settings.arm_url) == (
        "fleet-7",
        "https://graph.example",
        "https://arm.example",
    )
    assert (settings.workers, settings.resync_seconds, settings.stalled_seconds) == (3, 30.5, 5)
    assert (settings.replication_seconds, settings.assignments_seconds, settings.probe_port) == (0, 1, 0)
    assert (settings.cluster_seconds, settings.sweep_seconds) == (60, 7)
    assert settings.mode is Mode.OBSERVE
    assert (settings.log_format, settings.log_level) == ("json", "debug")
    identity = settings.identity
    assert (identity.ca_file, identity.instance_discovery, identity.authority) == (
        "/ca.pem",
        False,
        "https://login.example",
    )


@pytest.mark.parametrize("value", ["Observe", "observe", "OBSERVE", " observe "])
def test_a_mode_is_as_in_a_policy_or_in_any_other_case(value: str) -> None:
    assert read(ENTRA_ACCESS_MODE=value).mode is Mode.OBSERVE
    assert read(ENTRA_ACCESS_MODE="").mode is Mode.ENFORCE


@pytest.mark.parametrize("cluster_id", [SCOPE, SCOPE + "/", SCOPE.lower(), ARC])
def test_cluster_ids(cluster_id: str) -> None:
    settings = read(ENTRA_ACCESS_CLUSTER_ID=cluster_id)
    assert settings.cluster_id == cluster_id.rstrip("/")
    assert settings.subscription == "99999999-0000-0000-0000-000000000000"


def test_empty_is_as_if_not_given() -> None:
    settings = read(ENTRA_ACCESS_OWNER_ID=" ", ENTRA_ACCESS_WORKERS="", ENTRA_ACCESS_GRAPH_URL="")
    assert (settings.owner_id, settings.workers, settings.graph_url) == (
        None,
        16,
        "https://graph.microsoft.com",
    )


def test_a_secret_is_used_only_without_a_token_file() -> None:
    assert read(AZURE_CLIENT_SECRET="hush").identity.client_secret is None
    identity = read(AZURE_CLIENT_SECRET="hush", AZURE_FEDERATED_TOKEN_FILE="").identity
    assert (identity.client_secret, identity.token_file) == ("hush", None)


@pytest.mark.parametrize("name", ["ENTRA_ACCESS_CLUSTER_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"])
@pytest.mark.parametrize("value", ["", "  "])
def test_what_must_be_set_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be set"):
        read(**{name: value})


def test_an_operator_without_an_identity_is_told_what_to_set() -> None:
    with pytest.raises(SettingError, match=r"AZURE_FEDERATED_TOKEN_FILE.*AZURE_CLIENT_SECRET"):
        read(AZURE_FEDERATED_TOKEN_FILE="")


NUMBERS = [
    "ENTRA_ACCESS_WORKERS",
    "ENTRA_ACCESS_RESYNC_SECONDS",
    "ENTRA_ACCESS_STALLED_SECONDS",
    "ENTRA_ACCESS_REPLICATION_SECONDS",
    "ENTRA_ACCESS_ASSIGNMENTS_SECONDS",
    "ENTRA_ACCESS_CLUSTER_SECONDS",
    "ENTRA_ACCESS_SWEEP_SECONDS",
    "ENTRA_ACCESS_PROBE_PORT",
]
URLS = ["ENTRA_ACCESS_GRAPH_URL", "ENTRA_ACCESS_ARM_URL", "AZURE_AUTHORITY_HOST"]
BAD = [
    *((name, value) for name in NUMBERS for value in ("many", "-1", "nan", "inf")),
    ("ENTRA_ACCESS_WORKERS", "0"),
    ("ENTRA_ACCESS_CLUSTER_SECONDS", "0"),
    ("ENTRA_ACCESS_SWEEP_SECONDS", "0"),
    ("ENTRA_ACCESS_WORKERS", "0.5"),
    ("ENTRA_ACCESS_RESYNC_SECONDS", "0"),
    ("ENTRA_ACCESS_STALLED_SECONDS", "0"),
    ("ENTRA_ACCESS_PROBE_PORT", "65536"),
    *((name, value) for name in URLS for value in ("http://x", "graph.microsoft.com", "https://", "ftp://x")),
    ("ENTRA_ACCESS_CLUSTER_ID", "aks"),
    ("ENTRA_ACCESS_CLUSTER_ID", SCOPE.removesuffix("/aks")),
    ("ENTRA_ACCESS_CLUSTER_ID", SCOPE + "/namespaces/dev"),
    ("ENTRA_ACCESS_CLUSTER_ID", SCOPE.removeprefix("/")),
    ("ENTRA_ACCESS_CLUSTER_ID", SCOPE.replace("managedClusters", "virtualMachines")),
    ("ENTRA_ACCESS_OWNER_ID", "a b"),
    ("ENTRA_ACCESS_OWNER_ID", "it's"),
    ("ENTRA_ACCESS_OWNER_ID", "x" * 65),
    ("ENTRA_ACCESS_LOG_FORMAT", "xml"),
    ("ENTRA_ACCESS_LOG_LEVEL", "loud"),
    ("ENTRA_ACCESS_INSTANCE_DISCOVERY", "yes"),
    ("ENTRA_ACCESS_MODE", "watch"),
    ("ENTRA_ACCESS_MODE", "enforce, observe"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value}" for name, value in BAD])
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        read(**{name: value})


def test_a_secret_is_in_no_error() -> None:
    with pytest.raises(SettingError) as caught:
        read(AZURE_CLIENT_SECRET="hush", AZURE_FEDERATED_TOKEN_FILE="", AZURE_TENANT_ID="")
    assert "hush" not in str(caught.value)
