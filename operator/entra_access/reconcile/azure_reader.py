"""Look at Azure for one resource: roles, role assignments, custom roles."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from entra_access.adapters.arm import Arm
from entra_access.api.resources import CustomRole
from entra_access.api.status import Item, Status
from entra_access.domain.definition_plan import wished_definition
from entra_access.domain.faults import Denied, Fault, Missing
from entra_access.domain.naming import guid_in, scope_of
from entra_access.domain.observed import Assignment, Definition, Seen
from entra_access.domain.place import Place
from entra_access.domain.role_plan import ASSIGNMENT
from entra_access.reconcile.definitions import Definitions, Wish
from entra_access.reconcile.role_ids import MISSING_SECONDS, ROLE_ID_SECONDS, RoleIds
from entra_access.reconcile.seeing import each, seen
from entra_access.reconcile.shared import Assignments, SharedEach


class AzureReader:
    """Reads what plans need of Azure. What cannot be seen is a `Fault` in its place."""

    def __init__(
        self,
        place: Place,
        arm: Arm,
        max_age: float,
        missing_seconds: float = MISSING_SECONDS,
        changed: Callable[[list[Assignment]], None] | None = None,
    ) -> None:
        self._place = place
        self._arm = arm
        self.assignments = Assignments(self._list, max_age, changed, self._read_one)
        self.custom_roles = Definitions(arm, place, max_age)
        self._role_names = SharedEach(self._role_name, ROLE_ID_SECONDS)
        self.roles = RoleIds(self._look_up, place.replication_window, missing_seconds)

    async def world(self, roles: Iterable[str], scopes: Iterable[str], status: Status) -> dict[str, Any]:
        """The fields of `AzureWorld`: the GUIDs of the roles, and what is assigned at the scopes.

        Scopes that the inventory names are looked at too: something may have to go there.
        """
        lines = [item for item in status.inventory if item.kind == ASSIGNMENT and item.id]
        places = {one.lower(): one for one in (*(scope_of(item.id) for item in lines), *scopes)}
        far = {key: scope for key, scope in places.items() if not self._place.covers(scope)}
        near = [item for item in lines if self._place.covers(scope_of(item.id))]
        wanted = list(far.values())
        ids, (here, *elsewhere) = await asyncio.gather(
            each(roles, lambda role: self._role_id(role, wanted)),
            asyncio.gather(
                seen(self._all_at(self._place.cluster_id, near)),
                *(seen(self._all_at(scope, self._lines_at(lines, scope))) for scope in wanted),
            ),
        )
        return {
            "roles": ids,
            "assignments": here,
            "elsewhere": {
                scope.lower(): _exactly_at(scope, found)
                for scope, found in zip(wanted, elsewhere, strict=True)
            },
        }

    async def left(self, status: Status) -> dict[str, Any]:
        """The fields of `AzureWorld` for a resource that is going, also where the cluster itself is gone."""
        world = await self.world((), (), status)
        if isinstance(world["assignments"], Missing):
            lines = [item for item in status.inventory if item.kind == ASSIGNMENT and item.id]
            world["assignments"] = await seen(self._above(lines))
        return world

    async def _above(self, lines: Iterable[Item]) -> tuple[Assignment, ...]:
        """What is assigned above the cluster. What was assigned in it is gone with it."""
        scopes = {scope_of(item.id) for item in lines}
        for place in (self._place.resource_group, self._place.subscription):
            try:
                return await self._arm.assignments(place, below=False)
            except Missing:
                continue
            except Denied:
                # Whoever may not look there has assigned nothing there, unless it is written down.
                if any(f"{place.lower()}/".startswith(f"{one.lower()}/") for one in scopes):
                    raise
                return ()
        return ()

    async def definitions(
        self, roles: Iterable[CustomRole], policy: str, lines: Iterable[Item]
    ) -> tuple[dict[str, Seen[Definition | None]], dict[str, Seen[Definition | None]]]:
        """The custom roles of a policy by name, and others that have such a name."""
        lines = tuple(lines)
        wishes = [wished_definition(role, policy, self._place, lines) for role in roles]
        looks = await asyncio.gather(*(self.custom_roles.look(Wish(policy, one)) for one in wishes))
        found = {wish.name: look for wish, look in zip(wishes, looks, strict=True)}
        own = {name: look[0] for name, look in found.items()}
        return own, {name: look[1] for name, look in found.items() if look[0] is None}

    async def role_names(self, guids: Iterable[str]) -> dict[str, str]:
        """The names of roles; those that cannot be found now are left out."""
        wanted = list(guids)
        found = await asyncio.gather(*(seen(self._role_names.get(one)) for one in wanted))
        return {one: name for one, name in zip(wanted, found, strict=True) if name and isinstance(name, str)}

    async def look_again(self, scope: str) -> None:
        """List the assignments at the cluster or at another scope anew; who wants to hear of changes does.

        Raises
        ------
        Fault
            The list could not be read.
        """
        await self.assignments.look_again(scope, self._covers(scope))

    def latest(
        self, found: Seen[tuple[Assignment, ...]], scope: str | None = None
    ) -> Seen[tuple[Assignment, ...]]:
        """What was seen at the cluster, or at another scope, with what the operator has written since."""
        if isinstance(found, Fault):
            return found
        return self.assignments.overlaid(found, self._covers(scope or self._place.cluster_id))

    def _covers(self, scope: str) -> Callable[[str], bool]:
        """Which scopes a list at this one shows."""
        return self._place.covers if scope == self._place.cluster_id else _only(scope)

    async def _list(self, scope: str) -> tuple[Assignment, ...]:
        return await self._arm.assignments(scope, below=scope == self._place.cluster_id)

    async def _role_name(self, guid: str) -> str:
        found = await self._arm.definition(self._place.cluster_id, guid)
        return found.name if found else ""

    async def _read_one(self, arm_id: str) -> Assignment | None:
        return await self._arm.assignment(scope_of(arm_id), arm_id.rpartition("/")[2])

    async def _all_at(self, scope: str, lines: Iterable[Item]) -> tuple[Assignment, ...]:
        """What a list at the scope shows.

        One that the inventory names and the list does not show is looked at itself: lists lag behind, and
        a line in a status proves neither that it is there nor whose it is.
        """
        listed = await self.assignments.get(scope, self._covers(scope))
        known = {one.name for one in listed}
        unlisted = [item.id for item in lines if (guid_in(item.id) or "") not in known]
        found = [await self._read_one(one) for one in unlisted]
        return (*listed, *(one for one in found if one))

    @staticmethod
    def _lines_at(lines: Iterable[Item], scope: str) -> list[Item]:
        return [item for item in lines if scope_of(item.id).lower() == scope.lower()]

    async def _role_id(self, role: str, scopes: Iterable[str]) -> str:
        """A built-in role is known everywhere; a custom one where it can be assigned."""
        return await self.roles.get(role, (self._place.cluster_id, *scopes))

    def roles_made(self, policy: str, definitions: Iterable[Definition]) -> None:
        """The operator has made or changed custom roles for a policy: what was missing may be there."""
        self.roles.made()
        self.custom_roles.written(policy, definitions)

    async def _look_up(self, key: tuple[str, str]) -> str | None:
        return await self._arm.role_id(*key)


def _only(scope: str) -> Callable[[str], bool]:
    """What a list is asked for: what is exactly at the scope."""
    return lambda one: one.lower() == scope.lower()


def _exactly_at(scope: str, found: Seen[tuple[Assignment, ...]]) -> Seen[tuple[Assignment, ...]]:
    if isinstance(found, Fault):
        return found
    return tuple(one for one in found if one.scope.lower() == scope.lower())
