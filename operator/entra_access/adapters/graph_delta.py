"""What has changed in the directory since the last question, for many objects at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from entra_access.adapters.graph_http import Builder, GraphHttp, unusable, with_id
from entra_access.domain.faults import Missing, Unavailable

MAX_IDS: Final = 50
"""One question is about at most so many objects. Source: https://learn.microsoft.com/graph/api/group-delta"""
GROUPS: Final = "groups"
USERS: Final = "users"
_GROUP_FIELDS: Final = "displayName,mailNickname,description,securityEnabled,members,owners"
_USER_FIELDS: Final = "userPrincipalName,accountEnabled,userType"
"""What a pass goes by: of other fields no change is told."""


@dataclass(frozen=True)
class DirectoryChanges:
    """The answer to a delta query: what has changed, and where to ask the next time.

    Attributes
    ----------
    ids
        The object ids, in lower case.
    names
        The user principal names, in lower case, of those of them that are there and are users.
    """

    ids: frozenset[str]
    link: str
    names: frozenset[str] = frozenset()


class GraphDelta:
    """Delta queries. Each raises `Fault` and nothing else."""

    def __init__(self, http: GraphHttp) -> None:
        self._http = http

    async def begin_groups(self, ids: Iterable[str]) -> DirectoryChanges:
        """Begin to watch these groups, at most fifty; what they are like now is read to its end.

        Source: https://learn.microsoft.com/graph/delta-query-overview - a filter is allowed on ids only.
        """
        condition = " or ".join(f"id eq '{one}'" for one in sorted(ids))
        query = {"select": _GROUP_FIELDS, "filter": condition}
        return await self._begin(GROUPS, self._http.client.groups.delta, query)

    async def begin_users(self) -> DirectoryChanges:
        """Begin to watch all users of the tenant; what they are like now is not read.

        Source: https://learn.microsoft.com/graph/delta-query-overview - ``$deltatoken=latest``.
        """
        query = {"select": _USER_FIELDS, "deltatoken": "latest"}
        return await self._begin(USERS, self._http.client.users.delta, query)

    async def _begin(self, kind: str, builder: Builder, query: dict[str, str]) -> DirectoryChanges:
        doing = _doing(kind)
        return await self._read(await self._http.ask(builder, doing, query), doing)

    async def follow(self, kind: str, link: str) -> DirectoryChanges:
        """What has changed since the answer that gave this link.

        Raises
        ------
        Changed
            The link is too old: begin anew.
        """
        doing = _doing(kind)
        return await self._read(await self._http.follow(link, doing), doing)

    async def _read(self, page: Any, doing: str) -> DirectoryChanges:
        ids: set[str] = set()
        names: set[str] = set()
        followed: set[str] = set()
        while True:
            items = page.get("value") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise unusable(doing)
            ids |= {str(with_id(item, doing)["id"]).lower() for item in items}
            names |= {one.lower() for item in items if isinstance(one := item.get("userPrincipalName"), str)}
            more, end = page.get("@odata.nextLink"), page.get("@odata.deltaLink")
            if isinstance(end, str):
                return DirectoryChanges(frozenset(ids), end, frozenset(names))
            if not isinstance(more, str) or more in followed:
                raise unusable(doing)
            followed.add(more)
            try:
                page = await self._http.follow(more, doing)
            except Missing as error:
                raise Unavailable(error.message) from error


def _doing(kind: str) -> str:
    return f"look for changed {kind}"
