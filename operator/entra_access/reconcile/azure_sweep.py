"""The round over Azure: a few lists tell whether anything has changed, whatever there is."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from entra_access.api.resources import AdoptionPolicy
from entra_access.domain.definition_plan import wished_definition
from entra_access.domain.faults import Fault
from entra_access.domain.naming import assignment_id, scope_of
from entra_access.domain.observed import Assignment, PolicyView
from entra_access.domain.place import Place
from entra_access.domain.role_plan import ASSIGNMENT
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.seeing import seen

logger = logging.getLogger(__name__)


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
        interval: float,
    ) -> None:
        self._place = place
        self._cache = cache
        self._azure = azure
        self._add = add
        self._interval = interval

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            try:
                await self.look()
            except Fault as fault:
                logger.warning("a round over Azure was not finished: %s", fault.message)

    async def look(self) -> None:
        """Go round once.

        Raises
        ------
        Fault
            Something could not be listed.
        """
        if not self._cache.uses_directory():
            return
        # What cannot be seen of the one says nothing of the other.
        looks = (seen(self._look_at_roles()), seen(self._azure.look_again(self._far())))
        faults = [one for one in await asyncio.gather(*looks) if isinstance(one, Fault)]
        for fault in faults:
            raise fault

    async def _look_at_roles(self) -> None:
        views = self._cache.policy_views()
        if not any(view.policy and view.policy.custom_roles for view in views):
            return
        changed = await self._azure.changed_definitions()
        for view in views:
            if changed & self._own_definitions(view):
                self._add(self._cache.policy_key(view.name))

    def _own_definitions(self, view: PolicyView) -> set[str]:
        roles = view.policy.custom_roles if view.policy else ()
        adopting = view.policy is not None and view.policy.adoption is not AdoptionPolicy.NEVER
        lines = self._cache.policy_inventory(view.name) if adopting else ()
        return {wished_definition(role, view.name, self._place, lines).guid for role in roles}

    def _far(self) -> set[str]:
        """The scopes far from the cluster where something was assigned."""
        lines = (line for line in self._cache.policy_lines() if line.kind == ASSIGNMENT and line.id)
        scopes = {scope_of(line.id).lower(): scope_of(line.id) for line in lines}
        return {scope for scope in scopes.values() if not self._place.covers(scope)}
