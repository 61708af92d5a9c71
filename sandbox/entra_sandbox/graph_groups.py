"""Groups: create, upsert, read, list, change, delete."""

import re
from dataclasses import dataclass, field
from typing import Any

from entra_sandbox.azure import new_id
from entra_sandbox.directory import Directory, Group, Principal, ServicePrincipal, UniqueNameTakenError, User
from entra_sandbox.exchange import Call, Json, Reply, ServiceError
from entra_sandbox.graph_core import (
    ALL_GROUPS,
    CREATE_GROUP,
    DELETE_GROUP,
    READ_GROUP,
    WRITE_MEMBERS,
    Graph,
    bad_request,
    denied,
    entity,
    no_content,
    page,
    read_body,
    require_consistency,
    route,
)
from entra_sandbox.graph_members import check_links, check_member_rights, resolve
from entra_sandbox.graph_shapes import GROUP_PROPERTIES, group_json
from entra_sandbox.odata import Filter, parse_filter, pick, selected
from entra_sandbox.replica import Replica

_MAX_LINKS = 20
_MAX_OR = 15
_NICKNAME = re.compile(r"[\x21-\x7e]{1,64}")
_NICKNAME_FORBIDDEN = frozenset('@()\\[]";:<>,')
_FILTERABLE = frozenset(
    {
        "id", "displayName", "mailNickname", "description", "securityEnabled", "mailEnabled", "groupTypes",
        "isAssignableToRole", "createdDateTime",
    }
)  # fmt: skip
_READ_ONLY = frozenset(
    {"id", "createdDateTime", "deletedDateTime", "securityIdentifier", "renewedDateTime", "mail"}
)
_IGNORED = frozenset(
    {
        "classification",
        "membershipRule",
        "membershipRuleProcessingState",
        "preferredDataLocation",
        "preferredLanguage",
        "theme",
    }
)
_READERS: dict[type[Principal], frozenset[str]] = {
    User: frozenset({"User.Read.All", "User.ReadWrite.All"}),
    ServicePrincipal: frozenset({"Application.Read.All", "Application.ReadWrite.All"}),
}
_FIELDS = {
    "displayName": "display_name",
    "mailNickname": "mail_nickname",
    "description": "description",
    "mailEnabled": "mail_enabled",
    "securityEnabled": "security_enabled",
    "groupTypes": "group_types",
    "visibility": "visibility",
    "isAssignableToRole": "is_assignable_to_role",
    "uniqueName": "unique_name",
}
_REQUIRED = ("displayName", "mailEnabled", "mailNickname", "securityEnabled")


@dataclass(slots=True)
class _Input:
    """A body that was read and found good."""

    values: dict[str, Any] = field(default_factory=dict)
    members: list[Principal] = field(default_factory=list)
    owners: list[Principal] = field(default_factory=list)


def create(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """POST /groups."""
    graph.require(call, CREATE_GROUP)
    return _created(graph, call, _read(graph, read_body(call), creating=True))


def upsert(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """PATCH /groups(uniqueName='…'): with `Prefer: create-if-missing` a group that is not there is made."""
    if "create-if-missing" not in call.headers.get("prefer", "").lower():
        return update(graph, call, ref)
    graph.require(call, ALL_GROUPS)
    body = read_body(call)
    if body.setdefault("uniqueName", ref["unique"]) != ref["unique"]:
        raise bad_request("Invalid value specified for property 'uniqueName' of resource 'Group'.")
    # The directory itself decides, not a replica: a group that is not visible yet is found all the same.
    group = graph.newest_group(ref)
    if group is None:
        return _created(graph, call, _read(graph, body, creating=True))
    return _changed(graph, group, _read(graph, body, creating=False))


def update(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """PATCH /groups/{id}."""
    body = read_body(call)
    links = "members@odata.bind" in body
    group = graph.group_to_link(ref) if links else graph.group(ref)
    only_links = links and all(k.startswith("@") or k == "members@odata.bind" for k in body)
    graph.require(call, WRITE_MEMBERS if only_links else ALL_GROUPS, owned=group)
    given = _read(graph, body, creating=False)
    check_member_rights(graph, call, group, given.members)
    return _changed(graph, group, given)


def read(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /groups/{id}."""
    group = graph.group(ref)
    graph.require(call, READ_GROUP, owned=group)
    names = selected(call, GROUP_PROPERTIES, "microsoft.graph.group")
    context = "groups/$entity" if names is None else f"groups({','.join(names)})/$entity"
    return entity(context, pick(group_json(group), names))


def remove(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """DELETE /groups/{id}: softly; Microsoft 365 and security groups can be restored for 30 days."""
    graph.require(call, DELETE_GROUP)
    graph.state.directory.delete_group(graph.group(ref))
    return no_content()


def listing(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /groups."""
    graph.require(call, READ_GROUP)
    replica = graph.state.replica("stale_groups")
    wanted = group_filter(call)
    return list_groups(graph, call, candidates(graph.state.directory, replica, wanted), wanted)


def count(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /groups/$count."""
    graph.require(call, READ_GROUP)
    if call.headers.get("consistencylevel", "").lower() != "eventual":
        raise bad_request("$count is not currently supported.")
    replica = graph.state.replica("stale_groups")
    total = sum(graph.state.directory.is_visible(g) for g in replica.groups())
    return Reply(200, str(total), content_type="text/plain")


def candidates(directory: Directory, replica: Replica, wanted: Filter | None) -> list[Group]:
    """Give the visible groups that may pass the filter, by an index if there is one, oldest first."""
    by_index = {
        "id": lambda v: [directory.groups[v]] if v in directory.groups else [],
        "displayName": directory.groups_with,
        "mailNickname": directory.groups_nicknamed,
    }
    # The indexes are of the present.
    for name, values in wanted.equals if wanted and replica.is_current else ():
        if name in by_index:
            unique = dict.fromkeys(value.lower() for value in values)
            found = {group.id: group for value in unique for group in by_index[name](value)}
            return sorted(filter(directory.is_visible, found.values()), key=lambda g: g.created_seq)
    now = directory.clock.now()
    # Restored groups come last in the dictionary, but keep their number.
    return sorted((g for g in replica.groups() if g.visible_at <= now), key=lambda g: g.created_seq)


def group_filter(call: Call) -> Filter | None:
    """Read the filter of a list of groups."""
    wanted = parse_filter(call.query["$filter"], _FILTERABLE) if "$filter" in call.query else None
    if wanted and any(len(values) > _MAX_OR for _, values in wanted.equals):
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            "Too many child clauses specified in search filter expression containing 'OR' operators: "
            f"{max(len(v) for _, v in wanted.equals)}. Max allowed: {_MAX_OR}.",
        )
    require_consistency(call, advanced=wanted is not None and wanted.advanced)
    return wanted


def list_groups(graph: Graph, call: Call, groups: list[Group], wanted: Filter | None) -> Reply:
    """Answer with a page of those of the groups that the query asks for."""
    names = selected(call, GROUP_PROPERTIES, "microsoft.graph.group")
    if wanted:
        groups = [g for g in groups if wanted.test(_row(g))]
    if "$search" in call.query:
        groups = [g for g in groups if _found(g, call.query["$search"])]
    key = _order(call)
    groups = sorted(groups, key=key) if "$orderby" in call.query else groups
    context = "groups" if names is None else f"groups({','.join(names)})"
    return page(call, context, groups, key, lambda g: pick(group_json(g), names), graph.page_size(call))


def _order(call: Call) -> Any:
    order = call.query.get("$orderby", "").strip().lower()
    if order in ("displayname", "displayname asc"):
        return lambda g: f"{g.display_name.lower()}\0{g.id}"
    if order:
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            f"Sorting by '{call.query['$orderby']}' is not supported for this resource.",
        )
    return lambda g: f"{g.created_seq:012d}"


def _row(group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        "displayName": group.display_name,
        "mailNickname": group.mail_nickname,
        "description": group.description,
        "securityEnabled": group.security_enabled,
        "mailEnabled": group.mail_enabled,
        "groupTypes": group.group_types,
        "isAssignableToRole": group.is_assignable_to_role,
    }


def _found(group: Group, search: str) -> bool:
    name, _, text = search.strip('"').partition(":")
    value = {"displayname": group.display_name, "description": group.description or ""}.get(name.lower(), "")
    return bool(text) and text.lower() in value.lower()


def _created(graph: Graph, call: Call, given: _Input) -> Reply:
    caller = graph.caller(call)
    _check_creator(given, caller.oid, caller.roles)
    now = graph.state.clock.now()
    group = Group(
        id=new_id(),
        created=now,
        visible_at=now + graph.state.settings.replication_delay,
        created_by_app_id=caller.app_id,
        **given.values,
    )
    check_links(group, given.members, given.owners)
    try:
        graph.state.directory.add_group(group)
    except UniqueNameTakenError as error:
        raise _conflict() from error
    graph.state.directory.add_owners(group, [p.id for p in given.owners])
    graph.state.directory.add_members(group, [p.id for p in given.members])
    location = (
        f"https://graph.microsoft.com/v2/{graph.state.tenant_id}/directoryObjects/{group.id}"
        "/Microsoft.DirectoryServices.Group"
    )
    return entity("groups/$entity", group_json(group), 201, {"location": location})


def _check_creator(given: _Input, oid: str, roles: frozenset[str]) -> None:
    """Someone who may only create must be able to read what is linked, but for itself."""
    if given.values.get("is_assignable_to_role") and "RoleManagement.ReadWrite.Directory" not in roles:
        raise denied("a role-assignable group needs RoleManagement.ReadWrite.Directory")
    kinds = {type(p) for p in (*given.members, *given.owners) if p.id != oid}
    if not kinds or roles & ALL_GROUPS:
        return
    needed = {"Directory.Read.All"}
    if len(kinds) == 1:  # links of mixed kinds need the right to read the whole directory
        needed |= _READERS.get(next(iter(kinds)), frozenset())
    if roles.isdisjoint(needed):
        raise denied(f"to link others needs one of {', '.join(sorted(needed))}")


def _changed(graph: Graph, group: Group, given: _Input) -> Reply:
    """Check everything, then change everything: a refused request has changed nothing."""
    directory = graph.state.directory
    unique = given.values.pop("unique_name", None)
    if unique is not None and group.unique_name not in (None, unique):
        raise bad_request("Property 'uniqueName' is immutable and cannot be changed once it is set.")
    if given.values.get("is_assignable_to_role") not in (None, group.is_assignable_to_role):
        raise bad_request("Property 'isAssignableToRole' is immutable.")
    check_links(group, given.members, given.owners)
    if unique is not None:
        try:
            directory.set_unique_name(group, unique)
        except UniqueNameTakenError as error:
            raise _conflict() from error
    nickname = given.values.pop("mail_nickname", None)
    directory.rename(group, display_name=given.values.pop("display_name", None), nickname=nickname)
    for name, value in given.values.items():
        setattr(group, name, value)
    directory.touch(group)
    directory.add_owners(group, [p.id for p in given.owners])
    directory.add_members(group, [p.id for p in given.members])
    return no_content()


def _conflict() -> ServiceError:
    message = "Another object with the same value for property uniqueName already exists."
    return bad_request(message, [{"code": "ObjectConflict", "message": message, "target": "uniqueName"}])


def _read(graph: Graph, body: Json, *, creating: bool) -> _Input:
    given = _Input()
    for name, value in body.items():
        if name in ("members@odata.bind", "owners@odata.bind"):
            continue
        if name in _FIELDS:
            _check_value(name, value)
            given.values[_FIELDS[name]] = value
        elif name in _READ_ONLY or name == "disableNesting":
            raise bad_request(f"Unexpected request made to property '{name}' of resource 'Group'.")
        elif not name.startswith("@") and name not in _IGNORED:
            raise bad_request(f"Invalid property '{name}'.")
    if creating:
        _check_required(body)
    links = [body.get(name) or [] for name in ("members@odata.bind", "owners@odata.bind")]
    if sum(len(urls) for urls in links if isinstance(urls, list)) > _MAX_LINKS:
        raise bad_request(f"A resource cannot contain more than {_MAX_LINKS} link changes")
    given.members, given.owners = (resolve(graph, urls) for urls in links)
    return given


def _check_required(body: Json) -> None:
    for name in _REQUIRED:
        if body.get(name) is None:
            raise bad_request(f"A value is required for property '{name}' of resource 'Group'.")
    if body["mailEnabled"] and "Unified" not in body.get("groupTypes", ()):
        raise bad_request(
            "The service does not currently support writes of mail-enabled groups. Please ensure that the "
            "mail-enablement property is unset and the security-enablement property is set."
        )


def _check_value(name: str, value: Any) -> None:
    match name:
        case "displayName":
            good = isinstance(value, str) and 0 < len(value) <= 256
        case "mailNickname":
            good = isinstance(value, str) and _NICKNAME.fullmatch(value) is not None
            good = good and _NICKNAME_FORBIDDEN.isdisjoint(value)
        case "description":
            good = value is None or (isinstance(value, str) and 0 < len(value) <= 1024)
        case "mailEnabled" | "securityEnabled":
            good = isinstance(value, bool)
        case "uniqueName":
            good = isinstance(value, str) and value != ""
        case "groupTypes":
            good = isinstance(value, list) and all(isinstance(v, str) for v in value)
        case _:
            good = True
    if not good:
        raise bad_request(f"Invalid value specified for property '{name}' of resource 'Group'.")


ROUTES = (
    route("POST", "/groups", create),
    route("GET", "/groups", listing),
    route("GET", r"/groups/\$count", count),
    route("GET", "<group>", read),
    route("PATCH", r"/groups\(uniqueName='(?P<unique>(?:[^']|'')*)'\)", upsert),
    route("PATCH", "<group>", update),
    route("DELETE", "<group>", remove),
)
