"""The directory: users, service principals and groups, with their links, deletions and history.

Pure memory and pure rules; what a caller may see, and in which words it is refused, is decided by the
services. Every look-up that a service needs has an index, so that a thousand groups answer as fast as one.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from entra_sandbox.clock import Clock
from entra_sandbox.timeline import LinkChange, Timeline


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """A token of this issuer, subject and audience may stand in for the application's secret."""

    issuer: str
    subject: str
    jwks: dict[str, object]
    audience: str = "api://AzureADTokenExchange"


@dataclass(slots=True)
class User:
    """A person. A guest has `#EXT#` in the name and belongs to another tenant."""

    id: str
    upn: str
    display_name: str
    created: float
    user_type: str = "Member"
    mail: str | None = None
    enabled: bool = True
    permissions: set[str] = field(default_factory=set)
    """What the person's directory roles allow in Graph, by the names of its permissions."""
    is_owner: bool = False
    """May do everything in Azure, by no role assignment: lists of assignments do not show it."""
    deleted_at: float | None = None


@dataclass(slots=True)
class ServicePrincipal:
    """An application's self in this tenant, with the Graph permissions that an administrator consented to."""

    id: str
    app_id: str
    display_name: str
    created: float
    app_roles: set[str] = field(default_factory=set)
    secret: str = ""
    federated: list[FederatedCredential] = field(default_factory=list)
    enabled: bool = True


@dataclass(slots=True)
class Group:
    """A group. Members and owners keep their order of arrival."""

    id: str
    display_name: str
    mail_nickname: str
    created: float
    visible_at: float
    description: str | None = None
    unique_name: str | None = None
    mail_enabled: bool = False
    security_enabled: bool = True
    group_types: list[str] = field(default_factory=list)
    visibility: str | None = None
    is_assignable_to_role: bool | None = None
    on_premises_sync: bool | None = None
    created_by_app_id: str | None = None
    deleted_at: float | None = None
    members: dict[str, None] = field(default_factory=dict)
    owners: dict[str, None] = field(default_factory=dict)
    created_seq: int = 0
    history: list[LinkChange] = field(default_factory=list)
    owner_history: list[LinkChange] = field(default_factory=list)

    @property
    def is_unified(self) -> bool:
        """Whether this is a Microsoft 365 group."""
        return "Unified" in self.group_types

    @property
    def security_identifier(self) -> str:
        """The SID that Windows knows the group by; derived from the id."""
        return "S-1-12-1-" + "-".join(str(n) for n in struct.unpack("<4I", uuid.UUID(self.id).bytes_le))


Principal = User | ServicePrincipal | Group


class UniqueNameTakenError(Exception):
    """Another group, alive or deleted, holds the unique name."""


class Directory:
    """All objects of the tenant and the indexes over them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []
        """When each change happened, oldest first."""
        self.epoch = ""
        """What delta tokens are good for; those of another one are refused."""
        self.begin_epoch()
        self.user_looks: Timeline[User] = Timeline()
        self.group_looks: Timeline[Group] = Timeline()
        self.kinds: dict[str, type[Principal]] = {}
        """What every object is or was, by id."""
        self.users: dict[str, User] = {}
        self.service_principals: dict[str, ServicePrincipal] = {}
        self.groups: dict[str, Group] = {}
        self.deleted: dict[str, Group] = {}
        self.deleted_users: dict[str, User] = {}
        self._users_by_upn: dict[str, str] = {}
        self._sps_by_app: dict[str, str] = {}
        self._by_unique_name: dict[str, str] = {}
        self._by_display_name: dict[str, dict[str, None]] = {}
        self._by_nickname: dict[str, dict[str, None]] = {}
        self._parents: dict[str, set[str]] = {}
        self._fresh: list[Group] = []

    @property
    def seq(self) -> int:
        """The number of the last change to users, groups and their links."""
        return len(self.times)

    def begin_epoch(self) -> None:
        """Let all delta tokens that were given out expire."""
        self.epoch = uuid.uuid4().hex[:8]

    # ---- reading

    def find(self, object_id: str) -> Principal | None:
        """Look up a living object of any kind."""
        key = object_id.lower()
        return self.users.get(key) or self.service_principals.get(key) or self.groups.get(key)

    def user(self, name: str) -> User | None:
        """Look up a user by object id or user principal name."""
        key = name.lower()
        return self.users.get(key) or self.users.get(self._users_by_upn.get(key, ""))

    def service_principal_of(self, app_id: str) -> ServicePrincipal | None:
        """Look up a service principal by its application id."""
        return self.service_principals.get(self._sps_by_app.get(app_id.lower(), ""))

    def group_named(self, unique_name: str) -> Group | None:
        """Look up a group by unique name, be it alive or deleted."""
        group_id = self._by_unique_name.get(unique_name.lower(), "")
        return self.groups.get(group_id) or self.deleted.get(group_id)

    def groups_with(self, display_name: str) -> list[Group]:
        """Look up groups by display name, which need not be unique."""
        return [self.groups[i] for i in self._by_display_name.get(display_name.lower(), ())]

    def groups_nicknamed(self, nickname: str) -> list[Group]:
        """Look up groups by mail nickname, which need not be unique either."""
        return [self.groups[i] for i in self._by_nickname.get(nickname.lower(), ())]

    def is_visible(self, principal: Principal) -> bool:
        """Whether the object has reached all replicas; only groups take their time."""
        return not isinstance(principal, Group) or principal.visible_at <= self.clock.now()

    def members_of(self, group: Group) -> list[str]:
        """Give the ids of living members."""
        return [m for m in group.members if self.find(m) is not None]

    def transitive_members_of(self, group: Group) -> list[str]:
        """Give everything inside the group at any depth, each once; a cycle does no harm."""
        seen: dict[str, None] = {}
        todo = [group]
        while todo:
            for member in self.members_of(todo.pop()):
                if member not in seen and member != group.id:
                    seen[member] = None
                    if nested := self.groups.get(member):
                        todo.append(nested)
        return list(seen)

    def transitive_groups_of(self, object_id: str) -> set[str]:
        """Give the ids of all living groups that hold the object, directly or through others."""
        seen: set[str] = set()
        # Who is deleted keeps its links, and is nobody all the same.
        todo = [object_id] if self.find(object_id) is not None else []
        while todo:
            for parent in self._parents.get(todo.pop(), ()):
                if parent not in seen and parent in self.groups:
                    seen.add(parent)
                    todo.append(parent)
        return seen

    def horizon(self) -> int:
        """Give the number of the last change before the oldest group that is not yet visible.

        A delta token must not run ahead of a group which it did not report.
        """
        now = self.clock.now()
        self._fresh = [g for g in self._fresh if g.visible_at > now]
        return min((g.created_seq - 1 for g in self._fresh), default=self.seq)

    # ---- users and applications

    def add_user(self, user: User) -> User:
        """Add a user; the name must be free."""
        if user.upn.lower() in self._users_by_upn:
            raise ValueError(f"user '{user.upn}' is already there")
        self.users[user.id] = user
        self.kinds[user.id] = User
        self._users_by_upn[user.upn.lower()] = user.id
        self.user_looks.note(user.id, self._next(), "alive", user)
        return user

    def change_user(self, user: User, fields: dict[str, Any]) -> None:
        """Change fields of a user; a new name must be free."""
        if (upn := fields.get("upn")) is not None:
            if self._users_by_upn.get(upn.lower(), user.id) != user.id:
                raise ValueError(f"user '{upn}' is already there")
            del self._users_by_upn[user.upn.lower()]
            self._users_by_upn[upn.lower()] = user.id
        for name, value in fields.items():
            setattr(user, name, value)
        self.user_looks.note(user.id, self._next(), "alive", user)

    def delete_user(self, user: User) -> None:
        """Delete softly: nobody at once, the name is free; links stay and count again after a restore."""
        del self.users[user.id]
        del self._users_by_upn[user.upn.lower()]
        # A deleted user's name carries the id, so that the name itself is free.
        user.upn = user.id.replace("-", "") + user.upn
        user.deleted_at = self.clock.now()
        self.deleted_users[user.id] = user
        self.user_looks.note(user.id, self._next(), "deleted", user)

    def restore_user(self, user: User) -> None:
        """Undo a deletion, links included; the name must be free."""
        upn = user.upn.removeprefix(user.id.replace("-", ""))
        if upn.lower() in self._users_by_upn:
            raise ValueError(f"user '{upn}' is already there")
        del self.deleted_users[user.id]
        user.upn, user.deleted_at = upn, None
        self.users[user.id] = user
        self._users_by_upn[upn.lower()] = user.id
        self.user_looks.note(user.id, self._next(), "alive", user)

    def purge_user(self, user: User) -> None:
        """Delete for good: only now the user leaves its groups."""
        if user.id in self.users:
            self.delete_user(user)
        del self.deleted_users[user.id]
        self.user_looks.note(user.id, self._next(), "gone", user)
        self._forget_links(user.id)

    def add_service_principal(self, principal: ServicePrincipal) -> ServicePrincipal:
        """Add an application; its id must be free."""
        if principal.app_id in self._sps_by_app:
            raise ValueError(f"application '{principal.app_id}' is already there")
        self.service_principals[principal.id] = principal
        self.kinds[principal.id] = ServicePrincipal
        self._sps_by_app[principal.app_id] = principal.id
        return principal

    def remove_service_principal(self, principal: ServicePrincipal) -> None:
        """Delete an application's service principal; links to it stop counting."""
        del self.service_principals[principal.id]
        del self._sps_by_app[principal.app_id]
        self._forget_links(principal.id)

    # ---- groups

    def add_group(self, group: Group) -> Group:
        """Add a group; raise `UniqueNameTakenError` when another one, even a deleted one, holds its unique
        name.
        """
        if group.unique_name is not None:
            self._claim(group, group.unique_name)
        group.created_seq = self._next()
        self.groups[group.id] = group
        self.kinds[group.id] = Group
        self.group_looks.note(group.id, group.created_seq, "alive", group)
        self._index(group)
        if group.visible_at > self.clock.now():
            self._fresh.append(group)
        return group

    def rename(self, group: Group, *, display_name: str | None = None, nickname: str | None = None) -> None:
        """Change what the indexes are made of."""
        self._unindex(group)
        group.display_name = group.display_name if display_name is None else display_name
        group.mail_nickname = group.mail_nickname if nickname is None else nickname
        self._index(group)

    def set_unique_name(self, group: Group, unique_name: str) -> None:
        """Give a group a unique name; raise `UniqueNameTakenError` when another one has it."""
        self._claim(group, unique_name)
        group.unique_name = unique_name

    def touch(self, group: Group) -> None:
        """Note that a group's properties changed."""
        self.group_looks.note(group.id, self._next(), "alive", group)

    def delete_group(self, group: Group) -> None:
        """Delete softly: access ends at once, the unique name stays taken, everything can be restored."""
        del self.groups[group.id]
        self._unindex(group)
        group.deleted_at = self.clock.now()
        self.deleted[group.id] = group
        self.group_looks.note(group.id, self._next(), "deleted", group)

    def restore_group(self, group: Group) -> None:
        """Undo a deletion, links included."""
        del self.deleted[group.id]
        group.deleted_at = None
        self.groups[group.id] = group
        self._index(group)
        self.group_looks.note(group.id, self._next(), "alive", group)

    def purge_group(self, group: Group) -> None:
        """Delete for good: the unique name is free again."""
        if group.id in self.groups:
            self.delete_group(group)
        del self.deleted[group.id]
        if group.unique_name is not None:
            self._by_unique_name.pop(group.unique_name.lower(), None)
        for member in group.members:
            self._parents.get(member, set()).discard(group.id)
        self.group_looks.note(group.id, self._next(), "gone", group)
        self._forget_links(group.id)

    def expire_deleted(self, retention: float) -> None:
        """Purge what was deleted longer ago than it is kept."""
        limit = self.clock.now() - retention
        while (group := next(iter(self.deleted.values()), None)) and (group.deleted_at or 0) <= limit:
            self.purge_group(group)
        while (user := next(iter(self.deleted_users.values()), None)) and (user.deleted_at or 0) <= limit:
            self.purge_user(user)

    # ---- links

    def add_members(self, group: Group, ids: Iterable[str]) -> None:
        """Put objects into a group."""
        for member in ids:
            if member not in group.members:
                group.members[member] = None
                self._parents.setdefault(member, set()).add(group.id)
                group.history.append(LinkChange(self._next(), member, added=True))

    def remove_member(self, group: Group, member: str) -> None:
        """Take an object out of a group."""
        del group.members[member]
        self._parents[member].discard(group.id)
        group.history.append(LinkChange(self._next(), member, added=False))

    def add_owners(self, group: Group, ids: Iterable[str]) -> None:
        """Make objects owners of a group."""
        for owner in ids:
            if owner not in group.owners:
                group.owners[owner] = None
                group.owner_history.append(LinkChange(self._next(), owner, added=True))

    def remove_owner(self, group: Group, owner: str) -> None:
        """Take an owner away."""
        del group.owners[owner]
        group.owner_history.append(LinkChange(self._next(), owner, added=False))

    # ---- inside

    def _next(self) -> int:
        """Number a change, and note when it happened."""
        self.times.append(self.clock.now())
        return len(self.times)

    def _claim(self, group: Group, unique_name: str) -> None:
        if self._by_unique_name.setdefault(unique_name.lower(), group.id) != group.id:
            raise UniqueNameTakenError(unique_name)

    def _index(self, group: Group) -> None:
        self._by_display_name.setdefault(group.display_name.lower(), {})[group.id] = None
        self._by_nickname.setdefault(group.mail_nickname.lower(), {})[group.id] = None

    def _unindex(self, group: Group) -> None:
        del self._by_display_name[group.display_name.lower()][group.id]
        del self._by_nickname[group.mail_nickname.lower()][group.id]

    def _forget_links(self, object_id: str) -> None:
        for parent in self._parents.pop(object_id, set()):
            if group := self.groups.get(parent) or self.deleted.get(parent):
                group.members.pop(object_id, None)
                group.history.append(LinkChange(self._next(), object_id, added=False))
        for group in self._all_groups():
            if object_id in group.owners:
                self.remove_owner(group, object_id)

    def _all_groups(self) -> Iterator[Group]:
        yield from self.groups.values()
        yield from self.deleted.values()
