"""The round over Azure: a few lists tell whether anything has changed, whatever there is."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Final

from entra_access.api.names import GRANT
from entra_access.domain.definition_plan import wished_definition
from entra_access.domain.faults import Fault
from entra_access.domain.naming import assignment_id, scope_of
from entra_access.domain.observed import Assignment, PolicyView
from entra_access.domain.place import Place
from entra_access.domain.role_plan import ASSIGNMENT
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache

logger = logging.getLogger(__name__)
DEFINITIONS: Final = "custom roles"


def concerned(cache: WatchCache, changed: Iterable[Assignment]) -> set[Key]:
    """Who must look at assignments that have changed: who wants them, and whose subject has them."""
    those = list(changed)
    keys = cache.azure_claims.holders(assignment_id(one.scope, one.name) for one in those)
    return keys | cache.by_object_id({one.principal_id for one in those})


class AzureSweep:
    """Every `interval` seconds, give or take a fifth: list what is at the cluster, and at scopes far from it.

    What differs from the list before is told by `AzureReader`; here only custom roles are compared.
    """

    def __init__(
        self,
        place: Place,
        cache: WatchCache,
        azure: AzureReader,
        add: Callable[[Key], None],
        blindness: Blindness,
        interval: float,
    ) -> None:
        self._place = place
        self._cache = cache
        self._azure = azure
        self._add = add
        self._blindness = blindness
        self._asked: set[Hashable] = set()
        self._interval = interval

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            await self.look()

    async def look(self) -> None:
        """Go round once. What cannot be listed is listed again in the next round."""
        looks: dict[Hashable, tuple[Awaitable[None], set[Key]]] = {}
        if self._cache.uses_directory():
            here = self._place.cluster_id
            looks[here] = self._azure.look_again(here), self._everybody()
            for scope in self._far():
                looks[scope] = self._azure.look_again(scope), self._holders(scope)
            having = {self._cache.policy_key(view.name) for view in self._having_roles()}
            if having:
                looks[DEFINITIONS] = self._look_at_definitions(), having
        for gone in self._asked - looks.keys():
            self._blindness.forget(gone)
        self._asked = set(looks)
        await asyncio.gather(*(self._try(source, *look) for source, look in looks.items()))

    async def _try(self, source: Hashable, look: Awaitable[None], concerned: set[Key]) -> None:
        try:
            await look
        except Fault as fault:
            logger.warning("a round over Azure was not finished: %s", fault.message)
            self._blindness.failed(source, fault, concerned)
        else:
            self._blindness.answered(source)

    async def _look_at_definitions(self) -> None:
        changed = await self._azure.changed_definitions()
        for view in self._having_roles():
            if changed & self._own_definitions(view):
                self._add(self._cache.policy_key(view.name))

    def _having_roles(self) -> list[PolicyView]:
        """The policies that have custom roles."""
        return [view for view in self._cache.policy_views() if view.policy and view.policy.custom_roles]

    def _own_definitions(self, view: PolicyView) -> set[str]:
        roles = view.policy.custom_roles if view.policy else ()
        lines = self._cache.policy_inventory(view.name)
        return {wished_definition(role, view.name, self._place, lines).guid for role in roles}

    def _everybody(self) -> set[Key]:
        """All who may have assigned something at the cluster."""
        subjects = {
            view.name for view in self._cache.policy_views() if view.subject and view.subject.object_id
        }
        grants = filter(self._cache.needs_azure, self._cache.keys(GRANT))
        return {*grants, *map(self._cache.policy_key, subjects)}

    def _holders(self, scope: str) -> set[Key]:
        """The policies that have assigned something at a scope."""
        return {
            self._cache.policy_key(view.name)
            for view in self._cache.policy_views()
            for line in self._cache.policy_inventory(view.name)
            if line.kind == ASSIGNMENT and scope_of(line.id).lower() == scope.lower()
        }

    def _far(self) -> set[str]:
        """The scopes far from the cluster where something was assigned."""
        lines = (line for line in self._cache.policy_lines() if line.kind == ASSIGNMENT and line.id)
        scopes = {scope_of(line.id).lower(): scope_of(line.id) for line in lines}
        return {scope for scope in scopes.values() if not self._place.covers(scope)}
