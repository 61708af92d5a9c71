"""Everything that one sandbox knows, in one value: services read and change it, `reset` replaces its
contents.
"""

from dataclasses import replace

from entra_sandbox.access import Access
from entra_sandbox.azure import Assignments, Definitions, Resources
from entra_sandbox.clock import Clock
from entra_sandbox.directory import Directory
from entra_sandbox.settings import Settings


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
        self.definitions = Definitions()
        self.resources = Resources(self.tenant_id)
        self.access = Access(self.directory, self.assignments, self.definitions)
