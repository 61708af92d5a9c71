"""A group that is already there, and may become that of a policy."""

from collections.abc import Mapping
from typing import Final

from entra_access.api.names import ANNOTATION_ADOPT
from entra_access.api.resources import AdoptionPolicy, GroupSubject, Meta, Reference
from entra_access.domain.changes import AdoptGroup
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.observed import Group, PolicyWorld, Principal, Seen

PATH: Final = "spec.subject.group.displayName"
ADOPTING: Final = "Adopting"


def plan_adoption(
    wish: GroupSubject, meta: Meta, unique_name: str, world: PolicyWorld
) -> AdoptGroup | Finding | None:
    """Take over the group that is there already; why that cannot be; None where there is none."""
    named = meta.annotation(ANNOTATION_ADOPT)
    if named:
        return _named(named, unique_name, world)
    if isinstance(world.namesakes, Fault) or not world.namesakes:
        return None
    ids = ", ".join(sorted(group.id for group in world.namesakes))
    if wish.adoption is AdoptionPolicy.NEVER:
        return _refused(
            "GroupExists",
            f"a group named {wish.display_name} is already there and was not made here (object id {ids}); "
            f"choose another name, or have it taken over by adoptionPolicy, or rename or delete that group",
        )
    if len(world.namesakes) > 1:
        return _refused(
            "GroupsExist",
            f"several groups named {wish.display_name} are there (object ids {ids}); annotate this policy "
            f"with {ANNOTATION_ADOPT} and the object id of the one that it is to take over",
        )
    (group,) = world.namesakes
    if group.obstacle:
        return _refused(
            "NotAdoptable", f"group {wish.display_name} ({group.id}) cannot be taken over: {group.obstacle}"
        )
    if wish.adoption is AdoptionPolicy.IF_IDENTICAL:
        other = _unlike(wish, group, world)
        if isinstance(other, Fault):
            return other.finding(Link.SUBJECT, observing=True)
        if other:
            return _refused(
                "NotIdentical",
                f"group {wish.display_name} ({group.id}) is there and its {other} not as given here; make "
                "them alike, or have it taken over anyway by adoptionPolicy: Always",
            )
    return AdoptGroup(group.id, unique_name, group.display_name)


def _named(object_id: str, unique_name: str, world: PolicyWorld) -> AdoptGroup | Finding:
    match world.candidate:
        case Fault() as fault:
            return fault.finding(Link.SUBJECT, observing=True)
        case None:
            message = f"annotation {ANNOTATION_ADOPT}: there is no group with the object id {object_id}"
            return Finding(Link.SUBJECT, Severity.STALLED, "GroupNotFound", f"{message}; correct it")
        case Group() as group if group.obstacle:
            message = f"annotation {ANNOTATION_ADOPT}: that group cannot be taken over: {group.obstacle}"
            return Finding(Link.SUBJECT, Severity.STALLED, "NotAdoptable", message)
        case Group() as group:
            return AdoptGroup(group.id, unique_name, group.display_name)


def _refused(reason: str, message: str) -> Finding:
    return Finding(Link.SUBJECT, Severity.STALLED, reason, message, PATH)


def _unlike(wish: GroupSubject, group: Group, world: PolicyWorld) -> str | Fault:
    """What of the group is not as it is wished for; empty where all is."""
    if wish.mail_nickname and wish.mail_nickname != group.mail_nickname:
        return "mailNickname is"
    if (wish.description or "") != (group.description or ""):
        return "description is"
    for relation, wished, seen in (
        ("members", wish.members, world.members),
        ("owners", wish.owners, world.owners),
    ):
        ids = _ids(wished, world.principals)
        if isinstance(ids, Fault) or isinstance(seen, Fault):
            return ids if isinstance(ids, Fault) else _fault(seen)
        if ids is None or ids != {one.id for one in seen}:
            return f"{relation} are"
    return ""


def _fault(seen: Seen[tuple[Principal, ...]]) -> Fault:
    if not isinstance(seen, Fault):
        raise TypeError("seen after all")
    return seen


def _ids(
    wished: tuple[Reference, ...], principals: Mapping[Reference, Seen[Principal | None]]
) -> set[str] | Fault | None:
    """The object ids that are wished for; None where one of them is nobody's, or another policy's group."""
    found = set()
    for reference in wished:
        one = principals.get(reference)
        if isinstance(one, Fault):
            return one
        if one is None:
            return None
        found.add(one.id)
    return found
