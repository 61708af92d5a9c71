"""When a change can last have taken effect everywhere: caches and tokens that others keep."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from entra_access.api.times import moment, stamp
from entra_access.domain.changes import Change
from entra_access.domain.faults import Link

WINDOWS: Final = {
    # A token keeps its groups until it expires: 60 to 90 minutes.
    # https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes
    Link.MEMBERS: timedelta(minutes=90),
    # "Changes can take up to 10 minutes": https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    Link.AZURE_ROLES: timedelta(minutes=10),
    Link.SUBJECT: timedelta(minutes=10),
    # The API server watches RBAC objects itself.
    Link.BINDINGS: timedelta(seconds=5),
}


def effective_by(before: str, done: Iterable[Change], now: datetime) -> str:
    """The moment by which all that was done is in effect; `before` is the moment known until now."""
    window = max((WINDOWS[change.link] for change in done), default=None)
    if window is None:
        return before
    then = now + window
    known = moment(before)
    return stamp(max(then, known) if known else then)
