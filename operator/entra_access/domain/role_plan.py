"""The part of a policy's plan that is about its Azure roles."""

from collections.abc import Iterable, Mapping
from typing import Final

from entra_access.api.resources import AccessPolicy
from entra_access.api.status import Item, System
from entra_access.domain.changes import AssignRole, Change, UnassignRole
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment, PolicyWorld, Seen
from entra_access.domain.plan import Part

ASSIGNMENT: Final = "RoleAssignment"


def plan_azure_roles(
    policy: AccessPolicy, scope: str, world: PolicyWorld, group_id: str | None, inventory: Iterable[Item]
) -> Part:
    """The Azure roles of the group at the cluster."""
    part = Part()
    lines = [item for item in inventory if item.kind == ASSIGNMENT]
    if isinstance(world.assignments, Fault):
        if policy.azure_roles or lines:
            part.findings.append(world.assignments.finding(Link.AZURE_ROLES, observing=True))
        part.inventory += lines
        part.count = len(lines)
        return part
    mine = {a.role_id: a for a in world.assignments if group_id and a.principal_id == group_id}
    wanted: dict[str, str] = {}
    held: set[str] = set()
    for index, role in enumerate(policy.azure_roles):
        match world.roles.get(role):
            case str() as role_id:
                wanted[role_id] = role
            case Fault() as fault:
                part.findings.append(fault.finding(Link.AZURE_ROLES, observing=True))
                held |= {role} | {item.name for item in lines}  # any of them may be this one
            case _:
                message = (
                    f"there is no Azure role {role} at the cluster; correct the name, or create the role"
                )
                path = f"spec.azureRoles[{index}].role"
                part.findings.append(
                    Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleNotFound", message, path)
                )
                held.add(role)
    part.count = len(wanted)
    note = f"AccessPolicy {policy.meta.name}, kept by entra-access-operator"
    part.additions += [
        AssignRole(scope, role, role_id, group_id, note)
        for role_id, role in wanted.items()
        if role_id not in mine
    ]
    _unwanted_roles(part, scope, group_id, wanted, held, world.assignments, lines)
    return part


def _unwanted_roles(
    part: Part,
    scope: str,
    group_id: str | None,
    wanted: Mapping[str, str],
    held: set[str],
    seen: tuple[Assignment, ...],
    lines: list[Item],
) -> None:
    """Sort out which of our assignments stay and which go.

    Ours are those that the inventory names, and those whose name only we would give. One that may belong
    to a role that could not be found now (`held`) stays: the role may have been renamed. Ids are compared
    in lower case, as Azure does.
    """
    strangers = {
        assignment_id(scope, a.name).lower()
        for a in seen
        if a.name != assignment_name(scope, a.principal_id, a.role_id)
    }
    # A line can be written by whoever may write a status: it makes nothing ours that we would not name so.
    here = assignment_id(scope, "").lower()
    listed = {
        item.id.lower(): item
        for item in lines
        if item.id.lower().startswith(here) and item.id.lower() not in strangers
    }
    ours = {assignment_id(scope, a.name).lower(): a for a in seen if _is_ours(a, scope, group_id or "")}
    keep = {
        assignment_id(scope, assignment_name(scope, group_id or "", role_id)).lower(): role
        for role_id, role in wanted.items()
    }
    for key in sorted(listed.keys() | ours.keys()):
        item = listed.get(key)
        if key in keep and key not in ours:
            continue  # it is to be made again
        arm_id = item.id if item else assignment_id(scope, ours[key].name)
        role = keep.get(key) or (item.name if item else ours[key].role_id)
        part.inventory.append(Item(System.AZURE, ASSIGNMENT, role, arm_id))
        may_be_held = role in held or (item is None and held)
        if key not in keep and not may_be_held:
            part.removals.append(UnassignRole(arm_id, role))


def _is_ours(assignment: Assignment, scope: str, group_id: str) -> bool:
    """Whether the assignment is for the group and has the name that only we would give it."""
    ours = assignment_name(scope, group_id, assignment.role_id)
    return assignment.principal_id == group_id and assignment.name == ours


def unassign_all(
    seen: Seen[tuple[Assignment, ...]], scope: str, group_id: str, inventory: Iterable[Item]
) -> tuple[list[Change], list[Finding]]:
    """What takes all of a policy's role assignments away, and what could not be seen of them."""
    if isinstance(seen, Fault):
        return [], [seen.finding(Link.AZURE_ROLES, observing=True)]
    part = Part()
    lines = [item for item in inventory if item.kind == ASSIGNMENT and item.id]
    _unwanted_roles(part, scope, group_id, {}, set(), seen, lines)
    return part.removals, []
