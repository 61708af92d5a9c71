"""Microsoft Graph: groups, their members and owners, users.

Addresses come from msgraph-sdk's request builders; bodies are read and written as plain JSON, because
the SDK's typed decoding of one page of 999 members blocks the event loop for seconds.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
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
from entra_access.api.resources import PrincipalKind, Reference
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
from entra_access.domain.observed import Group, Principal

SERVICE: Final = "Microsoft Graph"
PAGE: Final = 999
MAX_LINKS: Final = 20
"""At most so many members in one PATCH. Source: https://learn.microsoft.com/graph/api/group-update"""
GROUP_FIELDS: Final = "id,uniqueName,displayName,mailNickname,description"
TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)


class _Builder(Protocol):
    """What is used of msgraph-sdk's request builders."""

    url_template: str
    path_parameters: Any


class Graph:
    """The calls that the operator makes to Microsoft Graph. Each raises `Fault` and nothing else."""

    def __init__(
        self, credential: AsyncTokenCredential, url: str, ca_file: str | None, limit: int = 8
    ) -> None:
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
        self._adapter.base_url = f"{base}/v1.0"
        self._client = GraphServiceClient(request_adapter=self._adapter)
        self._gate = Gate(SERVICE, limit)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        for transport in self._transports:
            if transport:
                await transport.aclose()

    async def group_by_unique_name(self, unique_name: str) -> Group | None:
        """The group with that uniqueName, or None.

        Source: https://learn.microsoft.com/graph/api/group-get
        """
        builder = self._client.groups_with_unique_name(unique_name)
        return _group(await self._find(builder, "read a group", select=GROUP_FIELDS))

    async def group(self, group_id: str) -> Group | None:
        """The group with that object id, or None."""
        builder = self._client.groups.by_group_id(group_id)
        return _group(await self._find(builder, "read a group", select=GROUP_FIELDS))

    async def groups_named(self, display_name: str) -> tuple[Group, ...]:
        """The groups with that display name, which is not unique in Entra."""
        name = display_name.replace("'", "''")
        condition = f"displayName eq '{name}'"
        pages = self._pages(self._client.groups, "look for groups", select=GROUP_FIELDS, filter=condition)
        return tuple([Group(**_group_fields(item)) async for item in pages])

    async def deleted_groups(self) -> tuple[Group, ...]:
        """The deleted groups that can still be restored, for thirty days after their deletion.

        Source: https://learn.microsoft.com/graph/api/directory-deleteditems-list
        """
        builder = self._client.directory.deleted_items.graph_group
        pages = self._pages(builder, "list deleted groups", select=GROUP_FIELDS, top=PAGE)
        return tuple([Group(**_group_fields(item), deleted=True) async for item in pages])

    async def create_group(
        self, unique_name: str, display_name: str, mail_nickname: str, description: str | None
    ) -> Group:
        """Make the group, or find the one that already has that uniqueName: the same call may be repeated.

        Source: https://learn.microsoft.com/graph/api/group-upsert

        Raises
        ------
        UniqueNameHeld
            A deleted group holds the name.
        Replicating
            The group is there, but cannot be read yet.
        """
        body = {
            "displayName": display_name,
            "mailNickname": mail_nickname,
            "mailEnabled": False,
            "securityEnabled": True,
        }
        body |= {"description": description} if description else {}
        builder = self._client.groups_with_unique_name(unique_name)
        headers = {"Prefer": "create-if-missing"}
        doing = "create the group"
        made = await self._send(Method.PATCH, builder, doing, body=body, headers=headers)
        found = _group(_with_id(made, doing)) if made else await self.group_by_unique_name(unique_name)
        if found is None:
            raise Replicating("the group was made and cannot be read yet")
        return found

    async def restore_group(self, group_id: str) -> None:
        """Bring a deleted group back, with its members and owners.

        Source: https://learn.microsoft.com/graph/api/directory-deleteditems-restore
        """
        builder = self._client.directory.deleted_items.by_directory_object_id(group_id).restore
        await self._send(Method.POST, builder, "restore the deleted group", body={})

    async def update_group(self, group_id: str, attributes: Mapping[str, str | None]) -> None:
        """Set attributes of the group; None empties one."""
        builder = self._client.groups.by_group_id(group_id)
        await self._send(Method.PATCH, builder, "update the group", body=dict(attributes), fresh=True)

    async def delete_group(self, group_id: str) -> None:
        """Delete the group. It stays among the deleted items for thirty days.

        Raises
        ------
        Replicating
            The group cannot be found just now, although it was seen.
        """
        builder = self._client.groups.by_group_id(group_id)
        await self._send(Method.DELETE, builder, "delete the group", fresh=True)

    async def principals(self, group_id: str, relation: str) -> tuple[Principal, ...]:
        """The direct members or owners of the group.

        Raises
        ------
        Replicating
            The group is new and its members cannot be read yet.
        """
        group = self._client.groups.by_group_id(group_id)
        builder = group.members if relation == "members" else group.owners
        doing = f"list the group's {relation}"
        pages = self._pages(builder, doing, fresh=True, select="id,userPrincipalName", top=PAGE)
        return tuple([_principal(item) async for item in pages])

    async def add(self, group_id: str, relation: str, ids: Iterable[str]) -> None:
        """Add members, twenty in one call that takes all or none, or owners, one by one.

        Source: https://learn.microsoft.com/graph/api/group-post-members, …/group-post-owners
        """
        wanted = list(ids)
        group = self._client.groups.by_group_id(group_id)
        links = [f"{self._adapter.base_url}/directoryObjects/{one}" for one in wanted]
        doing = f"add {relation} to the group"
        if relation == "members":
            for start in range(0, len(links), MAX_LINKS):
                body = {"members@odata.bind": links[start : start + MAX_LINKS]}
                await self._send(Method.PATCH, group, doing, body=body, fresh=True)
            return
        for link in links:
            await self._send(Method.POST, group.owners.ref, doing, body={"@odata.id": link}, fresh=True)

    async def remove(self, group_id: str, relation: str, principal_id: str) -> None:
        """Take a member or owner out. One who is not there counts as taken out.

        Source: https://learn.microsoft.com/graph/api/group-delete-members - without ``/$ref`` the
        member itself would be deleted.
        """
        group = self._client.groups.by_group_id(group_id)
        if relation == "members":
            builder: _Builder = group.members.by_directory_object_id(principal_id).ref
        else:
            builder = group.owners.by_directory_object_id(principal_id).ref
        try:
            await self._send(Method.DELETE, builder, f"remove {relation} of the group")
        except Missing:
            return

    async def principal(self, reference: Reference) -> Principal | None:
        """The user or group that a reference in a spec stands for, or None where there is none."""
        if reference.kind == PrincipalKind.GROUP.value:
            found = await self.group(reference.value)
            return Principal(found.id, reference.kind) if found else None
        users = self._client.users
        builder = users.by_user_id(reference.value)
        if reference.value.startswith("$"):
            # A name that begins with a dollar sign must be in quotes: /users('$x@contoso.com')
            builder = users.with_url(f"{self._adapter.base_url}/users('{reference.value}')").by_user_id("")
        item = await self._find(builder, "look up a user", select="id,userPrincipalName")
        return _principal(item) if item else None

    async def _find(self, builder: _Builder, doing: str, **query: object) -> dict[str, Any] | None:
        try:
            return _with_id(await self._send(Method.GET, builder, doing, query=query), doing)
        except Missing:
            return None

    async def _pages(
        self, builder: _Builder, doing: str, *, fresh: bool = False, **query: object
    ) -> AsyncIterator[dict[str, Any]]:
        try:
            page = await self._send(Method.GET, builder, doing, query=query, fresh=fresh)
        except Missing as error:
            raise Unavailable(f"{SERVICE} answered 404 when asked to {doing}") from error
        while True:
            items = page.get("value") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise _unusable(doing)
            for item in items:
                yield _with_id(item, doing)
            link = page.get("@odata.nextLink") if page else None
            if not link:
                return
            info = RequestInformation(Method.GET)
            info.url = link
            page = await self._run(info, doing, fresh=fresh)

    async def _send(
        self,
        method: Method,
        builder: _Builder,
        doing: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> dict[str, Any] | None:
        info = RequestInformation(method, builder.url_template, dict(builder.path_parameters))
        for name, value in (query or {}).items():
            info.query_parameters[f"%24{name}"] = value
        for name, text in {"Accept": "application/json", **(headers or {})}.items():
            info.headers.add(name, text)
        if body is not None:
            info.set_stream_content(json.dumps(body).encode(), "application/json")
        return await self._run(info, doing, fresh=fresh)

    async def _run(self, info: RequestInformation, doing: str, *, fresh: bool) -> dict[str, Any] | None:
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
                raise _unusable(doing) from error

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
            return Denied(
                f"the operator's application may not {doing}: grant it Group.ReadWrite.All in Entra"
            )
        if status == 404:
            return (
                Replicating(f"not visible everywhere yet; it was to {doing}")
                if fresh
                else Missing(f"not there when asked to {doing}")
            )
        return _refusal(status, code, text, doing)


def _refusal(status: int, code: str, text: str, doing: str) -> Fault:
    """Our fault for a 400 or 409, which Graph tells apart only by its message."""
    if "property uniquename already exists" in text:
        return UniqueNameHeld("a deleted group still holds the uniqueName")
    if "referenced don't exist" in text or "does not exist or one of its queried" in text:
        return Replicating(f"not visible everywhere yet; it was to {doing}")
    if "references already exist" in text or status in {409, 412}:
        return Changed(f"it changed while it was to {doing}")
    return Rejected(f"{SERVICE} will not {doing} ({status} {code})")


def _unusable(doing: str) -> Unavailable:
    """For an answer that Graph itself would not give but a proxy might: it says nothing of what there is."""
    return Unavailable(f"{SERVICE} gave no usable answer when asked to {doing}")


def _with_id(item: object, doing: str) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        raise _unusable(doing)
    return item


def _group_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": item["id"],
        "unique_name": item.get("uniqueName") or "",
        "display_name": item.get("displayName") or "",
        "mail_nickname": item.get("mailNickname") or "",
        "description": item.get("description"),
    }


def _group(item: Mapping[str, Any] | None) -> Group | None:
    return Group(**_group_fields(item)) if item else None


def _principal(item: Mapping[str, Any]) -> Principal:
    kind = str(item.get("@odata.type", "#microsoft.graph.user")).rpartition(".")[2]
    return Principal(item["id"], kind, item.get("userPrincipalName") or "")
