"""The plan of an AccessPolicy: who gets the access, Azure roles, and what there is in the cluster."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from entra_access.api.names import BINDING_KINDS
from entra_access.api.resources import (
    AccessPolicy,
    AdoptionPolicy,
    DeletePolicy,
    DirectorySubject,
    ForeignAssignments,
    GroupSubject,
    Meta,
    ServiceAccountSubject,
)
from entra_access.api.status import DriftItem, Item, Subject, System
from entra_access.domain.access_plan import Access, plan_access
from entra_access.domain.changes import AssignRole, Change, DeleteChild, DeleteGroup
from entra_access.domain.definition_plan import DEFINITION, plan_definitions
from entra_access.domain.difference import NOT, Difference
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.foreign_plan import plan_foreign, satisfied
from entra_access.domain.group_plan import GroupNames, group_item, plan_group
from entra_access.domain.marks import Marks
from entra_access.domain.members_plan import leave_unseen
from entra_access.domain.naming import adopted_name, is_adopted, unique_name
from entra_access.domain.observed import Group, PolicyWorld, whom
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, child_item, count, plan_children, plan_children_removal
from entra_access.domain.role_plan import RolePart, WishedRole, plan_assignments
from entra_access.domain.subject_plan import (
    Who,
    plan_directory_subject,
    plan_handover,
    plan_service_account,
)
from entra_access.domain.warnings import policy_warnings

CREATING: Final = "CreatingGroup"


def plan_policy(
    policy: AccessPolicy,
    place: Place,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
    known: Subject | None = None,
    put_in: Marks | None = None,
) -> Plan:
    """What makes all that a policy asks for as it should be.

    `known` is who got the access when that was found out last; it counts only while it cannot be seen.
    `put_in` are those whom the operator has put into the group, or whom the policy was for.
    """
    match policy.subject:
        case GroupSubject() as wish:
            owner, name = place.owner_id, policy.meta.name
            names = GroupNames(unique_name(owner, name), adopted_name(owner, name))
            who = plan_group(wish, names, world, inventory, now, put_in or Marks(), policy.meta)
        case DirectorySubject() as wish:
            who = plan_directory_subject(policy, wish, world, known, put_in or Marks())
        case ServiceAccountSubject() as wish:
            who = plan_service_account(policy, wish, world)
    if who.alone or who.withdrawn or who.subject is None:
        plan = _only(who, world, inventory)
    else:
        plan = _whole(policy, place, world, inventory, now, who, who.subject)
    return replace(plan, without=_links_without(policy))


def _links_without(policy: AccessPolicy) -> frozenset[Link]:
    """Only a group that the policy makes has members to look after, and Azure knows no service accounts."""
    if policy.group:
        return frozenset()
    account = isinstance(policy.subject, ServiceAccountSubject)
    return frozenset({Link.MEMBERS, Link.AZURE_ROLES} if account else {Link.MEMBERS})


def _only(who: Who, world: PolicyWorld, inventory: tuple[Item, ...]) -> Plan:
    """A plan for nothing but the subject. What there is in Azure and Kubernetes stays as it is."""
    # An account that another policy has made is this one's only when this one is among its owners.
    others = {world.account.there} - {item.id for item in inventory} if world.account.shared else set()
    children = [child_item(child.ref, child.uid) for child in world.children if child.uid not in others]
    in_azure = [item for item in inventory if item.system is System.AZURE]
    kept = (*who.inventory, *in_azure, *children, *world.unread)
    claims = frozenset(item.id.lower() for item in in_azure)
    return Plan(
        (*who.additions, *_withdrawn(who, world)),
        tuple(who.findings),
        tuple(who.differences),
        entries=None if who.unseen else tuple(who.entries),
        stays=frozenset(who.stays),
        subject=who.subject,
        inventory=kept,
        claims=claims,
        unsure=any(finding.unseen for finding in who.findings),
    )


def _withdrawn(who: Who, world: PolicyWorld) -> list[DeleteChild]:
    """The bindings, where they give somebody else access by now."""
    bindings = (child for child in world.children if child.ref.kind in BINDING_KINDS)
    return [DeleteChild(child.ref, child.uid) for child in bindings if who.withdrawn]


def _whole(
    policy: AccessPolicy,
    place: Place,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
    who: Who,
    subject: Subject,
) -> Plan:
    """The plan for a subject that is known, or is the group which this plan makes."""
    access = plan_access(policy, place, world, subject)
    custom = plan_definitions(policy.custom_roles, policy.meta, place, world, inventory, now, policy.adoption)
    wishes = [
        WishedRole(f"spec.azureRoles[{index}].role", one.role, place.scope(one.scope))
        for index, one in enumerate(policy.azure_roles)
    ]
    wishes = [
        replace(one, refusal=custom.refusal(one.role, one.scope), awaited=custom.awaited(one.role))
        for one in (*wishes, *access.azure_roles)
    ]
    own = replace(world, roles={**world.roles, **custom.roles(one.role for one in wishes)})
    roles = plan_assignments(wishes, subject, policy.meta, place, own, inventory, policy.adoption)
    _not_yet(roles, place)
    live = [child for child in world.children if _stays(child.ref.namespace, world)]
    shared = plan_handover(policy.meta, live, who, world)
    live = [child for child in live if child.ref not in shared.refs]
    keep = policy.delete_policy is DeletePolicy.KEEP
    wanted = who.children + access.children
    children = plan_children(wanted, live, inventory, who.replaced, policy.adoption, keep=keep)
    satisfying = satisfied(roles, world, subject.object_id)
    # What is wanted and not known now may be given by what looks foreign.
    remove = policy.foreign_assignments is ForeignAssignments.REMOVE and not roles.unsure
    ours = roles.claims | satisfying | {item.id.lower() for item in roles.inventory}
    foreign = plan_foreign(subject, place, world, ours, remove=remove)
    undeclared = [one.change for one in foreign if one.change]
    left, gone = _former_group(policy, world, inventory, subject)
    additions = [*who.additions, *custom.additions, *roles.additions, *children.additions, *shared.additions]
    removals = [*children.removals, *shared.removals, *roles.removals, *undeclared, *custom.removals]
    removals += [*who.removals, *left]
    findings = [*who.findings, *custom.findings, *roles.findings, *access.findings]
    counts = _counts(policy, who, roles, access)
    return Plan(
        changes=tuple(additions + removals),
        findings=(*findings, *policy_warnings(policy, place, world, subject, roles.resolved)),
        differences=(
            *who.differences,
            *custom.differences,
            *roles.differences,
            *children.differences,
            *foreign,
            *_shadows(world, subject),
        ),
        subject=subject,
        counts=counts,
        inventory=(
            *who.inventory,
            *custom.inventory,
            *roles.inventory,
            *children.inventory,
            *shared.inventory,
            *world.unread,
        ),
        summary=_summary(subject, counts),
        claims=roles.claims | satisfying,
        unsure=roles.unsure,
        gone=gone,
        entries=None if who.unseen else tuple(who.entries),
        stays=frozenset(who.stays),
    )


def _shadows(world: PolicyWorld, subject: Subject) -> list[Difference]:
    """What others let the subject do: told of, and not touched."""
    words = f"{subject.kind} {subject.display_name}"
    found = []
    for one in sorted(world.shadows.get(whom(subject), {}).values(), key=lambda one: one.name):
        said = ("subjects", f"{NOT}{words}", f"{words} has {one.role}")
        item = DriftItem(System.KUBERNETES, one.name, *said, one.made_by, one.made)
        found.append(Difference(item, foreign=True))
    return found


def _stays(namespace: str | None, world: PolicyWorld) -> bool:
    """Whether what is in the namespace is ours to look after: with a namespace, all in it goes by itself."""
    there = world.namespaces.get(namespace or "")
    return namespace is None or there is None or not there.ending


def _not_yet(roles: RolePart, place: Place) -> None:
    """Roles far from the cluster wait for the pass after the one that makes the group.

    No list at the cluster shows them, so what was assigned must be written down before, with its id.
    """
    waiting = [
        change
        for change in roles.additions
        if isinstance(change, AssignRole) and not change.principal_id and not place.covers(change.scope)
    ]
    if waiting:
        roles.additions = [change for change in roles.additions if change not in waiting]
        message = "roles elsewhere than at the cluster follow when the group is made"
        roles.findings.append(Finding(Link.AZURE_ROLES, Severity.WAITING, CREATING, message))


def _former_group(
    policy: AccessPolicy, world: PolicyWorld, inventory: tuple[Item, ...], subject: Subject
) -> tuple[list[Change], frozenset[str]]:
    """The group that the policy made when its subject was one: deleted last, or found to be gone."""
    if policy.group:
        return [], frozenset()
    lines = {item.id.lower() for item in inventory if item.system is System.ENTRA and item.id}
    match world.group:
        case Group(deleted=False) as group if group.id != subject.object_id and group_item(inventory):
            # One that was there before stays, and is not looked after any more.
            adopted = is_adopted(group.unique_name)
            return ([], frozenset(lines)) if adopted else (_delete(group, inventory), frozenset())
        case Fault():
            return [], frozenset()
        case _:
            return [], frozenset(lines)


def _delete(group: Group, inventory: tuple[Item, ...]) -> list[Change]:
    """The group goes, without the members that no list may show: it can come back within thirty days."""
    return [*leave_unseen(group.id, inventory), DeleteGroup(group.id, group.display_name)]


def _counts(policy: AccessPolicy, who: Who, roles: RolePart, access: Access) -> dict[str, int | None]:
    bindings = [child.ref for child in access.children if child.subject]
    namespaces = {ref.namespace for ref in bindings if ref.namespace}
    seen = {
        "members": who.count,
        "azureRoles": roles.count,
        "clusterRoleBindings": sum(ref.namespace is None for ref in bindings),
        "roleBindings": sum(ref.namespace is not None for ref in bindings),
        "namespaces": len(namespaces),
    }
    left_out = {"members"} if not policy.group else set()
    left_out |= {"azureRoles"} if Link.AZURE_ROLES in _links_without(policy) else set()
    left_out |= {"roleBindings", "namespaces"} if not policy.namespaces else set()
    return {name: number for name, number in seen.items() if name not in left_out}


def _summary(subject: Subject, counts: Mapping[str, int | None]) -> str:
    """As ``appdev has 2 members, 1 Azure role and 1 ClusterRole``."""
    parts = [count(counts["members"] or 0, "member")] if "members" in counts else []
    parts += [count(counts["azureRoles"] or 0, "Azure role")] if "azureRoles" in counts else []
    parts.append(count(counts["clusterRoleBindings"] or 0, "ClusterRole"))
    if counts.get("namespaces"):
        parts.append(f"access in {count(counts['namespaces'] or 0, 'namespace')}")
    *some, last = parts
    listed = f"{', '.join(some)} and {last}" if some else last
    return f"{subject.display_name} has {listed}"


def plan_policy_removal(
    owner: Meta,
    place: Place,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
    *,
    keep: bool = False,
) -> Plan:
    """What takes away all that a policy made: bindings, assignments, custom roles, then the group.

    What was adopted stays. With `keep` all of it stays, and what is in the cluster is let go.
    """
    if keep:
        released = plan_children_removal(world.children, inventory, adoption, keep=True)
        kept = tuple(item for item in inventory if item.system is not System.KUBERNETES)
        return Plan(changes=released.removals, inventory=(*kept, *released.inventory))
    # What could not be seen may be there, and would be left behind.
    unseen = ((Link.SUBJECT, world.group), (Link.AZURE_ROLES, world.assignments))
    findings = [seen.finding(link, observing=True) for link, seen in unseen if isinstance(seen, Fault)]
    # Kubernetes takes a policy that is gone out of the owners of what others have too.
    shared = plan_handover(owner, world.children, Who(), world)
    own = [child for child in world.children if child.ref not in shared.refs]
    children = plan_children_removal(own, inventory, adoption, keep=False)
    line = group_item(inventory)
    group_id = world.group.id if isinstance(world.group, Group) else (line.id if line else "")
    roles = plan_assignments((), None, owner, place, world, inventory)
    custom = plan_definitions((), owner, place, world, inventory, now)
    changes: list[Change] = [*shared.additions, *children.removals, *roles.removals, *custom.removals]
    group = world.group if isinstance(world.group, Group) else None
    if group and not group.deleted and not is_adopted(group.unique_name):
        changes += _delete(group, inventory)
    name = world.group.display_name if isinstance(world.group, Group) else ""
    lines = tuple(item for item in inventory if item.system is System.ENTRA or item.kind == DEFINITION)
    return Plan(
        changes=tuple(changes),
        findings=(*findings, *roles.findings),
        subject=Subject("Group", group_id, name) if group_id else None,
        inventory=(
            *lines,
            *roles.inventory,
            *children.inventory,
            *shared.inventory,
            *world.unread,
        ),
    )
