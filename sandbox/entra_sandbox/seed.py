"""The tenant that every sandbox starts with. Tests and the demo use these names; `reset` brings exactly this
back.

The operator's application holds on Microsoft Graph: Group.ReadWrite.All (groups, their owners, upsert,
deletion and restore), GroupMember.Read.All (lists of members and owners), User.Read.All (people by name)
and Application.ReadWrite.All (service principals by application id, and as members). It does not hold
Directory.Read.All, so `directoryObjects/getByIds` is refused to it.

In Azure it has "Role Based Access Control Administrator" and the custom role "Custom Role Author" at the
resource group: the first may not write role definitions. A second application, `LEAST_CLIENT_ID`, has only
Group.Create and the three ReadBasic permissions and no role in Azure: enough to keep groups which it owns.

`ADMIN` is the person who may do everything, and does what drifts.
"""

import json
from importlib import resources
from typing import Any

from entra_sandbox.azure import Permissions, RoleAssignment, RoleDefinition
from entra_sandbox.directory import ServicePrincipal, User
from entra_sandbox.state import State

TENANT_ID = "f0000000-0000-4000-8000-000000000001"
TENANT_DOMAIN = "contoso.com"
TENANT_NAME = "Contoso"

AKSDEV = "aksdev@contoso.com"
AKSSRE = "akssre@contoso.com"
LEAD = "lead@contoso.com"
OPS_LEAD = "ops.lead@contoso.com"
ALICE = "alice@contoso.com"
BOB = "bob@contoso.com"
GUEST = "partner_fabrikam.com#EXT#@contoso.com"
ADMIN = "admin@contoso.com"
"""A Global Administrator who may do everything in Azure too: the foreign hand, unless another is named."""
USER_IDS = {
    AKSDEV: "a0000000-0000-4000-8000-000000000001",
    AKSSRE: "a0000000-0000-4000-8000-000000000002",
    LEAD: "a0000000-0000-4000-8000-000000000003",
    OPS_LEAD: "a0000000-0000-4000-8000-000000000004",
    ALICE: "a0000000-0000-4000-8000-000000000005",
    BOB: "a0000000-0000-4000-8000-000000000006",
    GUEST: "a0000000-0000-4000-8000-000000000007",
    ADMIN: "a0000000-0000-4000-8000-000000000008",
}
_USER_NAMES = {
    AKSDEV: "AKS Dev",
    AKSSRE: "AKS SRE",
    LEAD: "Team Lead",
    OPS_LEAD: "Ops Lead",
    ALICE: "Alice Example",
    BOB: "Bob Example",
    GUEST: "Partner (Fabrikam)",
    ADMIN: "Admin",
}
ADMIN_PERMISSIONS = frozenset(
    {
        "Application.ReadWrite.All", "Directory.ReadWrite.All", "Group.ReadWrite.All",
        "RoleManagement.ReadWrite.Directory", "User.ReadWrite.All",
    }
)  # fmt: skip
"""What a Global Administrator may do in Graph, of what the sandbox asks for."""

OPERATOR_CLIENT_ID = "b0000000-0000-4000-8000-000000000001"
OPERATOR_OBJECT_ID = "b0000000-0000-4000-8000-0000000000a1"
OPERATOR_SECRET = "sandbox-operator-secret"  # noqa: S105 - opens nothing but a sandbox
OPERATOR_APP_ROLES = frozenset(
    {"Group.ReadWrite.All", "GroupMember.Read.All", "User.Read.All", "Application.ReadWrite.All"}
)
LEAST_CLIENT_ID = "b0000000-0000-4000-8000-000000000002"
LEAST_OBJECT_ID = "b0000000-0000-4000-8000-0000000000a2"
LEAST_SECRET = "sandbox-least-secret"  # noqa: S105 - likewise
LEAST_APP_ROLES = frozenset(
    {"Group.Create", "Group.ReadBasic.All", "GroupMember.ReadBasic.All", "User.ReadBasic.All"}
)
PIPELINE_CLIENT_ID = "b0000000-0000-4000-8000-000000000003"
"""An application with no permission at all: something to be made a member."""
PIPELINE_OBJECT_ID = "b0000000-0000-4000-8000-0000000000a3"
PIPELINE_SECRET = "sandbox-pipeline-secret"  # noqa: S105 - likewise

SUBSCRIPTION_ID = "c0000000-0000-4000-8000-000000000001"
SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
RESOURCE_GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-aks"
OTHER_RESOURCE_GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-other"
CLUSTER_ID = f"{RESOURCE_GROUP}/providers/Microsoft.ContainerService/managedClusters/aks-demo"
ARC_CLUSTER_ID = f"{RESOURCE_GROUP}/providers/Microsoft.Kubernetes/connectedClusters/arc-demo"
ROOT_MANAGEMENT_GROUP = f"/providers/Microsoft.Management/managementGroups/{TENANT_ID}"

RBAC_ADMINISTRATOR = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
CUSTOM_ROLE_AUTHOR = "d0000000-0000-4000-8000-000000000001"
"""A custom role: read, write and delete role definitions."""
AKS_SERVER_APP_ID = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""The application that tokens for any AKS cluster are made out to, in every tenant."""


def fill(state: State) -> None:
    """Put the seed into an empty state."""
    now = state.clock.now()
    for upn, object_id in USER_IDS.items():
        guest = upn == GUEST
        state.directory.add_user(
            User(
                object_id,
                upn,
                _USER_NAMES[upn],
                now,
                user_type="Guest" if guest else "Member",
                mail="partner@fabrikam.com" if guest else upn,
                permissions=set(ADMIN_PERMISSIONS) if upn == ADMIN else set(),
                is_owner=upn == ADMIN,
            )
        )
    for app_id, object_id, name, roles, secret in (
        (
            OPERATOR_CLIENT_ID,
            OPERATOR_OBJECT_ID,
            "entra-access-operator",
            OPERATOR_APP_ROLES,
            OPERATOR_SECRET,
        ),
        (LEAST_CLIENT_ID, LEAST_OBJECT_ID, "least-privilege", LEAST_APP_ROLES, LEAST_SECRET),
        (PIPELINE_CLIENT_ID, PIPELINE_OBJECT_ID, "pipeline", frozenset[str](), PIPELINE_SECRET),
    ):
        principal = ServicePrincipal(object_id, app_id, name, now, set(roles), secret)
        state.directory.add_service_principal(principal)
    _fill_azure(state, now)
    state.settle()


def _fill_azure(state: State, now: float) -> None:
    data = resources.files("entra_sandbox").joinpath("data/builtin-roles.json").read_text(encoding="utf-8")
    state.definitions.load_builtins(json.loads(data), now)
    for resource in _resources():
        state.resources.put(resource)
    author = [f"Microsoft.Authorization/roleDefinitions/{verb}" for verb in ("read", "write", "delete")]
    state.definitions.put(
        RoleDefinition(
            CUSTOM_ROLE_AUTHOR,
            "Custom Role Author",
            "May write role definitions.",
            [Permissions(author)],
            [SUBSCRIPTION],
            custom=True,
            created_on=now,
            updated_on=now,
        )
    )
    for name, role in (
        ("e0000000-0000-4000-8000-000000000001", RBAC_ADMINISTRATOR),
        ("e0000000-0000-4000-8000-000000000002", CUSTOM_ROLE_AUTHOR),
    ):
        state.assignments.put(
            RoleAssignment(
                name=name,
                scope=RESOURCE_GROUP,
                role=role,
                role_definition_id=f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}",
                principal_id=OPERATOR_OBJECT_ID,
                principal_type="ServicePrincipal",
                created_on=now,
                updated_on=now,
                created_by="",
                updated_by="",
            )
        )


def _resources() -> list[dict[str, Any]]:
    aks = {
        "id": CLUSTER_ID,
        "name": "aks-demo",
        "type": "Microsoft.ContainerService/ManagedClusters",
        "location": "westeurope",
        "properties": {
            "provisioningState": "Succeeded",
            "kubernetesVersion": "1.36",
            "disableLocalAccounts": True,
            "aadProfile": {
                "managed": True,
                "enableAzureRBAC": True,
                "adminGroupObjectIDs": [],
                "tenantID": TENANT_ID,
            },
            "oidcIssuerProfile": {"enabled": True, "issuerURL": "https://kubernetes.default.svc/"},
            "securityProfile": {"workloadIdentity": {"enabled": True}},
        },
    }
    arc = {
        "id": ARC_CLUSTER_ID,
        "name": "arc-demo",
        "type": "Microsoft.Kubernetes/connectedClusters",
        "location": "westeurope",
        "properties": {
            "provisioningState": "Succeeded",
            "connectivityStatus": "Connected",
            "aadProfile": {"adminGroupObjectIDs": [], "enableAzureRBAC": True, "tenantID": TENANT_ID},
        },
    }
    groups = [
        {
            "id": group,
            "name": group.rpartition("/")[2],
            "type": "Microsoft.Resources/resourceGroups",
            "location": "westeurope",
            "properties": {"provisioningState": "Succeeded"},
        }
        for group in (RESOURCE_GROUP, OTHER_RESOURCE_GROUP)
    ]
    subscription = {
        "id": SUBSCRIPTION,
        "subscriptionId": SUBSCRIPTION_ID,
        "displayName": "Sandbox",
        "state": "Enabled",
        "tenantId": TENANT_ID,
    }
    return [subscription, *groups, aks, arc]
