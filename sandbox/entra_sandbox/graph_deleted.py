"""Deleted groups and users: list, read, restore, delete for good."""

from entra_sandbox.directory import Group, User
from entra_sandbox.exchange import Call, Json, Reply
from entra_sandbox.graph_core import (
    DELETE_GROUP,
    DELETE_USER,
    READ_DELETED,
    READ_USER,
    Graph,
    bad_request,
    entity,
    name_of,
    no_content,
    not_found,
    route,
)
from entra_sandbox.graph_groups import group_filter, list_groups
from entra_sandbox.graph_shapes import ANY_PROPERTY, group_json, type_name, user_json
from entra_sandbox.graph_users import list_users
from entra_sandbox.odata import pick, selected


def groups(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /directory/deletedItems/microsoft.graph.group, which the SDKs write as graph.group."""
    graph.require(call, READ_DELETED)
    deleted = graph.state.replica("stale_groups").deleted_groups()
    # Oldest first, as their page tokens count.
    deleted.sort(key=lambda group: group.created_seq)
    return list_groups(graph, call, deleted, group_filter(call))


def users(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /directory/deletedItems/microsoft.graph.user."""
    graph.require(call, READ_USER)
    return list_users(graph, call, list(graph.state.directory.deleted_users.values()))


def read(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /directory/deletedItems/{id}."""
    item = _item(graph, call, ref, READ_DELETED, READ_USER)
    names = selected(call, ANY_PROPERTY, type_name(item))
    return entity("directoryObjects/$entity", pick(_json(item), names))


def restore(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """POST /directory/deletedItems/{id}/restore: links come back too."""
    item = _item(graph, call, ref, DELETE_GROUP, DELETE_USER)
    if isinstance(item, Group):
        graph.state.directory.restore_group(item)
    else:
        try:
            graph.state.directory.restore_user(item)
        except ValueError as error:
            raise bad_request(
                "Another object with the same value for property userPrincipalName already exists."
            ) from error
    return entity("directoryObjects/$entity", _json(item))


def remove(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """DELETE /directory/deletedItems/{id}: for good."""
    item = _item(graph, call, ref, DELETE_GROUP, DELETE_USER)
    if isinstance(item, Group):
        graph.state.directory.purge_group(item)
    else:
        graph.state.directory.purge_user(item)
    return no_content()


def _item(
    graph: Graph, call: Call, ref: dict[str, str], of_groups: frozenset[str], of_users: frozenset[str]
) -> Group | User:
    """Look up what was deleted; what may be done to users and to groups are different permissions."""
    directory, key = graph.state.directory, name_of(ref).lower()
    item = directory.deleted.get(key) or directory.deleted_users.get(key)
    graph.require(call, of_users if isinstance(item, User) else of_groups)
    if item is None:
        raise not_found(name_of(ref))
    return item


def _json(item: Group | User) -> Json:
    body = group_json(item) if isinstance(item, Group) else user_json(item)
    return {"@odata.type": f"#{type_name(item)}", **body}


_ITEM = r"/directory/deletedItems/(?P<id>[^/]+)"

ROUTES = (
    route("GET", r"/directory/deletedItems/(?:microsoft\.)?graph\.group", groups),
    route("GET", r"/directory/deletedItems/(?:microsoft\.)?graph\.user", users),
    route("GET", _ITEM, read),
    route("POST", _ITEM + r"/(?:microsoft\.graph\.)?restore", restore),
    route("DELETE", _ITEM, remove),
)
