"""Custom roles as Azure has them, by lists that many share, and what was known of them before."""

import asyncio
from collections.abc import Iterable

from entra_access.adapters.arm import Arm
from entra_access.domain.definition_plan import listed_at, management_group
from entra_access.domain.faults import Fault, Missing
from entra_access.domain.observed import Definition
from entra_access.domain.place import Place
from entra_access.reconcile.seeing import seen
from entra_access.reconcile.shared import SharedEach


class Definitions:
    """Looks at custom roles for passes, and for the rounds tells which are not as they were known.

    Known is what the last look at a role found, or what the operator has written since: not what the round
    before found. What happens to a role between its making and the next round is a change like any other.
    """

    def __init__(self, arm: Arm, place: Place, max_age: float) -> None:
        self._arm = arm
        self._place = place
        self._lists = SharedEach(self._list, max_age)
        # One for each custom role that was looked at: a tenant has 5,000 at most.
        self._known: dict[str, Definition | None] = {}

    async def get(self, wish: Definition) -> Definition | None:
        """The custom role with that GUID, or None.

        By the list that many share; what it does not show as it should be is looked at itself.

        Raises
        ------
        Fault
            It cannot be seen, or the scope of the list is not there (`Missing`).
        """
        listed = (await self._lists.get(listed_at(wish, self._place))).get(wish.guid)
        found = listed if _same(listed, wish) else await self._look_up(wish)
        self._known[wish.guid] = found
        return found

    async def namesake(self, wish: Definition) -> Definition | None:
        """Another custom role of that name, or None. Raises what `get` does."""
        scope = wish.assignable_scopes[0]
        guid = await self._arm.role_id(wish.name, scope)
        found = await self._arm.definition(scope, guid) if guid and guid != wish.guid else None
        if found:
            self._known[found.guid] = found
        return found

    async def changed(self, scope: str, wishes: Iterable[Definition]) -> frozenset[str]:
        """The GUIDs of those that are not as they were known, by a new list at the scope.

        What no list shows as it was known is looked at itself: lists lag behind.

        Raises
        ------
        Fault
            The list, or one of those, could not be read, and no other was found changed: that one is told
            first.
        """
        # One that nobody has looked at yet is about to be.
        looked_at = [wish for wish in wishes if wish.guid in self._known]
        doubtful = await self._not_as_known(scope, looked_at)
        # Whether a list at the cluster shows the roles of a management group nobody knows here.
        groups = {group for one in doubtful if (group := management_group(one)) and group != scope}
        for group in groups:
            doubtful = await self._not_as_known(group, doubtful)
        found = await asyncio.gather(*(seen(self._look_up(one)) for one in doubtful))
        changed = set()
        for wish, there in zip(doubtful, found, strict=True):
            if not isinstance(there, Fault) and not _same(there, self._known[wish.guid]):
                self._known[wish.guid] = there
                changed.add(wish.guid)
        fault = next((one for one in found if isinstance(one, Fault)), None)
        if fault and not changed:
            raise fault
        return frozenset(changed)

    def written(self, definitions: Iterable[Definition]) -> None:
        """Note what the operator has made or changed, and read all lists anew."""
        self._known |= {one.guid: one for one in definitions}
        self._lists.clear()

    async def _not_as_known(self, scope: str, roles: Iterable[Definition]) -> list[Definition]:
        """Those that a new list at the scope does not show as they were known."""
        self._lists.renew(scope)
        try:
            listed = await self._lists.get(scope)
        except Missing:
            listed = {}
        return [one for one in roles if not _same(listed.get(one.guid), self._known[one.guid])]

    async def _list(self, scope: str) -> dict[str, Definition]:
        return {one.guid: one for one in await self._arm.custom_definitions(scope)}

    async def _look_up(self, wish: Definition) -> Definition | None:
        return await self._arm.definition(wish.assignable_scopes[0], wish.guid)


def _same(one: Definition | None, other: Definition | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.content == other.content
