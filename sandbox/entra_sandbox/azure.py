"""Azure's side of the tenant: subscriptions, resources, role definitions and role assignments, with their
indexes.
"""

import uuid
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from entra_sandbox.clock import Clock
from entra_sandbox.scopes import ROOT, chain, is_management_group, normal

T = TypeVar("T")
_HISTORY_SECONDS = 3600.0
"""How long overwritten states are kept for stale lists: longer than any sensible lag."""


@dataclass(slots=True)
class Permissions:
    """One block of a role definition."""

    actions: list[str] = field(default_factory=list)
    not_actions: list[str] = field(default_factory=list)
    data_actions: list[str] = field(default_factory=list)
    not_data_actions: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RoleDefinition:
    """A built-in or custom role."""

    name: str
    role_name: str
    description: str
    permissions: list[Permissions]
    assignable_scopes: list[str]
    custom: bool
    created_on: float
    updated_on: float
    created_by: str | None = None
    updated_by: str | None = None
    seq: int = 0


@dataclass(slots=True)
class RoleAssignment:
    """One principal, one role, one scope."""

    name: str
    scope: str
    role: str
    role_definition_id: str
    principal_id: str
    principal_type: str
    created_on: float
    updated_on: float
    created_by: str | None
    updated_by: str | None
    description: str | None = None
    condition: str | None = None
    condition_version: str | None = None
    delegated_managed_identity: str | None = None
    seq: int = 0

    @property
    def id(self) -> str:
        """The ARM id."""
        scope = "" if self.scope == ROOT else self.scope
        return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{self.name}"

    @property
    def triple(self) -> tuple[str, str, str]:
        """What must be unique: scope, principal and role."""
        return normal(self.scope), self.principal_id, self.role


class Past(Generic[T]):
    """What writes replaced, by name, for lists that lag behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._replaced: deque[tuple[float, str, T | None]] = deque()

    def remember(self, name: str, before: T | None) -> None:
        """Note what is about to be replaced; `None` if nothing was there."""
        now = self._clock.now()
        self._replaced.append((now, name, before))
        while self._replaced and self._replaced[0][0] < now - _HISTORY_SECONDS:
            self._replaced.popleft()

    def at(self, moment: float) -> dict[str, T | None]:
        """Give what was different at that moment, by name; `None` was not there."""
        view: dict[str, T | None] = {}
        for at, name, before in reversed(self._replaced):
            if at <= moment:
                break
            view[name] = before
        return view


class Assignments:
    """All role assignments, by name, by triple, by scope and by principal."""

    def __init__(self, clock: Clock, root_group: str) -> None:
        self.root_group = root_group
        self.past: Past[RoleAssignment] = Past(clock)
        self.by_name: dict[str, RoleAssignment] = {}
        self._by_triple: dict[tuple[str, str, str], RoleAssignment] = {}
        self._by_scope: dict[str, dict[str, dict[str, RoleAssignment]]] = {}
        self._by_principal: dict[str, dict[str, RoleAssignment]] = {}
        self._by_role: dict[str, int] = {}
        self._scopes: list[str] = []
        self._seq = 0

    def put(self, assignment: RoleAssignment) -> None:
        """Add an assignment, or replace the one of that name."""
        before = self.by_name.get(assignment.name)
        self.past.remember(assignment.name, before)
        if before is not None:
            assignment.seq = before.seq
            self._unlink(before)
        else:
            self._seq += 1
            assignment.seq = self._seq
        scope, principal, role = assignment.triple
        self.by_name[assignment.name] = assignment
        self._by_triple[assignment.triple] = assignment
        if scope not in self._by_scope:
            insort(self._scopes, scope)
        self._by_scope.setdefault(scope, {}).setdefault(principal, {})[assignment.name] = assignment
        self._by_principal.setdefault(principal, {})[assignment.name] = assignment
        self._by_role[role] = self._by_role.get(role, 0) + 1

    def remove(self, assignment: RoleAssignment) -> None:
        """Take an assignment away."""
        self.past.remember(assignment.name, assignment)
        self._unlink(assignment)

    def same(self, scope: str, principal: str, role: str) -> RoleAssignment | None:
        """Find the assignment of this role to this principal at this scope."""
        return self._by_triple.get((normal(scope), principal, role))

    def uses(self, role: str) -> bool:
        """Whether any assignment references the role."""
        return self._by_role.get(role, 0) > 0

    def at_or_above(self, scope: str) -> Iterator[RoleAssignment]:
        """Give the assignments at a scope and at every scope above it."""
        for place in chain(scope, self.root_group):
            for held in self._by_scope.get(place, {}).values():
                yield from held.values()

    def below(self, scope: str) -> Iterator[RoleAssignment]:
        """Give the assignments strictly below a scope."""
        own = normal(scope)
        prefix = ROOT if own == ROOT else f"{own}/"
        if is_management_group(own):
            # It holds the subscriptions, though its id is no prefix of theirs.
            prefix = "/subscriptions/"
        start = bisect_right(self._scopes, prefix)
        for place in self._scopes[start:]:
            if not place.startswith(prefix):
                break
            for held in self._by_scope[place].values():
                yield from held.values()

    def of(self, principal: str) -> list[RoleAssignment]:
        """Give all assignments of one principal."""
        return list(self._by_principal.get(principal, {}).values())

    def held(self, principals: set[str], scope: str) -> Iterator[RoleAssignment]:
        """Give what any of these principals holds at a scope or above it: what counts for access there."""
        for place in chain(scope, self.root_group):
            held = self._by_scope.get(place)
            if held:
                for principal in principals & held.keys():
                    yield from held[principal].values()

    def _unlink(self, assignment: RoleAssignment) -> None:
        scope, principal, role = assignment.triple
        del self.by_name[assignment.name]
        del self._by_triple[assignment.triple]
        del self._by_scope[scope][principal][assignment.name]
        if not self._by_scope[scope][principal]:
            del self._by_scope[scope][principal]
        if not self._by_scope[scope]:
            del self._by_scope[scope]
            del self._scopes[bisect_left(self._scopes, scope)]
        del self._by_principal[principal][assignment.name]
        self._by_role[role] -= 1


class Definitions:
    """All role definitions, by id and by name."""

    def __init__(self, clock: Clock) -> None:
        self.by_id: dict[str, RoleDefinition] = {}
        self.past: Past[RoleDefinition] = Past(clock)
        self._by_name: dict[str, str] = {}
        self._seq = 0

    def put(self, definition: RoleDefinition) -> None:
        """Add or replace a definition."""
        before = self.by_id.get(definition.name)
        self.past.remember(definition.name, before)
        if before is not None:
            self._by_name.pop(before.role_name.lower(), None)
            definition.seq = before.seq
        else:
            self._seq += 1
            definition.seq = self._seq
        self.by_id[definition.name] = definition
        self._by_name[definition.role_name.lower()] = definition.name

    def remove(self, definition: RoleDefinition) -> None:
        """Take a definition away."""
        self.past.remember(definition.name, definition)
        del self.by_id[definition.name]
        self._by_name.pop(definition.role_name.lower(), None)

    def named(self, role_name: str) -> RoleDefinition | None:
        """Find a definition by its name, whatever its case."""
        return self.by_id.get(self._by_name.get(role_name.lower(), ""))

    def load_builtins(self, data: dict[str, Any], at: float) -> None:
        """Take the built-in roles from the data file."""
        for role in data["roles"]:
            blocks = [
                Permissions(p["actions"], p["notActions"], p["dataActions"], p["notDataActions"])
                for p in role["permissions"]
            ]
            self.put(
                RoleDefinition(
                    role["name"],
                    role["roleName"],
                    role["description"],
                    blocks,
                    role["assignableScopes"],
                    custom=False,
                    created_on=at,
                    updated_on=at,
                )
            )


class Resources:
    """Subscriptions, resource groups and resources: what exists, by normalised id."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.by_id: dict[str, dict[str, Any]] = {}

    def put(self, resource: dict[str, Any]) -> None:
        """Add or replace a resource, given as ARM shows it."""
        self.by_id[normal(resource["id"])] = resource

    def get(self, resource_id: str) -> dict[str, Any] | None:
        """Look up a resource."""
        return self.by_id.get(normal(resource_id))


def new_id() -> str:
    """Make a fresh object id."""
    return str(uuid.uuid4())
