"""GET /groups/delta and /users/delta: what changed since a token was given out, links of groups included.

The first round gives everything, page by page; its last page carries a `deltaLink`. That link gives the
changes since the first round began, so that nothing which happened meanwhile is lost. The same group may come
again on the next page with the rest of its members.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from entra_sandbox.directory import Directory, Group, MemberChange
from entra_sandbox.exchange import Call, Json, Reply, ServiceError
from entra_sandbox.graph_core import READ_GROUP, READ_USER, Graph, next_link, route
from entra_sandbox.graph_shapes import GROUP_PROPERTIES, USER_PROPERTIES, group_json, type_name, user_json
from entra_sandbox.odata import pick, read_token, selected

_MAX_IDS = 50
_ID = re.compile(r"\s*\(*\s*id\s+eq\s+'([^']*)'\s*\)*\s*", re.IGNORECASE)
_KEPT = ("$select", "$filter")


@dataclass(slots=True)
class _Round:
    """Where a reader is: changes after `since` up to `until`, continued behind `group` (or user) and
    `member`.
    """

    since: int
    until: int
    born: float
    query: dict[str, str]
    group: str = ""
    member: str = ""

    def as_json(self) -> Json:
        return {
            "s": self.since,
            "u": self.until,
            "b": self.born,
            "q": self.query,
            "g": self.group,
            "m": self.member,
        }


_Collect = Callable[[Graph, Call, _Round], tuple[list[Json], bool]]


def of_groups(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """Answer one page of a round over groups."""
    graph.require(call, READ_GROUP)
    return _answer(graph, call, "groups", _collect)


def of_users(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """Answer one page of a round over users."""
    graph.require(call, READ_USER)
    return _answer(graph, call, "users", _collect_users)


def _answer(graph: Graph, call: Call, kind: str, collect: _Collect) -> Reply:
    for refused in ("$top", "$expand", "$orderby", "$search"):
        if refused in call.query:
            raise ServiceError(
                400, "Request_UnsupportedQuery", f"'{refused}' is not supported for delta queries."
            )
    if call.query.get("$deltatoken") == "latest":
        return _reply(graph, call, kind, [], _first(graph, call), done=True)
    place = _resume(graph, call)
    # The query is part of the token: a link is followed as it is.
    call.query = dict(place.query)
    rows, done = collect(graph, call, place)
    return _reply(graph, call, kind, rows, place, done=done)


def _first(graph: Graph, call: Call) -> _Round:
    directory = graph.state.directory
    query = {k: call.query[k] for k in _KEPT if k in call.query}
    _ids(query)
    return _Round(0, directory.horizon(), graph.state.clock.now(), query)


def _resume(graph: Graph, call: Call) -> _Round:
    raw = call.query.get("$skiptoken") or call.query.get("$deltatoken")
    if raw is None:
        return _first(graph, call)
    try:
        token = read_token(raw)
        place = _Round(token["s"], token["u"], token["b"], token["q"], token["g"], token["m"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(400, "BadRequest", "Badly formed token.") from error
    now = graph.state.clock.now()
    if (
        now - place.born > graph.state.settings.delta_token_lifetime
        or place.since > graph.state.directory.seq
    ):
        raise ServiceError(
            400,
            "syncStateNotFound",
            "The sync state generation is not found. The delta token is expired and data must be "
            "synchronized again.",
        )
    if "$deltatoken" in call.query:
        place = _Round(place.since, graph.state.directory.horizon(), now, place.query)
    return place


def _ids(query: dict[str, str]) -> list[str] | None:
    """Give the ids of the filter: `id eq '…'`, joined by `or`, at most fifty; nothing else is supported."""
    text = query.get("$filter")
    if text is None:
        return None
    parts = [_ID.fullmatch(part) for part in re.split(r"\s+or\s+", text, flags=re.IGNORECASE)]
    if not all(parts):
        raise ServiceError(400, "Request_UnsupportedQuery", "Delta queries can only be filtered by id eq.")
    if len(parts) > _MAX_IDS:
        raise ServiceError(400, "Request_UnsupportedQuery", f"A filter is limited to {_MAX_IDS} ids.")
    return [part[1].lower() for part in parts if part]


def _collect(graph: Graph, call: Call, place: _Round) -> tuple[list[Json], bool]:
    """Fill one page, moving the place; members count towards its size as groups do.

    Owners, of whom there are few, come as a whole with the first members.
    """
    directory = graph.state.directory
    names = selected(call, GROUP_PROPERTIES | {"owners"}, "microsoft.graph.group")
    with_members = names is None or any(n.startswith("members") for n in names)
    asked = _ids(place.query)
    room = graph.state.settings.delta_page_size
    rows: list[Json] = []
    for group_id in sorted(_changed(directory, place, asked)):
        if group_id < place.group:
            continue
        if room <= 0:
            return rows, False
        group = directory.groups.get(group_id)
        if group is None:
            rows.append(_removed(directory, group_id))
            place.group, place.member, room = group_id + "~", "", room - 1
            continue
        row = pick(group_json(group), None if names is None else (*names, "id"))
        room -= 1
        if (names is None or "owners" in names) and group_id != place.group:
            owners = _links(directory, group.owners, group.owner_history, place.since)
            row |= {"owners@delta": [link for _, link in owners]} if owners else {}
        changes = _members(directory, group, place) if with_members else []
        if changes:
            row["members@delta"] = [change for _, change in changes[:room]]
        if len(changes) > room:
            place.group, place.member = group_id, changes[room - 1][0] if room else place.member
            rows.append(row)
            return rows, False
        room -= len(changes)
        rows.append(row)
        place.group, place.member = group_id + "~", ""
    return rows, True


def _changed(directory: Directory, place: _Round, asked: list[str] | None) -> list[str]:
    living = directory.groups if asked is None else asked
    found = [
        i
        for i in living
        if (g := directory.groups.get(i)) and g.changed_seq > place.since and directory.is_visible(g)
    ]
    if place.since == 0:
        return found
    gone = directory.deleted if asked is None else [i for i in asked if i in directory.deleted]
    found += [i for i in gone if directory.deleted[i].changed_seq > place.since]
    purged = directory.purged if asked is None else [i for i in asked if i in directory.purged]
    return found + [i for i in purged if directory.purged[i] > place.since]


def _removed(directory: Directory, group_id: str) -> Json:
    return {"id": group_id, "@removed": {"reason": "changed" if group_id in directory.deleted else "deleted"}}


def _members(directory: Directory, group: Group, place: _Round) -> list[tuple[str, Json]]:
    """Give the members' changes behind the place, sorted by member."""
    after = place.member if place.group == group.id else ""
    return [one for one in _links(directory, group.members, group.history, place.since) if one[0] > after]


def _links(
    directory: Directory, now: Collection[str], history: list[MemberChange], since: int
) -> list[tuple[str, Json]]:
    """Give what changed in one kind of a group's links, sorted by whom they lead to."""
    if since == 0:
        touched = {one for one in now if directory.find(one) is not None}
    else:
        touched = {c.member for c in history if c.seq > since}
    changes = []
    for one in sorted(touched):
        principal = directory.find(one)
        row: dict[str, Any] = {"@odata.type": "#microsoft.graph.directoryObject", "id": one}
        if principal is not None:
            row["@odata.type"] = f"#{type_name(principal)}"
        if one not in now:
            row["@removed"] = {"reason": "deleted"}
        changes.append((one, row))
    return changes


def _collect_users(graph: Graph, call: Call, place: _Round) -> tuple[list[Json], bool]:
    """Fill one page with users that are there, and those that were deleted; moves the place."""
    directory = graph.state.directory
    names = selected(call, USER_PROPERTIES, "microsoft.graph.user")
    asked = _ids(place.query)
    changed = {i for i, user in directory.users.items() if user.changed_seq > place.since}
    changed |= {i for i, seq in directory.deleted_users.items() if seq > place.since > 0}
    wanted = sorted(i for i in changed if i > place.group and (asked is None or i in asked))
    room = graph.state.settings.delta_page_size
    rows: list[Json] = []
    for user_id in wanted[:room]:
        user = directory.users.get(user_id)
        if user is None:
            # It can be restored for thirty days, which is why it is no more than "changed".
            rows.append({"id": user_id, "@removed": {"reason": "changed"}})
        else:
            rows.append(pick(user_json(user), None if names is None else (*names, "id")))
        place.group = user_id
    return rows, len(wanted) <= room


def _reply(graph: Graph, call: Call, kind: str, rows: list[Json], place: _Round, *, done: bool) -> Reply:
    call.query = dict(place.query)
    body: Json = {"@odata.context": f"https://graph.microsoft.com/v1.0/$metadata#{kind}"}
    if done:
        ended = _Round(place.until, place.until, graph.state.clock.now(), place.query)
        body["@odata.deltaLink"] = _link(call, "$deltatoken", ended)
    else:
        body["@odata.nextLink"] = _link(call, "$skiptoken", place)
    body["value"] = rows
    return Reply(200, body)


def _link(call: Call, name: str, place: _Round) -> str:
    # The real links carry nothing but the token; the query is inside it.
    call.query = {}
    return next_link(call, name, place.as_json())


ROUTES = (
    route("GET", r"/groups/(?:microsoft\.graph\.)?delta(?:\(\))?", of_groups),
    route("GET", r"/users/(?:microsoft\.graph\.)?delta(?:\(\))?", of_users),
)
