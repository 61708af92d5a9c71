"""How Graph writes the directory's objects, and what a caller may see of them."""

from typing import Any

from entra_sandbox.clock import graph_time
from entra_sandbox.directory import Group, Principal, ServicePrincipal, User

CONTEXT = "https://graph.microsoft.com/v1.0/$metadata#"

_GROUP_NULLS = (
    "classification", "expirationDateTime", "mail", "membershipRule", "membershipRuleProcessingState",
    "onPremisesDomainName", "onPremisesLastSyncDateTime", "onPremisesNetBiosName",
    "onPremisesSamAccountName", "onPremisesSecurityIdentifier", "onPremisesSyncEnabled",
    "preferredDataLocation", "preferredLanguage", "theme",
)  # fmt: skip
_GROUP_LISTS = (
    "creationOptions", "proxyAddresses", "resourceBehaviorOptions", "resourceProvisioningOptions",
    "onPremisesProvisioningErrors", "serviceProvisioningErrors",
)  # fmt: skip
USER_DEFAULT = (
    "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
    "preferredLanguage", "surname", "userPrincipalName", "id",
)  # fmt: skip
_USER_MORE = ("accountEnabled", "userType", "createdDateTime", "mailNickname", "deletedDateTime")
_SP_NAMES = (
    "id", "deletedDateTime", "accountEnabled", "appDisplayName", "appId", "appOwnerOrganizationId",
    "displayName", "servicePrincipalNames", "servicePrincipalType", "alternativeNames", "tags",
    "createdDateTime",
)  # fmt: skip

USER_PROPERTIES = frozenset((*USER_DEFAULT, *_USER_MORE))
SERVICE_PRINCIPAL_PROPERTIES = frozenset(_SP_NAMES)


def group_json(group: Group) -> dict[str, Any]:
    """Write a group with every property that Graph returns by default."""
    created = graph_time(group.created)
    deleted = None if group.deleted_at is None else graph_time(group.deleted_at)
    body: dict[str, Any] = {"id": group.id, "deletedDateTime": deleted}
    body |= dict.fromkeys(_GROUP_NULLS) | {name: [] for name in _GROUP_LISTS}
    body |= {
        "createdDateTime": created,
        "createdByAppId": group.created_by_app_id,
        "description": group.description,
        "displayName": group.display_name,
        "groupTypes": list(group.group_types),
        "isAssignableToRole": group.is_assignable_to_role,
        "mailEnabled": group.mail_enabled,
        "mailNickname": group.mail_nickname,
        "onPremisesSyncEnabled": group.on_premises_sync,
        "renewedDateTime": created,
        "securityEnabled": group.security_enabled,
        "securityIdentifier": group.security_identifier,
        "uniqueName": group.unique_name,
        "visibility": group.visibility,
    }
    if group.mail_enabled:
        body["mail"] = f"{group.mail_nickname}@contoso.com"
    return body


_SAMPLE = Group("00000000-0000-0000-0000-000000000000", "", "", 0, 0)
GROUP_PROPERTIES = frozenset(group_json(_SAMPLE))
ANY_PROPERTY = GROUP_PROPERTIES | USER_PROPERTIES | SERVICE_PRINCIPAL_PROPERTIES
"""What may be selected of directory objects of mixed kinds."""


def user_json(user: User) -> dict[str, Any]:
    """Write a user with everything that may be selected."""
    given, _, surname = user.display_name.partition(" ")
    body: dict[str, Any] = dict.fromkeys((*USER_DEFAULT, *_USER_MORE))
    body |= {
        "businessPhones": [],
        "displayName": user.display_name,
        "givenName": given,
        "surname": surname or None,
        "mail": user.mail,
        "userPrincipalName": user.upn,
        "id": user.id,
        "accountEnabled": user.enabled,
        "userType": user.user_type,
        "createdDateTime": graph_time(user.created),
        "mailNickname": user.upn.partition("@")[0],
        "deletedDateTime": None if user.deleted_at is None else graph_time(user.deleted_at),
    }
    return body


def service_principal_json(principal: ServicePrincipal, tenant_id: str) -> dict[str, Any]:
    """Write a service principal."""
    body: dict[str, Any] = dict.fromkeys(_SP_NAMES)
    body |= {
        "id": principal.id,
        "accountEnabled": principal.enabled,
        "appDisplayName": principal.display_name,
        "appId": principal.app_id,
        "appOwnerOrganizationId": tenant_id,
        "displayName": principal.display_name,
        "servicePrincipalNames": [principal.app_id],
        "servicePrincipalType": "Application",
        "alternativeNames": [],
        "tags": [],
        "createdDateTime": graph_time(principal.created),
    }
    return body


def type_name(principal: Principal) -> str:
    """Give the OData type without its hash."""
    return kind_name(type(principal))


def kind_name(kind: type[Principal]) -> str:
    """Give the OData type of a kind without its hash."""
    name = {User: "user", ServicePrincipal: "servicePrincipal", Group: "group"}[kind]
    return f"microsoft.graph.{name}"


_MAY_READ = {
    User: {"User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All"},
    Group: {
        "Group.ReadBasic.All", "GroupMember.ReadBasic.All", "GroupMember.Read.All",
        "GroupMember.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All",
    },
    ServicePrincipal: {
        "Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy",
    },
}  # fmt: skip
_READS_ALL = {"Directory.Read.All", "Directory.ReadWrite.All"}


def member_json(principal: Principal, tenant_id: str, roles: frozenset[str]) -> dict[str, Any]:
    """Write an object in a list of mixed kinds.

    A caller who may not read its kind sees the type and the id alone.
    """
    if isinstance(principal, User):
        full = user_json(principal)
        body = {name: full[name] for name in (*USER_DEFAULT, "userType", "accountEnabled")}
    elif isinstance(principal, ServicePrincipal):
        body = service_principal_json(principal, tenant_id)
    else:
        body = group_json(principal)
    if not roles & (_MAY_READ[type(principal)] | _READS_ALL):
        body = {**dict.fromkeys(body), "id": principal.id}
    return {"@odata.type": f"#{type_name(principal)}", **body}
