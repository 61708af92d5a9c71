"""The part of a policy's plan that is about its custom roles: Azure role definitions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from entra_access.api.resources import AdoptionPolicy, CustomRole, Meta
from entra_access.api.status import ADOPTED, DriftItem, Item, System
from entra_access.domain.changes import DefineRole, RemoveRole
from entra_access.domain.children import MAX_WORDS
from entra_access.domain.difference import ABSENT, DELETED, PRESENT, Difference
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import definition_id, definition_name, digest, guid_in
from entra_access.domain.observed import Definition, PolicyWorld
from entra_access.domain.part import Part
from entra_access.domain.place import Place

DEFINITION: Final = "RoleDefinition"
_FIELDS: Final = (
    "roleName",
    "description",
    "assignableScopes",
    "actions",
    "notActions",
    "dataActions",
    "notDataActions",
)
"""Azure's names for what `Definition.content` holds."""
_GROUPS: Final = "/providers/microsoft.management/"
"""Of management groups it is not known here which subscriptions they hold."""


@dataclass
class DefinitionPart(Part):
    """What the link adds. `there`: the roles that are or will be there, by name in lower case.

    `refused`: names, in lower case, that cannot be had; `unproved`: those of which it is not seen which role
    they are.
    """

    there: dict[str, Definition] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    unproved: set[str] = field(default_factory=set)

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

    def awaited(self, role: str) -> str:
        """What one of the policy's own roles must wait for; empty where it need not."""
        unproved = role.lower() in self.unproved
        return f"a look at the custom role {role}, which was taken over" if unproved else ""


def assignable(definition: Definition, scope: str) -> bool:
    """Whether a custom role can be assigned at the scope, as far as can be told."""
    at, scopes = f"{scope.lower()}/", [one.lower() for one in definition.assignable_scopes]
    return any(at.startswith(f"{one}/") or one.startswith(_GROUPS) for one in scopes)


def management_group(definition: Definition) -> str:
    """A management group where a custom role can be assigned; empty where there is none."""
    return next((one for one in definition.assignable_scopes if one.lower().startswith(_GROUPS)), "")


def listed_at(definition: Definition, place: Place) -> str:
    """The scope of the list that shows a custom role: the cluster's, as far as can be told, else its own.

    A list shows what can be assigned at its scope, or above it.
    """
    near = assignable(definition, place.cluster_id)
    return place.cluster_id if near else definition.assignable_scopes[0]


def wished_definition(
    role: CustomRole, policy: str, place: Place, inventory: Iterable[Item] = ()
) -> Definition:
    """The role definition that a custom role stands for: one that the policy makes, or has taken over.

    By default it can be assigned in the cluster's resource group: a cluster itself is no assignable scope.
    Source: https://learn.microsoft.com/azure/role-based-access-control/custom-roles
    """
    name = role.name.lower()
    taken = (
        guid_in(i.id) for i in inventory if i.kind == DEFINITION and i.adopted and i.name.lower() == name
    )
    return Definition(
        guid=next(taken, None) or definition_name(place.owner_id, policy, role.name),
        name=role.name,
        description=role.description or "",
        assignable_scopes=role.assignable_scopes or (place.resource_group,),
        permissions=(role.actions, role.not_actions, role.data_actions, role.not_data_actions),
    )


def definition_item(definition: Definition, since: str, applied: str = "") -> Item:
    """The inventory's line for a custom role. Without a time: it is about to be made."""
    arm_id = definition_id(definition.assignable_scopes[0], definition.guid)
    return Item(System.AZURE, DEFINITION, definition.name, arm_id, since, applied=applied)


def definition_mark(definition: Definition) -> str:
    """A hash of what a custom role is."""
    name, description, *lists = definition.content
    return digest(repr((name, description, [sorted(one) for one in lists if isinstance(one, frozenset)])), 16)


def made_roles(inventory: Iterable[Item], *, announced: bool = False) -> dict[str, str]:
    """The GUIDs of the custom roles that an inventory tells of as there, by name in lower case.

    `announced`: and of those that are about to be made.
    """
    lines = [item for item in inventory if item.kind == DEFINITION and (item.since or announced)]
    return {item.name.lower(): guid for item in lines if (guid := guid_in(item.id))}


def plan_definitions(
    roles: Iterable[CustomRole],
    owner: Meta,
    place: Place,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
) -> DefinitionPart:
    """Compare a policy's custom roles with those that are there."""
    part = DefinitionPart()
    lines = {guid_in(item.id): item for item in inventory if item.kind == DEFINITION}
    wished = set()
    for index, role in enumerate(roles):
        definition = wished_definition(role, owner.name, place, inventory)
        wished.add(definition.guid)
        line = lines.get(definition.guid)
        path = f"spec.customRoles[{index}]"
        other = world.definition_owners.get(definition.guid)
        if other and _is_of(other, definition, owner.name, place):
            part.findings.append(_owned(definition, other, path))
            part.refused.add(role.name.lower())
            continue
        _plan_one(part, definition, world, line, path, now, adoption)
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
    part: DefinitionPart,
    wish: Definition,
    world: PolicyWorld,
    line: Item | None,
    path: str,
    now: str,
    adoption: AdoptionPolicy,
) -> None:
    scope = wish.assignable_scopes[0]
    seen = world.definitions.get(wish.name)
    if isinstance(seen, Fault):
        part.findings.append(seen.finding(Link.AZURE_ROLES, observing=True))
        part.inventory += [line] if line else []
        if line and line.adopted:
            part.unproved.add(wish.name.lower())
        else:
            part.there[wish.name.lower()] = wish
        return
    other = world.definition_namesakes.get(wish.name)
    if line and line.adopted and seen is not None and seen.name.lower() != wish.name.lower():
        # A line can be written by whoever may write a status: only the name proves that it is this role.
        message = f"the role {wish.guid} that was taken over is called {seen.name} now; rename it back"
        part.findings.append(
            Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleRenamed", message, f"{path}.name")
        )
        part.inventory.append(line)
        part.refused.add(wish.name.lower())
        return
    if seen is None and isinstance(other, Definition) and _may_adopt(wish, other, world, adoption):
        _adopt(part, wish, other, now)
        return
    if seen is None and (refusal := _name_taken(wish, world, path, adoption)):
        part.findings.append(refusal)
        part.refused.add(wish.name.lower())
        return
    part.there[wish.name.lower()] = wish
    if seen is None or seen.content != wish.content:
        change = DefineRole(scope, wish, new=seen is None, lacks=bool(seen and _lacks(wish, seen)))
        part.additions.append(change)
        foreign = line is not None and line.applied == definition_mark(wish)
        items = _items(wish, seen, DELETED if foreign else ABSENT)
        part.differences += [Difference(item, change, foreign) for item in items]
    if seen is not None or line:
        applied = definition_mark(wish) if seen and seen.content == wish.content else ""
        known = line.applied if line else ""
        since = line.since if line else ""
        item = definition_item(wish, since if seen is None else since or now, applied or known)
        part.inventory.append(replace(item, origin=line.origin if line else ""))


def _is_of(other: str, role: Definition, policy: str, place: Place) -> bool:
    """Whether another policy has the role that its own line and this policy's name.

    Either line can have been written by whoever may write a status, so the one that makes the role has it.
    Where both took it over at the same moment they both know which of them keeps it.
    """
    makers = {definition_name(place.owner_id, one, role.name): one for one in (other, policy)}
    return makers.get(role.guid, min(other, policy)) == other


def _may_adopt(wish: Definition, other: Definition, world: PolicyWorld, adoption: AdoptionPolicy) -> bool:
    if other.built_in or other.guid in world.definition_owners:
        return False
    if adoption is AdoptionPolicy.IF_IDENTICAL:
        return other.content == wish.content
    return adoption is AdoptionPolicy.ALWAYS


def _adopt(part: DefinitionPart, wish: Definition, other: Definition, now: str) -> None:
    """Take over the role of that name: it keeps its GUID, and what it is for becomes what is wished for."""
    adopted = replace(wish, guid=other.guid)
    part.there[wish.name.lower()] = adopted
    if other.content != adopted.content:
        scope, lacks = adopted.assignable_scopes[0], _lacks(adopted, other)
        change = DefineRole(scope, adopted, new=False, adopted=True, lacks=lacks)
        part.additions.append(change)
        part.differences += [Difference(item, change) for item in _items(adopted, other, ABSENT)]
    part.inventory.append(replace(definition_item(adopted, now), origin=ADOPTED))


def _lacks(wish: Definition, seen: Definition) -> bool:
    """Whether a role does not allow all that is wished for, wherever that is.

    An exception that nobody wished for counts whatever it is about.
    """
    if not all(assignable(seen, scope) for scope in wish.assignable_scopes):
        return True
    actions, nots, data, not_data = zip(wish.permissions, seen.permissions, strict=True)
    return not all(_covers(there, wished) for wished, there in (actions, data)) or not all(
        _covers(wished, there) for wished, there in (nots, not_data)
    )


def _covers(patterns: Iterable[str], actions: Iterable[str]) -> bool:
    """Whether each action is one of the patterns, or what their wildcards stand for."""
    regexes = [re.escape(one.lower()).replace(r"\*", ".*") for one in patterns]
    return all(any(re.fullmatch(regex, one.lower()) for regex in regexes) for one in actions)


def _items(wish: Definition, seen: Definition | None, missing: str) -> list[DriftItem]:
    """The fields in which a custom role is not as it should be."""
    words = f"RoleDefinition {wish.name}"
    if seen is None:
        return [DriftItem(System.AZURE, words, "", PRESENT, missing)]
    found = []
    for field_name, expected, there in zip(_FIELDS, wish.content, seen.content, strict=True):
        if expected != there:
            by = (seen.changed_by, seen.changed)
            found.append(DriftItem(System.AZURE, words, field_name, _words(expected), _words(there), *by))
    return found


def _words(value: object) -> str:
    text = ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    return text[:MAX_WORDS] or "none"


def _name_taken(wish: Definition, world: PolicyWorld, path: str, adoption: AdoptionPolicy) -> Finding | None:
    """Custom roles' names are unique in the tenant, so another one of that name is in the way."""
    other = world.definition_namesakes.get(wish.name)
    if isinstance(other, Fault):
        return other.finding(Link.AZURE_ROLES, observing=True)
    if other is None:
        return None
    owner = world.definition_owners.get(other.guid)
    if owner:
        return _owned(other, owner, path)
    if other.built_in:
        message = f"{other.name} is the name of a built-in role of Azure; choose another name"
        return Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleExists", message, f"{path}.name")
    there = (
        f"a role named {wish.name} is already in the tenant and was not made by this policy ({other.guid})"
    )
    if adoption is AdoptionPolicy.IF_IDENTICAL:
        fields = ", ".join(item.field for item in _items(wish, other, ABSENT))
        message = (
            f"{there}, and is not as given here ({fields}); make them alike, choose another name, or have it "
            "taken over anyway by adoptionPolicy: Always"
        )
        return Finding(Link.AZURE_ROLES, Severity.STALLED, "NotIdentical", message, f"{path}.name")
    message = f"{there}; choose another name, have it taken over by adoptionPolicy, or delete that role"
    return Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleExists", message, f"{path}.name")


def _owned(role: Definition, policy: str, path: str) -> Finding:
    message = f"AccessPolicy {policy} has the role {role.name} ({role.guid}); choose another name"
    return Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleExists", message, f"{path}.name")
