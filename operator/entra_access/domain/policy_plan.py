"""The plan of an AccessPolicy: its group, the group's members and owners, Azure roles and bindings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from entra_access.api.names import CLUSTER_ROLE, CLUSTER_ROLE_BINDING
from entra_access.api.resources import AccessPolicy, GroupSubject, Membership, Meta, PrincipalKind, Reference
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import (
    AddPrincipals,
    AssignRole,
    Change,
    CreateGroup,
    DeleteGroup,
    RemovePrincipal,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import assignment_id, assignment_name, binding_name, mail_nickname
from entra_access.domain.observed import Assignment, Group, PolicyWorld, Principal, Seen
from entra_access.domain.plan import Plan, child_item, count, missing_cluster_roles, plan_children

ASSIGNMENT = "RoleAssignment"
GROUP = "Group"


@dataclass
class _Part:
    """What one link adds to the plan."""

    additions: list[Change] = field(default_factory=list)
    removals: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    inventory: list[Item] = field(default_factory=list)
    count: int = 0
    name: str = ""  # the display name that the group will have; empty where it is not seen now


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
    if group_id is None and not creating:
        return Plan(findings=tuple(subject.findings), inventory=tuple(subject.inventory))

    if isinstance(world.group, Group) and world.group.deleted:
        return _only_restore(subject, world, world.group, line)
    visible = isinstance(world.group, Group)
    members = _plan_principals(policy.group, world, group_id) if visible or creating else _Part()
    roles = _plan_azure_roles(policy, scope, world, group_id, inventory)
    wanted = _cluster_role_bindings(policy, world, group_id)
    children = plan_children(wanted, world.children, group_id, inventory, now)
    findings = missing_cluster_roles(policy.cluster_roles, world.cluster_roles)
    additions = subject.additions + members.additions + roles.additions + list(children.additions)
    removals = list(children.removals) + roles.removals + members.removals
    name = subject.name
    counts = {"azureRoles": roles.count, "clusterRoleBindings": len(wanted)}
    if visible or creating:
        counts["members"] = members.count
    return Plan(
        changes=tuple(additions + removals),
        findings=(*subject.findings, *members.findings, *roles.findings, *findings),
        drift=children.drift,
        subject=Subject("Group", group_id or "", name),
        counts=counts,
        inventory=(*subject.inventory, *roles.inventory, *children.inventory),
        summary=f"{name} has {count(members.count, 'member')}, {count(roles.count, 'Azure role')} "
        f"and {count(len(wanted), 'ClusterRole')}",
    )


def _only_restore(subject: _Part, world: PolicyWorld, group: Group, line: Item | None) -> Plan:
    """A deleted group comes back with the members that it had then. Nothing more is given to it, and
    no grant is told of it, before they have been looked at, which is the next pass."""
    known = Subject("Group", group.id, group.display_name) if line and line.id == group.id else None
    changes, findings = tuple(subject.additions), tuple(subject.findings)
    children = tuple(child_item(child.ref, child.uid) for child in world.children)
    return Plan(changes, findings, subject=known, inventory=(*subject.inventory, *children))


def plan_policy_removal(
    meta: Meta, world: PolicyWorld, inventory: tuple[Item, ...], scope: str, now: str
) -> Plan:
    """What takes away all that a policy made: bindings, then assignments, then the group."""
    findings = [
        seen.finding(Link.SUBJECT, observing=True) for seen in (world.group,) if isinstance(seen, Fault)
    ]
    children = plan_children((), world.children, None, inventory, now)
    line = group_item(inventory)
    group_id = world.group.id if isinstance(world.group, Group) else (line.id if line else "")
    unassign, unknown = _unassign_all(world.assignments, scope, group_id, inventory)
    changes: list[Change] = [*children.removals, *unassign]
    if isinstance(world.group, Group) and not world.group.deleted:
        changes.append(DeleteGroup(world.group.id, world.group.display_name))
    kept = tuple(item for item in inventory if item.system is not System.KUBERNETES)
    return Plan(
        changes=tuple(changes),
        findings=(*findings, *unknown),
        subject=Subject("Group", group_id, meta.name) if group_id else None,
        inventory=kept + children.inventory,
    )


def _unassign_all(
    seen: Seen[tuple[Assignment, ...]], scope: str, group_id: str, inventory: Iterable[Item]
) -> tuple[list[Change], list[Finding]]:
    if isinstance(seen, Fault):
        return [], [seen.finding(Link.AZURE_ROLES, observing=True)]
    ours = {assignment_id(scope, a.name): a.role_id for a in seen if _is_ours(a, scope, group_id)}
    ours |= {item.id: item.name for item in inventory if item.kind == ASSIGNMENT and item.id}
    return [UnassignRole(arm_id, role) for arm_id, role in ours.items()], []


def _plan_subject(
    wish: GroupSubject, unique_name: str, world: PolicyWorld, line: Item | None, now: str
) -> _Part:
    """The group itself: made, restored, renamed or found as it should be."""
    part = _Part()
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
            part.findings.append(Finding(Link.SUBJECT, Severity.WAITING, "Restoring", message, retry_after=0))
        case Group() as group:
            part.inventory.append(Item(System.ENTRA, GROUP, unique_name, group.id, since))
            _plan_attributes(part, wish, nickname, group, world)
    return part


def _plan_attributes(
    part: _Part, wish: GroupSubject, nickname: str, group: Group, world: PolicyWorld
) -> None:
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
        ids = ", ".join(group.id for group in world.namesakes)
        message = (
            f"a group named {wish.display_name} is already there and was not made here (object id {ids}); "
            "choose another name, or rename or delete that group"
        )
        return refused("GroupExists", message)
    return None


def _plan_principals(wish: GroupSubject, world: PolicyWorld, group_id: str | None) -> _Part:
    """Members and owners of the group, as far as the membership mode lets us."""
    part = _Part()
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
    part: _Part,
    relation: str,
    wished: tuple[Reference, ...],
    seen: Seen[tuple[Principal, ...]],
    world: PolicyWorld,
    group_id: str | None,
    *,
    exact: bool,
) -> int:
    """Plan one relation of the group. Returns how many it will have."""
    wanted, unresolved, unseen = _resolve(part, relation, wished, world.principals)
    if isinstance(seen, Fault):
        part.findings.append(seen.finding(Link.MEMBERS, observing=True))
        return 0
    current = {principal.id for principal in seen}
    adding = tuple(sorted(wanted.keys() - current))
    if adding:
        names = tuple(wanted[one] for one in adding)
        part.additions.append(AddPrincipals(group_id, relation, adding, names))
    # Whoever could be one of those that were not found by name, or were not seen at all, stays.
    leaving = [p for p in seen if p.id not in wanted and p.name.lower() not in unresolved]
    if not exact or unseen or not group_id:
        leaving = []
    if relation == "owners" and not wanted:
        leaving = _but_one_user(part, seen, leaving)
    part.removals += [RemovePrincipal(group_id or "", relation, one.id, one.name) for one in leaving]
    return len(current | wanted.keys()) - len(leaving)


def _but_one_user(part: _Part, seen: tuple[Principal, ...], leaving: list[Principal]) -> list[Principal]:
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
    part: _Part,
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


def _plan_azure_roles(
    policy: AccessPolicy, scope: str, world: PolicyWorld, group_id: str | None, inventory: Iterable[Item]
) -> _Part:
    """The Azure roles of the group at the cluster."""
    part = _Part()
    lines = [item for item in inventory if item.kind == ASSIGNMENT]
    if isinstance(world.assignments, Fault):
        if policy.azure_roles or lines:
            part.findings.append(world.assignments.finding(Link.AZURE_ROLES, observing=True))
        part.inventory += lines
        part.count = len(lines)
        return part
    mine = {a.role_id: a for a in world.assignments if group_id and a.principal_id == group_id}
    wanted: dict[str, str] = {}
    held: set[str] = set()
    for index, role in enumerate(policy.azure_roles):
        match world.roles.get(role):
            case str() as role_id:
                wanted[role_id] = role
            case Fault() as fault:
                part.findings.append(fault.finding(Link.AZURE_ROLES))
                held.add(role)
            case _:
                message = (
                    f"there is no Azure role {role} at the cluster; correct the name, or create the role"
                )
                path = f"spec.azureRoles[{index}].role"
                part.findings.append(
                    Finding(Link.AZURE_ROLES, Severity.STALLED, "RoleNotFound", message, path)
                )
                held.add(role)
    part.count = len(wanted)
    note = f"AccessPolicy {policy.meta.name}, kept by entra-access-operator"
    part.additions += [
        AssignRole(scope, role, role_id, group_id, note)
        for role_id, role in wanted.items()
        if role_id not in mine
    ]
    _unwanted_roles(part, scope, group_id, wanted, held, world.assignments, lines)
    return part


def _unwanted_roles(
    part: _Part,
    scope: str,
    group_id: str | None,
    wanted: Mapping[str, str],
    held: set[str],
    seen: tuple[Assignment, ...],
    lines: list[Item],
) -> None:
    """Sort out which of our assignments stay and which go.

    Ours are those that the inventory names, and those whose name only we would give. One that belongs to
    a role that could not be found now (`held`) stays: the role may have been renamed.
    """
    names = {item.id: item.name for item in lines}
    ours = {assignment_id(scope, a.name): a.role_id for a in seen if _is_ours(a, scope, group_id or "")}
    keep = {assignment_id(scope, assignment_name(scope, group_id or "", role_id)) for role_id in wanted}
    known = {arm_id: names.get(arm_id, role_id) for arm_id, role_id in ours.items()} | names
    for arm_id, role in known.items():
        if arm_id in keep and arm_id not in ours:
            continue  # it is to be made again
        if arm_id in keep or role in held:
            wished = wanted.get(ours.get(arm_id, ""), role)
            part.inventory.append(Item(System.AZURE, ASSIGNMENT, wished, arm_id))
        else:
            part.inventory.append(Item(System.AZURE, ASSIGNMENT, role, arm_id))
            part.removals.append(UnassignRole(arm_id, role))


def _is_ours(assignment: Assignment, scope: str, group_id: str) -> bool:
    """Whether the assignment is for the group and has the name that only we would give it."""
    ours = assignment_name(scope, group_id, assignment.role_id)
    return assignment.principal_id == group_id and assignment.name == ours


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
