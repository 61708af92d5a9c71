"""What the cluster is, as its own ARM resource says: read at the start and seldom after."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from entra_access.adapters.arm import Arm
from entra_access.domain.faults import Denied, Fault
from entra_access.domain.observed import ClusterFacts

logger = logging.getLogger(__name__)
RETRY_SECONDS: Final = 30.0


class ClusterWatch:
    """Keeps what is known of the cluster; `changed` is called when that is something new."""

    def __init__(self, arm: Arm, cluster_id: str, interval: float, changed: Callable[[], None]) -> None:
        self._arm = arm
        self._cluster_id = cluster_id
        self._interval = interval
        self._changed = changed
        self._said = ""
        self.facts = ClusterFacts()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            pause = await self.look()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret

    async def look(self) -> float:
        """Look once. Returns in how many seconds to look again."""
        try:
            facts = await self._arm.cluster_facts(self._cluster_id)
        except Fault as fault:
            # It only serves warnings: without it everything else works. It is said once.
            if fault.message != self._said:
                logger.warning("what the cluster is set up for is not known: %s", fault.message)
            self._said = fault.message
            return self._interval if isinstance(fault, Denied) else min(RETRY_SECONDS, self._interval)
        self._said = ""
        before, self.facts = _noteworthy(self.facts), facts
        if before != _noteworthy(facts):
            self._changed()
        return self._interval


def _noteworthy(facts: ClusterFacts) -> tuple[bool, bool, bool]:
    """What warnings come from: that all is as it should be is no news to anybody."""
    return (facts.entra is False, facts.legacy, facts.azure_rbac is False)
