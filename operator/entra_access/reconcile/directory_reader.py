"""Look at Entra for one policy: its group, who is in it, and who the spec's references are."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from entra_access.adapters.graph import Graph
from entra_access.api.names import ANNOTATION_ADOPT
from entra_access.api.resources import (
    POLICY_MEMBER,
    AccessPolicy,
    GroupSubject,
    Membership,
    Meta,
    PrincipalKind,
    Reference,
)
from entra_access.api.status import Status
from entra_access.api.times import age
from entra_access.domain.faults import Fault, Missing, Replicating
from entra_access.domain.group_plan import group_item
from entra_access.domain.naming import adopted_name, is_guid, unique_name
from entra_access.domain.observed import Group, Principal, Seen
from entra_access.domain.place import Place
from entra_access.reconcile.seeing import each, nothing, seen
from entra_access.reconcile.shared import Shared, SharedEach

logger = logging.getLogger(__name__)
DELETED_GROUPS_SECONDS: Final = 2.0
GROUPS_OF_SECONDS: Final = 6 * 3600.0
"""How seldom it is counted in how many groups a service principal is."""
GROUPS_OF_RETRY_SECONDS: Final = 600.0
NAME_SECONDS: Final = 3600.0
"""For so long the name of somebody who changed something is believed."""


class DirectoryReader:
    """Reads what plans need of Entra. What cannot be seen is a `Fault` in its place."""

    def __init__(self, place: Place, graph: Graph) -> None:
        self._place = place
        self._graph = graph
        self._deleted = Shared(graph.deleted_groups, DELETED_GROUPS_SECONDS)
        self._names = SharedEach(self._name, NAME_SECONDS)
        self._groups_of: dict[str, tuple[int, float]] = {}

    async def group(
        self, meta: Meta, status: Status, now: datetime, *, deleting: bool, adopting: bool = False
    ) -> Group | None:
        """The policy's group, live or deleted, or None where it is certain that there is none.

        A group that was made a moment ago can be unknown to the replica that answers. As long as that may
        be, its absence proves nothing: a second one could be made, or the first forgotten.
        """
        line = group_item(status.inventory)
        names = [unique_name(self._place.owner_id, meta.name)]
        if adopting or (line and line.adopted):
            names.append(adopted_name(self._place.owner_id, meta.name))
        for name in names:
            found = await self._graph.group_by_unique_name(name)
            if found:
                return found
        # Whether a group that was there is gone for good, a list of before does not tell.
        known = line is not None and line.id
        gone = await (self._deleted.get(since=time.monotonic()) if known else self._deleted.get())
        deleted = next((group for group in gone if group.unique_name in names), None)
        if deleted:
            return deleted
        recent = line is not None and age(line.since, now) < self._place.replication_window
        if line and recent and (line.id or deleting):
            raise Replicating("the new group is not visible everywhere yet")
        return None

    async def relations(
        self, group: Group | None, wish: GroupSubject
    ) -> tuple[Seen[tuple[Principal, ...]], Seen[tuple[Principal, ...]]]:
        """The members and owners that the group has."""
        if group is None:
            return (), ()
        owners_matter = wish.owners or wish.membership is Membership.EXACT
        members, owners = await asyncio.gather(
            seen(self._graph.principals(group.id, "members")),
            seen(self._graph.principals(group.id, "owners")) if owners_matter else nothing(),
        )
        return members, owners

    async def candidate(self, meta: Meta) -> Group | None:
        """The group that the policy names by annotation as its own."""
        named = meta.annotation(ANNOTATION_ADOPT)
        return await self._graph.group(named.lower()) if is_guid(named) else None

    async def namesakes(
        self, policy: AccessPolicy, wish: GroupSubject, mine: Group | None
    ) -> tuple[Group, ...]:
        """Other groups with the wished name. Ours can be in the list before it is found by its uniqueName.

        One that was taken over before, by a policy of this name, is another one until it is taken over again.
        """
        ours = unique_name(self._place.owner_id, policy.meta.name)
        found = await self._graph.groups_named(wish.display_name)
        return tuple(g for g in found if g.unique_name != ours and (mine is None or g.id != mine.id))

    async def principals(
        self, references: Iterable[Reference], known: Iterable[Principal] = ()
    ) -> dict[Reference, Seen[Principal | None]]:
        """What the references stand for; one who is in the group under that name need not be looked up."""
        there = {(one.kind, name.lower()): one for one in known for name in (one.name, one.id) if name}

        async def find(reference: Reference) -> Principal:
            found = there.get((reference.kind, reference.value)) or await self._graph.principal(reference)
            if found is None:
                raise Missing(str(reference))
            return found

        return await each((one for one in references if one.kind != POLICY_MEMBER), find)

    async def with_applications(
        self,
        group: Group | None,
        members: Seen[tuple[Principal, ...]],
        wish: GroupSubject,
        principals: Mapping[Reference, Seen[Principal | None]],
    ) -> Seen[tuple[Principal, ...]]:
        """The members, with the service principals among them that Graph's list leaves out."""
        if group is None or isinstance(members, Fault):
            return members
        listed = {one.id for one in members}
        wished = [
            principals.get(one) for one in wish.members if one.kind == PrincipalKind.SERVICE_PRINCIPAL.value
        ]
        missing = [one for one in wished if isinstance(one, Principal) and one.id not in listed]
        checks = (seen(self._graph.is_direct_member(group.id, one.id)) for one in missing)
        found = await asyncio.gather(*checks)
        fault = next((one for one in found if isinstance(one, Fault)), None)
        if fault:
            return fault
        return (*members, *(one for one, there in zip(missing, found, strict=True) if there))

    async def names(self, ids: Iterable[str]) -> dict[str, str]:
        """What people call those who have these object ids; who cannot be found is left out."""
        wanted = list(ids)
        found = await asyncio.gather(*(seen(self._names.get(one)) for one in wanted))
        return {one: name for one, name in zip(wanted, found, strict=True) if name and isinstance(name, str)}

    async def _name(self, object_id: str) -> str:
        for kind in (PrincipalKind.USER, PrincipalKind.SERVICE_PRINCIPAL):
            found = await self._graph.principal(Reference(kind.value, object_id, "objectId"))
            if found:
                return found.name if kind is PrincipalKind.USER else found.display_name
        return ""

    async def groups_of(self, principals: Iterable[Principal]) -> dict[str, int]:
        """In how many groups each service principal is, as it was counted last; not counted: left out."""
        kind = PrincipalKind.SERVICE_PRINCIPAL.value
        ids = {one.id for one in principals if one.kind == kind}
        await asyncio.gather(*(self._count(one) for one in ids))
        counted = {one: self._groups_of[one][0] for one in ids}
        return {one: number for one, number in counted.items() if number >= 0}

    async def _count(self, principal_id: str) -> None:
        if time.monotonic() < self._groups_of.get(principal_id, (0, 0.0))[1]:
            return
        try:
            number, good_for = await self._graph.groups_of(principal_id), GROUPS_OF_SECONDS
        except Fault as fault:
            # It only serves a warning, so it is not worth a trouble of its own.
            logger.info("not counted in how many groups a service principal is: %s", fault.message)
            number, good_for = -1, GROUPS_OF_RETRY_SECONDS
        self._groups_of[principal_id] = (number, time.monotonic() + good_for)
