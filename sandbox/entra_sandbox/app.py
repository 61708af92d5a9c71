"""The web application: finds the service for a request, lets faults happen, writes the journal."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from entra_sandbox import seed
from entra_sandbox.admin import Admin
from entra_sandbox.arm import ArmService
from entra_sandbox.exchange import NO_ROUTE, Call, Kind, Reply, ServiceError
from entra_sandbox.faults import Fault, Faults
from entra_sandbox.graph import GraphService
from entra_sandbox.journal import Journal
from entra_sandbox.pki import Pki
from entra_sandbox.settings import Settings
from entra_sandbox.signin import SignIn
from entra_sandbox.state import State
from entra_sandbox.throttle import Throttle
from entra_sandbox.tokens import Tokens
from entra_sandbox.webhooks import Webhooks

log = logging.getLogger("entra_sandbox")
_LOOPBACK = ("127.", "::1", "::ffff:127.")


class App:
    """One sandbox, as an ASGI application. Requests are answered one at a time, each in one piece."""

    def __init__(self, pki: Pki, bases: tuple[str, ...], settings: Settings) -> None:
        self.state = State(seed.TENANT_ID, seed.TENANT_DOMAIN, seed.TENANT_NAME, settings)
        seed.fill(self.state)
        self._bases = bases
        tokens = Tokens(pki.signing_key, self.state.tenant_id, bases, self.state.clock)
        throttle = Throttle(self.state)
        self._journal, self._faults = Journal(), Faults()
        self._graph = GraphService(self.state, tokens, throttle)
        self._arm = ArmService(self.state, tokens, throttle)
        self._signin = SignIn(self.state, tokens)
        self._webhooks = Webhooks(self.state, tokens)
        self._admin = Admin(self.state, tokens, throttle, self._journal, self._faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        call = self._call(scope, await request.body())
        if call.path.startswith("/_sandbox"):
            await _respond(self._administer(scope, call), scope, receive, send)
            return
        kind, service = self._service(call.path)
        began, ticks = self.state.clock.now(), time.perf_counter()
        path = call.path
        fault = self._faults.take(kind, call)
        reply = await self._answer(kind, service, call, fault)
        call.path = path
        took = time.perf_counter() - ticks
        self._journal.add(kind, call, reply, began=began, took=took, fault=fault is not None)
        if reply is None:
            await _hang_up(receive, send)
            return
        if reply.detail == NO_ROUTE:
            log.warning("no route for %s %s", call.method, path)
        await _respond(reply, scope, receive, send)

    def _call(self, scope: Scope, body: bytes) -> Call:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        base = f"https://{headers.get('host', '')}"
        query = scope["query_string"].decode("latin-1")
        return Call(
            method=scope["method"],
            path=scope["path"],
            base=base if base in self._bases else self._bases[0],
            query=dict(parse_qsl(query, keep_blank_values=True)) if query else {},
            headers=headers,
            body=body,
        )

    def _service(self, path: str) -> tuple[Kind, Callable[[Call], Reply]]:
        if path.startswith(("/v1.0", "/beta")):
            return "graph", self._graph.handle
        if path.startswith("/webhooks/"):
            return "webhook", self._webhooks.handle
        if self._signin.serves(path):
            return "signin", self._signin.handle
        return "arm", self._arm.handle if self._arm.serves(path) else self._nowhere

    def _nowhere(self, call: Call) -> Reply:
        return self._arm.error(call, self._arm.no_route(call))

    def _administer(self, scope: Scope, call: Call) -> Reply:
        client = scope.get("client")
        if client is not None and not client[0].startswith(_LOOPBACK):
            return Reply(403, {"error": "these routes answer on the loopback interface only"})
        return self._admin.handle(call)

    async def _answer(
        self, kind: Kind, service: Callable[[Call], Reply], call: Call, fault: Fault | None
    ) -> Reply | None:
        """Answer, or do what the fault says; `None` asks to close the connection without a word."""
        if fault is None:
            return self._perform(kind, service, call)
        if fault.after or (fault.status is None and not fault.drop):
            if not fault.after:
                await asyncio.sleep(fault.delay_seconds)
            reply = self._perform(kind, service, call)
            if fault.after:
                await asyncio.sleep(fault.delay_seconds)
        else:
            await asyncio.sleep(fault.delay_seconds)
            reply = None
        if fault.drop:
            return None
        error = fault.error(kind)
        return self._refusal(kind, call, error) if error else reply

    def _perform(self, kind: Kind, service: Callable[[Call], Reply], call: Call) -> Reply:
        """Let the service answer. What it did not foresee is a 500 in its envelope, as with the real ones."""
        try:
            return service(call)
        except Exception:
            log.exception("cannot answer %s %s", call.method, call.path)
            error = ServiceError(500, "InternalServerError", "The sandbox cannot answer; its log says why.")
            return self._refusal(kind, call, error)

    def _refusal(self, kind: Kind, call: Call, error: ServiceError) -> Reply:
        match kind:
            case "graph":
                return self._graph.error(call, error)
            case "signin":
                return self._signin.error(error)
            case "arm":
                return self._arm.error(call, error)
            case "webhook":
                return Reply(error.status, {"message": error.message}, error.headers, code=error.code)


async def _respond(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    if reply.body is None:
        content = b""
    elif isinstance(reply.body, str):
        content = reply.body.encode()
    else:
        content = json.dumps(reply.body, separators=(",", ":"), ensure_ascii=False).encode()
    media_type = None if reply.body is None else reply.content_type
    response = Response(content, reply.status, reply.headers, media_type)
    await response(scope, receive, send)


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection as a broken network would: without an answer and without TLS' farewell."""
    # ASGI has no word for this. The server's `send` is a method of the request's cycle, which knows the
    # transport.
    cycle = cast("Any", send).__self__
    cycle.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
