"""The part of a policy's plan that is about the group which the policy makes, or takes over."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from entra_access.api.resources import (
    GroupSubject,
    Membership,
    Meta,
)
from entra_access.api.status import ADOPTED, DriftItem, Item, Subject, System
from entra_access.domain.adoption import PATH as NAME_PATH
from entra_access.domain.adoption import adopting, plan_adoption, refused_again
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    CreateGroup,
    RestoreGroup,
    UpdateGroup,
)
from entra_access.domain.difference import (
    ABSENT,
    DELETED,
    GONE,
    PRESENT,
    Difference,
    group_words,
)
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.marks import Marks
from entra_access.domain.members_plan import Held, Memory, note_applications, plan_principals
from entra_access.domain.naming import digest, is_adopted, mail_nickname
from entra_access.domain.observed import Group, PolicyWorld
from entra_access.domain.part import Part
from entra_access.domain.subject_plan import Who

GROUP: Final = "Group"
RESTORING: Final = "Restoring"
SETTLING: Final = "Settling"


def group_item(inventory: Iterable[Item]) -> Item | None:
    """The inventory's line for the policy's group."""
    return next((item for item in inventory if item.system is System.ENTRA and item.kind == GROUP), None)


@dataclass(frozen=True)
class GroupNames:
    """The uniqueNames of a policy's group: of one that it makes, and of one that it takes over."""

    made: str
    adopted: str


def plan_group(
    wish: GroupSubject,
    names: GroupNames,
    world: PolicyWorld,
    inventory: tuple[Item, ...],
    now: str,
    put_in: Marks,
    meta: Meta,
) -> Who:
    """The group, its members and owners, as they should be. `put_in`: whom the operator has put into it."""
    line = group_item(inventory)
    known = world.group.id if isinstance(world.group, Group) else (line.id if line else "")
    who = Who()
    refusal = refused_again(wish, world, line.id if line else "")
    if refusal:
        who.findings.append(refusal)
        who.alone = who.unseen = True
        return who
    _plan_group_itself(who, wish, names, world, line, now, meta)
    taking = any(isinstance(change, AdoptGroup) for change in who.additions)
    creating = any(isinstance(change, CreateGroup) for change in who.additions)
    group_id = None if creating else known or None
    # What was put into another group says nothing of this one.
    memory = Memory(meta, put_in if line and line.id == group_id else Marks(), who.name)
    who.unseen = True
    if taking or (not creating and (group_id is None or world.group is None)):
        # Nobody to give anything to. What was made for a group that is gone gives nothing, and stays.
        who.alone = True
        return who
    visible = isinstance(world.group, Group) and not world.group.deleted
    members, held = Part(), Held()
    if visible or creating:
        held = plan_principals(members, wish, world, group_id, memory)
    if isinstance(world.group, Group) and not (visible and _is_settled(wish, world, members, line)):
        _settle(who, world.group, members, line)
        return who
    if visible or creating:
        note_applications(members, held, wish, world, inventory, group_id)
    who.additions += members.additions
    who.removals += members.removals
    who.inventory += members.inventory
    who.findings += members.findings
    who.differences += members.differences
    who.entries, who.stays = members.entries, members.stays
    faults = isinstance(world.members, Fault) or isinstance(world.owners, Fault)
    who.unseen = faults or not (visible or creating)
    who.count = members.count
    seen = world.group if isinstance(world.group, Group) else None
    adopted = is_adopted(seen.unique_name) if seen else bool(line and line.adopted and not creating)
    who.subject = Subject("Group", group_id or "", who.name, ADOPTED if adopted else "Created")
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
    origin = ADOPTED if is_adopted(group.unique_name) else "Created"
    who.subject = Subject("Group", group.id, group.display_name, origin) if told else None
    who.differences += members.differences
    if members.removals:
        message = f"those who are no members any more leave group {group.display_name} first"
        more = Finding(Link.SUBJECT, Severity.WAITING, SETTLING, message)
        members.findings.append(more)
    # New owners come first: Entra keeps a group's last owner.
    owners = (one for one in members.additions if isinstance(one, AddPrincipals) and one.relation == "owners")
    who.additions += [*owners, *members.removals]
    who.findings += members.findings
    if not told:
        who.inventory = [replace(item, id="") for item in who.inventory]


def group_mark(display_name: str, nickname: str, description: str | None) -> str:
    """A hash of a group's attributes."""
    return digest(repr((display_name, nickname, description or None)))


def _plan_group_itself(
    part: Part,
    wish: GroupSubject,
    names: GroupNames,
    world: PolicyWorld,
    line: Item | None,
    now: str,
    meta: Meta,
) -> None:
    """The group itself: made, restored, renamed or found as it should be."""
    since = line.since if line else now
    nickname = wish.mail_nickname or mail_nickname(wish.display_name)
    mark = group_mark(wish.display_name, nickname, wish.description)
    words = group_words(wish.display_name)
    match world.group:
        case Fault() as fault:
            part.findings.append(fault.finding(Link.SUBJECT, observing=True))
            part.inventory += [line] if line else []
        case None:
            refusal = _claimed(wish, world)
            found = None if refusal else plan_adoption(wish, meta, names.adopted, world)
            if refusal or isinstance(found, Finding):
                part.findings += [one for one in (refusal, found) if isinstance(one, Finding)]
            elif found:
                part.additions.append(found)
                part.findings.append(adopting(found))
            else:
                create = CreateGroup(names.made, wish.display_name, nickname, wish.description)
                part.additions.append(create)
                part.name = wish.display_name
                gone = bool(line and line.id)
                item = DriftItem(System.ENTRA, words, "", PRESENT, GONE if gone else ABSENT)
                part.differences.append(Difference(item, create, foreign=gone))
        case Group(deleted=True) as group:
            restore = RestoreGroup(group.id, group.display_name)
            part.additions.append(restore)
            item = DriftItem(System.ENTRA, words, "", PRESENT, DELETED)
            part.differences.append(Difference(item, restore, foreign=bool(line and line.id == group.id)))
            known = line.applied if line else ""
            part.inventory.append(_line_of(group, since, known))
            message = f"the deleted group {group.display_name} is being restored"
            part.findings.append(Finding(Link.SUBJECT, Severity.WAITING, RESTORING, message))
        case Group() as group:
            part.inventory.append(_line_of(group, since, mark))
            _plan_attributes(part, wish, nickname, group, world, foreign=bool(line and line.applied == mark))


def _line_of(group: Group, since: str, applied: str) -> Item:
    """The inventory's line. The group's own uniqueName tells whether it was there before its policy."""
    origin = ADOPTED if is_adopted(group.unique_name) else ""
    return Item(System.ENTRA, GROUP, group.unique_name, group.id, since, origin, applied)


def _plan_attributes(
    part: Part, wish: GroupSubject, nickname: str, group: Group, world: PolicyWorld, *, foreign: bool
) -> None:
    """`foreign`: the attributes were as they are wished for once."""
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
        change = UpdateGroup(group.id, different, tuple(found.items()))
        part.additions.append(change)
        words = group_words(wish.display_name)
        part.differences += [
            Difference(
                DriftItem(System.ENTRA, words, name, value or "none", found[name] or "none"), change, foreign
            )
            for name, value in different
        ]


def _claimed(wish: GroupSubject, world: PolicyWorld) -> Finding | None:
    """Another policy has the wished name, or whether somebody has it is not seen."""
    if world.claimant:
        message = f"AccessPolicy {world.claimant} has the group {wish.display_name}; choose another name"
        return Finding(Link.SUBJECT, Severity.STALLED, "GroupClaimed", message, NAME_PATH)
    if isinstance(world.namesakes, Fault):
        return world.namesakes.finding(Link.SUBJECT)
    return None


def _refused_name(wish: GroupSubject, world: PolicyWorld) -> Finding | None:
    """Why a group of ours may not be renamed so: another policy's, or somebody's, has that name."""
    refusal = _claimed(wish, world)
    if refusal or isinstance(world.namesakes, Fault) or not world.namesakes:
        return refusal
    ids = ", ".join(sorted(group.id for group in world.namesakes))
    message = (
        f"a group named {wish.display_name} is already there and was not made here (object id {ids}); "
        "choose another name, or rename or delete that group"
    )
    return Finding(Link.SUBJECT, Severity.STALLED, "GroupExists", message, NAME_PATH)
