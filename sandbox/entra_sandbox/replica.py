"""The directory as a reader sees it whose replica lags behind the writes."""

from bisect import bisect_right

from entra_sandbox.directory import Directory, Group, Principal, User
from entra_sandbox.timeline import Life, links_at


class Replica:
    """The directory as it was after the last change up to a moment; without one, as it is now."""

    def __init__(self, directory: Directory, moment: float | None) -> None:
        self._directory = directory
        self.seq = directory.seq if moment is None else bisect_right(directory.times, moment)
        """The number of the last change that has arrived here."""
        self.is_current = self.seq == directory.seq

    def find(self, object_id: str) -> Principal | None:
        """Look up what was alive then; applications come and go at once."""
        if self.is_current:
            return self._directory.find(object_id)
        key = object_id.lower()
        user = self._directory.user_looks.at(key, self.seq)
        group = self._directory.group_looks.at(key, self.seq)
        for look in (user, group):
            if look is not None:
                return look.shape if look.life == "alive" else None
        return self._directory.service_principals.get(key)

    def members(self, group: Group) -> list[str]:
        """Give the ids of a group's living members."""
        return self._living(links_at(group.members, group.history, self.seq))

    def owners(self, group: Group) -> list[str]:
        """Give the ids of a group's living owners."""
        return self._living(links_at(group.owners, group.owner_history, self.seq))

    def groups(self) -> list[Group]:
        """Give the living groups."""
        return list(self._directory.groups.values()) if self.is_current else self._groups("alive")

    def deleted_groups(self) -> list[Group]:
        """Give the groups that can be restored."""
        return list(self._directory.deleted.values()) if self.is_current else self._groups("deleted")

    def users(self) -> list[User]:
        """Give the living users."""
        if self.is_current:
            return list(self._directory.users.values())
        timeline = self._directory.user_looks
        looks = (timeline.at(i, self.seq) for i in timeline.looks)
        return [look.shape for look in looks if look is not None and look.life == "alive"]

    def _groups(self, life: Life) -> list[Group]:
        timeline = self._directory.group_looks
        looks = (timeline.at(i, self.seq) for i in timeline.looks)
        return [look.shape for look in looks if look is not None and look.life == life]

    def _living(self, ids: dict[str, None]) -> list[str]:
        return [i for i in ids if self.find(i) is not None]
