"""Members and owners: lists, links, and everything that the links of others imply."""

from collections.abc import Iterable, Sequence
from typing import Any

from entra_sandbox.directory import Directory, Group, Principal, ServicePrincipal, User
from entra_sandbox.exchange import Call, Json, Reply, ServiceError
from entra_sandbox.graph_core import (
    ALL_GROUPS,
    DELETE_USER,
    LIST_MEMBERS,
    LIST_OWNERS,
    READ_APPLICATION,
    READ_GROUP,
    WRITE_APPLICATIONS,
    WRITE_MEMBERS,
    Graph,
    bad_request,
    denied,
    no_content,
    not_found,
    page,
    read_body,
    require_consistency,
    route,
)
from entra_sandbox.graph_shapes import ANY_PROPERTY, group_json, member_json, type_name
from entra_sandbox.odata import parse_filter, pick, selected
from entra_sandbox.replica import Replica

_MAX_OWNERS = 100


def resolve(graph: Graph, urls: object) -> list[Principal]:
    """Resolve a list of links; none may be named twice."""
    if not isinstance(urls, list):
        raise bad_request("Invalid URL format specified in payload.")
    found = [graph.referenced(url) for url in urls]
    if len({p.id for p in found}) != len(found):
        raise bad_request("Request contains a property with duplicate values.")
    return found


def check_links(group: Group, members: Sequence[Principal], owners: Sequence[Principal]) -> None:
    """Refuse links that are already there or may not be."""
    for principal in members:
        if isinstance(principal, Group) and (
            not principal.security_enabled or principal.is_unified or group.is_assignable_to_role
        ):
            raise _unfit(principal, "members")
    for principal in owners:
        if isinstance(principal, Group):
            raise _unfit(principal, "owners")
    for kind, links, there in (("members", members, group.members), ("owners", owners, group.owners)):
        if any(p.id in there for p in links):
            raise bad_request(
                "One or more added object references already exist for the following modified properties: "
                f"'{kind}'."
            )
    if len(group.owners) + len(owners) > _MAX_OWNERS:
        raise bad_request("The number of owners of a group is limited to 100.")


def check_member_rights(graph: Graph, call: Call, group: Group, members: Sequence[Principal]) -> None:
    """Refuse unless the caller may put these kinds into this group, or take them out. An owner may."""
    caller = graph.caller(call)
    if caller.oid in group.owners or not members:
        return
    graph.require(call, WRITE_MEMBERS)
    if any(isinstance(p, ServicePrincipal) for p in members):
        graph.require(call, WRITE_APPLICATIONS)
    if group.is_assignable_to_role and "RoleManagement.ReadWrite.Directory" not in caller.roles:
        raise denied("members of a role-assignable group need RoleManagement.ReadWrite.Directory")


def list_members(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /groups/{id}/members."""
    graph.require(call, LIST_MEMBERS)
    replica = graph.state.replica("stale_lists")
    return _objects(graph, call, _listed(graph, graph.group(ref), replica), _cast(ref), replica)


def _cast(ref: dict[str, str]) -> str | None:
    """The full name of the kind that a route is narrowed to: Graph takes ``graph.group`` for it too."""
    return f"microsoft.{ref['cast']}" if ref.get("cast") else None


def _listed(graph: Graph, group: Group, replica: Replica) -> list[str]:
    """Give the ids that a list of members shows: late, and without service principals, if so set."""
    ids = replica.members(group)
    if graph.state.settings.hide_service_principals:
        return [i for i in ids if i not in graph.state.directory.service_principals]
    return ids


def list_transitive(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /groups/{id}/transitiveMembers."""
    graph.require(call, LIST_MEMBERS)
    ids = graph.state.directory.transitive_members_of(graph.group(ref))
    return _objects(graph, call, ids, _cast(ref), graph.state.directory)


def list_owners(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /groups/{id}/owners."""
    graph.require(call, LIST_OWNERS)
    replica = graph.state.replica("stale_lists")
    return _objects(graph, call, replica.owners(graph.group(ref)), _cast(ref), replica)


def list_refs(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /groups/{id}/members/$ref: links instead of objects."""
    graph.require(call, LIST_MEMBERS)
    ids = sorted(_listed(graph, graph.group(ref), graph.state.replica("stale_lists")))
    size = graph.page_size(call)
    return page(
        call,
        "Collection($ref)",
        ids,
        str,
        lambda i: {
            "@odata.id": f"https://graph.microsoft.com/v2/{graph.state.tenant_id}/directoryObjects/{i}"
        },
        size,
    )


def add_member(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """POST /groups/{id}/members/$ref."""
    group = graph.group_to_link(ref)
    graph.require(call, WRITE_MEMBERS, owned=group)
    principal = graph.referenced(read_body(call).get("@odata.id"))
    check_member_rights(graph, call, group, [principal])
    check_links(group, [principal], [])
    graph.state.directory.add_members(group, [principal.id])
    return no_content()


def remove_member(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """DELETE /groups/{id}/members/{id}/$ref."""
    group = graph.group(ref)
    graph.require(call, WRITE_MEMBERS, owned=group)
    member = graph.state.directory.find(ref["member"])
    if member is None or member.id not in group.members:
        raise not_found(ref["member"])
    check_member_rights(graph, call, group, [member])
    graph.state.directory.remove_member(group, member.id)
    return no_content()


def delete_object(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """DELETE /groups/{id}/members/{id} without `/$ref`: deletes the object itself, as the documentation
    warns.
    """
    group = graph.group(ref)
    member = graph.state.directory.find(ref["member"])
    if member is None or member.id not in group.members:
        raise not_found(ref["member"])
    directory = graph.state.directory
    match member:
        case User():
            graph.require(call, DELETE_USER)
            directory.delete_user(member)
        case ServicePrincipal():
            graph.require(call, {"Application.ReadWrite.All"})
            directory.remove_service_principal(member)
        case Group():
            graph.require(call, {"Group.ReadWrite.All"})
            directory.delete_group(member)
    return no_content()


def add_owner(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """POST /groups/{id}/owners/$ref."""
    group = graph.group_to_link(ref)
    graph.require(call, ALL_GROUPS)
    principal = graph.referenced(read_body(call).get("@odata.id"))
    check_links(group, [], [principal])
    graph.state.directory.add_owners(group, [principal.id])
    return no_content()


def remove_owner(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """DELETE /groups/{id}/owners/{id}/$ref. The last owner that is a user stays."""
    group = graph.group(ref)
    graph.require(call, ALL_GROUPS)
    owner = ref["member"].lower()
    if owner not in group.owners:
        raise not_found(ref["member"])
    users = graph.state.directory.users
    if owner in users and sum(o in users for o in group.owners) == 1:
        raise bad_request("The group must have at least one owner, hence this owner cannot be removed.")
    graph.state.directory.remove_owner(group, owner)
    return no_content()


def list_member_of(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /{kind}/{id}/memberOf and /transitiveMemberOf."""
    return _objects(graph, call, _held_groups(graph, call, ref), _cast(ref), graph.state.directory)


def count_member_of(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /{kind}/{id}/memberOf/$count: the bare number. All that the sandbox has there are groups."""
    groups = _held_groups(graph, call, ref)
    if call.headers.get("consistencylevel", "").lower() != "eventual":
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            "$count is only served with the header 'ConsistencyLevel: eventual'.",
        )
    number = len(groups) if ref.get("cast", "graph.group").lower() == "graph.group" else 0
    return Reply(200, str(number), content_type="text/plain")


def _held_groups(graph: Graph, call: Call, ref: dict[str, str]) -> list[str]:
    of_application = ref["kind"].lower() == "serviceprincipals"
    graph.require(call, READ_APPLICATION if of_application else READ_GROUP)
    principal = _principal(graph, ref)
    return _groups_of(graph, principal, direct=ref["which"].lower() == "memberof")


def member_groups(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """POST /{kind}/{id}/getMemberGroups."""
    graph.require(call, READ_GROUP)
    groups = _groups_of(graph, _principal(graph, ref), direct=False)
    body = {
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Collection(Edm.String)",
        "value": groups,
    }
    return Reply(200, body)


def check_member_groups(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """POST /{kind}/{id}/checkMemberGroups: which of these groups hold the object."""
    graph.require(call, READ_GROUP)
    asked = read_body(call).get("groupIds") or []
    if len(asked) > 20:
        raise bad_request("A maximum of 20 groups can be checked.")
    held = set(_groups_of(graph, _principal(graph, ref), direct=False))
    body = {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Collection(Edm.String)"}
    return Reply(200, {**body, "value": [g for g in asked if g in held]})


def _groups_of(graph: Graph, principal: Principal, *, direct: bool) -> list[str]:
    directory = graph.state.directory
    groups = directory.transitive_groups_of(principal.id)
    visible = (g for g in groups if directory.is_visible(directory.groups[g]))
    return sorted(g for g in visible if not direct or principal.id in directory.groups[g].members)


def _principal(graph: Graph, ref: dict[str, str]) -> Principal:
    name = ref["id"]
    principal = graph.state.directory.user(name) or graph.state.directory.find(name)
    if principal is None:
        raise not_found(name)
    return principal


def _objects(
    graph: Graph, call: Call, ids: Iterable[str], cast: str | None, seen: Directory | Replica
) -> Reply:
    """Answer with a page of directory objects as they are seen, of one kind if the path asks for one."""
    advanced = cast is not None or "$filter" in call.query
    # A cast alone is served without the header, filtering and counting are not.
    require_consistency(call, advanced=advanced and "$filter" in call.query)
    roles = graph.caller(call).roles
    found = [p for p in (seen.find(i) for i in sorted(ids)) if p is not None]
    if cast is not None:
        found = [p for p in found if type_name(p).lower() == cast.lower()]
    names = selected(call, ANY_PROPERTY, "microsoft.graph.directoryObject")
    show = lambda p: _show(p, graph.state.tenant_id, roles, names, typed=cast is None)  # noqa: E731 - two uses below
    if "$filter" in call.query:
        test = parse_filter(
            call.query["$filter"], frozenset({"id", "displayName", "userPrincipalName", "mail"})
        ).test
        found = [p for p in found if test(member_json(p, graph.state.tenant_id, roles))]
    context = "directoryObjects" if cast is None else cast.rpartition(".")[2] + "s"
    context = context if names is None else f"{context}({','.join(names)})"
    return page(call, context, found, lambda p: str(p.id), show, graph.page_size(call))


def _show(principal: Principal, tenant: str, roles: frozenset[str], names: Any, *, typed: bool) -> Json:
    if names == (
        "id",
    ):  # the usual question about ten thousand members: do not write the other fields at all
        body: Json = {"@odata.type": f"#{type_name(principal)}", "id": principal.id}
    elif isinstance(principal, Group) and names is None and not roles.isdisjoint(READ_GROUP):
        body = {"@odata.type": "#microsoft.graph.group", **group_json(principal)}
    else:
        body = pick(member_json(principal, tenant, roles), names)
    if not typed:
        body.pop("@odata.type", None)
    return body


def _unfit(principal: Group, reference: str) -> Exception:
    return bad_request(
        f"The reference target 'Group_{principal.id}' of type 'Group' is invalid for the '{reference}' "
        "reference."
    )


_CAST = r"(?:/(?:microsoft\.)?(?=graph\.)(?P<cast>graph\.(?:user|group|servicePrincipal)))?"
_ANY = r"/(?P<kind>users|groups|servicePrincipals|directoryObjects)/(?P<id>[^/]+)"
_MEMBER_OF = _ANY + r"/(?P<which>memberOf|transitiveMemberOf)" + _CAST

ROUTES = (
    route("GET", "<group>/members" + _CAST, list_members, 3),
    route("GET", "<group>/transitiveMembers" + _CAST, list_transitive, 5),
    route("GET", "<group>/owners" + _CAST, list_owners),
    route("GET", r"<group>/members/\$ref", list_refs, 3),
    route("POST", r"<group>/members/\$ref", add_member),
    route("DELETE", r"<group>/members/(?P<member>[^/]+)/\$ref", remove_member),
    route("DELETE", r"<group>/members/(?P<member>[^/$]+)", delete_object),
    route("POST", r"<group>/owners/\$ref", add_owner),
    route("DELETE", r"<group>/owners/(?P<member>[^/]+)/\$ref", remove_owner),
    route("GET", _MEMBER_OF, list_member_of, 2),
    route("GET", _MEMBER_OF + r"/\$count", count_member_of, 2),
    route("POST", _ANY + r"/(?:microsoft\.graph\.)?getMemberGroups", member_groups, 2),
    route("POST", _ANY + r"/(?:microsoft\.graph\.)?checkMemberGroups", check_member_groups, 4),
)
