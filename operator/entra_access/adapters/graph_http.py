"""Requests to Microsoft Graph, and the one place where what goes wrong there becomes ours.

Addresses come from msgraph-sdk's request builders; bodies are read and written as plain JSON, because
the SDK's typed decoding of one page of 999 members blocks the event loop for seconds.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import httpx
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
from kiota_abstractions.api_error import APIError
from kiota_abstractions.method import Method
from kiota_abstractions.request_information import RequestInformation
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from kiota_http.middleware.options import RetryHandlerOption
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory

from entra_access.adapters.credentials import trust
from entra_access.adapters.gate import DEFAULT_RETRY_AFTER, Gate, retry_after
from entra_access.api.names import USER_AGENT
from entra_access.domain.faults import (
    Changed,
    Denied,
    Fault,
    Missing,
    Rejected,
    Replicating,
    SignInFailed,
    Throttled,
    Unavailable,
    UniqueNameHeld,
)

SERVICE: Final = "Microsoft Graph"
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)


class Builder(Protocol):
    """What is used of msgraph-sdk's request builders."""

    url_template: str
    path_parameters: Any


class GraphHttp:
    """Sends requests that msgraph-sdk's builders describe. Every method raises `Fault` and nothing else."""

    def __init__(self, credential: AsyncTokenCredential, url: str, ca_file: str | None, limit: int) -> None:
        base = url.rstrip("/")
        headers = {"User-Agent": USER_AGENT}
        plain = httpx.AsyncClient(verify=trust(ca_file), timeout=TIMEOUT, headers=headers, http2=False)
        # The SDK wraps these in a transport that never closes them, so they are kept for closing.
        self._transports = [plain._transport, *plain._mounts.values()]  # noqa: SLF001 - httpx shows no other way
        # No retries inside the SDK: it would repeat a POST after a 504, and hold a worker for minutes.
        options = {RetryHandlerOption.get_key(): RetryHandlerOption(max_retries=0, should_retry=False)}
        self._http = GraphClientFactory.create_with_default_middleware(client=plain, options=options)
        provider = AzureIdentityAuthenticationProvider(
            credential, scopes=[f"{base}/.default"], allowed_hosts=[httpx.URL(base).host]
        )
        self._adapter = GraphRequestAdapter(provider, client=self._http)
        self._adapter.base_url = self.base = f"{base}/v1.0"
        self.client = GraphServiceClient(request_adapter=self._adapter)
        self._gate = Gate(SERVICE, limit)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        for transport in self._transports:
            if transport:
                await transport.aclose()

    async def find(self, builder: Builder, doing: str, **query: object) -> dict[str, Any] | None:
        """One object, or None where there is none."""
        try:
            return with_id(await self.send(Method.GET, builder, doing, query=query), doing)
        except Missing:
            return None

    async def pages(
        self, builder: Builder, doing: str, *, fresh: bool = False, **query: object
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects of a list, page by page."""
        try:
            page = await self.send(Method.GET, builder, doing, query=query, fresh=fresh)
        except Missing as error:
            raise Unavailable(f"{SERVICE} answered 404 when asked to {doing}") from error
        while True:
            items = page.get("value") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise unusable(doing)
            for item in items:
                yield with_id(item, doing)
            link = page.get("@odata.nextLink") if page else None
            if not link:
                return
            page = await self.follow(link, doing, fresh=fresh)

    async def ask(self, builder: Builder, doing: str, query: Mapping[str, object]) -> Any:
        """The first page of what a query gives."""
        return await self.send(Method.GET, builder, doing, query=query)

    async def follow(self, link: str, doing: str, *, fresh: bool = False) -> Any:
        """What a link of an earlier answer leads to."""
        info = RequestInformation(Method.GET)
        info.url = link
        info.headers.add("Accept", "application/json")
        return await self._run(info, doing, fresh=fresh)

    async def send(
        self,
        method: Method,
        builder: Builder,
        doing: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> Any:
        """One request. Returns what the answer's JSON says, or None where it has none."""
        template, names = builder.url_template, [f"%24{name}" for name in query or {}]
        # The SDK does not know all parameters that the service does.
        more = ",".join(name for name in names if name not in template)
        template += f"{{&{more}}}" if more else ""
        info = RequestInformation(method, template, dict(builder.path_parameters))
        for name, value in (query or {}).items():
            info.query_parameters[f"%24{name}"] = value
        for name, text in {"Accept": "application/json", **(headers or {})}.items():
            info.headers.add(name, text)
        if body is not None:
            info.set_stream_content(json.dumps(body).encode(), "application/json")
        return await self._run(info, doing, fresh=fresh)

    async def _run(self, info: RequestInformation, doing: str, *, fresh: bool) -> Any:
        async with self._translated(doing, fresh=fresh):
            answer = await self._adapter.send_primitive_async(info, "bytes", {"XXX": ODataError})
            return json.loads(answer) if answer else None
        raise AssertionError("unreachable")  # pragma: no cover - the block above returns or raises

    @asynccontextmanager
    async def _translated(self, doing: str, *, fresh: bool) -> AsyncIterator[None]:
        """The one place where what Graph, kiota and httpx raise becomes ours."""
        async with self._gate.enter():
            try:
                yield
            except APIError as error:
                raise self._fault(error, doing, fresh=fresh) from error
            except ClientAuthenticationError as error:
                raise SignInFailed(
                    f"Entra refused the operator's identity while it was to {doing}"
                ) from error
            except ServiceRequestError as error:
                raise Unavailable(f"cannot reach Entra's sign-in to {doing}") from error
            except AzureError as error:
                raise SignInFailed(f"no token to {doing}") from error
            except OSError as error:
                raise SignInFailed(f"the service account's token cannot be read to {doing}") from error
            except httpx.HTTPError as error:
                message = f"cannot reach {SERVICE} to {doing}: {type(error).__name__}"
                raise Unavailable(message) from error
            except ValueError as error:
                raise unusable(doing) from error

    def _fault(self, error: APIError, doing: str, *, fresh: bool) -> Fault:
        """Our fault for Graph's. `fresh`: the object was seen, so "not found" means "not everywhere yet"."""
        status = error.response_status_code or 0
        main = error.error if isinstance(error, ODataError) else None
        code = (main.code if main else None) or ""
        text = ((main.message if main else None) or "").lower()
        if status == 429:
            seconds = retry_after(error.response_headers, DEFAULT_RETRY_AFTER) or 0.0
            self._gate.close_for(seconds)
            return Throttled(f"{SERVICE} is throttling; it was to {doing}", retry_after=seconds)
        if status >= 500 or status < 400 or status == 408:
            wait = retry_after(error.response_headers, None)
            return Unavailable(f"{SERVICE} answered {status} when asked to {doing}", retry_after=wait)
        if status == 401:
            return SignInFailed(f"{SERVICE} did not accept the operator's token to {doing}")
        if status == 403:
            return Denied(f"the operator's application may not {doing}: grant it {_right(doing)} in Entra")
        if status == 404:
            return (
                Replicating(f"not visible everywhere yet; it was to {doing}")
                if fresh
                else Missing(f"not there when asked to {doing}")
            )
        return _refusal(status, code, text, doing)


def _refusal(status: int, code: str, text: str, doing: str) -> Fault:
    """Our fault for a 400 or 409, which Graph tells apart only by its message."""
    if status == 410 or code.lower() in {"syncstatenotfound", "resyncrequired"}:
        # Source: https://learn.microsoft.com/graph/delta-query-overview, "synchronization reset"
        return Changed(f"what was known is too old; it was to {doing}")
    if "property uniquename already exists" in text:
        return UniqueNameHeld("a deleted group still holds the uniqueName")
    if "referenced don't exist" in text or "does not exist or one of its queried" in text:
        return Replicating(f"not visible everywhere yet; it was to {doing}")
    if "references already exist" in text or status in {409, 412}:
        return Changed(f"it changed while it was to {doing}")
    return Rejected(f"{SERVICE} will not {doing} ({status} {code})")


def _right(doing: str) -> str:
    """What the operator's application lacks when it is refused something.

    Source: https://learn.microsoft.com/graph/permissions-reference and the pages of the calls
    """
    if "user" in doing:
        return "User.Read.All"
    if "service principal" in doing:
        return "Application.Read.All"
    if doing.startswith(("add members", "remove members")):
        return "Group.ReadWrite.All, and Application.ReadWrite.All where a member is a service principal,"
    return "Group.ReadWrite.All"


def unusable(doing: str) -> Unavailable:
    """For an answer that Graph itself would not give but a proxy might: it says nothing of what there is."""
    return Unavailable(f"{SERVICE} gave no usable answer when asked to {doing}")


def with_id(item: object, doing: str) -> dict[str, Any]:
    """The object, if it has an id."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        raise unusable(doing)
    return item
