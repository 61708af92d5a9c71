"""Custom roles as Azure has them, by lists that many share, and as each policy knows them."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from entra_access.adapters.arm import Arm
from entra_access.domain.definition_plan import listed_at, management_group
from entra_access.domain.faults import Fault, Missing
from entra_access.domain.observed import Definition, Seen
from entra_access.domain.place import Place
from entra_access.reconcile.seeing import seen
from entra_access.reconcile.shared import SharedEach

T = TypeVar("T")
Listed: TypeAlias = Mapping[str, Definition]
"""What a list shows, by GUID."""


class Wish(NamedTuple):
    """A custom role that a policy wants."""

    policy: str
    role: Definition

    @property
    def key(self) -> tuple[str, str]:
        """Which role of which policy it is. Azure's names have no case."""
        return self.policy, self.role.name.lower()


class Definitions:
    """Looks at custom roles for passes, and for the rounds tells which are not as a policy knows them.

    A policy knows what its last look found, its own role or another one of that name, or what was written for
    it since; what the round before found does not count. So what happens to a role between its making and the
    next round is a change like any other, and so is what another policy has seen already.
    """

    def __init__(self, arm: Arm, place: Place, max_age: float) -> None:
        self._arm = arm
        self._place = place
        self._lists = SharedEach(self._list, max_age)
        self._known: dict[tuple[str, str], Definition | None] = {}

    async def look(self, wish: Wish) -> tuple[Seen[Definition | None], Seen[Definition | None]]:
        """The policy's own role, and where that is certainly not there another one of that name.

        By the list that many share; what it does not show as it should be is looked at itself.
        """
        own = await seen(_there(self._by_list(wish.role)))
        other = await seen(self._namesake(wish.role)) if own is None else None
        if not isinstance(own, Fault) and not isinstance(other, Fault):
            self._known[wish.key] = own or other
        return own, other

    async def changed(self, scope: str, wishes: Iterable[Wish]) -> dict[Wish, Fault | None]:
        """Those that are not as their policies know them, by a new list at the scope.

        What no list shows as it was known is looked at itself: lists lag behind. Of what cannot be looked at
        then, the fault.

        Raises
        ------
        Fault
            The list at the scope could not be read.
        """
        # One that nobody has looked at yet is about to be; a built-in role stays as it is.
        known = [one for one in wishes if one.key in self._known and not _built_in(self._known[one.key])]
        here = await self._listed_anew(scope)
        doubtful = [one for one in known if not self._as_known(one, here)]
        # Whether a list at the cluster shows the roles of a management group nobody knows here.
        unseen = [one for one in known if self._known[one.key] is None and management_group(one.role)]
        doubtful += [one for one in unseen if one not in doubtful]
        groups = {group for one in doubtful if (group := management_group(one.role)) and group != scope}
        for group in groups:
            listed = await seen(self._listed_anew(group))
            if not isinstance(listed, Fault):
                doubtful = [
                    one
                    for one in doubtful
                    if management_group(one.role) != group or not self._as_known(one, listed)
                ]
        looks = await asyncio.gather(*(seen(self._own_or_other(one.role)) for one in doubtful))
        found: dict[Wish, Fault | None] = {}
        for wish, look in zip(doubtful, looks, strict=True):
            if isinstance(look, Fault):
                found[wish] = look
            elif not _same(look, self._known[wish.key]):
                self._known[wish.key] = look
                found[wish] = None
        return found

    def written(self, policy: str, definitions: Iterable[Definition]) -> None:
        """Note what the operator has made or changed for a policy, and read all lists anew."""
        self._known |= {Wish(policy, one).key: one for one in definitions}
        self._lists.clear()

    def keep_only(self, wishes: Iterable[Wish]) -> None:
        """Forget all that nobody wishes for any more."""
        keys = {one.key for one in wishes}
        self._known = {key: role for key, role in self._known.items() if key in keys}

    def _as_known(self, wish: Wish, listed: Listed) -> bool:
        return _same(_shown(listed, wish.role), self._known[wish.key])

    async def _listed_anew(self, scope: str) -> Listed:
        self._lists.renew(scope)
        try:
            return await self._lists.get(scope)
        except Missing:
            return {}  # what can be assigned there only is gone with it

    async def _list(self, scope: str) -> Listed:
        return {one.guid: one for one in await self._arm.custom_definitions(scope)}

    async def _by_list(self, role: Definition) -> Definition | None:
        listed = (await self._lists.get(listed_at(role, self._place))).get(role.guid)
        return listed if listed and _same(listed, role) else await self._itself(role)

    async def _own_or_other(self, role: Definition) -> Definition | None:
        return await self._itself(role) or await self._namesake(role)

    async def _itself(self, role: Definition) -> Definition | None:
        return await self._arm.definition(role.assignable_scopes[0], role.guid)

    async def _namesake(self, role: Definition) -> Definition | None:
        scope = role.assignable_scopes[0]
        guid = await _there(self._arm.role_id(role.name, scope))
        return await self._arm.definition(scope, guid) if guid and guid != role.guid else None


async def _there(reading: Awaitable[T | None]) -> T | None:
    """What was read; nothing where the scope is not there."""
    try:
        return await reading
    except Missing:
        return None


def _built_in(role: Definition | None) -> bool:
    return role is not None and role.built_in


def _shown(listed: Listed, role: Definition) -> Definition | None:
    """The role as a list shows it, or another one of that name."""
    name = role.name.lower()
    return listed.get(role.guid) or next((one for one in listed.values() if one.name.lower() == name), None)


def _same(one: Definition | None, other: Definition | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.guid, one.content) == (other.guid, other.content)
