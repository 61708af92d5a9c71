"""The knobs of a sandbox: set at start, read and changed over HTTP."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Settings:
    """Delays in seconds; a delay of 0 is off."""

    replication_delay: float = 0.0
    """How long a group that was just created is unknown to other replicas, to members and to ARM."""
    stale_lists: float = 0.0
    """How far lists of members, owners and role assignments lag behind writes."""
    stale_groups: float = 0.0
    """How far lists of groups, of deleted groups and of users lag behind writes."""
    stale_delta: float = 0.0
    """How far delta queries lag behind writes."""
    stale_definitions: float = 0.0
    """How far lists of role definitions lag behind writes."""
    throttle_scale: float = 1.0
    """Multiplies the documented throttling limits, burst and refill alike; 0 switches throttling off."""
    graph_page_size: int = 100
    """Items in a page of a Graph list for which no $top was asked."""
    graph_page_limit: int = 999
    """Items in a page of a Graph list at most, whatever $top asks for."""
    delta_page_size: int = 200
    """Objects, and changes of members and owners, together in one page of a Graph delta query."""
    arm_page_size: int = 500
    """Items in a page of an ARM list."""
    token_lifetime: int = 3600
    """Seconds that an access token lives."""
    delta_token_lifetime: int = 7 * 24 * 3600
    """Seconds after which a delta token is refused."""
    delta_expired_status: int = 400
    """How a delta token is refused: 400, or 410 with a `Location` to begin anew."""
    soft_delete_retention: int = 30 * 24 * 3600
    """Seconds after which a deleted group or user is gone for good."""
    hide_service_principals: int = 0
    """1 leaves service principals out of lists of a group's members, as Microsoft's page on v1.0 says."""

    def update(self, values: dict[str, Any]) -> None:
        """Take new values; raise `ValueError`, and change nothing, when one is unknown or impossible."""
        fields = {f.name: f.type for f in dataclasses.fields(self)}
        for name, value in values.items():
            if name not in fields:
                raise ValueError(f"unknown setting '{name}'; known are {', '.join(fields)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"setting '{name}' must be a number that is not negative")
            if "_page_" in name and (value < 1 or int(value) != value):
                raise ValueError(f"setting '{name}' must be a whole number of at least 1")
            if name.startswith("hide") and value not in (0, 1):
                raise ValueError(f"setting '{name}' must be 0 (off) or 1 (on)")
            if name == "delta_expired_status" and value not in (400, 410):
                raise ValueError(f"setting '{name}' must be 400 or 410")
        for name, value in values.items():
            setattr(self, name, float(value) if fields[name] is float else int(value))

    def as_json(self) -> dict[str, Any]:
        """Give all values by name."""
        return dataclasses.asdict(self)
