"""Entra, Azure and Kubernetes as plain dictionaries, for playing many passes one after another.

It takes what the operator's own `Applier` writes, fails where it is told to, and remembers every removal.
"""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from entra_access.api.names import CLUSTER_ROLE_BINDING
from entra_access.api.resources import AccessPolicy, Reference
from entra_access.api.status import Status, read_status
from entra_access.api.times import stamp
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Denied, Fault, Throttled, Unavailable
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment, Group, PolicyWorld, Principal
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy, plan_policy_removal
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.outcome import make_status
from entra_access.reconcile.role_ids import RoleIds
from entra_access.reconcile.shared import Assignments
from unit.builders import AT, PLACE, SCOPE, body_of, group_of, guid, role_names

POLICY_KEY = Key("AccessPolicy", None, "appdev")


class Cloud:
    """The world of one policy. `trouble`: the share of observations and writes that fail."""

    def __init__(self, chance: random.Random, users: Iterable[str], roles: Iterable[str]) -> None:
        self.chance = chance
        self.trouble = 0.0
        self.users = {name: Principal(guid(name), "user", name) for name in users}
        self.roles = {name: guid(name) for name in roles}
        self.cluster_roles = {"view", "edit"}
        self.group: Group | None = None
        self.relations: dict[str, dict[str, Principal]] = {"members": {}, "owners": {}}
        self.assignments: dict[str, Assignment] = {}
        self.cache = WatchCache()
        self.status = Status()
        self.passes = 0
        self.version = 100
        self.removed: list[tuple[str, str]] = []

    # What the operator sees

    def _seen(self, value: Any) -> Any:
        if self.chance.random() >= self.trouble:
            return value
        return self.chance.choice([Unavailable("down"), Throttled("slowly", retry_after=1), Denied("no")])

    def _found(self, reference: Reference) -> Principal | None:
        return self.users.get(reference.value)

    def look(self, policy: AccessPolicy) -> PolicyWorld:
        """What one pass sees."""
        group = self._seen(self.group)
        live = isinstance(group, Group) and not group.deleted
        references = (*group_of(policy).members, *group_of(policy).owners)
        return PolicyWorld(
            group=group,
            members=self._seen(tuple(self.relations["members"].values())) if live else (),
            owners=self._seen(tuple(self.relations["owners"].values())) if live else (),
            principals={one: self._seen(self._found(one)) for one in references},
            roles={role: self._seen(self.roles.get(role)) for role in role_names(policy)},
            assignments=self._seen(tuple(self.assignments.values())),
            children=self.cache.children(POLICY_KEY),
            cluster_roles=frozenset(self.cluster_roles),
        )

    # Passes

    async def step(self, policy: AccessPolicy) -> Plan:
        """One pass over the policy."""
        now = stamp(AT + timedelta(minutes=self.passes))
        plan = plan_policy(policy, PLACE, self.look(policy), self.status.inventory, now, self.status.subject)
        await self._carry_out(policy, plan)
        return plan

    async def end(self, policy: AccessPolicy) -> bool:
        """One pass over a policy that is being deleted. Returns whether it may go now."""
        now = stamp(AT + timedelta(minutes=self.passes))
        world = self.look(policy)
        plan = plan_policy_removal(policy.meta, PLACE, world, self.status.inventory, now)
        applied = await self._carry_out(policy, plan)
        return not any(one.severity.hinders for one in (*plan.findings, *applied.findings))

    async def _carry_out(self, policy: AccessPolicy, plan: Plan) -> Applied:
        async def nothing(_: object) -> None:
            return None

        async def listed(_: str) -> tuple[Assignment, ...]:
            return tuple(self.assignments.values())

        services: Any = self
        roles = RoleIds(nothing, PLACE.replication_window)
        applier = Applier(self.cache, services, services, services, Assignments(listed, 0), roles)
        self.passes += 1
        now = AT + timedelta(minutes=self.passes)
        applied = await applier.run(plan, stamp(now))
        if self.chance.random() >= self.trouble:  # else the operator ended before it could write
            written = make_status(policy.meta, self.status, plan, applied, now).as_dict()
            self.status = read_status({"status": written})
        return applied

    # What the operator writes

    def _may_fail(self) -> None:
        fault = self._seen(None)
        if isinstance(fault, Fault):
            raise fault

    async def create_group(self, unique: str, name: str, nickname: str, description: str | None) -> Group:
        self._may_fail()
        if self.group is None:
            self.group = Group(guid(f"group {self.version}"), unique, name, nickname, description)
            self.relations = {"members": {}, "owners": {}}
        return self.group

    async def restore_group(self, _: str) -> None:
        self._may_fail()
        assert self.group is not None
        self.group = replace(self.group, deleted=False)

    async def update_group(self, _: str, attributes: dict[str, Any]) -> None:
        self._may_fail()
        names = {"displayName": "display_name", "mailNickname": "mail_nickname", "description": "description"}
        assert self.group is not None
        values: dict[str, Any] = {names[name]: value for name, value in attributes.items()}
        self.group = replace(self.group, **values)

    async def delete_group(self, group_id: str) -> None:
        self._may_fail()
        assert self.group is not None
        self.removed.append(("group", group_id))
        self.group = replace(self.group, deleted=True)

    async def add(self, group_id: str, relation: str, ids: Iterable[str]) -> None:
        self._may_fail()
        assert self.group is not None
        assert group_id == self.group.id
        people = {one.id: one for one in self.users.values()}
        self.relations[relation] |= {one: people[one] for one in ids}

    async def remove(self, _: str, relation: str, principal_id: str) -> None:
        self._may_fail()
        self.removed.append((relation, principal_id))
        self.relations[relation].pop(principal_id, None)

    async def assign(self, assignment: Assignment, _: str) -> None:
        self._may_fail()
        self.assignments[assignment_id(assignment.scope, assignment.name)] = assignment

    async def unassign(self, arm_id: str) -> None:
        self._may_fail()
        self.removed.append(("assignment", arm_id))
        self.assignments.pop(arm_id, None)

    async def apply_child(
        self, child: Child, group_id: str | None, uid: str | None, _: object = None
    ) -> dict[str, Any]:
        self._may_fail()
        self.version += 1
        body = body_of(child, group_id)
        body["metadata"] |= {"uid": uid or f"uid-{self.version}", "resourceVersion": str(self.version)}
        return body

    async def delete_child(self, ref: ChildRef, _: str) -> None:
        self._may_fail()
        self.removed.append(("binding", ref.name))

    # Other hands

    def hand(self) -> None:
        """Something that a person might do behind the operator's back."""
        group_id = self.group.id if self.group else ""
        match self.chance.randrange(8):
            case 0:
                self.relations["members"]["stranger"] = Principal("stranger", "user", "stranger@x.io")
            case 1:
                self.relations["members"].pop(next(iter(self.relations["members"]), ""), None)
            case 2:
                self.assignments.pop(next(iter(self.assignments), ""), None)
            case 3:
                self.assignments["/foreign"] = Assignment("foreign", SCOPE, group_id, guid("Owner"))
            case 4 if self.group:
                self.group = replace(self.group, display_name="hacked")
            case 5 if self.group:
                self.group = replace(self.group, deleted=True)
            case 6 if self.group and self.group.deleted:
                self.group = None
            case 7:
                for child in self.cache.children(POLICY_KEY)[:1]:
                    self.cache.drop(CLUSTER_ROLE_BINDING, None, child.ref.name)
