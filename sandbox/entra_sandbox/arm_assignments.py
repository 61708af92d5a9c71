"""Microsoft.Authorization/roleAssignments: put, get, delete and list, with the traps of the real one."""

import re
from dataclasses import replace
from typing import Any

from entra_sandbox.arm_core import Arm, guid, hex_id, page, read_properties
from entra_sandbox.azure import RoleAssignment
from entra_sandbox.clock import arm_time
from entra_sandbox.conditions import Attempt, BadConditionError, check
from entra_sandbox.directory import Group, Principal, ServicePrincipal, User
from entra_sandbox.exchange import Call, Json, Reply, ServiceError
from entra_sandbox.scopes import chain, is_within, normal, subscription_of

_TYPE = "Microsoft.Authorization/roleAssignments"
_WRITE, _READ, _DELETE = (f"{_TYPE}/{verb}" for verb in ("write", "read", "delete"))
_ROLE_ID = re.compile(r"(?:.*)/providers/Microsoft\.Authorization/roleDefinitions/([^/]+)/?", re.IGNORECASE)
_AT_SCOPE = re.compile(r"atScope\(\)", re.IGNORECASE)
_PRINCIPAL = re.compile(r"principalId\s+eq\s+'([^']*)'", re.IGNORECASE)
_ASSIGNED_TO = re.compile(r"assignedTo\('([^']*)'\)", re.IGNORECASE)
_PRINCIPAL_TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")


def put(arm: Arm, call: Call, scope: str, name: str) -> Reply:
    """PUT: always 201, whether it made or changed one; the answer never says who created it."""
    properties = read_properties(call)
    role, role_id = _role(properties)
    principal_id = _principal_id(properties)
    _authorize_write(arm, call, scope, name, role, principal_id, properties)
    arm.require_scope(scope)
    known = guid(name)
    if known is None:
        raise ServiceError(
            400,
            "InvalidRoleAssignmentId",
            f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",
        )
    _check_role(arm, role, role_id, scope)
    before = arm.state.assignments.by_name.get(known)
    if before is not None and before.triple != (normal(scope), principal_id, role):
        raise ServiceError(
            400,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        )
    if before is None:
        _check_free(arm, scope, principal_id, role)
    kind = _principal_type(arm, principal_id, properties.get("principalType"))
    return _stored(arm, call, _assignment(arm, scope, known, role, principal_id, kind, properties), before)


def get(arm: Arm, call: Call, scope: str, name: str) -> Reply:
    """GET one."""
    arm.authorize(call, scope, Attempt(_READ), f"{scope}/providers/{_TYPE}/{name}")
    return Reply(200, assignment_json(_found(arm, scope, name)))


def delete(arm: Arm, call: Call, scope: str, name: str) -> Reply:
    """DELETE: 200 with what it was, 204 if there was none."""
    assignment = _lookup(arm, scope, name)
    resource = (
        _attributes(assignment.role, assignment.principal_id, assignment.principal_type) if assignment else {}
    )
    arm.authorize(call, scope, Attempt(_DELETE, resource=resource), f"{scope}/providers/{_TYPE}/{name}")
    if assignment is None:
        return Reply(204)
    arm.state.assignments.remove(assignment)
    return Reply(200, assignment_json(assignment))


def listing(arm: Arm, call: Call, scope: str) -> Reply:
    """GET the list: without a filter at, above and below the scope; `atScope()` leaves out what is below."""
    arm.authorize(call, scope, Attempt(_READ), f"{scope}/providers/{_TYPE}")
    arm.require_scope(scope)
    rows = _select(arm, scope, call.query.get("$filter", ""))
    return page(call, [(a.seq, a) for a in rows], assignment_json, arm.state.settings.arm_page_size)


def assignment_json(assignment: RoleAssignment) -> Json:
    """Write an assignment, its fields in the order of the real one."""
    return {
        "properties": {
            "roleDefinitionId": assignment.role_definition_id,
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type,
            "scope": assignment.scope,
            "condition": assignment.condition,
            "conditionVersion": assignment.condition_version,
            "createdOn": arm_time(assignment.created_on),
            "updatedOn": arm_time(assignment.updated_on),
            "createdBy": assignment.created_by,
            "updatedBy": assignment.updated_by,
            "delegatedManagedIdentityResourceId": assignment.delegated_managed_identity,
            "description": assignment.description,
        },
        "id": assignment.id,
        "type": _TYPE,
        "name": assignment.name,
    }


def _role(properties: Json) -> tuple[str, str]:
    """Give the role's GUID, and the id as it was sent."""
    sent = properties.get("roleDefinitionId")
    found = _ROLE_ID.fullmatch(sent) if isinstance(sent, str) else None
    if found is None:
        raise ServiceError(400, "BadRequestFormat", "The request was incorrectly formatted.")
    role = guid(found[1])
    if role is None:
        raise ServiceError(
            400, "InvalidRoleDefinitionId", f"The role definition ID '{found[1]}' is not valid."
        )
    return role, str(sent)


def _principal_id(properties: Json) -> str:
    principal_id = guid(properties.get("principalId"))
    if principal_id is None:
        raise ServiceError(
            400, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment."
        )
    return principal_id


def _authorize_write(
    arm: Arm, call: Call, scope: str, name: str, role: str, principal_id: str, properties: Json
) -> None:
    # Conditions see the type that the caller sent: one who sends none cannot meet a condition on it.
    request = _attributes(role, principal_id, str(properties.get("principalType") or ""))
    arm.authorize(call, scope, Attempt(_WRITE, request=request), f"{scope}/providers/{_TYPE}/{name}")


def _attributes(role: str, principal_id: str, principal_type: str) -> dict[str, str]:
    return {"roledefinitionid": role, "principalid": principal_id, "principaltype": principal_type}


def _check_role(arm: Arm, role: str, role_id: str, scope: str) -> None:
    definition = arm.state.definitions.by_id.get(role)
    root = arm.state.root_group
    if definition is None or not any(is_within(scope, s, root) for s in definition.assignable_scopes):
        raise ServiceError(
            400,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{hex_id(role)}' does not exist.",
            detail=f"{role_id} is not known or not assignable at {scope}",
        )


def _check_free(arm: Arm, scope: str, principal_id: str, role: str) -> None:
    same = arm.state.assignments.same(scope, principal_id, role)
    if same is not None:
        raise ServiceError(
            409,
            "RoleAssignmentExists",
            "The role assignment already exists. The ID of the existing role assignment is "
            f"{hex_id(same.name)}.",
        )


def _principal_type(arm: Arm, principal_id: str, sent: object) -> str:
    """Look the principal up where ARM does: a replica, to which a group that was just made is unknown.

    That holds even when `principalType` is sent, which helps only users and service principals.
    """
    directory = arm.state.directory
    principal = directory.find(principal_id)
    if principal is None or not directory.is_visible(principal):
        raise ServiceError(
            400,
            "PrincipalNotFound",
            f"Principal {hex_id(principal_id)} does not exist in the directory {arm.state.tenant_id}. Check "
            "that you "
            "have the correct principal ID. If you are creating this principal and then immediately "
            "assigning a role, "
            "this error might be related to a replication delay. In this case, set the role assignment "
            "principalType "
            "property to a value, such as ServicePrincipal, User, or Group.  See "
            "https://aka.ms/docs-principaltype",
        )
    actual = _kind(principal)
    if sent in (None, "", actual):
        return actual
    if sent not in _PRINCIPAL_TYPES:
        raise ServiceError(400, "BadRequestFormat", "The request was incorrectly formatted.")
    raise ServiceError(
        400,
        "UnmatchedPrincipalType",
        f"The PrincipalId '{principal_id}' has type '{actual}' , which is different from specified "
        f"PrinciaplType '{sent}'.",
    )


def _kind(principal: Principal) -> str:
    return {User: "User", ServicePrincipal: "ServicePrincipal", Group: "Group"}[type(principal)]


def _assignment(
    arm: Arm, scope: str, name: str, role: str, principal_id: str, kind: str, properties: Json
) -> RoleAssignment:
    condition, version = properties.get("condition"), properties.get("conditionVersion")
    if condition is not None:
        try:
            check(condition)
        except BadConditionError as error:
            raise ServiceError(400, "InvalidCondition", f"The condition is not valid: {error}.") from error
    subscription = subscription_of(scope)
    prefix = f"/subscriptions/{subscription}" if subscription else ""
    now = arm.state.clock.now()
    return RoleAssignment(
        name=name,
        scope=scope,
        role=role,
        role_definition_id=f"{prefix}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        principal_id=principal_id,
        principal_type=kind,
        created_on=now,
        updated_on=now,
        created_by=None,
        updated_by=None,
        description=properties.get("description"),
        condition=condition,
        condition_version=version,
        delegated_managed_identity=properties.get("delegatedManagedIdentityResourceId"),
    )


def _stored(arm: Arm, call: Call, wanted: RoleAssignment, before: RoleAssignment | None) -> Reply:
    oid = arm.caller(call).oid
    # The answer's two times differ a little and it has no creator; a later GET shows one time, the later, and
    # who.
    updated = wanted.updated_on + 0.0003
    answer = assignment_json(replace(wanted, updated_on=updated, updated_by=oid))
    created_on = updated if before is None else before.created_on
    created_by = oid if before is None else before.created_by
    arm.state.assignments.put(
        replace(wanted, created_on=created_on, created_by=created_by, updated_on=updated, updated_by=oid)
    )
    return Reply(201, answer)


def _lookup(arm: Arm, scope: str, name: str) -> RoleAssignment | None:
    assignment = arm.state.assignments.by_name.get(guid(name) or "")
    return assignment if assignment is not None and normal(assignment.scope) == normal(scope) else None


def _found(arm: Arm, scope: str, name: str) -> RoleAssignment:
    assignment = _lookup(arm, scope, name)
    if assignment is None:
        raise ServiceError(404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found.")
    return assignment


def _select(arm: Arm, scope: str, text: str) -> list[RoleAssignment]:
    """Give what the filter asks for, as it was a moment ago when lists are stale."""
    at_scope, principals = _read_filter(arm, text)
    store = arm.state.assignments
    if principals is not None and len(principals) == 1:
        rows = store.of(next(iter(principals)))
    elif at_scope:
        rows = list(store.at_or_above(scope))
    else:
        rows = [*store.at_or_above(scope), *store.below(scope)]
    moment = arm.state.moment("stale_lists")
    if moment is not None:
        past = store.past.at(moment)
        rows = [a for a in rows if a.name not in past] + [a for a in past.values() if a is not None]
    elif principals is None:
        return rows  # chosen by scope already, which matters where there are ten thousand
    root = arm.state.root_group
    above = set(chain(scope, root))

    def wanted(assignment: RoleAssignment) -> bool:
        if principals is not None and assignment.principal_id not in principals:
            return False
        if normal(assignment.scope) in above:
            return True
        return not at_scope and is_within(assignment.scope, scope, root)

    return [a for a in rows if wanted(a)]


def _read_filter(arm: Arm, text: str) -> tuple[bool, set[str] | None]:
    """Read `atScope()`, `principalId eq`, `assignedTo()`, and two of them joined by `and`."""
    at_scope, principals = False, None
    parts: list[Any] = re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE) if text.strip() else []
    for part in parts:
        if _AT_SCOPE.fullmatch(part):
            at_scope = True
        elif found := _PRINCIPAL.fullmatch(part):
            principals = {found[1].lower()}
        elif found := _ASSIGNED_TO.fullmatch(part):
            oid = found[1].lower()
            principals = {oid, *arm.state.directory.transitive_groups_of(oid)}
        else:
            raise ServiceError(400, "UnsupportedQuery", "The filter is not supported for role assignments.")
    return at_scope, principals
