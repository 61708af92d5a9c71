"""Azure role assignments of a policy's subject that nobody declared."""

from entra_access.api.status import DriftItem, Subject, System
from entra_access.domain.changes import UnassignRole
from entra_access.domain.difference import ABSENT, PRESENT, Difference, assignment_words
from entra_access.domain.faults import Fault
from entra_access.domain.known_roles import BY_GUID
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import AzureWorld
from entra_access.domain.place import Place
from entra_access.domain.role_plan import RolePart, named_by_us


def plan_foreign(
    subject: Subject,
    place: Place,
    world: AzureWorld,
    claims: frozenset[str],
    *,
    remove: bool,
) -> list[Difference]:
    """Assignments of the subject that nobody declared: told of, or removed where the policy says so.

    Above the cluster only those of a group that a policy made are told of: who else has a subject that is in
    the directory anyway may well give it something there. They are never removed.
    """
    if isinstance(world.assignments, Fault) or not subject.object_id:
        return []
    found = []
    for one in sorted(world.assignments, key=lambda a: (a.scope, a.name)):
        arm_id = assignment_id(one.scope, one.name)
        inside = place.within(one.scope)
        if (
            one.principal_id != subject.object_id
            or arm_id.lower() in claims | world.claimed
            # Another cluster's operator may give the same group something, but not in this cluster.
            or (not inside and place.made_by_an_operator(one.description) and named_by_us(one))
            or not (inside or subject.origin != "Existing")
        ):
            continue
        role = BY_GUID.get(one.role_id)
        name = role.name if role else one.role_id
        item = DriftItem(
            System.AZURE, assignment_words(name, one.scope), "", ABSENT, PRESENT, one.changed_by, one.changed
        )
        change = UnassignRole(arm_id, name) if remove and inside and world.claims_known else None
        found.append(Difference(item, change, foreign=True, role_id="" if role else one.role_id))
    return found


def satisfied(part: RolePart, world: AzureWorld, principal: str) -> frozenset[str]:
    """The ARM ids, in lower case, of all assignments that give a role which is wanted."""
    seen = () if isinstance(world.assignments, Fault) else world.assignments
    wanted = {(one.wish.scope.lower(), one.role_id) for one in part.resolved}
    return frozenset(
        assignment_id(one.scope, one.name).lower()
        for one in seen
        if one.principal_id == principal and (one.scope.lower(), one.role_id) in wanted
    )
