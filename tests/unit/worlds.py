"""Builders for policies whose subject is there already, and for what was seen of Azure and of namespaces."""

from collections.abc import Iterable
from typing import Any, Final

from entra_access.api.resources import (
    AccessPolicy,
    AzureRole,
    DirectorySubject,
    Meta,
    NamespaceAccess,
    Reference,
    ServiceAccountSubject,
    SubjectSpec,
)
from entra_access.api.status import Item, Subject, System
from entra_access.domain.known_roles import BY_GUID, KnownRole
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment, Namespace, PolicyWorld, Principal
from entra_access.domain.place import Place
from entra_access.domain.role_plan import MADE
from unit.builders import PLACE, SCOPE, a_meta, guid, words

RESOURCE_GROUP: Final = PLACE.resource_group
SUBSCRIPTION: Final = PLACE.subscription
VAULT: Final = f"{RESOURCE_GROUP}/providers/Microsoft.KeyVault/vaults/secrets"
FAR: Final = "/subscriptions/88888888-0000-0000-0000-000000000000/resourceGroups/other"
ARC_ID: Final = f"{RESOURCE_GROUP}/providers/Microsoft.Kubernetes/connectedClusters/arc"
ARC_PLACE: Final = Place(ARC_ID, "owner")
OTHER_PLACE: Final = Place(SCOPE, "another-owner")
DEV_SCOPE: Final = PLACE.namespace_scope("dev")

ANNA: Final = "Anna.Berg@contoso.com"
ANNA_ID: Final = guid(ANNA)
ROBOT_ID: Final = guid("robot")
TEAM_ID: Final = guid("team")

AKS_READER: Final = "Azure Kubernetes Service RBAC Reader"
AKS_WRITER: Final = "Azure Kubernetes Service RBAC Writer"
AKS_ADMIN: Final = "Azure Kubernetes Service RBAC Admin"
AKS_CLUSTER_ADMIN: Final = "Azure Kubernetes Service RBAC Cluster Admin"
AKS_USER: Final = "Azure Kubernetes Service Cluster User Role"
ARC_VIEWER: Final = "Azure Arc Kubernetes Viewer"
ARC_WRITER: Final = "Azure Arc Kubernetes Writer"
ARC_ADMIN: Final = "Azure Arc Kubernetes Admin"
ARC_CLUSTER_ADMIN: Final = "Azure Arc Kubernetes Cluster Admin"
ARC_USER: Final = "Azure Arc Enabled Kubernetes Cluster User Role"
READER: Final = "Reader"


def known(name: str) -> KnownRole:
    """The built-in role of that name."""
    return next(role for role in BY_GUID.values() if role.name == name)


def role_id(name: str) -> str:
    """The GUID of a built-in role, or one made up for any other name."""
    return next((role.guid for role in BY_GUID.values() if role.name == name), guid(name))


def user(value: str = ANNA, form: str = "") -> DirectorySubject:
    """A user as the subject, by user principal name unless a form is given."""
    field = form or "userPrincipalName"
    return DirectorySubject(Reference("user", value.lower(), form), f"spec.subject.user.{field}")


def robot(form: str = "appId", value: str = "app-of-robot") -> DirectorySubject:
    """A service principal as the subject."""
    return DirectorySubject(
        Reference("servicePrincipal", value, form), f"spec.subject.servicePrincipal.{form}"
    )


def team(object_id: str = TEAM_ID) -> DirectorySubject:
    """A group that is there already as the subject."""
    return DirectorySubject(Reference("group", object_id, "objectId"), "spec.subject.existingGroup.objectId")


def an_account(*, token: bool = False) -> ServiceAccountSubject:
    """The service account ``tools/demo`` as the subject."""
    return ServiceAccountSubject("tools", "demo", token)


A_USER: Final = Principal(ANNA_ID, "user", ANNA, "Anna Berg")
A_ROBOT: Final = Principal(ROBOT_ID, "servicePrincipal", "app-of-robot", "Robot")
A_TEAM: Final = Principal(TEAM_ID, "group", display_name="Team")
SUBJECTS: Final = {"user": A_USER, "servicePrincipal": A_ROBOT, "group": A_TEAM}


def subject_of(principal: Principal = A_ROBOT) -> Subject:
    """The subject that a principal is, by object id."""
    kind = "Group" if principal.kind == "group" else "User"
    principal_type = {"user": "User", "group": "Group", "servicePrincipal": "ServicePrincipal"}
    return Subject(
        kind, principal.id, principal.display_name, "Existing", principal_type=principal_type[principal.kind]
    )


def a_policy_for(
    subject: SubjectSpec,
    *azure_roles: AzureRole,
    cluster_roles: str = "",
    meta: Meta | None = None,
    **fields: Any,
) -> AccessPolicy:
    """An AccessPolicy named ``appdev`` for a subject."""
    return AccessPolicy(meta or a_meta(), subject, azure_roles, cluster_roles=words(cluster_roles), **fields)


def a_world(
    policy: AccessPolicy, *, namespaces: dict[str, Namespace] | None = None, **fields: Any
) -> PolicyWorld:
    """What is seen where the subject is there and nothing was made yet."""
    wish = policy.subject
    names = [one.role for one in policy.azure_roles]
    names += [role for entry in policy.namespaces for role in entry.azure_roles]
    values: dict[str, Any] = {
        "principals": {wish.reference: SUBJECTS[wish.reference.kind]}
        if isinstance(wish, DirectorySubject)
        else {},
        "roles": {name: role_id(name) for name in names},
        "cluster_roles": frozenset({"view", "edit"}),
        "namespaces": namespaces or {},
    }
    return PolicyWorld(**(values | fields))


def a_namespace(*, ending: bool = False, **labels: str) -> Namespace:
    """A namespace with labels."""
    return Namespace(labels, ending)


def in_namespaces(
    names: str = "",
    *,
    selector: Any = None,
    cluster_roles: str = "",
    rules: Iterable[Any] = (),
    azure_roles: tuple[str, ...] = (),
) -> NamespaceAccess:
    """The same access in several namespaces."""
    return NamespaceAccess(selector, words(names), words(cluster_roles), tuple(rules), azure_roles)


def assigned(
    role: str,
    principal_id: str = ROBOT_ID,
    scope: str = SCOPE,
    *,
    owner: Meta | None = None,
    place: Place = PLACE,
    **changes: Any,
) -> Assignment:
    """An assignment as the operator of a place makes it for a resource."""
    values: dict[str, Any] = {
        "name": assignment_name(scope, principal_id, role_id(role)),
        "scope": scope,
        "principal_id": principal_id,
        "role_id": role_id(role),
        "description": place.note(owner or a_meta()),
    }
    return Assignment(**(values | changes))


def line(role: str, principal_id: str = ROBOT_ID, scope: str = SCOPE) -> Item:
    """The inventory's line for an assignment that the operator made."""
    name = assignment_name(scope, principal_id, role_id(role))
    return Item(System.AZURE, "RoleAssignment", role, assignment_id(scope, name), applied=MADE)
