"""The part of a policy's plan that is about its custom roles: Azure role definitions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from entra_access.api.resources import CustomRole, Meta
from entra_access.api.status import Item, System
from entra_access.domain.changes import DefineRole, RemoveRole
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import definition_id, definition_name, guid_in
from entra_access.domain.observed import Definition, PolicyWorld
from entra_access.domain.part import Part
from entra_access.domain.place import Place

DEFINITION: Final = "RoleDefinition"
GROUPS: Final = "/providers/microsoft.management/"
"""Of management groups it is not known here which subscriptions they hold."""


@dataclass
class DefinitionPart(Part):
    """What the link adds. `there`: the roles that are or will be there, by name in lower case."""

    there: dict[str, Definition] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)  # names, in lower case, that cannot be had

    def roles(self, names: Iterable[str]) -> dict[str, str]:
        """The GUIDs of those of the names that are the policy's own roles. Azure's names have no case."""
        return {one: self.there[one.lower()].guid for one in names if one.lower() in self.there}

    def refusal(self, role: str, scope: str) -> str:
        """Why one of the policy's own roles cannot be assigned at a scope; empty where it can."""
        if role.lower() in self.refused:
            return f"the custom role {role} cannot be made; see spec.customRoles"
        own = self.there.get(role.lower())
        if own is None or assignable(own, scope):
            return ""
        return f"the custom role {own.name} cannot be assigned at {scope}: add that to its assignableScopes"


def assignable(definition: Definition, scope: str) -> bool:
    """Whether a custom role can be assigned at the scope, as far as can be told."""
    at, scopes = f"{scope.lower()}/", [one.lower() for one in definition.assignable_scopes]
    return any(at.startswith(f"{one}/") or one.startswith(GROUPS) for one in scopes)


def wished_definition(role: CustomRole, policy: str, place: Place) -> Definition:
    """The role definition that a custom role stands for.

    By default it can be assigned in the cluster's resource group: a cluster itself is no assignable scope.
    Source: https://learn.microsoft.com/azure/role-based-access-control/custom-roles
    """
    return Definition(
        guid=definition_name(place.owner_id, policy, role.name),
        name=role.name,
        description=role.description or "",
        assignable_scopes=role.assignable_scopes or (place.resource_group,),
        permissions=(role.actions, role.not_actions, role.data_actions, role.not_data_actions),
    )


def definition_item(definition: Definition, since: str) -> Item:
    """The inventory's line for a custom role. Without a time: it is about to be made."""
    arm_id = definition_id(definition.assignable_scopes[0], definition.guid)
    return Item(System.AZURE, DEFINITION, definition.name, arm_id, since)


def made_roles(inventory: Iterable[Item]) -> frozenset[str]:
    """The GUIDs of the custom roles that an inventory tells of as made."""
    lines = [item for item in inventory if item.kind == DEFINITION and item.since]
    return frozenset(guid for item in lines if (guid := guid_in(item.id)))


def plan_definitions(
    roles: Iterable[CustomRole],
    owner: Meta,
    place: Place,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
) -> DefinitionPart:
    """Compare a policy's custom roles with those that are there."""
    part = DefinitionPart()
    lines = {guid_in(item.id): item for item in inventory if item.kind == DEFINITION}
    wished = set()
    for index, role in enumerate(roles):
        definition = wished_definition(role, owner.name, place)
        wished.add(definition.guid)
        line = lines.get(definition.guid)
        _plan_one(part, definition, world, line, f"spec.customRoles[{index}]", now)
    for guid, item in lines.items():
        # A line can be written by whoever may write a status: the GUID must be the one that we would give.
        if guid in wished or guid != definition_name(place.owner_id, owner.name, item.name):
            continue
        part.inventory.append(item)
        # Add before remove: one that cannot be made may be to take its place.
        if not part.findings:
            part.removals.append(RemoveRole(item.id, item.name))
    return part


def _plan_one(
    part: DefinitionPart, wish: Definition, world: PolicyWorld, line: Item | None, path: str, now: str
) -> None:
    scope = wish.assignable_scopes[0]
    seen = world.definitions.get(wish.name)
    if isinstance(seen, Fault):
        part.findings.append(seen.finding(Link.AZURE_ROLES, observing=True))
        part.inventory += [line] if line else []
        part.there[wish.name.lower()] = wish
        return
    if seen is None and (refusal := _name_taken(wish, world, path)):
        part.findings.append(refusal)
        part.refused.add(wish.name.lower())
        return
    part.there[wish.name.lower()] = wish
    if seen is None or seen.content != wish.content:
        part.additions.append(DefineRole(scope, wish, new=seen is None))
    if seen is not None or line:
        since = line.since if line else ""
        part.inventory.append(definition_item(wish, since if seen is None else since or now))


def _name_taken(wish: Definition, world: PolicyWorld, path: str) -> Finding | None:
    """Custom roles' names are unique in the tenant, so another one of that name is in the way."""
    other = world.definition_namesakes.get(wish.name)
    if isinstance(other, Fault):
        return other.finding(Link.AZURE_ROLES, observing=True)
    if other is None:
        return None
    message = (
        f"a role named {wish.name} is already in the tenant and was not made by this policy ({other}); "
        "choose another name, or delete that role"
    )
    return Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleExists", message, f"{path}.name")
