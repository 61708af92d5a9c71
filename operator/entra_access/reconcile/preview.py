"""What the operator would do if some files were applied. Nothing is written.

The files are laid over what the API server has, in a cache of its own; then the same gathering and planning
as in every pass says what follows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.manifests import Manifest, Manifests
from entra_access.api.names import CLUSTER_ROLE, GRANT, NAMESPACE, POLICY, Kind
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_meta, read_resource
from entra_access.api.resources import (
    POLICY_MEMBER,
    AccessPolicy,
    GroupSubject,
    Membership,
    Meta,
    NamespaceGrant,
)
from entra_access.api.status import ADOPTED, Item, Status, System, read_status
from entra_access.api.times import stamp
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    CreateGroup,
    DefineRole,
    RemovePrincipal,
    RestoreGroup,
)
from entra_access.domain.definition_plan import definition_item
from entra_access.domain.faults import Fault, Finding, Link, Missing, Severity, Throttled
from entra_access.domain.group_plan import GROUP, RESTORING
from entra_access.domain.observed import Group, PolicyWorld, Seen
from entra_access.domain.plan import Plan
from entra_access.reconcile.cache import Body, Key, WatchCache, policy_of
from entra_access.reconcile.overlay import applied, laid_over, made_up, next_version
from entra_access.reconcile.planning import Planner, Resource
from entra_access.reconcile.proposal import Proposal
from entra_access.reconcile.rehearsal import Rehearsal, link_of

AT_ONCE: Final = 16
TRIES: Final = 3
LONGEST_PAUSE: Final = 60.0
_NAME_LABEL: Final = "kubernetes.io/metadata.name"
_THEN: Final = "whoever the policy names and is missing is added then"
_THEN_EXACT: Final = f"members and owners that the policy does not name leave it then, and {_THEN}"


class Preview:
    """Says what would be done. `kinds` are those that the operator watches, each with its selector."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        cache: WatchCache,
        planner: Planner,
        kinds: Mapping[Kind, str | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._kubernetes = kubernetes
        self._cache = cache
        self._planner = planner
        self._kinds = kinds
        self._clock = clock
        self._asked: list[Key] = []
        self._keys: dict[Key, None] = {}
        self._others: set[Key] = set()
        self._refusals: dict[Key, Plan] = {}
        self._coming: set[str] = set()
        self._namespaces: dict[str, Body] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._rehearsal = Rehearsal(kubernetes)

    @property
    def not_asked(self) -> list[str]:
        """Of what the API server was not asked whether it would take it, and why."""
        return self._rehearsal.not_asked

    async def look(self, manifests: Manifests) -> list[Proposal]:
        """Look at what the files have, and at what is concerned by that and would change.

        Raises
        ------
        Fault
            The API server could not be asked what there is.
        """
        await self._fill()
        concerned = set().union(*map(self._lay_over, manifests.around))
        self._asked = [_key(one) for one in manifests.resources]
        await asyncio.gather(*map(self._rehearse, manifests.resources))
        concerned = concerned.union(*map(self._lay_over, manifests.resources))
        self._keys = dict.fromkeys((*self._asked, *sorted(concerned, key=str)))
        self._others = self._who_may_claim()
        found: dict[Key, Proposal] = {}
        # The second round knows what the first has found that each of them wants, and who they are for.
        for _ in range(2):
            found = await self._round()
            if len({*self._keys, *self._others}) == 1:
                break
        told = (found[key] for key in self._keys if key in found)
        return [one for one in told if one.asked or one.changes or one.incomplete]

    def _who_may_claim(self) -> set[Key]:
        """Where what nobody declared is removed, it must be known what everybody wants in Azure."""
        policies = [
            body for one in self._keys if one.kind == POLICY.kind and (body := self._cache.resource(one))
        ]
        if not any(self._planner.removes_foreign(read_meta(body)) for body in policies):
            return set()
        return set(filter(self._cache.needs_azure, self._cache.keys())) - self._keys.keys()

    # What is there, and what will be

    async def _fill(self) -> None:
        try:
            lists = await asyncio.gather(
                *(self._kubernetes.list_all(kind, way, latest=True) for kind, way in self._kinds.items())
            )
        except Missing as error:
            raise Missing(f"{error.message}; install the CRDs first: kubectl apply -k crds") from error
        for kind, bodies in zip(self._kinds, lists, strict=True):
            for body in bodies:
                self._cache.put(kind, {"apiVersion": kind.api_version, "kind": kind.kind, **body})
                if kind is NAMESPACE:
                    self._namespaces[body["metadata"]["name"]] = body["metadata"]

    def _lay_over(self, manifest: Manifest) -> set[Key]:
        """Have it as it is when the file is applied. Returns whom that concerns."""
        match manifest.kind:
            case kind if kind is NAMESPACE:
                return self._cache.put(NAMESPACE, self._namespace(manifest))
            case kind if kind is CLUSTER_ROLE:
                if manifest.name in self._cache.cluster_roles:
                    return set()
                made = {"name": manifest.name, "uid": made_up(manifest), "resourceVersion": "1"}
                return self._cache.put(CLUSTER_ROLE, {"metadata": made})
            case _:
                return self._resource(manifest)

    def _namespace(self, manifest: Manifest) -> Body:
        there = self._cache.namespace(manifest.name)
        known = self._namespaces.get(manifest.name) or {"labels": there.labels if there else {}}
        labels = laid_over(known, manifest, "labels")
        labels[_NAME_LABEL] = manifest.name
        meta = {"name": manifest.name, "labels": labels, "uid": there.uid if there else made_up(manifest)}
        meta["resourceVersion"] = next_version(there.version if there else "0")
        meta |= {"deletionTimestamp": "now"} if there and there.ending else {}
        return {"metadata": meta}

    def _resource(self, manifest: Manifest) -> set[Key]:
        key = _key(manifest)
        if key in self._refusals:
            return set()  # what is there stays as it is
        body = applied(manifest, self._cache.resource(key), self._clock())
        return self._cache.put(manifest.kind, body) - {key}

    async def _rehearse(self, manifest: Manifest) -> None:
        """Find out whether the API server would take it, as far as it can be asked."""
        key, old = _key(manifest), self._cache.resource(_key(manifest))

        async def ask() -> Plan:
            if manifest.namespace and self._cache.namespace(manifest.namespace) is None:
                return Plan()
            return Plan(findings=await self._rehearsal.ask(manifest, old, self._clock()))

        plan = await self._patiently(ask)
        if not plan.findings and (refusal := self._refusal(manifest, old)):
            plan = Plan(findings=(refusal,))
        if plan.findings:
            self._refusals[key] = plan

    def _refusal(self, manifest: Manifest, old: Body | None) -> Finding | None:
        """Why it would not be taken, or in vain, as far as that can be told without asking the API server."""

        def refused(reason: str, path: str, message: str) -> Finding:
            return Finding(link_of(manifest), Severity.STALLED, reason, message, path)

        namespace = manifest.namespace
        if namespace and self._cache.namespace(namespace) is None:
            message = f"there is no namespace {namespace}; create it first, or have it in the files"
            return refused("NamespaceNotFound", "metadata.namespace", message)
        if old and read_meta(old).deleting:
            message = "is being deleted in the cluster; apply the file when it is gone"
            return refused("BeingDeleted", "metadata.deletionTimestamp", message)
        if old and manifest.kind is GRANT and policy_of(old) != policy_of(manifest.body):
            message = f"a grant stays with its policy, {policy_of(old)}; make another one for another policy"
            return refused("Unchangeable", "spec.policyRef.name", message)
        return None

    # What follows

    async def _round(self) -> dict[Key, Proposal]:
        """Plan for all: policies first, because grants are for their subjects."""
        found = await self._propose_all(POLICY)
        concerned = [self._foresee(key, found[key].plan) for key in self._keys if key in found]
        self._keys |= dict.fromkeys(sorted(set().union(*concerned), key=str))
        return found | await self._propose_all(GRANT)

    async def _propose_all(self, kind: Kind) -> dict[Key, Proposal]:
        keys = [one for one in (*self._keys, *self._others - self._keys.keys()) if one.kind == kind.kind]
        return {one.key: one for one in await asyncio.gather(*map(self._propose, keys))}

    def _foresee(self, key: Key, plan: Plan) -> set[Key]:
        """Let others see who a policy's subject will be, and its custom roles. Returns whom that concerns."""
        body, subject = self._cache.resource(key), plan.subject
        if body is None or subject is None:
            return set()
        if not subject.rbac_name:
            subject = replace(subject, object_id=_new_group(key.name))
        old, now = read_status(body), stamp(self._clock())
        made = any(isinstance(one, CreateGroup | AdoptGroup | RestoreGroup) for one in plan.changes)
        if made and (old.subject is None or old.subject.object_id != subject.object_id):
            self._coming.add(key.name)
        roles = [definition_item(one.definition, now) for one in plan.changes if isinstance(one, DefineRole)]
        there = {item.id for item in old.inventory}
        roles = [item for item in roles if item.id not in there]
        if old.subject == subject and not roles:
            return set()
        status = replace(old, subject=subject, inventory=(*old.inventory, *roles))
        metadata = {**body["metadata"], "resourceVersion": next_version(body["metadata"]["resourceVersion"])}
        return self._cache.put(POLICY, {**body, "metadata": metadata, "status": status.as_dict()}) - {key}

    async def _propose(self, key: Key) -> Proposal:
        plan = self._refusals.get(key) or await self._patiently(lambda: self._look_once(key))
        return Proposal(key, self._planner.mode(key), plan, asked=key in self._asked)

    async def _patiently(self, look: Callable[[], Awaitable[Plan]]) -> Plan:
        """What a look finds. Where a service asks for a pause, that is waited for."""
        async with self._slots:
            for left in range(TRIES - 1, -1, -1):
                plan = await look()
                waits = [one.retry_after or 1.0 for one in plan.findings if one.reason == Throttled.reason]
                if not waits or not left or max(waits) > LONGEST_PAUSE:
                    break
                await asyncio.sleep(max(waits))
        return plan

    async def _look_once(self, key: Key) -> Plan:
        body = self._cache.resource(key)
        if body is None:
            return Plan()
        meta, old, now = read_meta(body), read_status(body), self._clock()
        if meta.deleting:
            return Plan()
        try:
            resource = read_resource(body)
            world = await self._planner.gather(resource, old, now)
        except InvalidFieldError as error:
            return self._planner.unreadable(meta, old, error)
        except Fault as fault:
            return Plan(findings=(_unseen(fault, meta),))
        plan = self._planner.plan(resource, world, old, now)
        if isinstance(world, PolicyWorld):
            plan = self._with_what_follows(plan, resource, world, old, now)
        plan = await self._planner.named(plan)
        return replace(plan, findings=(*plan.findings, *self._afterwards(resource, plan)))

    def _with_what_follows(
        self, plan: Plan, resource: Resource, world: PolicyWorld, old: Status, now: datetime
    ) -> Plan:
        """The plan with that of the passes after one that does nothing but take over or restore the group."""
        first = next((one for one in plan.changes if isinstance(one, AdoptGroup | RestoreGroup)), None)
        group = _once_there(first, world) if first else None
        if first is None or group is None:
            return plan
        lines = old.inventory
        if isinstance(first, AdoptGroup):
            line = Item(System.ENTRA, GROUP, group.display_name, group.id, stamp(now), origin=ADOPTED)
            lines = (*lines, line)
        there = replace(world, group=group, namesakes=_others(world.namesakes, group), candidate=None)
        then = self._planner.plan(resource, there, replace(old, inventory=lines), now)
        if isinstance(first, RestoreGroup) and isinstance(resource, AccessPolicy) and resource.group:
            then = _who_is_not_known(then, resource.group, group)
        return replace(
            then,
            changes=(first, *(one for one in then.changes if not isinstance(one, AdoptGroup))),
            differences=(*plan.differences, *then.differences),
        )

    def _afterwards(self, resource: Resource, plan: Plan) -> Iterable[Finding]:
        """What gives something to a group that another policy has to make, or to get back, waits for that."""
        if all(change.removal for change in plan.changes):
            return
        if isinstance(resource, NamespaceGrant):
            link, names = Link.POLICY, [resource.policy]
        else:
            members = resource.group.members if resource.group else ()
            link, names = Link.MEMBERS, [one.value for one in members if one.kind == POLICY_MEMBER]
        for name in (one for one in names if one in self._coming):
            message = f"this follows when AccessPolicy {name} has its group"
            yield Finding(link, Severity.WAITING, "SubjectNotReady", message)


def _key(manifest: Manifest) -> Key:
    return Key(manifest.kind.kind, manifest.namespace, manifest.name)


def _new_group(policy: str) -> str:
    """What stands for the object id of a group that is not there yet; none of Entra looks so."""
    return f"(new, of AccessPolicy {policy})"


def _once_there(change: AdoptGroup | RestoreGroup, world: PolicyWorld) -> Group | None:
    """The policy's group when that is done."""
    if isinstance(change, RestoreGroup):
        return replace(world.group, deleted=False) if isinstance(world.group, Group) else None
    named = (*_groups((world.candidate,)), *_groups(world.namesakes))
    there = next((one for one in named if one.id == change.group_id), None)
    return replace(there, unique_name=change.unique_name) if there else None


def _others(namesakes: Seen[tuple[Group, ...]], group: Group) -> Seen[tuple[Group, ...]]:
    if isinstance(namesakes, Fault):
        return namesakes
    return tuple(one for one in namesakes if one.id != group.id)


def _who_is_not_known(plan: Plan, wish: GroupSubject, group: Group) -> Plan:
    """Without who joins a restored group and who leaves it: Graph tells of none of those in a deleted one."""
    unsure = [one for one in plan.changes if isinstance(one, AddPrincipals | RemovePrincipal)]
    findings = plan.findings
    if wish.membership is Membership.EXACT or wish.members or wish.owners:
        then = _THEN_EXACT if wish.membership is Membership.EXACT else _THEN
        message = f"who is in group {group.display_name} is known when it is restored: {then}"
        findings = (*findings, Finding(Link.MEMBERS, Severity.WAITING, RESTORING, message))
    return replace(
        plan,
        changes=tuple(one for one in plan.changes if one not in unsure),
        differences=tuple(one for one in plan.differences if one.change not in unsure),
        findings=findings,
    )


def _groups(seen: object) -> tuple[Group, ...]:
    return tuple(one for one in seen if isinstance(one, Group)) if isinstance(seen, tuple) else ()


def _unseen(fault: Fault, meta: Meta) -> Finding:
    return fault.finding(Link.SUBJECT if meta.kind is POLICY else Link.POLICY, observing=True)
