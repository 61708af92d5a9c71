"""What a delta query says of one object: how it differs from what the reader was told before."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from entra_sandbox.directory import Directory, Group, ServicePrincipal
from entra_sandbox.exchange import Json
from entra_sandbox.graph_core import READ_GROUP, READ_USER
from entra_sandbox.graph_shapes import (
    GROUP_PROPERTIES,
    USER_DEFAULT,
    USER_PROPERTIES,
    group_json,
    kind_name,
    user_json,
)
from entra_sandbox.odata import pick
from entra_sandbox.timeline import Look, Timeline, links_at


@dataclass(frozen=True, slots=True)
class Feed:
    """A kind of objects that can be followed."""

    name: str
    type_name: str
    permissions: frozenset[str]
    properties: frozenset[str]
    usual: tuple[str, ...] | None
    """The properties without `$select`; `None` is all."""
    relations: tuple[str, ...]
    usual_relations: tuple[str, ...]
    looks: Callable[[Directory], Timeline[Any]]
    write: Callable[[Any], Json]


GROUPS = Feed(
    name="groups",
    type_name="microsoft.graph.group",
    permissions=READ_GROUP,
    properties=GROUP_PROPERTIES,
    usual=None,
    relations=("members", "owners"),
    usual_relations=("members",),
    looks=lambda directory: directory.group_looks,
    write=group_json,
)
USERS = Feed(
    name="users",
    type_name="microsoft.graph.user",
    permissions=READ_USER,
    properties=USER_PROPERTIES,
    usual=USER_DEFAULT,
    relations=(),
    usual_relations=(),
    looks=lambda directory: directory.user_looks,
    write=user_json,
)


@dataclass(frozen=True, slots=True)
class Interest:
    """What the reader follows, between which changes."""

    names: tuple[str, ...] | None
    relations: tuple[str, ...]
    since: int
    """The last change that the reader knows of; 0 in a first round, which gives all that there is."""
    until: int
    minimal: bool = False
    """Only properties that changed are wanted (`Prefer: return=minimal`)."""
    hide_service_principals: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A member or an owner that came or went."""

    relation: str
    row: Json

    @property
    def key(self) -> str:
        """Where it stands among the links of its object."""
        return f"{self.relation}/{self.row['id']}"


@dataclass(frozen=True, slots=True)
class Change:
    """An object's properties, or that it was removed, and its links that changed."""

    row: Json
    links: list[Link]


def change_of(feed: Feed, directory: Directory, object_id: str, interest: Interest) -> Change | None:
    """Say how an object differs from what the reader knows; `None` if nothing that is followed does."""
    timeline, since = feed.looks(directory), interest.since
    now = timeline.at(object_id, interest.until)
    if now is None or (isinstance(now.shape, Group) and not directory.is_visible(now.shape)):
        return None
    between = timeline.between(object_id, since, interest.until)
    if now.life != "alive":
        if since == 0 or not between:
            return None
        # What can be restored has only changed.
        reason = "changed" if now.life == "deleted" else "deleted"
        return Change({"id": object_id, "@removed": {"reason": reason}}, [])
    before = timeline.at(object_id, since) if since else None
    looks = between if before is None else [before, *between]
    # Whoever was told that it is gone has forgotten it: a restored group is told whole.
    is_new = before is None or any(look.life != "alive" for look in looks)
    links = _links(directory, now.shape, interest, whole=is_new, removed=before is not None)
    changed = _changed(feed, interest, looks)
    if not is_new and not changed and not links:
        return None
    row = _written(feed, interest, timeline, object_id, now)
    if interest.minimal and not is_new:
        row = {name: value for name, value in row.items() if name in changed}
    return Change({"id": object_id, **row}, links)


def _changed(feed: Feed, interest: Interest, looks: list[Look[Any]]) -> set[str]:
    """Name the properties that were different from one look to the next, be it for a while."""
    rows = [pick(feed.write(look.shape), interest.names) for look in looks] if len(looks) > 1 else []
    return {name for one, two in pairwise(rows) for name in one if one[name] != two[name]}


def _written(feed: Feed, interest: Interest, timeline: Timeline[Any], object_id: str, now: Look[Any]) -> Json:
    """Write an object. A property that never had a value is left out; one that lost it is null."""
    row = pick(feed.write(now.shape), interest.names)
    if None not in row.values():
        return row
    earlier = [feed.write(look.shape) for look in timeline.between(object_id, 0, interest.until)]
    ever = {name for one in earlier for name, value in one.items() if value is not None}
    return {name: value for name, value in row.items() if value is not None or name in ever}


def _links(
    directory: Directory, group: Group, interest: Interest, *, whole: bool, removed: bool
) -> list[Link]:
    """Give the links that changed, and all of a group that is told whole.

    Members who are deleted and can be restored are members still: lists leave them out, delta queries do not.
    """
    found = []
    for relation in interest.relations:
        links, history = (
            (group.members, group.history) if relation == "members" else (group.owners, group.owner_history)
        )
        there = links_at(links, history, interest.until)
        touched = set(there) if whole else set()
        if removed:
            touched |= {c.target for c in history if interest.since < c.seq <= interest.until}
        for target in touched:
            kind = directory.kinds[target]
            if interest.hide_service_principals and kind is ServicePrincipal and relation == "members":
                continue
            row: Json = {"@odata.type": f"#{kind_name(kind)}", "id": target}
            if target not in there:
                row["@removed"] = {"reason": "deleted"}
            found.append(Link(relation, row))
    return sorted(found, key=lambda link: link.key)
