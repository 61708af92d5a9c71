"""Users: read, list, change, delete."""

from typing import Any

from entra_sandbox.directory import User
from entra_sandbox.exchange import Call, Json, Reply
from entra_sandbox.graph_core import (
    DELETE_USER,
    ENABLE_USER,
    READ_USER,
    WRITE_USER,
    Graph,
    bad_request,
    entity,
    name_of,
    no_content,
    not_found,
    page,
    read_body,
    require_consistency,
    route,
)
from entra_sandbox.graph_shapes import USER_DEFAULT, USER_PROPERTIES, user_json
from entra_sandbox.odata import parse_filter, pick, selected

_FIELDS = {
    "accountEnabled": "enabled",
    "displayName": "display_name",
    "mail": "mail",
    "userPrincipalName": "upn",
    "userType": "user_type",
}


def read(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /users/{id or user principal name}."""
    graph.require(call, READ_USER)
    user = _user(graph, ref)
    names = selected(call, USER_PROPERTIES, "microsoft.graph.user")
    context = "users/$entity" if names is None else f"users({','.join(names)})/$entity"
    return entity(context, pick(user_json(user), names or USER_DEFAULT))


def listing(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /users."""
    graph.require(call, READ_USER)
    wanted = parse_filter(call.query["$filter"], USER_PROPERTIES) if "$filter" in call.query else None
    require_consistency(call, advanced=wanted is not None and wanted.advanced)
    directory, replica = graph.state.directory, graph.state.replica("stale_groups")
    users = replica.users()
    # The indexes are of the present.
    for name, values in wanted.equals if wanted and replica.is_current else ():
        if name in ("id", "userPrincipalName"):
            users = list({u.id: u for u in (directory.user(v) for v in values) if u is not None}.values())
            break
    if wanted:
        users = [u for u in users if wanted.test(user_json(u))]
    return list_users(graph, call, users)


def list_users(graph: Graph, call: Call, users: list[User]) -> Reply:
    """Answer with a page of these users."""
    names = selected(call, USER_PROPERTIES, "microsoft.graph.user")
    context = "users" if names is None else f"users({','.join(names)})"
    rows = sorted(users, key=lambda u: u.id)

    def show(user: User) -> Json:
        return pick(user_json(user), names or USER_DEFAULT)

    return page(call, context, rows, lambda u: str(u.id), show, graph.page_size(call))


def update(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """PATCH /users/{id or user principal name}: disable, rename, turn a member into a guest."""
    body = {name: value for name, value in read_body(call).items() if not name.startswith("@")}
    graph.require(call, ENABLE_USER if body.keys() == {"accountEnabled"} else WRITE_USER)
    user = _user(graph, ref)
    fields = {}
    for name, value in body.items():
        if name not in _FIELDS:
            raise bad_request(f"Invalid property '{name}'.")
        if not _is_good(name, value):
            raise bad_request(f"Invalid value specified for property '{name}' of resource 'User'.")
        fields[_FIELDS[name]] = value
    try:
        graph.state.directory.change_user(user, fields)
    except ValueError as error:
        raise bad_request(
            "Another object with the same value for property userPrincipalName already exists."
        ) from error
    return no_content()


def remove(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """DELETE /users/{id or user principal name}: softly, it can be restored for 30 days."""
    graph.require(call, DELETE_USER)
    graph.state.directory.delete_user(_user(graph, ref))
    return no_content()


def _is_good(name: str, value: Any) -> bool:
    match name:
        case "accountEnabled":
            return isinstance(value, bool)
        case "displayName":
            return isinstance(value, str) and 0 < len(value) <= 256
        case "userPrincipalName":
            return isinstance(value, str) and len(value.split("@")) == 2 and all(value.split("@"))
        case "userType":
            return value in ("Member", "Guest")
        case _:
            return value is None or isinstance(value, str)


def _user(graph: Graph, ref: dict[str, str]) -> User:
    user = graph.state.directory.user(name_of(ref))
    if user is None:
        raise not_found(name_of(ref))
    return user


_BY_ID, _BY_KEY = r"/users/(?P<id>[^/]+)", r"/users\('(?P<key>(?:[^']|'')+)'\)"

ROUTES = (
    route("GET", "/users", listing, 2),
    *(
        route(method, path, handler)
        for method, handler in (("GET", read), ("PATCH", update), ("DELETE", remove))
        for path in (_BY_ID, _BY_KEY)
    ),
)
