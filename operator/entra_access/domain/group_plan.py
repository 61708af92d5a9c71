"""The part of a policy's plan that is about the group which the policy makes: itself, members and owners."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from entra_access.api.resources import (
    POLICY_MEMBER,
    AccessPolicy,
    DirectorySubject,
    GroupSubject,
    Membership,
    PrincipalKind,
    Reference,
)
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import (
    AddPrincipals,
    CreateGroup,
    RemovePrincipal,
    RestoreGroup,
    UpdateGroup,
)
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import is_guid, mail_nickname
from entra_access.domain.observed import Group, PolicyWorld, Principal, Seen
from entra_access.domain.part import Part
from entra_access.domain.subject_plan import Who
from entra_access.domain.warnings import overage

GROUP: Final = "Group"
MEMBER: Final = "Member"
APPLICATION: Final = PrincipalKind.SERVICE_PRINCIPAL.value
RESTORING: Final = "Restoring"
SETTLING: Final = "Settling"


@dataclass
class _Held:
    """Whose leaving waits, because it is not known who some of those that are wished for are.

    Attributes
    ----------
    kinds
        It is not known which ones of these kinds are wished for, so none of them leaves.
    ids
        Object ids that are wished for and could not be looked up.
    names
        Names and ids that the directory has not, though one who is in the group may be known by them.
    """

    kinds: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def has(self, one: Principal) -> bool:
        """Whether this one must stay for now."""
        return one.kind in self.kinds or bool((self.ids | self.names) & {one.id, one.name.lower()})

    def could_not_look_up(self, reference: Reference) -> None:
        """Take note of a look-up that failed: an object id is one object, a name may be anybody's."""
        # A service principal's GUID may be that of its application, which is not its object id.
        if is_guid(reference.value) and reference.kind != APPLICATION:
            self.ids.add(reference.value)
        else:
            self.kinds.add(reference.kind)


def group_item(inventory: Iterable[Item]) -> Item | None:
    """The inventory's line for the policy's group."""
    return next((item for item in inventory if item.system is System.ENTRA and item.kind == GROUP), None)


def plan_group(
    wish: GroupSubject, unique_name: str, world: PolicyWorld, inventory: tuple[Item, ...], now: str
) -> Who:
    """The group, its members and owners, as they should be."""
    line = group_item(inventory)
    known = world.group.id if isinstance(world.group, Group) else (line.id if line else "")
    who = Who()
    _plan_group_itself(who, wish, unique_name, world, line, now)
    creating = any(isinstance(change, CreateGroup) for change in who.additions)
    group_id = None if creating else known or None
    if not creating and (group_id is None or world.group is None):
        # Nobody to give anything to. What was made for a group that is gone gives nothing, and stays.
        who.alone = True
        return who
    visible = isinstance(world.group, Group) and not world.group.deleted
    members, held = Part(), _Held()
    if visible or creating:
        held = _plan_principals(members, wish, world, group_id)
    if isinstance(world.group, Group) and not (visible and _is_settled(wish, world, members, line)):
        _settle(who, world.group, members, line)
        return who
    if visible or creating:
        _note_applications(members, held, wish, world, inventory, group_id)
    who.additions += members.additions
    who.removals += members.removals
    who.inventory += members.inventory
    who.findings += members.findings
    who.count = members.count
    who.subject = Subject("Group", group_id or "", who.name)
    return who


def _is_settled(wish: GroupSubject, world: PolicyWorld, members: Part, line: Item | None) -> bool:
    """Whether the group may be given anything: it has been before, or nobody is in it who must leave.

    A group that comes back after its policy was deleted still has the members of then. The inventory has
    its id only from when it was settled once.
    """
    if wish.membership is not Membership.EXACT or (line and line.id == getattr(world.group, "id", "")):
        return True
    return not (members.removals or members.unseen)


def _settle(who: Who, group: Group, members: Part, line: Item | None) -> None:
    """Restore the group, or see off those who must leave it, before anything is given to it."""
    told = line is not None and line.id == group.id
    who.alone = True
    who.subject = Subject("Group", group.id, group.display_name) if told else None
    if members.removals:
        message = f"those who are no members any more leave group {group.display_name} first"
        more = Finding(Link.SUBJECT, Severity.WAITING, SETTLING, message)
        members.findings.append(more)
    who.additions += members.removals
    who.findings += members.findings
    if not told:
        who.inventory = [replace(item, id="") for item in who.inventory]


def _plan_group_itself(
    part: Part, wish: GroupSubject, unique_name: str, world: PolicyWorld, line: Item | None, now: str
) -> None:
    """The group itself: made, restored, renamed or found as it should be."""
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


def _plan_principals(part: Part, wish: GroupSubject, world: PolicyWorld, group_id: str | None) -> _Held:
    """Members and owners of the group, as far as the membership mode lets us. Returns which members stay."""
    exact, held = wish.membership is Membership.EXACT, _Held()
    if wish.membership is not Membership.UNMANAGED:
        wanted = _resolve(part, held, "members", wish.members, world)
        part.count = _plan_relation(part, held, "members", wanted, world.members, group_id, exact=exact)
    elif not isinstance(world.members, Fault):
        part.count = len(world.members)
    of_owners = _Held()
    owners = _resolve(part, of_owners, "owners", wish.owners, world)
    _plan_relation(part, of_owners, "owners", owners, world.owners, group_id, exact=exact)
    return held


def _note_applications(
    members: Part,
    held: _Held,
    wish: GroupSubject,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    group_id: str | None,
) -> None:
    """Write down which service principals are members, and take out those written down that must leave.

    Graph's list of members leaves service principals out, so one that is no longer wished for may be there
    and not be seen. Source: https://learn.microsoft.com/graph/api/group-list-members, "known issue".
    """
    if wish.membership is Membership.UNMANAGED or isinstance(world.members, Fault):
        return
    applications = [one for one in wish.members if one.kind == APPLICATION]
    found = {one: world.principals.get(one) for one in applications}
    wanted = {one: seen for one, seen in found.items() if isinstance(seen, Principal)}
    members.inventory += [Item(System.ENTRA, MEMBER, str(one), seen.id) for one, seen in wanted.items()]
    listed = {one.id for one in world.members} | {seen.id for seen in wanted.values()}
    if wish.membership is not Membership.EXACT:
        return  # nobody leaves now; who is written down may have to when that is wished for
    # One that is wished for and cannot be found just now is not one that must leave.
    wished = {str(one) for one in wish.members}
    members.removals += [
        one
        for one in leave_unseen(group_id or "", inventory)
        if group_id
        and one.id not in listed
        and one.name not in wished
        and not held.has(Principal(one.id, APPLICATION))
    ]


def leave_unseen(group_id: str, inventory: Iterable[Item]) -> list[RemovePrincipal]:
    """What takes out the service principals that are written down as members, shown by a list or not."""
    lines = {line.id: line for line in inventory if line.kind == MEMBER and line.id}
    return [
        RemovePrincipal(group_id, "members", one, line.name, application=True) for one, line in lines.items()
    ]


def _plan_relation(
    part: Part,
    held: _Held,
    relation: str,
    wanted: dict[str, Reference],
    seen: Seen[tuple[Principal, ...]],
    group_id: str | None,
    *,
    exact: bool,
) -> int | None:
    """Plan one relation of the group. Returns how many it will have, or None where that was not seen."""
    if isinstance(seen, Fault):
        part.unseen = True
        part.findings.append(seen.finding(Link.MEMBERS, observing=True))
        return None
    current = {principal.id for principal in seen}
    adding = sorted(wanted.keys() - current)
    # Service principals in a call of their own: it needs a permission that the operator may not have.
    applications = [one for one in adding if wanted[one].kind == APPLICATION]
    people = [one for one in adding if one not in applications]
    for ids, of_applications in ((people, False), (applications, True)):
        names = tuple(wanted[one].value for one in ids)
        add = AddPrincipals(group_id, relation, tuple(ids), names, applications=of_applications)
        part.additions += [add] if ids else []
    leaving = [one for one in seen if one.id not in wanted]
    part.unseen = part.unseen or any(one.kind in held.kinds for one in leaving)
    leaving = [one for one in leaving if exact and group_id and not held.has(one)]
    if relation == "owners" and not wanted:
        leaving = _but_one_user(part, seen, leaving)
    part.removals += [
        RemovePrincipal(group_id or "", relation, one.id, one.name, application=one.kind == APPLICATION)
        for one in leaving
    ]
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
    part: Part, held: _Held, relation: str, wished: tuple[Reference, ...], world: PolicyWorld
) -> dict[str, Reference]:
    """The references by object id. Who could be one that is not known now is `held`."""
    wanted: dict[str, Reference] = {}
    for index, reference in enumerate(wished):
        path = f"spec.subject.group.{relation}[{index}].{reference.kind}"
        match _found(reference, world, path):
            case Principal() as principal if not principal.security or principal.unified:
                # It is no member, so nobody has to stay for its sake.
                part.findings.append(_no_security_group(principal, path))
            case Principal() as principal:
                wanted[principal.id] = reference
                part.findings += _overage(reference, principal, world, path)
            case Fault() as fault:
                held.could_not_look_up(reference)
                part.findings.append(fault.finding(Link.MEMBERS))
            case Finding() as finding:
                # Which group that is nobody knows now, or only its id.
                if reference.kind == POLICY_MEMBER:
                    held.kinds.add(PrincipalKind.GROUP.value)
                else:
                    held.ids.add(reference.value)
                part.findings.append(finding)
            case _:
                held.names.add(reference.value)
                message = f"there is no {reference} in the directory; correct it, or create it there"
                part.findings.append(Finding(Link.MEMBERS, Severity.STALLED, "MemberNotFound", message, path))
    return wanted


def _no_security_group(principal: Principal, path: str) -> Finding:
    """Source: https://learn.microsoft.com/graph/api/group-post-members, what can be a member of what."""
    what = "a Microsoft 365 group" if principal.unified else "not security-enabled"
    message = (
        f"the group {principal.display_name} is {what}, and only security groups can be members of a "
        "security group; name another one, or its members"
    )
    return Finding(Link.MEMBERS, Severity.STALLED, "NotASecurityGroup", message, path)


def _found(reference: Reference, world: PolicyWorld, path: str) -> Seen[Principal | None] | Finding:
    groups = {POLICY_MEMBER, PrincipalKind.GROUP.value}
    if reference.kind in groups and reference.value in world.cycles:
        message = (
            f"its group would be a member of itself: {world.cycles[reference.value]}; take one of them out"
        )
        return Finding(Link.MEMBERS, Severity.STALLED, "MembershipCycle", message, path)
    if reference.kind == POLICY_MEMBER:
        return _group_of_policy(reference.value, world, path)
    return world.principals.get(reference)


def _group_of_policy(name: str, world: PolicyWorld, path: str) -> Principal | Finding:
    """The group of another AccessPolicy, or why it is not known."""

    def finding(severity: Severity, reason: str, message: str) -> Finding:
        return Finding(Link.MEMBERS, severity, reason, message, path)

    view = world.policies.get(name)
    if view is None or view.deleting:
        state = "is being deleted" if view else "does not exist"
        return finding(Severity.WAITING, "PolicyNotFound", f"waiting for AccessPolicy {name}, which {state}")
    if view.policy and not _has_group(view.policy):
        message = f"AccessPolicy {name} has no group that could be a member; name its subject itself"
        return finding(Severity.STALLED, "PolicyHasNoGroup", message)
    if view.subject is None or view.subject.kind != "Group":
        message = f"waiting for AccessPolicy {name} to have its group"
        return finding(Severity.WAITING, "PolicyNotReady", message)
    return Principal(view.subject.object_id, PrincipalKind.GROUP.value)


def _has_group(policy: AccessPolicy) -> bool:
    subject = policy.subject
    return isinstance(subject, GroupSubject) or (
        isinstance(subject, DirectorySubject) and subject.reference.kind == PrincipalKind.GROUP.value
    )


def _overage(reference: Reference, principal: Principal, world: PolicyWorld, path: str) -> list[Finding]:
    finding = overage(principal.id, str(reference), world.groups_of, Link.MEMBERS, path)
    return [finding] if finding else []
