"""What is said of Azure roles that cannot be given, or that stay."""

from entra_access.api.status import Item
from entra_access.domain.changes import AssignRole, place_name
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.known_roles import BY_GUID
from entra_access.domain.observed import Assignment
from entra_access.domain.place import Place


def stalled(reason: str, message: str, path: str) -> Finding:
    """Somebody must act, at that field."""
    return Finding(Link.AZURE_ROLES, Severity.STALLED, reason, message, path)


def wrong_cluster(role_id: str, scope: str, path: str, place: Place) -> Finding | None:
    """A role of the other kind of cluster gives nothing here."""
    role = BY_GUID.get(role_id)
    if role is None or role.cluster is None or role.cluster is place.kind or not place.within(scope):
        return None
    twin = BY_GUID.get(role.twin)
    instead = f"; use {twin.name}" if twin else ""
    kinds = {"AKS": "an AKS cluster", "Arc": "an Arc-connected cluster"}
    other, this = kinds[role.cluster.value], kinds[place.kind.value]
    return stalled(
        "WrongClusterKind", f"{role.name} is a role for {other}, and this is {this}{instead}", path
    )


def no_scope(scope: str, path: str) -> Finding:
    """A role is wished for where there is nothing."""
    return stalled("ScopeNotFound", f"there is no {scope}; correct the scope, or create what it names", path)


def former_subject(item: Item, seen: Assignment) -> Finding:
    """What was taken over for somebody else is not removed on the word of a line that anybody may write."""
    message = (
        f"{item.name} at {place_name(seen.scope)} was taken over for {seen.principal_id}, who is not the "
        f"subject any more, and stays; if it should go: az role assignment delete --ids {item.id}"
    )
    return Finding(Link.AZURE_ROLES, Severity.WARNING, "FormerSubject", message)


def conditional(change: AssignRole, *, ours: bool) -> Finding:
    """What is wished for is given by another hand, and a condition takes away a part of it.

    `ours`: by its name it is that of another operator, or another policy, and is never taken over.
    """
    message = (
        f"{change.role} at {place_name(change.scope)} is assigned by another hand, under a condition; "
        "remove that assignment or its condition"
    )
    message += "" if ours else ", or have it taken over by adoptionPolicy: Always"
    return Finding(Link.AZURE_ROLES, Severity.WARNING, "ConditionalAssignment", message)
