"""Service principals, look-ups by many ids, the organization: all that an operator only reads."""

from entra_sandbox.azure import new_id
from entra_sandbox.directory import Group, Principal, ServicePrincipal, User
from entra_sandbox.exchange import Call, Reply
from entra_sandbox.graph_core import (
    READ_APPLICATION,
    READ_DIRECTORY,
    Graph,
    bad_request,
    entity,
    name_of,
    not_found,
    page,
    read_body,
    require_consistency,
    route,
)
from entra_sandbox.graph_shapes import (
    ANY_PROPERTY,
    CONTEXT,
    SERVICE_PRINCIPAL_PROPERTIES,
    member_json,
    service_principal_json,
)
from entra_sandbox.odata import parse_filter, pick, selected

_MAX_IDS = 1000
_KINDS: dict[str, type[Principal]] = {"user": User, "group": Group, "serviceprincipal": ServicePrincipal}


def read_service_principal(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /servicePrincipals/{id} and /servicePrincipals(appId='…')."""
    graph.require(call, READ_APPLICATION)
    directory = graph.state.directory
    app_id = ref.get("app")
    principal = directory.service_principal_of(app_id) if app_id else directory.find(name_of(ref))
    if not isinstance(principal, ServicePrincipal):
        raise not_found(app_id or name_of(ref))
    names = selected(call, SERVICE_PRINCIPAL_PROPERTIES, "microsoft.graph.servicePrincipal")
    context = (
        "servicePrincipals/$entity" if names is None else f"servicePrincipals({','.join(names)})/$entity"
    )
    return entity(context, pick(service_principal_json(principal, graph.state.tenant_id), names))


def list_service_principals(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /servicePrincipals."""
    graph.require(call, READ_APPLICATION)
    wanted = (
        parse_filter(call.query["$filter"], SERVICE_PRINCIPAL_PROPERTIES) if "$filter" in call.query else None
    )
    require_consistency(call, advanced=wanted is not None and wanted.advanced)
    rows = [
        service_principal_json(p, graph.state.tenant_id)
        for p in graph.state.directory.service_principals.values()
    ]
    rows = sorted((r for r in rows if wanted is None or wanted.test(r)), key=lambda r: str(r["id"]))
    names = selected(call, SERVICE_PRINCIPAL_PROPERTIES, "microsoft.graph.servicePrincipal")
    context = "servicePrincipals" if names is None else f"servicePrincipals({','.join(names)})"
    size = graph.page_size(call)
    return page(call, context, rows, lambda r: str(r["id"]), lambda r: pick(r, names), size)


def get_by_ids(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """POST /directoryObjects/getByIds: those that exist, and no word about the others."""
    graph.require(call, READ_DIRECTORY)
    body = read_body(call)
    ids = body.get("ids") or []
    if not 1 <= len(ids) <= _MAX_IDS:
        raise bad_request(f"The number of ids must be between 1 and {_MAX_IDS}.")
    kinds = tuple(_KINDS[t.lower()] for t in body.get("types") or _KINDS if t.lower() in _KINDS)
    directory, roles = graph.state.directory, graph.caller(call).roles
    found = [
        p for p in map(directory.find, dict.fromkeys(ids)) if isinstance(p, kinds) and directory.is_visible(p)
    ]
    names = selected(call, ANY_PROPERTY, "microsoft.graph.directoryObject")
    rows = [pick(member_json(p, graph.state.tenant_id, roles), names) for p in found]
    context = "directoryObjects" if names is None else f"directoryObjects({','.join(names)})"
    return Reply(200, {"@odata.context": CONTEXT + context, "value": rows})


def read_object(graph: Graph, call: Call, ref: dict[str, str]) -> Reply:
    """GET /directoryObjects/{id}: whatever it is. `$select` may name what only some kinds have."""
    graph.require(call, READ_DIRECTORY)
    principal = graph.state.directory.find(name_of(ref))
    if principal is None or not graph.state.directory.is_visible(principal):
        raise not_found(name_of(ref))
    body = member_json(principal, graph.state.tenant_id, graph.caller(call).roles)
    names = selected(call, ANY_PROPERTY, "microsoft.graph.directoryObject")
    context = "directoryObjects" if names is None else f"directoryObjects({','.join(names)})"
    return entity(f"{context}/$entity", pick(body, names))


def organization(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """GET /organization: what any token may see of the tenant."""
    graph.caller(call)
    state = graph.state
    domain = {"name": state.tenant_domain, "isDefault": True, "isInitial": False, "type": "Managed"}
    row = {"id": state.tenant_id, "displayName": state.tenant_name, "verifiedDomains": [domain]}
    return Reply(
        200, {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#organization", "value": [row]}
    )


def validate(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
    """POST /directoryObjects/validateProperties: nothing is ever wrong with a security group's name."""
    graph.require(call, READ_DIRECTORY)
    read_body(call)
    return Reply(204, headers={"x-validation-id": new_id()})


ROUTES = (
    route("GET", "/servicePrincipals", list_service_principals),
    route("GET", r"/servicePrincipals\(appId='(?P<app>[^']*)'\)", read_service_principal),
    route("GET", r"/servicePrincipals/(?P<id>[^/]+)", read_service_principal),
    route("POST", "/directoryObjects/(?:microsoft.graph.)?getByIds", get_by_ids, 3),
    route("POST", "/directoryObjects/validateProperties", validate),
    route("GET", "/directoryObjects/(?P<id>[^/]+)", read_object),
    route("GET", "/organization", organization),
)
