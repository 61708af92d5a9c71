"""What Microsoft's documentation says of the built-in roles that matter to clusters.

Sources: https://learn.microsoft.com/azure/aks/manage-azure-rbac,
https://learn.microsoft.com/azure/azure-arc/kubernetes/azure-rbac and, for what each role holds,
https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/containers. A role is known by its
GUID, which is the same in every tenant and cloud; names can change.
"""

from dataclasses import dataclass
from typing import Final

from entra_access.domain.naming import role_guid
from entra_access.domain.place import ClusterKind

CLUSTER: Final = "cluster"
NAMESPACE: Final = "namespace"


@dataclass(frozen=True)
class KnownRole:
    """A built-in role.

    Attributes
    ----------
    cluster
        The kind of cluster that it is for; None: for both, or for none in particular.
    data
        It is evaluated by Azure RBAC for Kubernetes, so it says what may be done inside the cluster.
    level
        Where it is meant to be assigned, if not at both.
    connects
        It lets its holder fetch a kubeconfig, or connect through Arc.
    twin
        The GUID of the role that means the same on the other kind of cluster.
    """

    guid: str
    name: str
    cluster: ClusterKind | None = None
    data: bool = False
    level: str = ""
    connects: bool = False
    twin: str = ""

    def counts_on(self, kind: ClusterKind) -> bool:
        """Whether it gives anything on a cluster of that kind."""
        return self.cluster in {None, kind}


_AKS, _ARC = ClusterKind.AKS, ClusterKind.ARC
_READER, _VIEWER = "7f6c6a51-bcf8-42ba-9220-52d62157d7db", "63f0a09d-1495-4db4-a681-037d84835eb4"
_AKS_WRITER, _ARC_WRITER = "a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb", "5b999177-9696-4545-85c7-50de3797e5a1"
_AKS_ADMIN, _ARC_ADMIN = "3498e952-d568-435e-9b2c-8d77e338d7f7", "dffb1e0c-446f-4dde-a09f-99eb5cc68b96"
_AKS_ALL, _ARC_ALL = "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b", "8393591c-06b9-48a2-a542-1bd6b377f6a2"
_AKS_USER, _ARC_USER = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f", "00493d72-78f6-4148-b6c5-d3ce8e4799dd"
_AKS_NAME, _ARC_NAME = "Azure Kubernetes Service", "Azure Arc Kubernetes"

_ROLES: Final = (
    KnownRole(_READER, f"{_AKS_NAME} RBAC Reader", _AKS, data=True, twin=_VIEWER),
    KnownRole(_VIEWER, f"{_ARC_NAME} Viewer", _ARC, data=True, twin=_READER),
    KnownRole(_AKS_WRITER, f"{_AKS_NAME} RBAC Writer", _AKS, data=True, twin=_ARC_WRITER),
    KnownRole(_ARC_WRITER, f"{_ARC_NAME} Writer", _ARC, data=True, twin=_AKS_WRITER),
    # "intended to be granted within a namespace", say both pages.
    KnownRole(
        _AKS_ADMIN,
        f"{_AKS_NAME} RBAC Admin",
        _AKS,
        data=True,
        level=NAMESPACE,
        connects=True,
        twin=_ARC_ADMIN,
    ),
    KnownRole(_ARC_ADMIN, f"{_ARC_NAME} Admin", _ARC, data=True, level=NAMESPACE, twin=_AKS_ADMIN),
    KnownRole(
        _AKS_ALL,
        f"{_AKS_NAME} RBAC Cluster Admin",
        _AKS,
        data=True,
        level=CLUSTER,
        connects=True,
        twin=_ARC_ALL,
    ),
    KnownRole(_ARC_ALL, f"{_ARC_NAME} Cluster Admin", _ARC, data=True, level=CLUSTER, twin=_AKS_ALL),
    KnownRole(
        _AKS_USER, f"{_AKS_NAME} Cluster User Role", _AKS, level=CLUSTER, connects=True, twin=_ARC_USER
    ),
    KnownRole(
        _ARC_USER,
        "Azure Arc Enabled Kubernetes Cluster User Role",
        _ARC,
        level=CLUSTER,
        connects=True,
        twin=_AKS_USER,
    ),
    KnownRole(
        "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8",
        f"{_AKS_NAME} Cluster Admin Role",
        _AKS,
        level=CLUSTER,
        connects=True,
    ),
    KnownRole(
        "ed7f3fbd-7b88-4dd4-9017-9adb7ce333f8", f"{_AKS_NAME} Contributor Role", level=CLUSTER, connects=True
    ),
    # AKS on Azure Local and AKS hybrid: the kubeconfig of the provisioned cluster.
    KnownRole("b29efa5f-7782-4dc3-9537-4d5bc70a5e9f", f"{_AKS_NAME} Arc Cluster Admin Role", connects=True),
    KnownRole("233ca253-b031-42ff-9fba-87ef12d6b55f", f"{_AKS_NAME} Arc Cluster User Role", connects=True),
    KnownRole("5d3f1697-4507-4d08-bb4a-477695db5f82", f"{_AKS_NAME} Arc Contributor Role", connects=True),
    KnownRole(
        "b5092dac-c796-4349-8681-1a322a31c3f9", f"{_AKS_NAME} Hybrid Cluster Admin Role", connects=True
    ),
    KnownRole("fc3f91a1-40bf-4439-8c46-45edbd83563a", f"{_AKS_NAME} Hybrid Cluster User Role", connects=True),
    KnownRole("e7037d40-443a-4434-a3fb-8cd202011e1d", f"{_AKS_NAME} Hybrid Contributor Role", connects=True),
    KnownRole("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", connects=True),
    KnownRole("b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor", connects=True),
    KnownRole("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader"),
)
BY_GUID: Final = {role.guid: role for role in _ROLES}
_BY_NAME: Final = {role.name.lower(): role for role in _ROLES}
CONNECTING: Final = {_AKS: BY_GUID[_AKS_USER].name, _ARC: BY_GUID[_ARC_USER].name}
"""The role that does nothing but let its holder connect, for each kind of cluster."""


def known_role(role: str) -> KnownRole | None:
    """The built-in role of that name, GUID or role definition id, or None where the tables have none."""
    return BY_GUID.get(role_guid(role) or "") or _BY_NAME.get(role.lower())


def same_role(one: str, other: str) -> bool:
    """Whether two texts in specs certainly mean the same role."""
    if one.lower() == other.lower():
        return True
    ids = [role_guid(text) or getattr(known_role(text), "guid", None) for text in (one, other)]
    return ids[0] is not None and ids[0] == ids[1]
