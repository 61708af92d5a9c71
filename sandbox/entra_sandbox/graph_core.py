"""What all of Graph's routes share: permissions, look-ups, refusals in Graph's words, pages."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from entra_sandbox.directory import Group, Principal, ServicePrincipal, User
from entra_sandbox.exchange import Call, Caller, Json, Reply, ServiceError
from entra_sandbox.graph_shapes import CONTEXT
from entra_sandbox.odata import page_size, read_token, write_token
from entra_sandbox.state import State

ALL_GROUPS = frozenset({"Group.ReadWrite.All", "Directory.ReadWrite.All"})
CREATE_GROUP = ALL_GROUPS | {"Group.Create"}
WRITE_MEMBERS = ALL_GROUPS | {"GroupMember.ReadWrite.All"}
WRITE_APPLICATIONS = frozenset({"Application.ReadWrite.All", "Directory.ReadWrite.All"})
LIST_OWNERS = WRITE_MEMBERS | {"GroupMember.Read.All", "Group.Read.All", "Directory.Read.All"}
LIST_MEMBERS = LIST_OWNERS | {"GroupMember.ReadBasic.All"}
READ_GROUP = LIST_OWNERS | {"Group.ReadBasic.All"}
READ_DELETED = ALL_GROUPS | {"Group.Read.All", "Directory.Read.All"}
DELETE_GROUP = frozenset({"Group.ReadWrite.All"})
READ_USER = frozenset(
    {"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
)
"""Without User.ReadBasic.All: Graph refuses an application that has only that, list and single user alike."""
WRITE_USER = frozenset({"User.ReadWrite.All", "Directory.ReadWrite.All"})
ENABLE_USER = WRITE_USER | {"User.EnableDisableAccount.All"}
DELETE_USER = frozenset({"User.ReadWrite.All", "User.DeleteRestore.All"})
READ_DIRECTORY = frozenset({"Directory.Read.All", "Directory.ReadWrite.All"})
READ_APPLICATION = READ_DIRECTORY | {
    "Application.Read.All",
    "Application.ReadWrite.OwnedBy",
    "Application.ReadWrite.All",
}

NOT_REPLICATED = "The source resource object or one of the objects being referenced don't exist."
_REFERENCE = re.compile(r"(?:.*/)?(directoryObjects|users|groups|servicePrincipals)/([^/?]+)/?")


@dataclass(slots=True)
class Graph:
    """The state as the routes of Graph see it."""

    state: State

    @staticmethod
    def caller(call: Call) -> Caller:
        """Say who calls; the service has made sure that somebody does."""
        if call.caller is None:
            raise ServiceError(401, "InvalidAuthenticationToken", "Access token is empty.")
        return call.caller

    def require(self, call: Call, permissions: Collection[str], *, owned: Group | None = None) -> None:
        """Refuse unless the caller holds one of the permissions, or owns the group when that is enough."""
        caller = self.caller(call)
        if caller.roles.isdisjoint(permissions) and (owned is None or caller.oid not in owned.owners):
            raise denied(f"needs one of {', '.join(sorted(permissions))}")

    def page_size(self, call: Call) -> int:
        """Give the size of a page of a list."""
        settings = self.state.settings
        return page_size(call, settings.graph_page_size, settings.graph_page_limit)

    def group(self, ref: dict[str, str]) -> Group:
        """Look up the group of a route, as a replica that lags behind would."""
        group = self.newest_group(ref)
        if group is None or not self.state.directory.is_visible(group):
            raise not_found(name_of(ref))
        return group

    def newest_group(self, ref: dict[str, str]) -> Group | None:
        """Look up the group of a route where it was written."""
        directory = self.state.directory
        if ref.get("unique") is not None:
            group = directory.group_named(ref["unique"])
            return group if group is not None and group.id in directory.groups else None
        return directory.groups.get(name_of(ref).lower())

    def group_to_link(self, ref: dict[str, str]) -> Group:
        """Look up the group that links are added to: there, one that is too new is a bad request."""
        group = self.newest_group(ref)
        if group is None:
            raise not_found(name_of(ref))
        if not self.state.directory.is_visible(group):
            raise bad_request(NOT_REPLICATED)
        return group

    def referenced(self, url: object) -> Principal:
        """Resolve a link such as `https://graph.microsoft.com/v1.0/directoryObjects/{id}`."""
        found = _REFERENCE.fullmatch(url) if isinstance(url, str) else None
        if found is None:
            raise bad_request("Invalid URL format specified in payload.")
        name = unquote(found[2])
        principal = self.state.directory.find(name)
        if principal is None and found[1] == "users":
            principal = self.state.directory.user(name)
        kind = {"users": User, "groups": Group, "servicePrincipals": ServicePrincipal}.get(found[1])
        if principal is None or (kind is not None and not isinstance(principal, kind)):
            raise not_found(name)
        if not self.state.directory.is_visible(principal):
            raise bad_request(NOT_REPLICATED)
        return principal


Handler = Callable[[Graph, Call, dict[str, str]], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """A method, a path below `/v1.0`, what answers it and what it costs in resource units."""

    method: str
    path: re.Pattern[str]
    handler: Handler
    cost: int


def route(method: str, path: str, handler: Handler, cost: int = 1) -> Route:
    """Make a route. `<group>` stands for a group by id, in either form, or by unique name."""
    group = r"(?:/(?P<id>[^/()]+)|\('(?P<key>[^'/]+)'\)|\(uniqueName='(?P<unique>(?:[^']|'')*)'\))"
    return Route(method, re.compile(path.replace("<group>", "/groups" + group), re.IGNORECASE), handler, cost)


def name_of(ref: dict[str, str]) -> str:
    """Say how a route names its object."""
    return ref.get("unique") or ref.get("key") or ref.get("id") or ""


def bad_request(message: str, details: Sequence[Json] = ()) -> ServiceError:
    """Refuse with Graph's general 400."""
    error = ServiceError(400, "Request_BadRequest", message)
    return _with_details(error, details)


def not_found(name: str) -> ServiceError:
    """Say that there is no such object."""
    return ServiceError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{name}' does not exist or one of its queried reference-property objects are not present.",
    )


def denied(detail: str) -> ServiceError:
    """Refuse for want of permission; only the journal says which one."""
    return ServiceError(
        403,
        "Authorization_RequestDenied",
        "Insufficient privileges to complete the operation.",
        detail=detail,
    )


class DetailedError(ServiceError):
    """A refusal that names what is wrong in `details` too."""

    details: Sequence[Json] = ()


def _with_details(error: ServiceError, details: Sequence[Json]) -> ServiceError:
    if not details:
        return error
    detailed = DetailedError(error.status, error.code, error.message)
    detailed.details = details
    return detailed


def read_body(call: Call) -> Json:
    """Read the body, or refuse."""
    try:
        return call.json()
    except ValueError as error:
        raise ServiceError(400, "BadRequest", "Unable to read JSON request payload.") from error


def entity(context: str, body: Json, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Answer with one object."""
    return Reply(status, {"@odata.context": CONTEXT + context, **body}, headers or {})


def no_content() -> Reply:
    """Answer that it is done."""
    return Reply(204)


def page(
    call: Call,
    context: str,
    items: Sequence[Any],
    key: Callable[[Any], str],
    show: Callable[[Any], Json],
    size: int,
) -> Reply:
    """Answer with one page of a list that is sorted by `key`; the token names the last one shown.

    A list that changes between two pages therefore neither repeats nor loses what stayed in it.
    """
    after = _after(call)
    rest = items if after is None else [item for item in items if key(item) > after]
    shown = rest[:size]
    body: Json = {"@odata.context": CONTEXT + context}
    if call.query.get("$count", "").lower() == "true":
        body["@odata.count"] = len(items)
    if len(rest) > size:
        body["@odata.nextLink"] = next_link(call, "$skiptoken", {"after": key(shown[-1])})
    body["value"] = [show(item) for item in shown]
    return Reply(200, body)


def _after(call: Call) -> str | None:
    token = call.query.get("$skiptoken")
    if token is None:
        return None
    try:
        return str(read_token(token)["after"])
    except (ValueError, KeyError) as error:
        raise ServiceError(
            400,
            "Directory_ExpiredPageToken",
            "The specified page token value has expired and can no longer be included.",
        ) from error


def next_link(call: Call, name: str, state: Json) -> str:
    """Make a link to the same query with another token."""
    kept = {k: v for k, v in call.query.items() if k not in ("$skiptoken", "$deltatoken")}
    kept[name] = write_token(state)
    query = "&".join(f"{quote(k, safe='$')}={quote(v, safe='')}" for k, v in kept.items())
    return f"{call.base}{quote(call.path, safe='/$')}?{query}"


def require_consistency(call: Call, *, advanced: bool) -> None:
    """Refuse an advanced query that does not say that it accepts eventual consistency."""
    counted = call.query.get("$count", "").lower() == "true"
    ordered = "$filter" in call.query and "$orderby" in call.query
    if call.headers.get("consistencylevel", "").lower() == "eventual":
        if (advanced or ordered) and not counted:
            raise ServiceError(400, "Request_UnsupportedQuery", "Unsupported Query: $count=true is required.")
        return
    if "$search" in call.query:
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            "Request with $search query parameter only works through MSGraph with a special request header: "
            "'ConsistencyLevel: eventual'",
        )
    if advanced or ordered or counted:
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            "Unsupported Query. The query needs the header 'ConsistencyLevel: eventual' and '$count=true'.",
        )
