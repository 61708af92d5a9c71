"""Everything that one sandbox knows, in one value: services read and change it, `reset` replaces its
contents.
"""

from dataclasses import replace
from typing import Any, Literal

from entra_sandbox.access import Access
from entra_sandbox.azure import Assignments, Definitions, Resources
from entra_sandbox.clock import Clock
from entra_sandbox.directory import Directory
from entra_sandbox.replica import Replica
from entra_sandbox.settings import Settings

Stale = Literal["stale_lists", "stale_groups", "stale_delta", "stale_definitions"]
"""The settings by which a kind of lists lags behind."""


class State:
    """The tenant: its directory, its Azure side, the settings and the clock."""

    def __init__(self, tenant_id: str, tenant_domain: str, tenant_name: str, settings: Settings) -> None:
        self.tenant_id = tenant_id
        self.tenant_domain = tenant_domain
        self.tenant_name = tenant_name
        self._first_settings = settings
        self.clock = Clock()
        self.clear()

    @property
    def root_group(self) -> str:
        """The tenant's root management group, above every subscription."""
        return f"/providers/Microsoft.Management/managementGroups/{self.tenant_id}"

    def clear(self) -> None:
        """Forget every object and every changed setting; the clock goes on."""
        self.settings = replace(self._first_settings)
        self.directory = Directory(self.clock)
        self.assignments = Assignments(self.clock, self.root_group)
        self.definitions = Definitions(self.clock)
        self.resources = Resources(self.tenant_id)
        self.access = Access(self.directory, self.assignments, self.definitions)
        self._stale_since: dict[str, float] = {}
        self.settle()

    def settle(self) -> None:
        """Let what is there now have been there always: no list lags so far that it does not show it."""
        self._settled = self.clock.now()

    def change_settings(self, values: dict[str, Any]) -> None:
        """Take new settings; lists that are to lag from now on show all that was written until now."""
        self.settings.update(values)
        now = self.clock.now()
        self._stale_since |= {name: now for name in values if name.startswith("stale_")}

    def moment(self, stale: Stale) -> float | None:
        """Give the moment that lists of a kind show; `None` is the present."""
        lag: float = getattr(self.settings, stale)
        if lag <= 0:
            return None
        return max(self.clock.now() - lag, self._stale_since.get(stale, self._settled))

    def replica(self, stale: Stale) -> Replica:
        """Give the directory as lists of a kind show it."""
        return Replica(self.directory, self.moment(stale))
