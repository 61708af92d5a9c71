"""Which role definitions names stand for, and since when Azure has not known one that was to be assigned."""

import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from entra_access.domain.changes import AssignRole
from entra_access.domain.faults import Missing
from entra_access.reconcile.shared import SharedEach
from entra_access.reconcile.unknown import Unknown

ROLE_ID_SECONDS: Final = 3600.0
"""For so long the GUID of a role's name is believed."""
MISSING_SECONDS: Final = 60.0
"""For so long it is believed that there is no role of a name. Wishes for such roles cost nothing."""


class RoleIds:
    """The GUIDs of roles, believed for a while, but not where Azure denies to know one.

    A role that was deleted and made anew under the same name has another GUID. One that was made a moment
    ago is not known everywhere: so Azure's "there is none" counts only after the replication `window`.
    """

    def __init__(
        self,
        look_up: Callable[[tuple[str, str]], Awaitable[str | None]],
        window: timedelta,
        missing_seconds: float = MISSING_SECONDS,
    ) -> None:
        self._missing = _Missing(missing_seconds)
        self._found = SharedEach(look_up, ROLE_ID_SECONDS)
        self._unknown = Unknown[tuple[str, str]](window)

    @property
    def window(self) -> timedelta:
        """For so long something new may not be known everywhere."""
        return self._unknown.window

    async def get(self, role: str, scopes: Iterable[str]) -> str:
        """The GUID of the role of that name, looked for at one scope after the other.

        Raises
        ------
        Missing
            There is none.
        Fault
            It could not be looked up.
        """
        for scope in scopes:
            key = (role.lower(), scope)
            if self._missing.has(key):
                continue
            made = self._missing.made
            found = await self._found.get(key)
            if found:
                return found
            self._found.forget(key)  # it may be made at any moment
            if made == self._missing.made:
                self._missing.note(key)
        raise Missing(role)

    def made(self) -> None:
        """The operator has made or changed a custom role: what was missing may be there."""
        self._missing.clear()

    def unknown(self, change: AssignRole, now: datetime) -> bool:
        """Note that Azure did not know the role. Returns whether that is for good, as far as one can tell."""
        self._found.forget_where(lambda key: key[0] == change.role.lower())
        return self._unknown.note(_key(change), now)

    def known(self, change: AssignRole) -> None:
        """Note that the role was assigned."""
        self._unknown.known(_key(change))

    def clear(self) -> None:
        """Look up everything anew."""
        self._found.clear()


class _Missing:
    """The roles, with the scopes where they were looked for, that were not there a short while ago.

    `made` counts how often all of it was forgotten, because a role was made.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[tuple[str, str], float] = {}  # the oldest first
        self.made = 0

    def has(self, key: tuple[str, str]) -> bool:
        return time.monotonic() - self._since.get(key, float("-inf")) < self._seconds

    def note(self, key: tuple[str, str]) -> None:
        now = time.monotonic()
        self._since.pop(key, None)
        self._since[key] = now
        while self._since and now - next(iter(self._since.values())) >= self._seconds:
            del self._since[next(iter(self._since))]

    def clear(self) -> None:
        self._since.clear()
        self.made += 1


def _key(change: AssignRole) -> tuple[str, str]:
    return change.role_id, change.scope.lower()
