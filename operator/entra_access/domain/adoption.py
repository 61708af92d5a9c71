"""A group that is already there, and may become that of a policy."""

from collections.abc import Callable
from typing import Final, NamedTuple

from entra_access.api.names import ANNOTATION_ADOPT
from entra_access.api.resources import (
    POLICY_MEMBER,
    AdoptionPolicy,
    GroupSubject,
    Membership,
    Meta,
    Reference,
)
from entra_access.domain.changes import AdoptGroup
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import is_adopted
from entra_access.domain.observed import Group, PolicyWorld, Principal, Seen

PATH: Final = "spec.subject.group.displayName"
ADOPTING: Final = "Adopting"


def plan_adoption(
    wish: GroupSubject, meta: Meta, unique_name: str, world: PolicyWorld
) -> AdoptGroup | Finding | None:
    """Take over the group that is there already; why that cannot be; None where there is none."""
    named = meta.annotation(ANNOTATION_ADOPT)
    found = _named(named, world) if named else _of_that_name(wish, unique_name, world)
    if not isinstance(found, Group):
        return found
    if found.unique_name == unique_name:
        return adopting(found)  # it was taken over a moment ago, and is not found by that name everywhere
    if found.obstacle:
        where = f"annotation {ANNOTATION_ADOPT}: " if named else ""
        message = f"{where}group {found.display_name} ({found.id}) cannot be taken over: {found.obstacle}"
        return Finding(Link.SUBJECT, Severity.STALLED, "NotAdoptable", message, "" if named else PATH)
    return refused(wish, found, world) or AdoptGroup(found.id, unique_name, found.display_name)


def adopting(group: Group | AdoptGroup) -> Finding:
    """That a group is being taken over, and what there is to give follows."""
    group_id = group.id if isinstance(group, Group) else group.group_id
    message = f"group {group.display_name} ({group_id}) is being taken over"
    return Finding(Link.SUBJECT, Severity.WAITING, ADOPTING, message)


def refused(wish: GroupSubject, group: Group, world: PolicyWorld) -> Finding | None:
    """Why a group may not be taken over that must be as it is wished for: in what it is not."""
    if wish.adoption is not AdoptionPolicy.IF_IDENTICAL:
        return None
    other = _unlike(wish, group, world)
    if isinstance(other, Fault):
        return other.finding(Link.SUBJECT, observing=True)
    if not other:
        return None
    message = (
        f"group {group.display_name} ({group.id}) is there and its {other} not as given here; make them "
        "alike, or have it taken over anyway by adoptionPolicy: Always"
    )
    return _refused("NotIdentical", message)


def refused_again(wish: GroupSubject, world: PolicyWorld, known: str) -> Finding | None:
    """Likewise of one that was taken over before, by a policy of this name that does not know it any more.

    `known` is the object id in the inventory.
    """
    group = world.group
    if not isinstance(group, Group) or group.id == known or not is_adopted(group.unique_name):
        return None
    return refused(wish, group, world)


def _of_that_name(wish: GroupSubject, unique_name: str, world: PolicyWorld) -> Group | Finding | None:
    if isinstance(world.namesakes, Fault) or not world.namesakes:
        return None
    ids = ", ".join(sorted(group.id for group in world.namesakes))
    if wish.adoption is AdoptionPolicy.NEVER:
        return _refused(
            "GroupExists",
            f"a group named {wish.display_name} is already there and was not made here (object id {ids}); "
            f"choose another name, or have it taken over by adoptionPolicy, or rename or delete that group",
        )
    mine = next((group for group in world.namesakes if group.unique_name == unique_name), None)
    if mine is None and len(world.namesakes) > 1:
        return _refused(
            "GroupsExist",
            f"several groups named {wish.display_name} are there (object ids {ids}); annotate this policy "
            f"with {ANNOTATION_ADOPT} and the object id of the one that it is to take over",
        )
    return mine or world.namesakes[0]


def _named(object_id: str, world: PolicyWorld) -> Group | Finding:
    match world.candidate:
        case Fault() as fault:
            return fault.finding(Link.SUBJECT, observing=True)
        case None:
            message = f"annotation {ANNOTATION_ADOPT}: there is no group with the object id {object_id}"
            return Finding(Link.SUBJECT, Severity.STALLED, "GroupNotFound", f"{message}; correct it")
        case Group() as group:
            return group


def _refused(reason: str, message: str) -> Finding:
    return Finding(Link.SUBJECT, Severity.STALLED, reason, message, PATH)


class _Relation(NamedTuple):
    """Who is in a group, as wished for and as seen, and whether others may be in it too."""

    name: str
    wished: tuple[Reference, ...]
    seen: Seen[tuple[Principal, ...]]
    others: bool


def _unlike(wish: GroupSubject, group: Group, world: PolicyWorld) -> str | Fault:
    """What of the group is not as it is wished for; empty where all is."""
    if wish.display_name != group.display_name:
        return "displayName is"
    if wish.mail_nickname and wish.mail_nickname != group.mail_nickname:
        return "mailNickname is"
    if (wish.description or "") != (group.description or ""):
        return "description is"
    others = wish.membership is not Membership.EXACT
    for relation in (
        _Relation("members", wish.members, world.members, others),
        _Relation("owners", wish.owners, world.owners, others),
    ):
        if isinstance(relation.seen, Fault):
            return relation.seen
        ids = _ids(relation.wished, world)
        if isinstance(ids, Fault):
            return ids
        there = {one.id for one in relation.seen}
        alike: Callable[[set[str]], bool] = there.issuperset if relation.others else there.__eq__
        if ids is None or not alike(ids):
            return f"{relation.name} are"
    return ""


def _ids(wished: tuple[Reference, ...], world: PolicyWorld) -> set[str] | Fault | None:
    """The object ids that are wished for; None where one of them is nobody's."""
    found = set()
    for reference in wished:
        one = world.principals.get(reference)
        if isinstance(one, Fault):
            return one
        object_id = one.id if one else _group_of(reference, world)
        if not object_id:
            return None
        found.add(object_id)
    return found


def _group_of(reference: Reference, world: PolicyWorld) -> str:
    """The object id of another policy's group; empty where it has none, or none is meant."""
    view = world.policies.get(reference.value) if reference.kind == POLICY_MEMBER else None
    return view.subject.object_id if view and view.subject and view.subject.kind == "Group" else ""
