"""What is not as it should be, and the change that would put it right: drift, a preview, or what was done."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from entra_access.api.status import DriftItem, System
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
    DeleteChild,
    DeleteGroup,
    HoldChild,
    LeaveAccount,
    RemovePrincipal,
    RemoveRole,
    ReplaceChild,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
    place_name,
)
from entra_access.domain.children import NOT_AN_OWNER, OWNERS
from entra_access.domain.naming import scope_of

PRESENT = "present"
ABSENT = "absent"
DELETED = "deleted"
GONE = "deleted for good"
NOT_WANTED = "without it"
NOT = "not "
"""Before the name of somebody who is not in a group, or is not to be."""


@dataclass(frozen=True)
class Difference:
    """One difference between what is wished for and what is there.

    Attributes
    ----------
    change
        What puts it right; None: nobody is asked to, it is only told of.
    foreign
        Another hand made it so; else the wish is new, or was never fulfilled.
    role_id
        The GUID of the role that the item speaks of, where its name is not known.
    """

    item: DriftItem
    change: Change | None = None
    foreign: bool = False
    role_id: str = ""


def differences_of(
    changes: Iterable[Change], known: Iterable[Difference], group: str
) -> tuple[Difference, ...]:
    """All differences behind a plan: those that its makers found, and those that a change speaks of itself.

    `group` is the display name of the subject, for changes that only have its id.
    """
    found = tuple(known)
    told = {id(one.change) for one in found}
    more = (change for change in changes if id(change) not in told)
    return (*found, *(Difference(item, change) for change in more for item in items_of(change, group)))


def items_of(change: Change, group: str) -> tuple[DriftItem, ...]:
    """What a change finds and what it leaves, in words."""
    return tuple(_entra(change, group) or _azure(change) or _kubernetes(change))


def group_words(name: str) -> str:
    """How a group is called in a drift item."""
    return f"Group {name}"


def assignment_words(role: str, scope: str) -> str:
    """How a role assignment is called in a drift item."""
    return f"RoleAssignment {role} at {place_name(scope)}"


def membership(group: str, relation: str, name: str, *, wished: bool) -> DriftItem:
    """Somebody who is to be a member or owner and is not, or the other way round."""
    inside, outside = name, f"{NOT}{name}"
    expected, found = (inside, outside) if wished else (outside, inside)
    return DriftItem(System.ENTRA, group_words(group), relation, expected, found)


def _entra(change: Change, group: str) -> list[DriftItem]:
    match change:
        case CreateGroup():
            return [DriftItem(System.ENTRA, group_words(change.display_name), "", PRESENT, ABSENT)]
        case AdoptGroup():
            name = group_words(change.display_name)
            return [DriftItem(System.ENTRA, name, "uniqueName", change.unique_name, "none")]
        case RestoreGroup():
            return [DriftItem(System.ENTRA, group_words(change.display_name), "", PRESENT, DELETED)]
        case DeleteGroup():
            return [DriftItem(System.ENTRA, group_words(change.display_name), "", ABSENT, PRESENT)]
        case UpdateGroup():
            before = dict(change.before)
            return [
                DriftItem(System.ENTRA, group_words(group), name, value or "none", before.get(name) or "none")
                for name, value in change.attributes
            ]
        case AddPrincipals():
            names = change.names or change.ids
            return [membership(group, change.relation, name, wished=True) for name in names]
        case RemovePrincipal():
            return [membership(group, change.relation, change.name or change.id, wished=False)]
        case _:
            return []


def _azure(change: Change) -> list[DriftItem]:
    match change:
        case AssignRole():
            name = assignment_words(change.role, change.scope)
            return [DriftItem(System.AZURE, name, "", PRESENT, ABSENT)]
        case UnassignRole():
            name = assignment_words(change.role, scope_of(change.assignment_id))
            return [DriftItem(System.AZURE, name, "", ABSENT, PRESENT)]
        case DefineRole():
            name = f"RoleDefinition {change.definition.name}"
            if change.new:
                return [DriftItem(System.AZURE, name, "", PRESENT, ABSENT)]
            return [DriftItem(System.AZURE, name, "definition", "as in spec.customRoles", "another")]
        case RemoveRole():
            return [DriftItem(System.AZURE, f"RoleDefinition {change.role}", "", ABSENT, PRESENT)]
        case _:
            return []


def _kubernetes(change: Change) -> list[DriftItem]:
    match change:
        case ApplyChild(uid=None):
            return [DriftItem(System.KUBERNETES, str(change.child.ref), "", PRESENT, ABSENT)]
        case ApplyChild(child) if child.joins:
            return [DriftItem(System.KUBERNETES, str(child.ref), OWNERS, str(child.owner), NOT_AN_OWNER)]
        case LeaveAccount():
            return [DriftItem(System.KUBERNETES, str(change.ref), OWNERS, NOT_WANTED, str(change.owner))]
        case HoldChild():
            namespace = f"Namespace {change.ref.namespace}"
            words = (namespace, NOT_AN_OWNER) if change.holds else (NOT_WANTED, namespace)
            return [DriftItem(System.KUBERNETES, str(change.ref), OWNERS, *words)]
        case ReplaceChild():
            return []  # what takes its place speaks of it
        case DeleteChild():
            return [DriftItem(System.KUBERNETES, str(change.ref), "", ABSENT, PRESENT)]
        case _:
            return []


def acted(item: DriftItem, action: str) -> DriftItem:
    """The item with what became of it."""
    return replace(item, action=action)
