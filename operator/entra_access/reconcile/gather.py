"""Look at the world for one resource. What cannot be seen is a `Fault` in its place, never a guess."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from entra_access.adapters.arm import Arm
from entra_access.adapters.graph import Graph
from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import KINDS
from entra_access.api.resources import AccessPolicy, GroupSubject, Membership, Meta, NamespaceGrant, Reference
from entra_access.api.status import Status, System
from entra_access.api.times import age
from entra_access.domain.children import SeenChild, seen_child
from entra_access.domain.faults import Fault, Missing, Replicating, Unavailable
from entra_access.domain.naming import assignment_id, unique_name
from entra_access.domain.observed import Assignment, GrantWorld, Group, PolicyWorld, Principal, Seen
from entra_access.domain.policy_plan import group_item
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.shared import Assignments, Shared

T = TypeVar("T")
K = TypeVar("K")
ROLE_ID_SECONDS: Final = 3600.0
"""For so long the GUID of a role's name is believed."""
DELETED_GROUPS_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Place:
    """Where the operator works.

    Attributes
    ----------
    cluster_id
        The cluster's ARM id, where Azure roles are assigned.
    owner_id
        Tells this cluster's groups from those of others.
    replication_window
        How long a new group may stay invisible somewhere.
    """

    cluster_id: str
    owner_id: str
    replication_window: timedelta


class Gatherer:
    """Reads what a plan needs."""

    def __init__(
        self,
        place: Place,
        cache: WatchCache,
        graph: Graph,
        arm: Arm,
        kubernetes: Kubernetes,
        assignments: Assignments,
    ) -> None:
        self._place = place
        self._kubernetes = kubernetes
        self._cache = cache
        self._graph = graph
        self._arm = arm
        self._assignments = assignments
        self._deleted = Shared(graph.deleted_groups, DELETED_GROUPS_SECONDS)
        self._role_ids: dict[str, tuple[str, float]] = {}

    async def policy(self, policy: AccessPolicy, status: Status, now: datetime) -> PolicyWorld:
        """What there is for an AccessPolicy."""
        wish = policy.group
        group = await self._seen(self._group(policy.meta, status, now, deleting=False))
        live = group if isinstance(group, Group) and not group.deleted else None
        members, owners = await self._relations(live, wish)
        known = {p.name.lower(): p for seen in (members, owners) if not isinstance(seen, Fault) for p in seen}
        # While the group itself is not seen, nothing can be done with its members.
        references = set() if isinstance(group, Fault) else {*wish.members, *wish.owners}
        naming = group is None or (live is not None and live.display_name != wish.display_name)
        namesakes, principals, roles, assignments = await asyncio.gather(
            self._seen(self._namesakes(policy, live)) if naming else _nothing(),
            self._each(references, lambda one: self._principal(one, known)),
            self._each(policy.azure_roles, self._role_id),
            self._seen(self._all_assignments(status)),
        )
        return PolicyWorld(
            group=group,
            namesakes=namesakes,
            claimant=self._cache.claimant(policy.meta.name),
            members=members,
            owners=owners,
            principals=principals,
            roles=roles,
            assignments=assignments,
            children=await self._children(policy.meta, status),
            cluster_roles=self._cache.cluster_roles,
        )

    async def local(self, meta: Meta, status: Status) -> PolicyWorld:
        """What there is of an AccessPolicy in Kubernetes alone; Entra and Azure are left unseen."""
        unseen = Unavailable("not looked at yet")
        children = await self._children(meta, status)
        return PolicyWorld(
            unseen, assignments=unseen, children=children, cluster_roles=self._cache.cluster_roles
        )

    async def removal(self, meta: Meta, status: Status, now: datetime) -> PolicyWorld:
        """What there is of an AccessPolicy that is going."""
        group, assignments = await asyncio.gather(
            self._seen(self._group(meta, status, now, deleting=True)),
            self._seen(self._all_assignments(status)),
        )
        children = await self._children(meta, status)
        return PolicyWorld(group=group, assignments=assignments, children=children)

    async def grant(self, grant: NamespaceGrant, status: Status) -> GrantWorld:
        """What there is for a NamespaceGrant; as a rule the watches know all of it."""
        meta = grant.meta
        namespace = self._cache.namespace(meta.namespace or "")
        return GrantWorld(
            policy=self._cache.policy_view(grant.policy),
            namespace_labels=namespace.labels if namespace else {},
            namespace_ending=namespace is None or namespace.ending,
            children=await self._children(meta, status),
            cluster_roles=self._cache.cluster_roles,
        )

    async def _children(self, meta: Meta, status: Status) -> tuple[SeenChild, ...]:
        """The Roles and bindings that were made for a resource.

        One that the inventory names and the watch does not show is looked at itself: it is gone, or another
        hand took the label away by which the watch knows it.
        """
        watched = self._cache.children(Key(meta.kind.kind, meta.namespace, meta.name))
        known = {child.uid for child in watched}
        missing = [
            i for i in status.inventory if i.system is System.KUBERNETES and i.id and i.id not in known
        ]
        found = list(watched)
        for item in missing:
            kind, (namespace, _, name) = KINDS[item.kind], item.name.rpartition("/")
            body = await self._kubernetes.get(kind, namespace or None, name)
            if body and body["metadata"]["uid"] == item.id:
                found.append(seen_child(kind, body))
        return tuple(found)

    async def _all_assignments(self, status: Status) -> tuple[Assignment, ...]:
        """The role assignments at the cluster.

        One that the inventory names and the list does not show is looked at itself: lists lag behind, and
        a line in a status proves neither that it is there nor whose it is.
        """
        listed = await self._assignments.get()
        here = assignment_id(self._place.cluster_id, "").lower()
        known = {one.name for one in listed}
        names = (i.id.lower().removeprefix(here) for i in status.inventory if i.id.lower().startswith(here))
        unlisted = [name for name in names if name not in known]
        found = [await self._arm.assignment(self._place.cluster_id, name) for name in unlisted]
        return (*listed, *(one for one in found if one))

    async def _group(self, meta: Meta, status: Status, now: datetime, *, deleting: bool) -> Group | None:
        """The policy's group, live or deleted, or None where it is certain that there is none.

        A group that was made a moment ago can be unknown to the replica that answers. As long as that may
        be, its absence proves nothing: a second one could be made, or the first forgotten.
        """
        name = unique_name(self._place.owner_id, meta.name)
        found = await self._graph.group_by_unique_name(name)
        if found:
            return found
        deleted = next((group for group in await self._deleted.get() if group.unique_name == name), None)
        if deleted:
            return deleted
        line = group_item(status.inventory)
        recent = line is not None and age(line.since, now) < self._place.replication_window
        if line and recent and (line.id or deleting):
            raise Replicating("the new group is not visible everywhere yet")
        return None

    async def _relations(
        self, group: Group | None, wish: GroupSubject
    ) -> tuple[Seen[tuple[Principal, ...]], Seen[tuple[Principal, ...]]]:
        if group is None:
            return (), ()
        owners_matter = wish.owners or wish.membership is Membership.EXACT
        members, owners = await asyncio.gather(
            self._seen(self._graph.principals(group.id, "members")),
            self._seen(self._graph.principals(group.id, "owners")) if owners_matter else _nothing(),
        )
        return members, owners

    async def _namesakes(self, policy: AccessPolicy, mine: Group | None) -> tuple[Group, ...]:
        """Other groups with the wished name. Ours can be in the list before it is found by its uniqueName."""
        ours = unique_name(self._place.owner_id, policy.meta.name)
        found = await self._graph.groups_named(policy.group.display_name)
        return tuple(g for g in found if g.unique_name != ours and (mine is None or g.id != mine.id))

    async def _principal(self, reference: Reference, known: dict[str, Principal]) -> Principal:
        """What a reference stands for; one who is in the group under that name need not be looked up."""
        found = known.get(reference.value) or await self._graph.principal(reference)
        if found is None:
            raise Missing(str(reference))
        return found

    async def _role_id(self, role: str) -> str:
        known, until = self._role_ids.get(role, ("", 0.0))
        if time.monotonic() < until:
            return known
        found = await self._arm.role_id(role, self._place.cluster_id)
        if found is None:
            raise Missing(role)
        self._role_ids[role] = (found, time.monotonic() + ROLE_ID_SECONDS)
        return found

    async def _each(
        self, wanted: Iterable[K], look_up: Callable[[K], Awaitable[T]]
    ) -> dict[K, Seen[T | None]]:
        """Look up each; what is certainly not there is None."""
        keys = list(wanted)
        found = await asyncio.gather(*(self._seen(look_up(key)) for key in keys))
        return {k: None if isinstance(one, Missing) else one for k, one in zip(keys, found, strict=True)}

    @staticmethod
    async def _seen(reading: Awaitable[T]) -> Seen[T]:
        try:
            return await reading
        except Fault as fault:
            return fault


async def _nothing() -> tuple[()]:
    return ()
