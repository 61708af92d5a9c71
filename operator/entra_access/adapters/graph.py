"""Microsoft Graph: groups, their members and owners, users and service principals."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from azure.core.credentials_async import AsyncTokenCredential
from kiota_abstractions.method import Method

from entra_access.adapters.graph_delta import GraphDelta
from entra_access.adapters.graph_http import SERVICE, Builder, GraphHttp, unusable, with_id
from entra_access.api.resources import PrincipalKind, Reference
from entra_access.domain.faults import Missing, Rejected, Replicating
from entra_access.domain.observed import Group, Principal

PAGE: Final = 999
MAX_LINKS: Final = 20
"""At most so many members in one PATCH. Source: https://learn.microsoft.com/graph/api/group-update"""
MAX_NAMED: Final = 10
"""So many object ids are named in one message."""
USER_FIELDS: Final = "id,userPrincipalName,displayName,userType,accountEnabled"
MEMBER_FIELDS: Final = "id,userPrincipalName,appId,displayName,accountEnabled"
GROUP_FIELDS: Final = (
    "id,uniqueName,displayName,mailNickname,description,securityEnabled,groupTypes,onPremisesSyncEnabled"
)


class Graph:
    """The calls that the operator makes to Microsoft Graph. Each raises `Fault` and nothing else."""

    def __init__(
        self, credential: AsyncTokenCredential, url: str, ca_file: str | None, limit: int = 8
    ) -> None:
        self._http = GraphHttp(credential, url, ca_file, limit)
        self._client = self._http.client
        self.delta = GraphDelta(self._http)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def group_by_unique_name(self, unique_name: str) -> Group | None:
        """The group with that uniqueName, or None.

        Source: https://learn.microsoft.com/graph/api/group-get
        """
        builder = self._client.groups_with_unique_name(unique_name)
        return _group(await self._http.find(builder, "read a group", select=GROUP_FIELDS))

    async def group(self, group_id: str) -> Group | None:
        """The group with that object id, or None."""
        builder = self._client.groups.by_group_id(group_id)
        return _group(await self._http.find(builder, "read a group", select=GROUP_FIELDS))

    async def groups_named(self, display_name: str) -> tuple[Group, ...]:
        """The groups with that display name, which is not unique in Entra."""
        name = display_name.replace("'", "''")
        condition = f"displayName eq '{name}'"
        pages = self._http.pages(
            self._client.groups, "look for groups", select=GROUP_FIELDS, filter=condition
        )
        return tuple([Group(**_group_fields(item)) async for item in pages])

    async def deleted_groups(self) -> tuple[Group, ...]:
        """The deleted groups that can still be restored, for thirty days after their deletion.

        Source: https://learn.microsoft.com/graph/api/directory-deleteditems-list
        """
        builder = self._client.directory.deleted_items.graph_group
        pages = self._http.pages(builder, "list deleted groups", select=GROUP_FIELDS, top=PAGE)
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
        made = await self._http.send(Method.PATCH, builder, doing, body=body, headers=headers)
        found = _group(with_id(made, doing)) if made else await self.group_by_unique_name(unique_name)
        if found is None:
            raise Replicating("the group was made and cannot be read yet")
        return found

    async def restore_group(self, group_id: str) -> None:
        """Bring a deleted group back, with its members and owners.

        Source: https://learn.microsoft.com/graph/api/directory-deleteditems-restore
        """
        builder = self._client.directory.deleted_items.by_directory_object_id(group_id).restore
        await self._http.send(Method.POST, builder, "restore the deleted group", body={})

    async def update_group(self, group_id: str, attributes: Mapping[str, str | None]) -> None:
        """Set attributes of the group; None empties one."""
        builder = self._client.groups.by_group_id(group_id)
        await self._http.send(Method.PATCH, builder, "update the group", body=dict(attributes), fresh=True)

    async def delete_group(self, group_id: str) -> None:
        """Delete the group. It stays among the deleted items for thirty days.

        Raises
        ------
        Replicating
            The group cannot be found just now, although it was seen.
        """
        builder = self._client.groups.by_group_id(group_id)
        await self._http.send(Method.DELETE, builder, "delete the group", fresh=True)

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
        pages = self._http.pages(builder, doing, fresh=True, select=MEMBER_FIELDS, top=PAGE)
        return tuple([_principal(item) async for item in pages])

    async def add(self, group_id: str, relation: str, ids: Iterable[str]) -> None:
        """Add members, twenty in one call that takes all or none, or owners, one by one.

        Where Graph will not take a call of several, each is tried by itself, so that one who cannot be a
        member keeps nobody else out. Source: https://learn.microsoft.com/graph/api/group-post-members,
        …/group-post-owners

        Raises
        ------
        Rejected
            Some cannot be members or owners, and the message names them; all others were added.
        """
        wanted, rejected = list(ids), list[str]()
        size = MAX_LINKS if relation == "members" else 1
        for start in range(0, len(wanted), size):
            rejected += await self._add_some(group_id, relation, wanted[start : start + size])
        if rejected:
            more = f" and {len(rejected) - MAX_NAMED} more" if len(rejected) > MAX_NAMED else ""
            named = ", ".join(rejected[:MAX_NAMED])
            raise Rejected(
                f"{SERVICE} will not add {relation} to the group: {named}{more}; "
                "leave them out of the spec, or name others in their place"
            )

    async def _add_some(self, group_id: str, relation: str, ids: list[str]) -> list[str]:
        """Add as many as one call takes. Returns those that Graph will not accept."""
        group = self._client.groups.by_group_id(group_id)
        links = [f"{self._http.base}/directoryObjects/{one}" for one in ids]
        doing = f"add {relation} to the group"
        try:
            if relation == "members":
                await self._http.send(
                    Method.PATCH, group, doing, body={"members@odata.bind": links}, fresh=True
                )
            else:
                await self._http.send(
                    Method.POST, group.owners.ref, doing, body={"@odata.id": links[0]}, fresh=True
                )
        except Rejected:
            if len(ids) == 1:
                return ids
            return [no for one in ids for no in await self._add_some(group_id, relation, [one])]
        return []

    async def remove(self, group_id: str, relation: str, principal_id: str) -> None:
        """Take a member or owner out. One who is not there counts as taken out.

        Source: https://learn.microsoft.com/graph/api/group-delete-members - without ``/$ref`` the
        member itself would be deleted.
        """
        group = self._client.groups.by_group_id(group_id)
        if relation == "members":
            builder: Builder = group.members.by_directory_object_id(principal_id).ref
        else:
            builder = group.owners.by_directory_object_id(principal_id).ref
        try:
            await self._http.send(Method.DELETE, builder, f"remove {relation} of the group")
        except Missing:
            return

    async def principal(self, reference: Reference) -> Principal | None:
        """What a reference in a spec stands for, or None where there is no such thing."""
        match reference.kind:
            case PrincipalKind.GROUP.value:
                return await self._group_principal(reference.value)
            case PrincipalKind.SERVICE_PRINCIPAL.value:
                return await self._service_principal(reference)
            case _:
                return await self._user(reference.value)

    async def _group_principal(self, group_id: str) -> Principal | None:
        builder = self._client.groups.by_group_id(group_id)
        fields = "id,displayName,securityEnabled,groupTypes"
        item = await self._http.find(builder, "read a group", select=fields)
        if not item:
            return None
        return Principal(
            item["id"],
            PrincipalKind.GROUP.value,
            display_name=item.get("displayName") or "",
            security=item.get("securityEnabled") is not False,
            unified="Unified" in (item.get("groupTypes") or ()),
        )

    async def _service_principal(self, reference: Reference) -> Principal | None:
        """By the application's id, which people know, or by the object id, which Azure wants.

        Source: https://learn.microsoft.com/graph/api/serviceprincipal-get
        """
        builders: dict[str, Builder] = {
            "appId": self._client.service_principals_with_app_id(reference.value),
            "objectId": self._client.service_principals.by_service_principal_id(reference.value),
        }
        for form, builder in builders.items():
            if reference.form in {"", form}:
                fields = "id,appId,displayName"
                item = await self._http.find(builder, "look up a service principal", select=fields)
                if item:
                    return _principal({"@odata.type": "#microsoft.graph.servicePrincipal", **item})
        return None

    async def _user(self, name: str) -> Principal | None:
        """A user by user principal name or object id.

        Source: https://learn.microsoft.com/graph/api/user-get
        """
        users = self._client.users
        builder = users.by_user_id(name)
        if name.startswith("$"):
            # A name that begins with a dollar sign must be in quotes: /users('$x@contoso.com')
            quoted = quote(name.replace("'", "''"), safe="'$")
            # To a whole address the SDK adds no query.
            url = f"{self._http.base}/users('{quoted}')?$select={USER_FIELDS}"
            builder = users.with_url(url).by_user_id("")
        item = await self._http.find(builder, "look up a user", select=USER_FIELDS)
        return _principal(item) if item else None

    async def is_direct_member(self, group_id: str, service_principal_id: str) -> bool:
        """Whether the service principal is a member of the group itself, not by way of another group.

        The list of a group's members leaves service principals out.
        Source: https://learn.microsoft.com/graph/api/group-list-members, "known issue"
        """
        builder = self._client.service_principals.by_service_principal_id(service_principal_id).member_of
        doing = "list the groups of a service principal"
        async for item in self._http.pages(builder, doing, select="id", top=PAGE):
            if item["id"] == group_id:
                return True
        return False

    async def groups_of(self, service_principal_id: str) -> int:
        """In how many groups a service principal is, also by way of other groups.

        Source: https://learn.microsoft.com/graph/api/serviceprincipal-list-transitivememberof
        """
        principal = self._client.service_principals.by_service_principal_id(service_principal_id)
        builder = principal.transitive_member_of.graph_group.count
        doing = "count the groups of a service principal"
        number = await self._http.send(
            Method.GET, builder, doing, headers={"ConsistencyLevel": "eventual", "Accept": "text/plain"}
        )
        if not isinstance(number, int):
            raise unusable(doing)
        return number


def _group_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": item["id"],
        "unique_name": item.get("uniqueName") or "",
        "display_name": item.get("displayName") or "",
        "mail_nickname": item.get("mailNickname") or "",
        "description": item.get("description"),
        "obstacle": _obstacle(item),
    }


def _obstacle(item: Mapping[str, Any]) -> str:
    """Why a group cannot be one that a policy looks after.

    Source: https://learn.microsoft.com/graph/api/resources/group, groupTypes and onPremisesSyncEnabled
    """
    types = item.get("groupTypes") or ()
    if item.get("securityEnabled") is False or "Unified" in types:
        return "it is not a security group"
    if "DynamicMembership" in types:
        return "its members are kept by a rule (dynamic membership)"
    if item.get("onPremisesSyncEnabled"):
        return "it is synchronized from on-premises"
    if item.get("uniqueName"):
        return f"it has the uniqueName {item['uniqueName']} of another owner"
    return ""


def _group(item: Mapping[str, Any] | None) -> Group | None:
    return Group(**_group_fields(item)) if item else None


def _principal(item: Mapping[str, Any]) -> Principal:
    kind = str(item.get("@odata.type", "#microsoft.graph.user")).rpartition(".")[2]
    name = item.get("userPrincipalName") or item.get("appId") or ""
    # A guest keeps such a name also where the directory calls them a member by now.
    guest = item.get("userType") == "Guest" or "#EXT#" in name.upper()
    enabled = item.get("accountEnabled") is not False
    return Principal(item["id"], kind, name, item.get("displayName") or "", guest=guest, enabled=enabled)
