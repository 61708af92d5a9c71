"""What is documented of built-in roles, beside Microsoft's own definitions of them."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from entra_access.domain.known_roles import (
    BY_GUID,
    CONNECTING,
    NAMESPACE,
    KnownRole,
    known_role,
    same_role,
)
from entra_access.domain.place import ClusterKind
from unit.worlds import AKS_READER, AKS_USER, AKS_WRITER, ARC_USER, known

DATA: Final = Path(__file__).parents[2] / "sandbox" / "entra_sandbox" / "data" / "builtin-roles.json"
PROVIDERS: Final = {
    "Microsoft.ContainerService/managedClusters/": ClusterKind.AKS,
    "Microsoft.Kubernetes/connectedClusters/": ClusterKind.ARC,
}
CREDENTIALS: Final = {
    "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action",
    "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action",
    "Microsoft.ContainerService/managedClusters/accessProfiles/listCredential/action",
    "Microsoft.Kubernetes/connectedClusters/listClusterUserCredential/action",
    "Microsoft.HybridContainerService/provisionedClusterInstances/listUserKubeconfig/action",
    "Microsoft.HybridContainerService/provisionedClusterInstances/listAdminKubeconfig/action",
    "Microsoft.HybridContainerService/provisionedClusters/listUserKubeconfig/action",
    "Microsoft.HybridContainerService/provisionedClusters/listAdminKubeconfig/action",
}
"""What lets somebody fetch a kubeconfig, or connect through Arc."""


def definitions() -> dict[str, dict[str, Any]]:
    """Microsoft's definitions, by GUID."""
    found = json.loads(DATA.read_text(encoding="utf-8"))["roles"]
    return {role["name"]: role for role in found}


def texts(guid: str, kind: str) -> list[str]:
    return [text for one in definitions()[guid]["permissions"] for text in one[kind]]


def clusters_of(guid: str) -> set[ClusterKind]:
    """For which kinds of cluster the role has data actions."""
    return {
        kind
        for prefix, kind in PROVIDERS.items()
        if any(action.lower().startswith(prefix.lower()) for action in texts(guid, "dataActions"))
    }


ROLES = sorted(BY_GUID.values(), key=lambda role: role.name)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_role_of_the_table_is_microsofts(role: KnownRole) -> None:
    assert role.guid in definitions()
    assert definitions()[role.guid]["roleName"] == role.name
    assert definitions()[role.guid]["roleType"] == "BuiltInRole"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_data_role_has_data_actions_for_its_kind_of_cluster(role: KnownRole) -> None:
    assert role.data is bool(texts(role.guid, "dataActions"))
    if role.data:
        assert clusters_of(role.guid) == {role.cluster}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_who_connects_may_fetch_a_kubeconfig(role: KnownRole) -> None:
    allowed = {
        one for one in CREDENTIALS for pattern in texts(role.guid, "actions") if fnmatchcase(one, pattern)
    }
    assert role.connects is bool(allowed)


def test_no_data_role_for_clusters_is_missing() -> None:
    """One that is not in the table gives no warning and no twin."""
    names = {role["roleName"] for guid, role in definitions().items() if clusters_of(guid)}
    assert names == {role.name for role in BY_GUID.values() if role.data}


def test_twins_are_twins_of_each_other_and_of_the_other_kind() -> None:
    twins = [role for role in BY_GUID.values() if role.twin]
    assert len(twins) == 10
    for role in twins:
        twin = BY_GUID[role.twin]
        assert twin.twin == role.guid
        assert {role.cluster, twin.cluster} == set(ClusterKind)
        assert (role.data, role.level) == (twin.data, twin.level)


def test_roles_that_are_for_a_namespace_are_the_two_admins() -> None:
    assert {role.name for role in BY_GUID.values() if role.level == NAMESPACE} == {
        "Azure Kubernetes Service RBAC Admin",
        "Azure Arc Kubernetes Admin",
    }


def test_the_role_that_only_connects_is_of_its_kind() -> None:
    assert CONNECTING == {ClusterKind.AKS: AKS_USER, ClusterKind.ARC: ARC_USER}
    for kind, name in CONNECTING.items():
        role = known(name)
        assert (role.cluster, role.connects, role.data) == (kind, True, False)


READER_GUID = known(AKS_READER).guid
BY_ID = f"/providers/Microsoft.Authorization/roleDefinitions/{READER_GUID}"


@pytest.mark.parametrize(
    "text",
    [AKS_READER, AKS_READER.lower(), READER_GUID, READER_GUID.upper(), BY_ID, f"/subscriptions/x{BY_ID}"],
)
def test_a_role_is_known_by_name_guid_and_id(text: str) -> None:
    assert known_role(text) == known(AKS_READER)


@pytest.mark.parametrize(
    "text", ["", "Nothing", f"{AKS_READER} ", f"x/{READER_GUID}", "00000000-0000-0000-0000-000000000000"]
)
def test_another_text_is_no_known_role(text: str) -> None:
    assert known_role(text) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (AKS_READER, AKS_READER.upper(), True),
        (AKS_READER, READER_GUID, True),
        (BY_ID, READER_GUID.upper(), True),
        (f"/subscriptions/x{BY_ID}", BY_ID, True),
        ("Pod Restarter", "pod restarter", True),
        (AKS_READER, AKS_WRITER, False),
        ("Pod Restarter", "Pod Deleter", False),
        ("Pod Restarter", READER_GUID, False),
        (f"Pod Restarter/{READER_GUID}", READER_GUID, False),
        (f"x/{READER_GUID}", AKS_READER, False),
        (f"x/{READER_GUID}", f"X/{READER_GUID}", True),
        ("", "Nothing", False),
    ],
)
def test_the_same_role_by_two_texts(one: str, other: str, same: bool) -> None:  # noqa: FBT001
    assert same_role(one, other) is same
    assert same_role(other, one) is same
