"""Microsoft.Authorization/roleDefinitions: built-in roles to read, custom roles to write."""

import re

from entra_sandbox.arm_core import Arm, guid, hex_id, page, read_properties
from entra_sandbox.azure import Permissions, RoleDefinition
from entra_sandbox.clock import arm_time
from entra_sandbox.conditions import Attempt
from entra_sandbox.exchange import Call, Json, Reply, ServiceError
from entra_sandbox.scopes import (
    ROOT,
    is_management_group,
    is_within,
    normal,
    resource_group_of,
    subscription_of,
)

_TYPE = "Microsoft.Authorization/roleDefinitions"
_WRITE, _READ, _DELETE = (f"{_TYPE}/{verb}" for verb in ("write", "read", "delete"))
_NAME = re.compile(r"roleName\s+eq\s+'((?:[^']|'')*)'", re.IGNORECASE)
_KIND = re.compile(r"type\s+eq\s+'(\w+)'", re.IGNORECASE)
_BELOW = re.compile(r"atScopeAndBelow\(\)", re.IGNORECASE)
_MAX_NAME, _MAX_SCOPES = 512, 2000


def put(arm: Arm, call: Call, scope: str, name: str) -> Reply:
    """PUT: 201 for new and changed alike."""
    properties = read_properties(call)
    arm.authorize(call, scope, Attempt(_WRITE), f"{scope}/providers/{_TYPE}/{name}")
    arm.require_scope(scope)
    known = guid(name)
    if known is None:
        raise ServiceError(400, "InvalidRoleDefinitionId", f"The role definition ID '{name}' is not valid.")
    before = arm.state.definitions.by_id.get(known)
    if before is not None and not before.custom:
        raise ServiceError(
            409, "RoleDefinitionExists", "A built-in role definition with this ID already exists."
        )
    _check(arm, known, properties)
    _authorize_scopes(arm, call, scope, properties["assignableScopes"])
    oid, now = arm.caller(call).oid, arm.state.clock.now()
    definition = RoleDefinition(
        name=known,
        role_name=properties["roleName"],
        description=properties.get("description") or "",
        permissions=[_block(p) for p in properties.get("permissions") or ()],
        assignable_scopes=list(properties["assignableScopes"]),
        custom=True,
        created_on=now,
        updated_on=now,
        created_by=None,
        updated_by=oid,
    )
    answer = definition_json(definition, scope)
    definition.created_on = before.created_on if before else now
    definition.created_by = before.created_by if before else oid
    arm.state.definitions.put(definition)
    return Reply(201, answer)


def get(arm: Arm, call: Call, scope: str, name: str) -> Reply:
    """GET one."""
    arm.authorize(call, scope, Attempt(_READ), f"{scope}/providers/{_TYPE}/{name}")
    definition = arm.state.definitions.by_id.get(guid(name) or "")
    if definition is None or not _reaches(arm, definition, scope, below=True):
        raise ServiceError(
            404,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{hex_id(name)}' does not exist.",
        )
    return Reply(200, definition_json(definition, scope))


def delete(arm: Arm, call: Call, scope: str, name: str) -> Reply:
    """DELETE: 200 with what it was, 204 if there was none; not while it is assigned."""
    arm.authorize(call, scope, Attempt(_DELETE), f"{scope}/providers/{_TYPE}/{name}")
    definition = arm.state.definitions.by_id.get(guid(name) or "")
    if definition is None:
        return Reply(204)
    if not definition.custom:
        raise ServiceError(400, "InvalidRoleDefinitionType", "A built-in role definition cannot be deleted.")
    _authorize_scopes(arm, call, scope, definition.assignable_scopes, _DELETE)
    if arm.state.assignments.uses(definition.name):
        raise ServiceError(
            400,
            "RoleDefinitionHasAssignments",
            "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)",
        )
    arm.state.definitions.remove(definition)
    return Reply(200, definition_json(definition, scope))


def listing(arm: Arm, call: Call, scope: str) -> Reply:
    """GET the list: roles assignable at the scope, and with `atScopeAndBelow()` those below it too."""
    arm.authorize(call, scope, Attempt(_READ), f"{scope}/providers/{_TYPE}")
    name, kind, below = _read_filter(call.query.get("$filter", ""))
    rows = [d for d in _among(arm, name) if _reaches(arm, d, scope, below=below)]
    if kind is not None:
        rows = [d for d in rows if d.custom == (kind == "customrole")]
    return page(
        call,
        [(d.seq, d) for d in rows],
        lambda d: definition_json(d, scope),
        arm.state.settings.arm_page_size,
    )


def _among(arm: Arm, name: str | None) -> list[RoleDefinition]:
    """Give all definitions, or those of a name, as they were a moment ago when lists are stale."""
    store, moment = arm.state.definitions, arm.state.moment("stale_definitions")
    if moment is None:
        one = None if name is None else store.named(name)
        return list(store.by_id.values()) if name is None else [one] if one else []
    past = store.past.at(moment)
    rows = [d for d in store.by_id.values() if d.name not in past]
    rows += [d for d in past.values() if d is not None]
    return [d for d in rows if name is None or d.role_name.lower() == name.lower()]


def definition_json(definition: RoleDefinition, scope: str) -> Json:
    """Write a definition; its id is prefixed with the subscription in which it was asked for."""
    subscription = subscription_of(scope)
    prefix = f"/subscriptions/{subscription}" if subscription else ""
    return {
        "properties": {
            "roleName": definition.role_name,
            "type": "CustomRole" if definition.custom else "BuiltInRole",
            "description": definition.description,
            "assignableScopes": definition.assignable_scopes,
            "permissions": [
                {
                    "actions": block.actions,
                    "notActions": block.not_actions,
                    "dataActions": block.data_actions,
                    "notDataActions": block.not_data_actions,
                }
                for block in definition.permissions
            ],
            "createdOn": arm_time(definition.created_on),
            "updatedOn": arm_time(definition.updated_on),
            "createdBy": definition.created_by,
            "updatedBy": definition.updated_by,
        },
        "id": f"{prefix}/providers/{_TYPE}/{definition.name}",
        "type": _TYPE,
        "name": definition.name,
    }


def _reaches(arm: Arm, definition: RoleDefinition, scope: str, *, below: bool) -> bool:
    root = arm.state.root_group
    return any(
        s == ROOT or is_within(scope, s, root) or (below and is_within(s, scope, root))
        for s in definition.assignable_scopes
    )


def _read_filter(text: str) -> tuple[str | None, str | None, bool]:
    name, kind, below = None, None, False
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE) if text.strip() else ():
        if found := _NAME.fullmatch(part):
            name = found[1].replace("''", "'")
        elif found := _KIND.fullmatch(part):
            kind = found[1].lower()
        elif _BELOW.fullmatch(part):
            below = True
        else:
            raise ServiceError(400, "UnsupportedQuery", "The filter is not supported for role definitions.")
    return name, kind, below


def _check(arm: Arm, name: str, properties: Json) -> None:
    role_name = properties.get("roleName")
    if not isinstance(role_name, str) or not 0 < len(role_name) <= _MAX_NAME:
        raise ServiceError(
            400, "RoleDefinitionNameNullOrEmpty", "The role definition name cannot be null or empty."
        )
    if properties.get("type") not in (None, "", "CustomRole"):
        raise ServiceError(400, "InvalidRoleDefinitionType", "The role definition type must be 'CustomRole'.")
    scopes = properties.get("assignableScopes")
    if not isinstance(scopes, list) or not 0 < len(scopes) <= _MAX_SCOPES:
        raise ServiceError(400, "MissingAssignableScopes", "The role definition must have assignable scopes.")
    for scope in scopes:
        _check_assignable(arm, str(scope))
    data = any(p.get("dataActions") for p in properties.get("permissions") or ())
    if data and any(is_management_group(s) for s in scopes):
        raise ServiceError(
            400,
            "InvalidAssignableScope",
            "A role definition with data actions cannot have a management group as assignable scope.",
        )
    same = arm.state.definitions.named(role_name)
    if same is not None and same.name != name:
        raise ServiceError(
            409,
            "RoleDefinitionWithSameNameExists",
            "A custom role with the same name already exists in this directory. Use a different name.",
        )


def _check_assignable(arm: Arm, scope: str) -> None:
    """An assignable scope is a management group, a subscription or a resource group that exists."""
    own, subscription = normal(scope), subscription_of(scope)
    good = is_management_group(scope) or (
        subscription is not None
        and own in (f"/subscriptions/{subscription.lower()}", resource_group_of(scope))
    )
    if not good:
        raise ServiceError(400, "LinkedInvalidPropertyId", f"Property id '{scope}' at path 'properties.assignableScopes' is invalid.")  # fmt: skip  # noqa: E501
    arm.require_scope(scope)


def _authorize_scopes(arm: Arm, call: Call, scope: str, linked: list[str], action: str = _WRITE) -> None:
    """A custom role is written to each of its assignable scopes: the caller needs the right on all."""
    caller = arm.caller(call)
    for other in linked:
        if not arm.state.access.check(caller.oid, other, Attempt(action)).allowed:
            raise ServiceError(
                403,
                "LinkedAuthorizationFailed",
                f"The client '{caller.app_id or caller.upn}' with object id '{caller.oid}' has permission "
                "to perform "
                f"action '{action}' on scope '{scope}'; however, it does not have permission to perform "
                "action "
                f"'{action}' on the linked scope(s) '{other}' or the linked scope(s) are invalid.",
            )


def _block(sent: Json) -> Permissions:
    names = ("actions", "notActions", "dataActions", "notDataActions")
    return Permissions(*(list(sent.get(name) or ()) for name in names))
