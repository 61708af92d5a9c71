"""The part of a policy's plan that is about the members and owners of the group which the policy makes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from entra_access.api.resources import (
    POLICY_MEMBER,
    AccessPolicy,
    DirectorySubject,
    GroupSubject,
    Membership,
    Meta,
    PrincipalKind,
    Reference,
)
from entra_access.api.status import Item, System
from entra_access.domain.approval import approved, needs_approval
from entra_access.domain.changes import (
    AddPrincipals,
    RemovePrincipal,
)
from entra_access.domain.difference import (
    Difference,
    membership,
)
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.marks import Marks
from entra_access.domain.naming import is_guid
from entra_access.domain.observed import Entry, PolicyWorld, Principal, Seen
from entra_access.domain.part import Part
from entra_access.domain.subject_plan import disabled
from entra_access.domain.warnings import overage

MEMBER: Final = "Member"
APPLICATION: Final = PrincipalKind.SERVICE_PRINCIPAL.value


@dataclass
class Held:
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
    wished: tuple[Reference, ...] = ()
    missing: list[Reference] = field(default_factory=list)

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


@dataclass(frozen=True)
class Memory:
    """What earlier passes know: whom the operator has put into the group, which is called `group`."""

    meta: Meta
    put_in: Marks
    group: str

    def foreign(self, relation: str, one: Principal) -> bool:
        """Whether another hand has put somebody in."""
        return self.put_in.known and not self.put_in.has(relation, one.id)


def _name(one: Principal) -> str:
    return one.name or one.display_name or one.id


def plan_principals(
    part: Part, wish: GroupSubject, world: PolicyWorld, group_id: str | None, memory: Memory
) -> Held:
    """Members and owners of the group, as far as the membership mode lets us. Returns which members stay."""
    exact, held = wish.membership is Membership.EXACT, Held()
    if wish.membership is not Membership.UNMANAGED:
        wanted = _resolve(part, held, "members", wish.members, world)
        part.count = _plan_relation(
            part, held, "members", wanted, world.members, group_id, memory, exact=exact
        )
    elif not isinstance(world.members, Fault):
        part.count = len(world.members)
    of_owners = Held()
    owners = _resolve(part, of_owners, "owners", wish.owners, world)
    _plan_relation(part, of_owners, "owners", owners, world.owners, group_id, memory, exact=exact)
    return held


def note_applications(
    members: Part,
    held: Held,
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
    held: Held,
    relation: str,
    wanted: dict[str, Reference],
    seen: Seen[tuple[Principal, ...]],
    group_id: str | None,
    memory: Memory,
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
        if ids:
            names = tuple(wanted[one].value for one in ids)
            change = AddPrincipals(group_id, relation, tuple(ids), names, applications=of_applications)
            part.additions.append(change)
            part.differences += _missing(change, wanted, memory)
    part.entries += [Entry(relation, str(ref), one, one in current) for one, ref in wanted.items()]
    leaving = [one for one in seen if one.id not in wanted]
    part.unseen = part.unseen or any(one.kind in held.kinds for one in leaving)
    leaving = [one for one in leaving if exact and group_id and not held.has(one)]
    # Who was put in by a name that nobody has now may only be called otherwise.
    put_in, gone = memory.put_in, [str(one) for one in held.missing]
    leaving = [one for one in leaving if not put_in.wished(relation, one.id, gone)]
    leaving.sort(key=lambda one: one.id)  # lists come in any order
    if relation == "owners" and not wanted:
        leaving = _but_one_user(part, seen, leaving, memory)
    leaving = _approved(part, relation, held.wished, wanted, seen, leaving, memory)
    for one in leaving:
        removal = RemovePrincipal(
            group_id or "", relation, one.id, _name(one), application=one.kind == APPLICATION
        )
        part.removals.append(removal)
        item = membership(memory.group, relation, _name(one), wished=False)
        part.differences.append(Difference(item, removal, memory.foreign(relation, one)))
    part.stays |= {(relation, one.id) for one in seen if one.id not in wanted and one not in leaving}
    return len(current | wanted.keys()) - len(leaving)


def _missing(change: AddPrincipals, wanted: dict[str, Reference], memory: Memory) -> list[Difference]:
    """Who is to be added, and who of them was there before."""
    return [
        Difference(
            membership(memory.group, change.relation, wanted[one].value, wished=True),
            change,
            foreign=memory.put_in.had(change.relation, str(wanted[one]), one),
        )
        for one in change.ids
    ]


def _approved(
    part: Part,
    relation: str,
    wished: tuple[Reference, ...],
    wanted: dict[str, Reference],
    seen: tuple[Principal, ...],
    leaving: list[Principal],
    memory: Memory,
) -> list[Principal]:
    """Without those who may not leave yet.

    More than half of those whom the operator has put in would leave, and nobody took the wish for them back:
    then a name stands for somebody else now, or another policy's group is another one. Who has come in their
    place does not count.
    """
    put_in, texts = memory.put_in, [str(one) for one in wished]
    wishes = {one.id: put_in.wished(relation, one.id, texts) for one in leaving}
    resolved = [one for one in leaving if wishes[one.id]]
    places = {text for texts_of_one in wishes.values() for text in texts_of_one}
    came = {one for one, reference in wanted.items() if str(reference) in places}
    all_put_in = sum(put_in.has(relation, one.id) for one in seen if one.id not in came)
    ids = [one.id for one in resolved]
    if 2 * len(resolved) <= all_put_in or approved(memory.meta, ids):
        return leaving
    names = ", ".join(sorted(map(_name, resolved))[:10])
    message = (
        f"{len(resolved)} of {all_put_in} {relation} would leave, although the spec has not changed: {names}"
    )
    path = f"spec.subject.group.{relation}"
    part.findings.append(needs_approval(memory.meta, Link.MEMBERS, ids, message, path))
    return [one for one in leaving if one not in resolved]


def _but_one_user(
    part: Part, seen: tuple[Principal, ...], leaving: list[Principal], memory: Memory
) -> list[Principal]:
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
    if memory.foreign("owners", stays):
        item = membership(memory.group, "owners", _name(stays), wished=False)
        part.differences.append(Difference(item, foreign=True))
    return [principal for principal in leaving if principal != stays]


def _resolve(
    part: Part, held: Held, relation: str, wished: tuple[Reference, ...], world: PolicyWorld
) -> dict[str, Reference]:
    """The references by object id. Who could be one that is not known now is `held`."""
    wanted: dict[str, Reference] = {}
    held.wished = wished
    for index, reference in enumerate(wished):
        path = f"spec.subject.group.{relation}[{index}].{reference.kind}"
        match _found(reference, world, path):
            case Principal() as principal if not principal.security or principal.unified:
                # It is no member, so nobody has to stay for its sake.
                part.findings.append(_no_security_group(principal, path))
            case Principal() as principal:
                wanted[principal.id] = reference
                part.findings += _overage(reference, principal, world, path)
                part.findings += [] if principal.enabled else [disabled(principal, Link.MEMBERS, path)]
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
                held.missing.append(reference)
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
