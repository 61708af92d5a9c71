"""The part of a plan that is about Azure role assignments, for policies and for grants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from entra_access.api.resources import AdoptionPolicy, Meta
from entra_access.api.status import ADOPTED, DriftItem, Item, Subject, System
from entra_access.domain.changes import AssignRole, UnassignRole, place_name
from entra_access.domain.difference import ABSENT, DELETED, PRESENT, Difference, assignment_words
from entra_access.domain.faults import Denied, Fault, Finding, Link, Missing, Severity
from entra_access.domain.known_roles import BY_GUID, KnownRole
from entra_access.domain.naming import assignment_id, assignment_name, scope_of
from entra_access.domain.observed import Assignment, AzureWorld, Seen
from entra_access.domain.part import Part
from entra_access.domain.place import Place
from entra_access.domain.role_texts import conditional, former_subject, no_scope, stalled, wrong_cluster

ASSIGNMENT: Final = "RoleAssignment"
MADE: Final = "made"
"""What the inventory's line of an assignment has as `applied` from when it was there once."""


@dataclass(frozen=True)
class WishedRole:
    """One role at one scope (an ARM id), and the field that asks for it.

    `refusal`: why it cannot be; `awaited`: what must be made before.
    """

    path: str
    role: str
    scope: str
    refusal: str = ""
    awaited: str = ""


@dataclass(frozen=True)
class ResolvedRole:
    """A wish whose role is known. `role_id` is the GUID of the role definition."""

    wish: WishedRole
    role_id: str

    @property
    def known(self) -> KnownRole | None:
        """What is documented of the role."""
        return BY_GUID.get(self.role_id)

    def assignment(self, principal_id: str) -> str:
        """The ARM id, in lower case, of the assignment that we would make."""
        name = assignment_name(self.wish.scope, principal_id, self.role_id)
        return assignment_id(self.wish.scope, name).lower()


@dataclass
class RolePart(Part):
    """What the link adds to the plan.

    `resolved`: the roles that are wanted and known. `claims`: the ARM ids, in lower case, of what is wanted;
    `unsure`: there may be more of them, because something could not be looked up or looked at.
    """

    resolved: list[ResolvedRole] = field(default_factory=list)
    claims: frozenset[str] = frozenset()
    unsure: bool = False


@dataclass
class _Held:
    """Wishes that stand for no role now, and what must stay for their sake.

    Attributes
    ----------
    roles
        Names that no role has now, with the scope: what was assigned by that name may be the wished one.
    scopes
        Where a role is wished for that cannot be given: it may be to take the place of one there, and
        additions come before removals.
    everything
        A role could not be looked up: any assignment may be for it.
    """

    roles: set[tuple[str, str]] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    everything: bool = False

    def has(self, scope: str, item: Item | None) -> bool:
        """Whether what is assigned at the scope must stay; `item` is the inventory's line for it, if any."""
        if self.everything or scope.lower() in self.scopes:
            return True
        return bool(self.roles) if item is None else (item.name.lower(), scope.lower()) in self.roles


def plan_assignments(
    wishes: Iterable[WishedRole],
    subject: Subject | None,
    owner: Meta,
    place: Place,
    world: AzureWorld,
    inventory: Iterable[Item],
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
) -> RolePart:
    """Compare role assignments as they should be with those that are there.

    `subject` without an object id is the group that the same plan makes; None: nobody is known, and what
    the inventory has is taken away.
    """
    part, held = RolePart(), _Held()
    lines = [item for item in inventory if item.kind == ASSIGNMENT and item.id]
    _resolve(part, held, wishes, place, world, lines)
    principal = subject.object_id if subject else ""
    # What may be wanted is wanted, as far as others are concerned.
    part.claims = frozenset(item.id.lower() for item in lines if held.has(scope_of(item.id), item))
    if principal:
        part.claims |= {one.assignment(principal) for one in part.resolved}
    part.unsure = part.unsure or held.everything or isinstance(world.assignments, Fault)
    scopes = {scope_of(item.id).lower(): scope_of(item.id) for item in lines}
    scopes |= {one.wish.scope.lower(): one.wish.scope for one in part.resolved}
    scopes |= {one.scope.lower(): one.scope for one in _noted(world, place.note(owner))}
    for key in sorted(scopes):
        here = _Scope(
            scope=scopes[key],
            wanted={one.role_id: one for one in part.resolved if one.wish.scope.lower() == key},
            lines={item.id.lower(): item for item in lines if scope_of(item.id).lower() == key},
            seen=assignments_at(world, place, key),
        )
        _plan_scope(part, here, subject, place.note(owner), place, world, held, adoption)
    return part


def assignments_at(world: AzureWorld, place: Place, scope: str) -> Seen[tuple[Assignment, ...]]:
    """What is assigned exactly at a scope."""
    if not place.covers(scope):
        return world.elsewhere.get(scope.lower(), ())
    if isinstance(world.assignments, Fault):
        return world.assignments
    return tuple(one for one in world.assignments if one.scope.lower() == scope.lower())


def _noted(world: AzureWorld, note: str) -> list[Assignment]:
    """What was made for this resource, also where nothing else tells of it: a pass may have been cut off."""
    seen = () if isinstance(world.assignments, Fault) else world.assignments
    return [one for one in seen if one.description == note]


# Which role is meant


def _resolve(
    part: RolePart,
    held: _Held,
    wishes: Iterable[WishedRole],
    place: Place,
    world: AzureWorld,
    lines: list[Item],
) -> None:
    found: dict[tuple[str, str], ResolvedRole] = {}
    for wish in wishes:
        role_id = world.roles.get(wish.role)
        if role_id is None and not (wish.refusal or wish.awaited):
            role_id = _remembered(part, wish, place, world, lines)
        if wish.refusal:
            part.findings.append(stalled("NotAssignable", wish.refusal, wish.path))
            held.scopes.add(wish.scope.lower())
        elif wish.awaited:
            message = f"waiting for {wish.awaited}"
            part.findings.append(
                Finding(Link.AZURE_ROLES, Severity.WAITING, "RoleNotReady", message, wish.path)
            )
            held.scopes.add(wish.scope.lower())
            part.unsure = True
        elif isinstance(role_id, Fault):
            part.findings.append(role_id.finding(Link.AZURE_ROLES, observing=True))
            held.everything = True  # any assignment may be this one
        elif role_id is None:
            where = place_name(wish.scope)
            message = f"there is no Azure role {wish.role} at {where}; correct the name, or create the role"
            part.findings.append(stalled("RoleNotFound", message, wish.path))
            held.roles.add((wish.role.lower(), wish.scope.lower()))
        elif mistake := wrong_cluster(role_id, wish.scope, wish.path, place):
            part.findings.append(mistake)
            held.scopes.add(wish.scope.lower())
        else:
            found.setdefault((wish.scope.lower(), role_id), ResolvedRole(wish, role_id))
    part.resolved = list(found.values())
    part.count = len(found)


def _remembered(
    part: RolePart, wish: WishedRole, place: Place, world: AzureWorld, lines: list[Item]
) -> str | None:
    """The role that had the wished name when it was assigned here: a role is its GUID, names change."""
    seen = assignments_at(world, place, wish.scope)
    if isinstance(seen, Fault):
        return None
    ids = {
        item.id.lower()
        for item in lines
        if item.name.lower() == wish.role.lower() and scope_of(item.id).lower() == wish.scope.lower()
    }
    for one in seen:
        if assignment_id(one.scope, one.name).lower() in ids and named_by_us(one):
            message = f"the Azure role {wish.role} has another name now; its GUID is {one.role_id}"
            part.findings.append(Finding(Link.AZURE_ROLES, Severity.NOTE, "RoleRenamed", message, wish.path))
            return one.role_id
    return None


# What is to be done at one scope


@dataclass(frozen=True)
class _Scope:
    scope: str
    wanted: Mapping[str, ResolvedRole]  # by the role's GUID
    lines: Mapping[str, Item]  # by ARM id, in lower case
    seen: Seen[tuple[Assignment, ...]]


def _plan_scope(
    part: RolePart,
    here: _Scope,
    subject: Subject | None,
    note: str,
    place: Place,
    world: AzureWorld,
    held: _Held,
    adoption: AdoptionPolicy,
) -> None:
    if isinstance(here.seen, Missing):
        # With a resource group all assignments in it go.
        part.findings += [no_scope(here.scope, _scope_path(one.wish)) for one in here.wanted.values()][:1]
        return
    if isinstance(here.seen, Fault):
        part.findings.append(_unseen(here, here.seen, place))
        part.inventory += here.lines.values()
        part.count = None
        return
    principal = subject.object_id if subject else ""
    mine: dict[str, list[Assignment]] = {}
    for a in here.seen:
        if principal and a.principal_id == principal:
            mine.setdefault(a.role_id, []).append(a)
    for role_id, one in here.wanted.items():
        # Without a type it is a service account, which Azure does not know.
        if subject and subject.principal_type:
            change = AssignRole(
                here.scope,
                one.wish.role,
                role_id,
                principal or None,
                subject.principal_type,
                note,
                one.wish.path,
            )
            line = here.lines.get(one.assignment(principal)) if principal else None
            there = mine.get(role_id, [])
            if not _give(part, change, there, line, place):
                _adopt(part, change, there, here.lines, adoption)
    _sort_out(part, here, here.seen, principal, note, place, world, held)


def _give(
    part: RolePart, change: AssignRole, seen: list[Assignment], line: Item | None, place: Place
) -> bool:
    """Plan one assignment that is wanted; `seen` is what gives that role already, by whichever name.

    Returns whether it is ours, or will be.
    """
    words = assignment_words(change.role, change.scope)
    if not seen:
        part.additions.append(change)
        # One that is only announced was never made.
        foreign = bool(line and line.applied)
        item = DriftItem(System.AZURE, words, "", PRESENT, DELETED if foreign else ABSENT)
        part.differences.append(Difference(item, change, foreign))
        return True
    ours = next((one for one in seen if named_by_us(one) and line and line.applied), None)
    if ours is None:
        return False
    # Another policy, or another cluster, may give the same and describe it as its own.
    marked = place.made_by_an_operator(ours.description)
    found = [("condition", "none", ours.condition)] if ours.condition else []
    found += [] if marked else [("description", change.description, ours.description or "none")]
    if found:
        change = replace(change, new=False, condition=ours.condition)
        part.additions.append(change)
        part.differences += [_difference(change, ours, *one, foreign=True) for one in found]
    return True


def _difference(
    change: AssignRole, seen: Assignment, name: str, expected: str, found: str, *, foreign: bool
) -> Difference:
    """A field of an assignment that is not as it should be."""
    words = assignment_words(change.role, change.scope)
    item = DriftItem(System.AZURE, words, name, expected, found, seen.changed_by, seen.changed)
    return Difference(item, change, foreign)


def _adopt(
    part: RolePart,
    change: AssignRole,
    seen: list[Assignment],
    lines: Mapping[str, Item],
    adoption: AdoptionPolicy,
) -> None:
    """The role is given by an assignment that another hand made: it counts, and may be taken over.

    One that was taken over once stays so, whatever the policy says now. A condition on it is put right then;
    an assignment with one is not what is wished for, so it is no identical one.
    """
    # Nobody else of ours may take away what gives a role that is wanted here, or a part of it.
    part.claims |= {assignment_id(change.scope, one.name).lower() for one in seen}
    whole = any(not one.condition for one in seen)
    for one in seen:
        arm_id = assignment_id(change.scope, one.name)
        line = lines.get(arm_id.lower())
        known = bool(line and line.adopted)
        if not (known or _may_adopt(one, adoption)):
            part.findings += [conditional(change, ours=named_by_us(one))] if not whole else []
            continue
        item = Item(System.AZURE, ASSIGNMENT, change.role, arm_id, origin=ADOPTED, applied=MADE)
        part.inventory.append(item)
        if one.condition and not whole:
            theirs = {"name": one.name, "description": one.description, "condition": one.condition}
            right = replace(change, new=False, **theirs)
            part.additions.append(right)
            part.differences += [_difference(right, one, "condition", "none", one.condition, foreign=known)]


def _may_adopt(one: Assignment, adoption: AdoptionPolicy) -> bool:
    """Whether an assignment that gives a wished role may be taken over: not one of another cluster's."""
    if named_by_us(one) or adoption is AdoptionPolicy.NEVER:
        return False
    return adoption is AdoptionPolicy.ALWAYS or not one.condition


def _unseen(here: _Scope, fault: Fault, place: Place) -> Finding:
    """That a scope cannot be looked at; of one elsewhere than at the cluster, which one and what to do."""
    finding = fault.finding(Link.AZURE_ROLES, observing=True)
    if place.covers(here.scope):
        return finding
    wish = next(iter(here.wanted.values()), None)
    path = _scope_path(wish.wish) if wish else "status.inventory"
    message = fault.message
    if isinstance(fault, Denied) and here.lines:
        # Whoever has no right there is told that it is forbidden, also where there is nothing any more.
        message += (
            f"; if {here.scope} was deleted, what was assigned there went with it: give the role above it, "
            "for example on its subscription, so that Azure can say that it is gone"
        )
    return replace(finding, message=message, path=path)


def _scope_path(wish: WishedRole) -> str:
    return f"{wish.path.removesuffix('.role')}.scope"


def _sort_out(
    part: RolePart,
    here: _Scope,
    seen: tuple[Assignment, ...],
    principal: str,
    note: str,
    place: Place,
    world: AzureWorld,
    held: _Held,
) -> None:
    """Sort out which of our assignments stay and which go.

    Ours are those that the inventory names, and those that are described as ours and are wanted or were made
    for this resource; all have a name that only we would give. What is `held` for a wish that cannot be
    fulfilled now stays, and so does one that another resource of ours wants too. Ids are compared in
    lower case, as Azure does.
    """
    named = {assignment_id(here.scope, a.name).lower(): a for a in seen}
    # A line can be written by whoever may write a status: it makes nothing ours that we would not name so.
    listed = {
        key: item
        for key, item in here.lines.items()
        if key not in named
        or named_by_us(named[key])
        or (item.adopted and principal == named[key].principal_id)
    }
    for key in sorted(here.lines.keys() & named.keys() - listed.keys()):
        if here.lines[key].adopted:
            part.inventory.append(here.lines[key])
            part.findings += [former_subject(here.lines[key], named[key])] if principal else []
    taken = {item.id.lower() for item in part.inventory if item.adopted}
    listed = {key: item for key, item in listed.items() if key not in taken}
    keep = {one.assignment(principal): one for one in here.wanted.values()} if principal else {}
    # Another cluster that uses the same group gives the same name; the description tells whose it is.
    ours = {
        key: a
        for key, a in named.items()
        if key in listed
        or (named_by_us(a) and (a.description == note or (key in keep and place.made_here(a.description))))
    }
    for key in sorted(listed.keys() | ours.keys()):
        item = listed.get(key)
        if key in keep and key not in ours:
            # It is to be made again. Where no list at the cluster shows it, the line is all that tells of it.
            part.inventory += [item] if item and not place.covers(here.scope) else []
            continue
        if key not in keep and key in world.claimed:
            continue
        arm_id = item.id if item else assignment_id(here.scope, ours[key].name)
        role = keep[key].wish.role if key in keep else (item.name if item else ours[key].role_id)
        applied = MADE if key in ours else (item.applied if item else "")
        part.inventory.append(Item(System.AZURE, ASSIGNMENT, role, arm_id, applied=applied))
        if key not in keep and not held.has(here.scope, item):
            part.removals.append(UnassignRole(arm_id, role))


def named_by_us(assignment: Assignment) -> bool:
    """Whether the assignment has the name that only we would give it."""
    return assignment.name == assignment_name(assignment.scope, assignment.principal_id, assignment.role_id)
