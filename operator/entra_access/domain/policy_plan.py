"""The plan of an AccessPolicy: its group, the group's members and owners, Azure roles and bindings."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from entra_access.api.names import CLUSTER_ROLE, CLUSTER_ROLE_BINDING
from entra_access.api.resources import AccessPolicy, GroupSubject, Membership, PrincipalKind, Reference
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import (
    AddPrincipals,
    Change,
    CreateGroup,
    DeleteGroup,
    RemovePrincipal,
    RestoreGroup,
    UpdateGroup,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import binding_name, mail_nickname
from entra_access.domain.observed import Group, PolicyWorld, Principal, Seen
from entra_access.domain.plan import Part, Plan, child_item, count, missing_cluster_roles, plan_children
from entra_access.domain.role_plan import plan_azure_roles, unassign_all

GROUP: Final = "Group"
RESTORING: Final = "Restoring"
SETTLING: Final = "Settling"


def group_item(inventory: Iterable[Item]) -> Item | None:
    """The inventory's line for the policy's group."""
    return next((item for item in inventory if item.system is System.ENTRA and item.kind == GROUP), None)


def plan_policy(
    policy: AccessPolicy,
    unique_name: str,
    scope: str,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
) -> Plan:
    """What makes a policy's group, members, Azure roles at `scope` and bindings as they should be."""
    line = group_item(inventory)
    known = world.group.id if isinstance(world.group, Group) else (line.id if line else "")
    subject = _plan_subject(policy.group, unique_name, world, line, now)
    creating = any(isinstance(change, CreateGroup) for change in subject.additions)
    group_id = None if creating else known or None
    if not creating and (group_id is None or world.group is None):
        # Nobody to give anything to. What was made for a group that is gone gives nothing, and stays.
        return _only(subject, world, inventory)
    visible = isinstance(world.group, Group) and not world.group.deleted
    members = _plan_principals(policy.group, world, group_id) if visible or creating else Part()
    if isinstance(world.group, Group) and not (visible and _is_settled(policy.group, world, members, line)):
        return _settle(subject, world, world.group, members, inventory)
    roles = plan_azure_roles(policy, scope, world, group_id, inventory)
    wanted = _cluster_role_bindings(policy, world, group_id)
    children = plan_children(wanted, world.children, group_id, inventory, now)
    findings = missing_cluster_roles(policy.cluster_roles, world.cluster_roles)
    additions = subject.additions + members.additions + roles.additions + list(children.additions)
    removals = list(children.removals) + roles.removals + members.removals
    name = subject.name
    seen = {"members": members.count, "azureRoles": roles.count, "clusterRoleBindings": len(wanted)}
    counts = {name: number for name, number in seen.items() if number is not None}
    return Plan(
        changes=tuple(additions + removals),
        findings=(*subject.findings, *members.findings, *roles.findings, *findings),
        drift=children.drift,
        subject=Subject("Group", group_id or "", name),
        counts=counts,
        inventory=(*subject.inventory, *roles.inventory, *children.inventory),
        summary=_summary(name, counts),
    )


def _summary(name: str, counts: Mapping[str, int]) -> str:
    members = count(counts.get("members", 0), "member")
    azure_roles = count(counts.get("azureRoles", 0), "Azure role")
    return f"{name} has {members}, {azure_roles} and {count(counts['clusterRoleBindings'], 'ClusterRole')}"


def _is_settled(wish: GroupSubject, world: PolicyWorld, members: Part, line: Item | None) -> bool:
    """Whether the group may be given anything: it has been before, or nobody is in it who must leave.

    A group that comes back after its policy was deleted still has the members of then. The inventory has
    its id only from when it was settled once.
    """
    if wish.membership is not Membership.EXACT or (line and line.id == getattr(world.group, "id", "")):
        return True
    return not (members.removals or members.unseen)


def _settle(
    subject: Part, world: PolicyWorld, group: Group, members: Part, inventory: tuple[Item, ...]
) -> Plan:
    """Restore the group, or see off those who must leave it, before anything is given to it."""
    line = group_item(inventory)
    told = line is not None and line.id == group.id
    known = Subject("Group", group.id, group.display_name) if told else None
    if members.removals:
        message = f"those who are no members any more leave group {group.display_name} first"
        more = Finding(Link.SUBJECT, Severity.WAITING, SETTLING, message)
        members.findings.append(more)
    subject.additions += members.removals
    subject.findings += members.findings
    if not told:
        subject.inventory = [replace(item, id="") for item in subject.inventory]
    return _only(subject, world, inventory, known)


def _only(
    subject: Part, world: PolicyWorld, inventory: tuple[Item, ...], known: Subject | None = None
) -> Plan:
    """A plan for nothing but the group. What there is in Azure and Kubernetes stays as it is."""
    children = [child_item(child.ref, child.uid) for child in world.children]
    assignments = [item for item in inventory if item.system is System.AZURE]
    kept = (*subject.inventory, *assignments, *children)
    return Plan(tuple(subject.additions), tuple(subject.findings), subject=known, inventory=kept)


def plan_policy_removal(world: PolicyWorld, inventory: tuple[Item, ...], scope: str, now: str) -> Plan:
    """What takes away all that a policy made: bindings, then assignments, then the group."""
    findings = [
        seen.finding(Link.SUBJECT, observing=True) for seen in (world.group,) if isinstance(seen, Fault)
    ]
    children = plan_children((), world.children, None, inventory, now)
    line = group_item(inventory)
    group_id = world.group.id if isinstance(world.group, Group) else (line.id if line else "")
    unassign, unknown = unassign_all(world.assignments, scope, group_id, inventory)
    changes: list[Change] = [*children.removals, *unassign]
    if isinstance(world.group, Group) and not world.group.deleted:
        changes.append(DeleteGroup(world.group.id, world.group.display_name))
    name = world.group.display_name if isinstance(world.group, Group) else ""
    kept = tuple(item for item in inventory if item.system is not System.KUBERNETES)
    return Plan(
        changes=tuple(changes),
        findings=(*findings, *unknown),
        subject=Subject("Group", group_id, name) if group_id else None,
        inventory=kept + children.inventory,
    )


def _plan_subject(
    wish: GroupSubject, unique_name: str, world: PolicyWorld, line: Item | None, now: str
) -> Part:
    """The group itself: made, restored, renamed or found as it should be."""
    part = Part()
    since = line.since if line else now
    nickname = wish.mail_nickname or mail_nickname(wish.display_name)
    match world.group:
        case Fault() as fault:
            part.findings.append(fault.finding(Link.SUBJECT, observing=True))
            part.inventory += [line] if line else []
        case None:
            refusal = _refused_name(wish, world)
            if refusal:
                part.findings.append(refusal)
            else:
                create = CreateGroup(unique_name, wish.display_name, nickname, wish.description)
                part.additions.append(create)
                part.name = wish.display_name
        case Group(deleted=True) as group:
            part.additions.append(RestoreGroup(group.id, group.display_name))
            part.inventory.append(Item(System.ENTRA, GROUP, unique_name, group.id, since))
            message = f"the deleted group {group.display_name} is being restored"
            part.findings.append(Finding(Link.SUBJECT, Severity.WAITING, RESTORING, message))
        case Group() as group:
            part.inventory.append(Item(System.ENTRA, GROUP, unique_name, group.id, since))
            _plan_attributes(part, wish, nickname, group, world)
    return part


def _plan_attributes(part: Part, wish: GroupSubject, nickname: str, group: Group, world: PolicyWorld) -> None:
    wanted = {"displayName": wish.display_name, "mailNickname": nickname, "description": wish.description}
    found = {
        "displayName": group.display_name,
        "mailNickname": group.mail_nickname,
        "description": group.description or None,
    }
    part.name = wish.display_name
    if wanted["displayName"] != found["displayName"]:
        refusal = _refused_name(wish, world)
        if refusal:
            part.findings.append(refusal)
            part.name = group.display_name
            wanted |= {"displayName": group.display_name, "mailNickname": group.mail_nickname}
    different = tuple((name, value) for name, value in wanted.items() if value != found[name])
    if different:
        part.additions.append(UpdateGroup(group.id, different))


def _refused_name(wish: GroupSubject, world: PolicyWorld) -> Finding | None:
    """Why the group may not have the wished name: another policy's, or somebody's, has it."""

    def refused(reason: str, message: str) -> Finding:
        path = "spec.subject.group.displayName"
        return Finding(Link.SUBJECT, Severity.STALLED, reason, message, path)

    if world.claimant:
        message = f"AccessPolicy {world.claimant} has the group {wish.display_name}; choose another name"
        return refused("GroupClaimed", message)
    if isinstance(world.namesakes, Fault):
        return world.namesakes.finding(Link.SUBJECT)
    if world.namesakes:
        ids = ", ".join(sorted(group.id for group in world.namesakes))
        message = (
            f"a group named {wish.display_name} is already there and was not made here (object id {ids}); "
            "choose another name, or rename or delete that group"
        )
        return refused("GroupExists", message)
    return None


def _plan_principals(wish: GroupSubject, world: PolicyWorld, group_id: str | None) -> Part:
    """Members and owners of the group, as far as the membership mode lets us."""
    part = Part()
    if wish.membership is not Membership.UNMANAGED:
        exact = wish.membership is Membership.EXACT
        part.count = _plan_relation(
            part, "members", wish.members, world.members, world, group_id, exact=exact
        )
    elif not isinstance(world.members, Fault):
        part.count = len(world.members)
    exact = wish.membership is Membership.EXACT
    _plan_relation(part, "owners", wish.owners, world.owners, world, group_id, exact=exact)
    return part


def _plan_relation(
    part: Part,
    relation: str,
    wished: tuple[Reference, ...],
    seen: Seen[tuple[Principal, ...]],
    world: PolicyWorld,
    group_id: str | None,
    *,
    exact: bool,
) -> int | None:
    """Plan one relation of the group. Returns how many it will have, or None where that was not seen."""
    wanted, unresolved, unseen = _resolve(part, relation, wished, world.principals)
    part.unseen = part.unseen or unseen or isinstance(seen, Fault)
    if isinstance(seen, Fault):
        part.findings.append(seen.finding(Link.MEMBERS, observing=True))
        return None
    current = {principal.id for principal in seen}
    adding = tuple(sorted(wanted.keys() - current))
    if adding:
        names = tuple(wanted[one] for one in adding)
        part.additions.append(AddPrincipals(group_id, relation, adding, names))
    # Whoever could be one of those that were not found by name, or were not seen at all, stays.
    leaving = [p for p in seen if p.id not in wanted and not unresolved & {p.id, p.name.lower()}]
    if not exact or unseen or not group_id:
        leaving = []
    if relation == "owners" and not wanted:
        leaving = _but_one_user(part, seen, leaving)
    part.removals += [RemovePrincipal(group_id or "", relation, one.id, one.name) for one in leaving]
    return len(current | wanted.keys()) - len(leaving)


def _but_one_user(part: Part, seen: tuple[Principal, ...], leaving: list[Principal]) -> list[Principal]:
    """Entra keeps a group's last owner that is a user, so one of them stays where none is wished for.

    Source: https://learn.microsoft.com/graph/api/group-delete-owners
    """
    users = [principal for principal in seen if principal.kind == PrincipalKind.USER.value]
    if not users or any(user not in leaving for user in users):
        return leaving
    stays = min(users, key=lambda user: user.id)
    message = (
        f"owner {stays.name or stays.id} stays: Entra keeps a group's last owner; name another under owners"
    )
    part.findings.append(Finding(Link.MEMBERS, Severity.NOTE, "LastOwnerStays", message))
    return [principal for principal in leaving if principal != stays]


def _resolve(
    part: Part,
    relation: str,
    wished: tuple[Reference, ...],
    principals: Mapping[Reference, Seen[Principal | None]],
) -> tuple[dict[str, str], set[str], bool]:
    """Object ids of the references with their names; the names that nobody has; whether one was not seen."""
    wanted: dict[str, str] = {}
    unresolved: set[str] = set()
    unseen = False
    for index, reference in enumerate(wished):
        path = f"spec.subject.group.{relation}[{index}].{reference.kind}"
        match principals.get(reference):
            case Principal() as principal:
                wanted[principal.id] = reference.value
            case Fault() as fault:
                unseen = True
                part.findings.append(fault.finding(Link.MEMBERS))
            case _:
                unresolved.add(reference.value)
                message = f"there is no {reference} in the directory; correct it, or create it there"
                part.findings.append(Finding(Link.MEMBERS, Severity.STALLED, "MemberNotFound", message, path))
    return wanted, unresolved, unseen


def _cluster_role_bindings(policy: AccessPolicy, world: PolicyWorld, group_id: str | None) -> list[Child]:
    there = {child.ref for child in world.children}
    bindings = []
    for role in policy.cluster_roles:
        name = f"entra-access-{binding_name(policy.meta.name, CLUSTER_ROLE.kind, role)}"
        ref = ChildRef(CLUSTER_ROLE_BINDING, None, name)
        # A binding that is already there is left while its ClusterRole is missing: it gives nothing then.
        if role in world.cluster_roles or ref in there:
            child = Child(ref, policy.meta, role_kind=CLUSTER_ROLE.kind, role=role, group_id=group_id)
            bindings.append(child)
    return bindings
