"""The round over Azure: a few lists tell whether anything has changed, whatever there is."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from itertools import chain
from typing import Final

from entra_access.api.names import GRANT
from entra_access.domain.definition_plan import listed_at, wished_definition
from entra_access.domain.faults import Fault
from entra_access.domain.naming import assignment_id, scope_of
from entra_access.domain.observed import Assignment, Definition, PolicyView
from entra_access.domain.place import Place
from entra_access.domain.role_plan import ASSIGNMENT
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.definitions import Wish
from entra_access.reconcile.rounds import Round

DEFINITIONS: Final = "custom roles"


def concerned(cache: WatchCache, changed: Iterable[Assignment]) -> set[Key]:
    """Who must look at assignments that have changed: who wants them, and whose subject has them."""
    those = list(changed)
    ids = {assignment_id(one.scope, one.name) for one in those}
    principals = {one.principal_id for one in those}
    cache.news.heard(ids | principals)
    return cache.azure_claims.holders(ids) | cache.by_object_id(principals)


def _source(scope: str, key: Key) -> Hashable:
    """A policy's custom roles, which a list at the scope may not show as they were."""
    return DEFINITIONS, scope, key


class AzureSweep(Round):
    """In each round all is listed that is at the cluster, and at scopes far from it.

    What differs from the list before is told by `AzureReader`; here only custom roles are compared.
    """

    def __init__(
        self,
        place: Place,
        cache: WatchCache,
        azure: AzureReader,
        add: Callable[[Key, float], None],
        blindness: Blindness,
        interval: float,
    ) -> None:
        super().__init__(cache, add, blindness, interval)
        self._place = place
        self._azure = azure
        self._asked: set[Hashable] = set()

    async def look(self) -> None:
        """Go round once. What cannot be listed is listed again in the next round."""
        looks: dict[Hashable, tuple[Awaitable[None], set[Key]]] = {}
        if self._cache.uses_directory():
            here = self._place.cluster_id
            looks[here] = self._azure.look_again(here), self._everybody()
            for scope, keys in self._far().items():
                looks[scope] = self._azure.look_again(scope), keys
        sources: set[Hashable] = set()
        definitions = self._definitions()
        self._azure.custom_roles.keep_only(chain(*definitions.values()))
        for scope, wishes in definitions.items():
            keys = {self._cache.policy_key(wish.policy) for wish in wishes}
            looks[DEFINITIONS, scope] = self._look_at_definitions(scope, wishes), keys
            sources |= {_source(scope, key) for key in keys}
        for gone in self._asked - looks.keys() - sources:
            self._blindness.forget(gone)
        self._asked = {*looks, *sources}
        await asyncio.gather(*(self._try(source, *look) for source, look in looks.items()))

    async def _try(self, source: Hashable, look: Awaitable[None], concerned: set[Key]) -> None:
        try:
            await look
        except Fault as fault:
            self._blindness.failed(source, fault, concerned)
        else:
            self._blindness.answered(source)

    async def _look_at_definitions(self, scope: str, wishes: list[Wish]) -> None:
        """A role that cannot be seen leaves its policy in doubt, and no other."""
        found = await self._azure.custom_roles.changed(scope, wishes)
        faults: dict[Key, Fault | None] = {self._cache.policy_key(wish.policy): None for wish in wishes}
        for wish, fault in found.items():
            key = self._cache.policy_key(wish.policy)
            faults[key] = faults[key] or fault
            if fault is None:
                self._at_once([key])
        for key, fault in faults.items():
            if fault:
                self._blindness.failed(_source(scope, key), fault, {key})
            else:
                self._blindness.answered(_source(scope, key))

    def _definitions(self) -> dict[str, list[Wish]]:
        """The custom roles that policies want, by the scopes of the lists that show them."""
        found: dict[str, list[Wish]] = defaultdict(list)
        for view in self._cache.policy_views():
            for role in self._own_definitions(view):
                found[listed_at(role, self._place)].append(Wish(view.name, role))
        return found

    def _own_definitions(self, view: PolicyView) -> list[Definition]:
        roles = view.policy.custom_roles if view.policy else ()
        lines = self._cache.policy_inventory(view.name)
        return [wished_definition(role, view.name, self._place, lines) for role in roles]

    def _everybody(self) -> set[Key]:
        """All who may have assigned something at the cluster."""
        subjects = {
            view.name for view in self._cache.policy_views() if view.subject and view.subject.object_id
        }
        grants = filter(self._cache.needs_azure, self._cache.keys(GRANT))
        return {*grants, *map(self._cache.policy_key, subjects)}

    def _far(self) -> dict[str, set[Key]]:
        """The policies that have assigned something far from the cluster, or want to, by the scope.

        What they want may be given there by another hand, and is in no inventory.
        """
        found: dict[str, tuple[str, set[Key]]] = {}
        for view in self._cache.policy_views():
            for scope in self._scopes(view):
                if not self._place.covers(scope):
                    found.setdefault(scope.lower(), (scope, set()))[1].add(self._cache.policy_key(view.name))
        return dict(found.values())

    def _scopes(self, view: PolicyView) -> set[str]:
        lines = self._cache.policy_inventory(view.name)
        wishes = view.policy.azure_roles if view.policy else ()
        had = {scope_of(line.id) for line in lines if line.kind == ASSIGNMENT and line.id}
        return had | {self._place.scope(one.scope) for one in wishes}
