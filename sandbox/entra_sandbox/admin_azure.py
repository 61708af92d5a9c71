"""The administration routes of Azure's side: role assignments and resources, by a foreign hand."""

from entra_sandbox import admin_state, seed
from entra_sandbox.admin_lookups import Lookups, NotThereError
from entra_sandbox.azure import RoleAssignment, new_id
from entra_sandbox.exchange import Call, Reply
from entra_sandbox.scopes import subscription_of


def add_assignment(admin: Lookups, call: Call, _ref: dict[str, str]) -> Reply:
    """Assign a role."""
    body, state = call.json(), admin.state
    role, scope = admin.role(str(body["role"])), str(body["scope"])
    principal = admin.principal(str(body["principal"]))
    if state.assignments.same(scope, principal.id, role.name):
        raise ValueError("this role is already assigned to this principal at this scope")
    subscription, now = subscription_of(scope), state.clock.now()
    prefix = f"/subscriptions/{subscription}" if subscription else ""
    assignment = RoleAssignment(
        name=str(body.get("name", new_id())).lower(),
        scope=scope,
        role=role.name,
        role_definition_id=f"{prefix}/providers/Microsoft.Authorization/roleDefinitions/{role.name}",
        principal_id=principal.id,
        principal_type=type(principal).__name__,
        created_on=now,
        updated_on=now,
        created_by=str(body.get("createdBy", seed.USER_IDS[seed.OPS_LEAD])),
        updated_by=str(body.get("createdBy", seed.USER_IDS[seed.OPS_LEAD])),
        description=body.get("description"),
        condition=body.get("condition"),
        condition_version="2.0" if body.get("condition") else None,
    )
    state.assignments.put(assignment)
    return Reply(201, admin_state.assignment(state, assignment))


def delete_assignment(admin: Lookups, _call: Call, ref: dict[str, str]) -> Reply:
    """Take a role assignment away."""
    assignment = admin.state.assignments.by_name.get(ref["name"].lower())
    if assignment is None:
        raise NotThereError(f"there is no assignment '{ref['name']}'")
    admin.state.assignments.remove(assignment)
    return Reply(204)


def show_role(admin: Lookups, _call: Call, ref: dict[str, str]) -> Reply:
    """Show a role, built-in or custom, by its name or its GUID."""
    return Reply(200, admin_state.role(admin.role(ref["name"])))


def add_resource(admin: Lookups, call: Call, _ref: dict[str, str]) -> Reply:
    """Add a resource, or replace it."""
    body = call.json()
    body.setdefault("name", str(body["id"]).rpartition("/")[2])
    admin.state.resources.put(body)
    return Reply(201, body)


def change_resource(admin: Lookups, call: Call, _ref: dict[str, str]) -> Reply:
    """Set a cluster's `aadProfile`, whole: null takes it away, as on a cluster without Entra."""
    body = call.json()
    resource_id, profile = str(body["id"]), body["aadProfile"]
    resource = admin.state.resources.get(resource_id)
    if resource is None:
        raise NotThereError(f"there is no resource '{resource_id}'")
    if profile is not None and not isinstance(profile, dict):
        raise ValueError("aadProfile must be an object, or null")
    # A value of its own: what an earlier answer showed must not change.
    properties = {k: v for k, v in resource.get("properties", {}).items() if k != "aadProfile"}
    changed = {
        **resource,
        "properties": properties if profile is None else {**properties, "aadProfile": profile},
    }
    admin.state.resources.put(changed)
    return Reply(200, changed)
