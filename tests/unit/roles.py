"""The part of a plan that is about Azure roles, asked for alone."""

from collections.abc import Iterable
from typing import Any, Final

from entra_access.api.status import Item, Subject
from entra_access.domain.changes import AssignRole, Change, UnassignRole
from entra_access.domain.faults import Fault, Severity, Unavailable
from entra_access.domain.observed import Assignment, AzureWorld
from entra_access.domain.place import Place
from entra_access.domain.role_plan import RolePart, WishedRole, plan_assignments
from unit.builders import PLACE, SCOPE, a_meta
from unit.worlds import (
    DEV_SCOPE,
    FAR,
    RESOURCE_GROUP,
    ROBOT_ID,
    SUBSCRIPTION,
    VAULT,
    line,
    role_id,
    subject_of,
)

ROBOT: Final = subject_of()
NOTE: Final = PLACE.note(a_meta())
DOWN: Final = Unavailable("down")
Wish = tuple[str, str]


def plan(
    *wishes: Wish,
    there: Iterable[Assignment] | Fault = (),
    lines: Iterable[Item] = (),
    subject: Subject | None = ROBOT,
    place: Place = PLACE,
    owner: Any = None,
    **fields: Any,
) -> RolePart:
    """The plan for roles (name, scope); `there` are assignments, each seen where a list shows it."""
    wished = [WishedRole(f"spec.azureRoles[{i}].role", role, scope) for i, (role, scope) in enumerate(wishes)]
    seen: dict[str, Any] = {"assignments": there if isinstance(there, Fault) else ()}
    if not isinstance(there, Fault):
        near = tuple(one for one in there if place.covers(one.scope))
        far = {one.scope.lower() for one in there if not place.covers(one.scope)}
        seen = {
            "assignments": near,
            "elsewhere": {scope: tuple(one for one in there if one.scope.lower() == scope) for scope in far},
        }
    roles = {role: role_id(role) for role, _ in wishes}
    world = AzureWorld(**({"roles": roles} | seen | fields))
    return plan_assignments(wished, subject, owner or a_meta(), place, world, tuple(lines))


def gives(role: str, scope: str) -> Change:
    """The change that gives the role there."""
    return AssignRole(scope, role, role_id(role), ROBOT_ID, "ServicePrincipal", NOTE)


def takes(role: str, scope: str, name: str | None = None) -> Change:
    """The change that takes it away; `name` is what the inventory calls the role."""
    return UnassignRole(line(role, scope=scope).id, role if name is None else name)


def reasons(part: RolePart) -> list[tuple[Severity, str]]:
    """What was found, in short."""
    return [(finding.severity, finding.reason) for finding in part.findings]


SCOPES: Final = {
    "the cluster": SCOPE,
    "a namespace": DEV_SCOPE,
    "the resource group": RESOURCE_GROUP,
    "the subscription": SUBSCRIPTION,
    "a resource beside it": VAULT,
    "another subscription": FAR,
}
