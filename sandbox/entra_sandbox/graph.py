"""Microsoft Graph v1.0: a request's way from its token to its answer, `$batch` and the errors' envelope."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from entra_sandbox import (
    graph_deleted,
    graph_delta,
    graph_groups,
    graph_members,
    graph_reads,
    graph_users,
)
from entra_sandbox.azure import new_id
from entra_sandbox.clock import graph_time
from entra_sandbox.exchange import NO_ROUTE, Call, Json, Reply, ServiceError
from entra_sandbox.graph_core import DetailedError, Graph, Route, read_body
from entra_sandbox.state import State
from entra_sandbox.throttle import Throttle
from entra_sandbox.tokens import GRAPH_AUDIENCES, BadTokenError, ExpiredTokenError, Tokens, bearer, caller_of

_CONTENT_TYPE = (
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
)
_DIAGNOSTIC = json.dumps(
    {
        "ServerInfo": {
            "DataCenter": "Sandbox",
            "Slice": "E",
            "Ring": "5",
            "ScaleUnit": "000",
            "RoleInstance": "SB00",
        }
    }
)
_MAX_BATCH = 20
_WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_READING_POSTS = ("getByIds", "getMemberGroups", "checkMemberGroups", "validateProperties", "$batch")
_CHEAP_PAGE = 20


class GraphService:
    """Answers every request below `/v1.0`."""

    def __init__(self, state: State, tokens: Tokens, throttle: Throttle) -> None:
        self._graph = Graph(state)
        self._tokens = tokens
        self._throttle = throttle
        self._audiences = GRAPH_AUDIENCES | tokens.bases
        # Delta first: "delta" is no group's id.
        rooms = (graph_delta, graph_groups, graph_members, graph_users, graph_deleted, graph_reads)
        self._routes: dict[str, list[Route]] = {}
        for route in (route for room in rooms for route in room.ROUTES):
            self._routes.setdefault(route.method, []).append(route)

    def handle(self, call: Call) -> Reply:
        """Answer one request."""
        return self._guarded(call, self._authenticated)

    def error(self, call: Call, error: ServiceError) -> Reply:
        """Write a refusal in Graph's envelope."""
        inner: Json = {"date": graph_time(self._graph.state.clock.now()).rstrip("Z"), "request-id": new_id()}
        inner["client-request-id"] = call.headers.get("client-request-id", inner["request-id"])
        body: Json = {"code": error.code, "message": error.message}
        if isinstance(error, DetailedError):
            body["details"] = list(error.details)
        body["innerError"] = inner
        headers = {"request-id": inner["request-id"], **error.headers}
        return self._dressed(
            call, Reply(error.status, {"error": body}, headers, code=error.code, detail=error.detail)
        )

    def _guarded(self, call: Call, work: Callable[[Call], Reply]) -> Reply:
        try:
            return self._dressed(call, work(call))
        except ServiceError as error:
            return self.error(call, error)

    def _authenticated(self, call: Call) -> Reply:
        self._authenticate(call)
        return self._batch(call) if call.path == "/v1.0/$batch" else self._one(call)

    def _authenticate(self, call: Call) -> None:
        token = bearer(call.headers.get("authorization", ""))
        if token is None:
            raise _unauthenticated("Access token is empty.")
        try:
            claims = self._tokens.verify(token)
        except ExpiredTokenError as error:
            raise _unauthenticated("Access token has expired or is not yet valid.") from error
        except BadTokenError as error:
            raise _unauthenticated("Access token validation failure. Invalid signature.") from error
        if str(claims["aud"]).rstrip("/") not in self._audiences:
            raise _unauthenticated("Access token validation failure. Invalid audience.")
        call.caller = caller_of(claims)

    def _one(self, call: Call) -> Reply:
        state = self._graph.state
        state.directory.expire_deleted(state.settings.soft_delete_retention)
        route, ref = self._find(call)
        if "$expand" in call.query:
            raise ServiceError(400, "BadRequest", "$expand is not served here.", detail=NO_ROUTE)
        headers = self._charge(call, route.cost)
        reply = route.handler(self._graph, call, ref)
        reply.headers = {**headers, **reply.headers}
        return reply

    def _find(self, call: Call) -> tuple[Route, dict[str, str]]:
        path = call.path.removeprefix("/v1.0").rstrip("/")
        for route in self._routes.get(call.method, ()):
            if found := route.path.fullmatch(path):
                # OData writes a quote inside quotes twice.
                return route, {k: v.replace("''", "'") for k, v in found.groupdict().items() if v is not None}
        if any(
            r.path.fullmatch(path) for m, routes in self._routes.items() if m != call.method for r in routes
        ):
            raise ServiceError(
                405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."
            )
        segment = path.strip("/").partition("/")[0]
        raise ServiceError(
            404,
            "UnknownError" if not segment else "BadRequest",
            f"Resource not found for the segment '{segment}'.",
            detail=NO_ROUTE,
        )

    def _charge(self, call: Call, cost: int) -> dict[str, str]:
        """Take the request's resource units, and a write if it is one, from the application's buckets."""
        top = call.query.get("$top", "")
        cost -= "$select" in call.query
        cost -= top.isdigit() and int(top) < _CHEAP_PAGE
        cost = max(1, cost)
        caller = self._graph.caller(call)
        write = call.method in _WRITES and not call.path.endswith(_READING_POSTS)
        return self._throttle.graph(caller.app_id, cost, write=write)

    def _batch(self, call: Call) -> Reply:
        """POST /$batch: at most twenty requests, each charged on its own, in the order that `dependsOn` asks
        for.
        """
        requests = read_body(call).get("requests")
        if call.method != "POST" or not isinstance(requests, list) or not 1 <= len(requests) <= _MAX_BATCH:
            raise ServiceError(400, "BadRequest", f"A batch holds 1 to {_MAX_BATCH} requests.")
        done: dict[str, Json] = {}
        for request in requests:
            failed = any(done.get(d, {}).get("status", 424) >= 400 for d in request.get("dependsOn") or ())
            done[str(request["id"])] = self._inner(call, request, failed=failed)
        return Reply(200, {"responses": list(done.values())})

    def _inner(self, call: Call, request: Json, *, failed: bool) -> Json:
        headers = {str(k).lower(): str(v) for k, v in (request.get("headers") or {}).items()}
        url = urlsplit(str(request.get("url", "")))
        inner = Call(
            method=str(request.get("method", "")).upper(),
            path="/v1.0/" + url.path.lstrip("/"),
            base=call.base,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers=headers,
            body=json.dumps(request["body"]).encode() if "body" in request else b"",
            caller=call.caller,
        )
        reply = self._guarded(inner, _refuse_dependent if failed else self._one)
        answer: Json = {"id": request["id"], "status": reply.status, "headers": reply.headers}
        return answer if reply.body is None else {**answer, "body": reply.body}

    def _dressed(self, call: Call, reply: Reply) -> Reply:
        """Put on the headers that every answer of Graph has."""
        if reply.status != 204 and reply.content_type.startswith("application/json"):
            reply.content_type = _CONTENT_TYPE
        request_id = reply.headers.get("request-id") or new_id()
        reply.headers = {
            "cache-control": "no-cache",
            "strict-transport-security": "max-age=31536000",
            "request-id": request_id,
            "client-request-id": call.headers.get("client-request-id", request_id),
            "x-ms-ags-diagnostic": _DIAGNOSTIC,
            "odata-version": "4.0",
            **reply.headers,
        }
        return reply


def _unauthenticated(message: str) -> ServiceError:
    return ServiceError(401, "InvalidAuthenticationToken", message, headers={"www-authenticate": "Bearer"})


def _refuse_dependent(_: Call) -> Any:
    raise ServiceError(424, "FailedDependency", "A request that this one depends on has failed.")
