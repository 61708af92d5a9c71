"""The view from above: every object as it truly is, without delays and permissions. Tests assert on it."""

from entra_sandbox.azure import RoleAssignment, RoleDefinition
from entra_sandbox.clock import graph_time
from entra_sandbox.directory import Group, ServicePrincipal, User
from entra_sandbox.exchange import Json
from entra_sandbox.state import State


def dump(state: State) -> Json:
    """Describe the whole tenant; no secret is in it."""
    directory = state.directory
    return {
        "users": [user(u) for u in directory.users.values()],
        "servicePrincipals": [application(p) for p in directory.service_principals.values()],
        "deletedUsers": [user(u) for u in directory.deleted_users.values()],
        "groups": [group(state, g) for g in directory.groups.values()],
        "deletedGroups": [group(state, g) for g in directory.deleted.values()],
        "assignments": [assignment(state, a) for a in state.assignments.by_name.values()],
        "customRoles": [role(d) for d in state.definitions.by_id.values() if d.custom],
        "resources": list(state.resources.by_id.values()),
    }


def user(one: User) -> Json:
    """Describe a user."""
    return {
        "id": one.id,
        "userPrincipalName": one.upn,
        "displayName": one.display_name,
        "userType": one.user_type,
        "accountEnabled": one.enabled,
        "permissions": sorted(one.permissions),
        "isOwner": one.is_owner,
    }


def application(one: ServicePrincipal) -> Json:
    """Describe a service principal."""
    return {
        "id": one.id,
        "appId": one.app_id,
        "displayName": one.display_name,
        "accountEnabled": one.enabled,
        "appRoles": sorted(one.app_roles),
        "federatedCredentials": [
            {"issuer": c.issuer, "subject": c.subject, "audience": c.audience} for c in one.federated
        ],
    }


def group(state: State, one: Group) -> Json:
    """Describe a group with its links; `visible` says whether all replicas know it."""
    return {
        "id": one.id,
        "displayName": one.display_name,
        "mailNickname": one.mail_nickname,
        "description": one.description,
        "uniqueName": one.unique_name,
        "groupTypes": one.group_types,
        "isAssignableToRole": one.is_assignable_to_role,
        "createdByAppId": one.created_by_app_id,
        "createdDateTime": graph_time(one.created),
        "deletedDateTime": None if one.deleted_at is None else graph_time(one.deleted_at),
        "visible": state.directory.is_visible(one),
        "members": state.directory.members_of(one),
        "owners": [o for o in one.owners if state.directory.find(o) is not None],
    }


def assignment(state: State, one: RoleAssignment) -> Json:
    """Describe a role assignment, with its role's name."""
    definition = state.definitions.by_id.get(one.role)
    return {
        "id": one.id,
        "name": one.name,
        "scope": one.scope,
        "role": one.role,
        "roleName": definition.role_name if definition else None,
        "roleDefinitionId": one.role_definition_id,
        "principalId": one.principal_id,
        "principalType": one.principal_type,
        "createdBy": one.created_by,
        "updatedBy": one.updated_by,
        "description": one.description,
        "condition": one.condition,
    }


def role(one: RoleDefinition) -> Json:
    """Describe a custom role."""
    blocks = [
        {
            "actions": p.actions,
            "notActions": p.not_actions,
            "dataActions": p.data_actions,
            "notDataActions": p.not_data_actions,
        }
        for p in one.permissions
    ]
    return {
        "name": one.name,
        "roleName": one.role_name,
        "description": one.description,
        "assignableScopes": one.assignable_scopes,
        "permissions": blocks,
    }
