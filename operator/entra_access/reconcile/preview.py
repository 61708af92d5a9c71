"""What the operator would do if some files were applied. Nothing is written.

The files are laid over what the API server has, in a cache of its own; then the same gathering and planning
as in every pass says what follows.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.manifests import Manifest, Manifests, unknown_fields
from entra_access.api.names import CLUSTER_ROLE, GRANT, NAMESPACE, POLICY, Kind
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_meta, read_resource
from entra_access.api.resources import POLICY_MEMBER, Meta, NamespaceGrant
from entra_access.api.status import ADOPTED, Item, Status, System, read_status
from entra_access.api.times import stamp
from entra_access.domain.changes import AdoptGroup, DefineRole
from entra_access.domain.definition_plan import definition_item
from entra_access.domain.faults import Fault, Finding, Link, Missing, Severity, Throttled
from entra_access.domain.group_plan import GROUP
from entra_access.domain.observed import Group, PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.reconcile.cache import Body, Key, WatchCache, policy_of
from entra_access.reconcile.planning import Planner, Resource
from entra_access.reconcile.proposal import Proposal

AT_ONCE: Final = 16
TRIES: Final = 3
LONGEST_PAUSE: Final = 60.0
_NAME_LABEL: Final = "kubernetes.io/metadata.name"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


async def unknown_to(kubernetes: Kubernetes, manifests: Manifests) -> list[str]:
    """What is in the resources and the API server does not know, each with its file.

    Raises
    ------
    Fault
        The API server does not tell what it knows.
    """
    schemas = {kind: await kubernetes.schema(kind) for kind in {one.kind for one in manifests.resources}}
    return [
        f"{one.file}: {one}: {path}: is no field of {one.kind.kind} here; correct it, or take it out"
        for one in manifests.resources
        for path in unknown_fields(one.body, schemas[one.kind])
    ]


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
        self._refusals: dict[Key, Finding] = {}
        self._namespaces: dict[str, Body] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def look(self, manifests: Manifests) -> list[Proposal]:
        """Look at what the files have, and at what is concerned by that and would change.

        Raises
        ------
        Fault
            The API server could not be asked what there is.
        """
        await self._fill()
        concerned = set()
        for manifest in (*manifests.around, *manifests.resources):
            concerned |= self._lay_over(manifest)
        self._asked = [_key(one) for one in manifests.resources]
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
                made = {"name": manifest.name, "uid": _made_up(manifest), "resourceVersion": "1"}
                return self._cache.put(CLUSTER_ROLE, {"metadata": made})
            case _:
                return self._resource(manifest)

    def _namespace(self, manifest: Manifest) -> Body:
        there = self._cache.namespace(manifest.name)
        known = self._namespaces.get(manifest.name) or {"labels": there.labels if there else {}}
        labels = laid_over(known, manifest, "labels")
        labels[_NAME_LABEL] = manifest.name
        meta = {"name": manifest.name, "labels": labels, "uid": there.uid if there else _made_up(manifest)}
        meta["resourceVersion"] = _next(there.version if there else "0")
        meta |= {"deletionTimestamp": "now"} if there and there.ending else {}
        return {"metadata": meta}

    def _resource(self, manifest: Manifest) -> set[Key]:
        key = _key(manifest)
        old = self._cache.resource(key)
        body = _applied(manifest, old, self._clock())
        if refusal := self._refusal(manifest, old):
            self._refusals[key] = refusal
        return self._cache.put(manifest.kind, body) - {key}

    def _refusal(self, manifest: Manifest, old: Body | None) -> Finding | None:
        """Why the API server would not take it, as far as that can be told without asking it to."""

        def refused(reason: str, path: str, message: str) -> Finding:
            link = Link.SUBJECT if manifest.kind is POLICY else Link.POLICY
            return Finding(link, Severity.STALLED, reason, message, path)

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
        roles = [definition_item(one.definition, now) for one in plan.changes if isinstance(one, DefineRole)]
        there = {item.id for item in old.inventory}
        roles = [item for item in roles if item.id not in there]
        if old.subject == subject and not roles:
            return set()
        status = replace(old, subject=subject, inventory=(*old.inventory, *roles))
        metadata = {**body["metadata"], "resourceVersion": _next(body["metadata"]["resourceVersion"])}
        return self._cache.put(POLICY, {**body, "metadata": metadata, "status": status.as_dict()}) - {key}

    async def _propose(self, key: Key) -> Proposal:
        plan = Plan(findings=(self._refusals[key],)) if key in self._refusals else await self._plan(key)
        return Proposal(key, self._planner.mode(key), plan, asked=key in self._asked)

    async def _plan(self, key: Key) -> Plan:
        """The plan. Where a service asks for a pause, that is waited for."""
        async with self._slots:
            for left in range(TRIES - 1, -1, -1):
                plan = await self._look_once(key)
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
        plan = await self._planner.named(self._planner.plan(resource, world, old, now))
        taken = next((change for change in plan.changes if isinstance(change, AdoptGroup)), None)
        if taken and isinstance(world, PolicyWorld):
            plan = self._taken_over(taken, plan, resource, world, old, now)
        return replace(plan, findings=(*plan.findings, *self._afterwards(resource, plan)))

    def _taken_over(
        self,
        taken: AdoptGroup,
        plan: Plan,
        resource: Resource,
        world: PolicyWorld,
        old: Status,
        now: datetime,
    ) -> Plan:
        """What follows when the group is the policy's: whoever is in it and not in the file leaves it."""
        named = (*_groups((world.candidate,)), *_groups(world.namesakes))
        there = next((one for one in named if one.id == taken.group_id), None)
        if there is None:
            return plan
        ours = replace(there, unique_name=taken.unique_name)
        line = Item(System.ENTRA, GROUP, ours.display_name, ours.id, stamp(now), origin=ADOPTED)
        then = self._planner.plan(
            resource,
            replace(world, group=ours, namesakes=(), candidate=None),
            replace(old, inventory=(*old.inventory, line)),
            now,
        )
        return replace(
            then,
            changes=(taken, *(change for change in then.changes if not isinstance(change, AdoptGroup))),
            differences=(*plan.differences, *then.differences),
        )

    def _afterwards(self, resource: Resource, plan: Plan) -> Iterable[Finding]:
        """What gives something to a group that another policy has to make waits for that."""
        if all(change.removal for change in plan.changes):
            return
        if isinstance(resource, NamespaceGrant):
            link, names = Link.POLICY, [resource.policy]
        else:
            members = resource.group.members if resource.group else ()
            link, names = Link.MEMBERS, [one.value for one in members if one.kind == POLICY_MEMBER]
        for name in names:
            view = self._cache.policy_view(name)
            if view and view.subject and view.subject.object_id == _new_group(name):
                message = f"this follows when AccessPolicy {name} has its group"
                yield Finding(link, Severity.WAITING, "SubjectNotReady", message)


def _key(manifest: Manifest) -> Key:
    return Key(manifest.kind.kind, manifest.namespace, manifest.name)


def _made_up(manifest: Manifest) -> str:
    """A UID for what is not there yet: no UID of Kubernetes has spaces."""
    return f"of the new {manifest}"


def _new_group(policy: str) -> str:
    """What stands for the object id of a group that is not there yet; none of Entra looks so."""
    return f"(new, of AccessPolicy {policy})"


def _next(version: str) -> str:
    return str(int(version) + 1)


def _groups(seen: object) -> tuple[Group, ...]:
    return tuple(one for one in seen if isinstance(one, Group)) if isinstance(seen, tuple) else ()


def _unseen(fault: Fault, meta: Meta) -> Finding:
    return fault.finding(Link.SUBJECT if meta.kind is POLICY else Link.POLICY, observing=True)


def _texts(manifest: Manifest, key: str) -> dict[str, str]:
    return dict(manifest.body["metadata"].get(key) or {})


def laid_over(there: Mapping[str, Any], manifest: Manifest, key: str) -> dict[str, str]:
    """Labels or annotations after the file is applied: what it had before and has not now goes.

    Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config
    """
    said = (there.get("annotations") or {}).get(_LAST_APPLIED, "")
    try:
        before = json.loads(said)["metadata"].get(key) or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        before = {}  # it was never applied by kubectl
    wished = _texts(manifest, key)
    kept = {name: value for name, value in (there.get(key) or {}).items() if name not in before}
    return {**kept, **wished}


def _applied(manifest: Manifest, old: Body | None, now: datetime) -> Body:
    """The resource as the API server has it when the file is applied."""
    spec = manifest.body.get("spec")
    if old is None:
        meta: dict[str, Any] = {"name": manifest.name, "uid": _made_up(manifest), "generation": 1}
        meta |= {"creationTimestamp": stamp(now), "resourceVersion": "1"}
        meta |= {"namespace": manifest.namespace} if manifest.namespace else {}
        old = {"apiVersion": manifest.kind.api_version, "kind": manifest.kind.kind, "metadata": meta}
    else:
        meta = {**old["metadata"], "resourceVersion": _next(old["metadata"]["resourceVersion"])}
        meta["generation"] = int(meta.get("generation", 0)) + (not _same_wish(old, spec))
    for key in ("labels", "annotations"):
        meta[key] = laid_over(meta, manifest, key)
    if (old.get("spec") or {}).get("expiresAt") != (spec or {}).get("expiresAt"):
        # How long a grant may last is counted from when its time was written.
        written = {"manager": "preview", "time": stamp(now), "fieldsV1": {"f:spec": {"f:expiresAt": {}}}}
        meta["managedFields"] = [written]
    return {**old, "metadata": meta, "spec": spec}


def _same_wish(old: Body, spec: object) -> bool:
    """Whether both mean the same: the API server has written defaults into what it has."""
    try:
        return read_resource(old) == read_resource({**old, "spec": spec})
    except InvalidFieldError:
        return False
