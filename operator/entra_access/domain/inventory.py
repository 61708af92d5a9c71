"""Lines of the inventory that are written before what they tell of is made."""

from dataclasses import replace

from entra_access.api.names import SECRET, SERVICE_ACCOUNT
from entra_access.api.status import ADOPTED, Item, System
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
)
from entra_access.domain.definition_plan import definition_item
from entra_access.domain.group_plan import GROUP, group_item
from entra_access.domain.members_plan import MEMBER
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, child_item
from entra_access.domain.role_plan import ASSIGNMENT


def announced(plan: Plan, inventory: tuple[Item, ...], place: Place, now: str) -> tuple[Item, ...]:
    """What must be in the inventory before it is made, and is not.

    A group, because a new one can stay invisible for a while; a custom role, a role assignment far from the
    cluster, a service principal as a member and a service account with its token, because nothing but the
    inventory tells where to look for it: no watch shows Secrets.
    """
    known = {item.id.lower() for item in inventory if item.id}
    lines = [_line(change, inventory, place, now) for change in plan.changes]
    joining = {one for change in plan.changes if isinstance(change, AddPrincipals) for one in change.ids}
    lines += [item for item in plan.inventory if item.kind == MEMBER and item.id in joining]
    return tuple(line for line in lines if line and (not line.id or line.id.lower() not in known))


def _line(change: Change, inventory: tuple[Item, ...], place: Place, now: str) -> Item | None:
    match change:
        case CreateGroup() if group_item(inventory) is None:
            return Item(System.ENTRA, GROUP, change.unique_name, since=now)
        case DefineRole():
            line = definition_item(change.definition, "")
            return replace(line, origin=ADOPTED) if change.adopted else line
        case AssignRole(principal_id=str() as principal, name="") if not place.covers(change.scope):
            return Item(System.AZURE, ASSIGNMENT, change.role, change.id_for(principal))
        case AssignRole(principal_id=str() as principal) if change.name:
            return Item(System.AZURE, ASSIGNMENT, change.role, change.id_for(principal), origin=ADOPTED)
        case ApplyChild(child, None) if child.ref.kind in {SECRET, SERVICE_ACCOUNT}:
            line = child_item(child.ref, "")
            return None if line.key in {item.key for item in inventory} else line
        case _:
            return None
