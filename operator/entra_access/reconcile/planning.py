"""Gather and plan: what makes the world as one resource says. For passes, and for previews."""

from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from entra_access.api.names import POLICY, SECRET, SERVICE_ACCOUNT
from entra_access.api.node import InvalidFieldError
from entra_access.api.resources import (
    AccessPolicy,
    DirectorySubject,
    ForeignAssignments,
    GroupSubject,
    Meta,
    Mode,
    NamespaceGrant,
    PrincipalKind,
    Reference,
)
from entra_access.api.status import ConditionType, Status, System
from entra_access.api.times import stamp
from entra_access.domain.children import by_ref
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.grant_plan import POLICY_DELETED, POLICY_DELETING, plan_grant
from entra_access.domain.marks import read_marks
from entra_access.domain.observed import GrantWorld, PolicyWorld, Principal
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, child_item, still_to_come
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.cache import Key, WatchCache, policy_of
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.news import ANYBODY
from entra_access.reconcile.reporting import key_of

Resource: TypeAlias = AccessPolicy | NamespaceGrant
World: TypeAlias = PolicyWorld | GrantWorld


class Planner:
    """Looks at the world for a resource, and compares. It writes nothing."""

    def __init__(self, place: Place, cache: WatchCache, gatherer: Gatherer) -> None:
        self._place = place
        self._cache = cache
        self._gatherer = gatherer

    def mode(self, key: Key) -> Mode:
        """The mode in effect; a grant's is its policy's."""
        name = key.name if key.kind == POLICY.kind else policy_of(self._cache.resource(key) or {})
        return self._cache.mode(name)

    async def gather(self, resource: Resource, old: Status, now: datetime) -> World:
        """What there is for a resource."""
        if isinstance(resource, NamespaceGrant):
            return await self._gatherer.grant(resource, old, now)
        return await self._gatherer.policy(resource, old, now)

    async def gather_local(self, resource: Resource, old: Status) -> World:
        """What there is for it in Kubernetes alone; Entra and Azure are left unseen."""
        if isinstance(resource, NamespaceGrant):
            return await self._gatherer.grant_local(resource, old)
        return await self._gatherer.local(resource, old)

    def plan(
        self, resource: Resource, world: World, old: Status, now: datetime, *, noted: bool = True
    ) -> Plan:
        """The plan, and what it wants of Azure noted with what others want.

        Both at once: of two that stop wanting the same role at the same time, the second must see that the
        first does not want it any more.
        """
        meta = resource.meta
        world = replace(world, **self._gatherer.latest(world))
        world = replace(world, claimed=self._gatherer.claimed(meta, old, world.assignments))
        if self.removes_foreign(meta):
            world = replace(world, claims_known=self._gatherer.claims_known(meta))
        if isinstance(resource, NamespaceGrant) and isinstance(world, GrantWorld):
            had, end = _had_policy(old), old.expires_at
            plan = plan_grant(resource, self._place, world, old.inventory, now, had=had, known_end=end)
        elif isinstance(resource, AccessPolicy) and isinstance(world, PolicyWorld):
            put_in = read_marks(old.member_marks)
            plan = plan_policy(resource, self._place, world, old.inventory, stamp(now), old.subject, put_in)
        else:
            raise TypeError("the world of another kind")
        if noted:
            self._note_claims(meta, plan)
            if isinstance(resource, AccessPolicy) and isinstance(world, PolicyWorld):
                self._note_users(resource, world)
        return plan

    def _note_users(self, policy: AccessPolicy, world: PolicyWorld) -> None:
        """Whom the policy names. Of somebody who could not be looked up now, what was known before counts."""
        key, users = key_of(policy.meta), self._cache.users
        if self._cache.resource(key) is None:
            return  # it went while it was looked at
        named = _users(policy)
        found = [world.principals.get(one) for one in named]
        ids = {one.id for one in found if isinstance(one, Principal)}
        known = users.of(key) if any(one is None or isinstance(one, Fault) for one in found) else frozenset()
        users.put(key, known | {one.lower() for one in ids | {one.value for one in named}})

    def _note_claims(self, meta: Meta, plan: Plan) -> None:
        """What was wanted before is wanted still where it cannot be seen which assignments are."""
        claims, key = self._cache.azure_claims, key_of(meta)
        if self._cache.resource(key) is None:
            return  # it went while it was looked at: it must hold nothing any more
        unseen = any(finding.unseen for finding in plan.findings)
        if plan.unsure:
            claims.add(key, plan.claims)  # nobody may count on that being all of it
        else:
            claims.note(key, plan.claims | claims.of(key) if unseen else plan.claims)

    def heard_of(self, meta: Meta, plan: Plan, mark: int) -> bool:
        """Whether something has changed since the mark of what the plan goes by in Entra and Azure."""
        key, subject = key_of(meta), plan.subject
        users = self._cache.users.of(key)
        ids = {*self._cache.azure_claims.of(key), *users, *([ANYBODY] if users else ())}
        return self._cache.news.since(mark, ids | ({subject.object_id} if subject else set()))

    async def named(self, plan: Plan) -> Plan:
        """The plan with the names of those who changed something in Azure, which tells object ids only."""
        return await self._gatherer.named(plan)

    def removes_foreign(self, meta: Meta) -> bool:
        """Whether a policy says that what nobody declared is removed."""
        view = self._cache.policy_view(meta.name) if meta.kind is POLICY else None
        policy = view.policy if view else None
        return policy is not None and policy.foreign_assignments is ForeignAssignments.REMOVE

    def claims_known(self, meta: Meta) -> bool:
        """Whether all has been heard that this one must know: whoever removes nothing need not."""
        return not self.removes_foreign(meta) or self._gatherer.claims_known(meta)

    def unreadable(self, meta: Meta, old: Status, error: InvalidFieldError) -> Plan:
        """A spec that cannot be used changes nothing: what was made before stays."""
        link = Link.SUBJECT if meta.kind is POLICY else Link.POLICY
        finding = Finding(link, Severity.STALLED, "InvalidSpec", error.message, error.path)
        children = self._cache.children(key_of(meta))
        # No watch shows Secrets, nor whose else an account is; and what is about to be made may be there.
        unseen = {SECRET.kind, SERVICE_ACCOUNT.kind}
        kept = [i for i in old.inventory if i.system is not System.KUBERNETES or i.kind in unseen]
        kept += still_to_come(old.inventory, by_ref(children))
        kept += [child_item(child.ref, child.uid) for child in children]
        in_azure = frozenset(item.id.lower() for item in kept if item.system is System.AZURE and item.id)
        self._cache.azure_claims.note(key_of(meta), in_azure)
        return Plan(
            findings=(finding,), subject=old.subject, inventory=tuple(kept), expires_at=old.expires_at
        )


def _users(policy: AccessPolicy) -> set[Reference]:
    """The users that a policy names, whether or not they are there."""
    match policy.subject:
        case GroupSubject() as group:
            references = {*group.members, *group.owners}
        case DirectorySubject() as subject:
            references = {subject.reference}
        case _:
            references = set()
    return {one for one in references if one.kind == PrincipalKind.USER.value}


def _had_policy(old: Status) -> bool:
    """Whether the policy of a grant was there before; only how its absence is told depends on it."""
    stalled = old.condition(ConditionType.STALLED)
    return bool(old.subject or (stalled and stalled.reason in {POLICY_DELETED, POLICY_DELETING}))
