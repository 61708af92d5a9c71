"""What one link of the chain adds to a plan."""

from dataclasses import dataclass, field

from entra_access.api.status import Item
from entra_access.domain.changes import Change
from entra_access.domain.difference import Difference
from entra_access.domain.faults import Finding
from entra_access.domain.observed import Entry


@dataclass
class Part:
    """What one link adds to the plan."""

    additions: list[Change] = field(default_factory=list)
    removals: list[Change] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    inventory: list[Item] = field(default_factory=list)
    count: int | None = None  # None where it was not seen
    unseen: bool = False  # something that it depends on could not be looked at
    entries: list[Entry] = field(default_factory=list)
    stays: set[tuple[str, str]] = field(default_factory=set)
    name: str = ""  # the display name that the group will have; empty where it is not seen now
