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
_FIELDS: Final = {
    GROUPS: "displayName,mailNickname,description,members,owners",
    USERS: "userPrincipalName,accountEnabled",
}


@dataclass(frozen=True)
class DirectoryChanges:
    """The answer to a delta query: the object ids of what has changed, and where to ask the next time."""

    ids: frozenset[str]
    link: str


class GraphDelta:
    """Delta queries. Each raises `Fault` and nothing else."""

    def __init__(self, http: GraphHttp) -> None:
        self._http = http

    async def begin(self, kind: str, ids: Iterable[str]) -> DirectoryChanges:
        """Begin to watch these objects, at most fifty; what they are like now is read to its end.

        Source: https://learn.microsoft.com/graph/delta-query-overview - a filter is allowed on ids only.
        """
        client = self._http.client
        builder: Builder = client.groups.delta if kind == GROUPS else client.users.delta
        condition = " or ".join(f"id eq '{one}'" for one in sorted(ids))
        query = {"select": _FIELDS[kind], "filter": condition}
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
        while True:
            items = page.get("value") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise unusable(doing)
            ids |= {str(with_id(item, doing)["id"]).lower() for item in items}
            more, end = page.get("@odata.nextLink"), page.get("@odata.deltaLink")
            if isinstance(end, str):
                return DirectoryChanges(frozenset(ids), end)
            if not isinstance(more, str):
                raise unusable(doing)
            try:
                page = await self._http.follow(more, doing)
            except Missing as error:
                raise Unavailable(error.message) from error


def _doing(kind: str) -> str:
    return f"look for changed {kind}"
