"""Look at the world for one resource. What cannot be seen is a `Fault` in its place, never a guess."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import (
    ANNOTATION_ADOPT,
    CHILD_KINDS,
    KINDS,
    LABEL_OWNER_UID,
    SECRET,
    SERVICE_ACCOUNT,
)
from entra_access.api.resources import (
    POLICY_MEMBER,
    AccessPolicy,
    AdoptionPolicy,
    DirectorySubject,
    GroupSubject,
    Meta,
    NamespaceGrant,
)
from entra_access.api.status import Item, Status, System
from entra_access.domain.access_plan import matching
from entra_access.domain.children import ChildRef, SeenChild, is_ours, seen_child
from entra_access.domain.definition_plan import wished_definition
from entra_access.domain.difference import Difference
from entra_access.domain.faults import Denied, Fault, Unavailable
from entra_access.domain.grant_plan import refused_unseen
from entra_access.domain.group_plan import group_item
from entra_access.domain.known_roles import same_role
from entra_access.domain.naming import assignment_id, guid_in
from entra_access.domain.observed import (
    Assignment,
    AzureWorld,
    Definition,
    GrantWorld,
    Group,
    PolicyView,
    PolicyWorld,
    Principal,
)
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan
from entra_access.reconcile.account_reader import look_at_account
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.cluster import ClusterWatch
from entra_access.reconcile.directory_reader import DirectoryReader
from entra_access.reconcile.keepers import kept_by_others
from entra_access.reconcile.seeing import nothing, seen

UNSEEN = Unavailable("not looked at yet")


class Gatherer:
    """Reads what a plan needs."""

    def __init__(
        self,
        place: Place,
        cache: WatchCache,
        directory: DirectoryReader,
        azure: AzureReader,
        kubernetes: Kubernetes,
        cluster: ClusterWatch,
    ) -> None:
        self._place = place
        self._cache = cache
        self._directory = directory
        self._azure = azure
        self._kubernetes = kubernetes
        self._cluster = cluster

    # Policies

    async def policy(self, policy: AccessPolicy, status: Status, now: datetime) -> PolicyWorld:
        """What there is for an AccessPolicy."""
        roles, scopes = self._wished_roles(policy)
        who, azure, (definitions, others) = await asyncio.gather(
            self._who(policy, status, now),
            self._azure.world(roles, scopes, status),
            self._azure.definitions(policy.custom_roles, policy.meta.name, status.inventory),
        )
        local = await self.local(policy, status)
        owners = self._cache.definition_owners(self._place, policy.meta.name) if policy.custom_roles else {}
        return replace(
            local,
            **who,
            **azure,
            definitions=definitions,
            definition_namesakes=others,
            definition_owners=owners,
        )

    async def local(self, policy: AccessPolicy, status: Status) -> PolicyWorld:
        """What there is of an AccessPolicy in Kubernetes alone; Entra and Azure are left unseen."""
        reference = policy.subject.reference if isinstance(policy.subject, DirectorySubject) else None
        roles, scopes = self._wished_roles(policy)
        account, made = await look_at_account(self._kubernetes, policy)
        children, unread = await self._children(policy.meta, status)
        # No watch shows Secrets, and the status may not tell of one that was made a moment ago.
        children = tuple(
            ({child.ref: child for child in children} | {child.ref: child for child in made}).values()
        )
        return PolicyWorld(
            group=UNSEEN,
            principals={reference: UNSEEN} if reference else {},
            account=account,
            assignments=UNSEEN,
            elsewhere={scope.lower(): UNSEEN for scope in scopes},
            roles=dict.fromkeys(roles, UNSEEN),
            definitions={role.name: UNSEEN for role in policy.custom_roles},
            children=children,
            heirs=self._heirs(policy.meta, children),
            kept=kept_by_others(self._cache, policy.meta.name, children),
            unread=unread,
            cluster_roles=self._cache.cluster_roles,
            namespaces=self._cache.namespaces,
            facts=self._cluster.facts,
            shadows=self._cache.shadows,
        )

    async def removal(
        self, meta: Meta, status: Status, now: datetime, *, group: bool, azure: bool
    ) -> PolicyWorld:
        """What there is of an AccessPolicy that is going: what it can have made in Entra and in Azure."""
        assigned = await self._azure.left(status) if azure else {}
        found = await seen(self._directory.group(meta, status, now, deleting=True)) if group else None
        children, unread = await self._children(meta, status)
        return PolicyWorld(
            group=found,
            children=children,
            heirs=self._heirs(meta, children),
            kept=kept_by_others(self._cache, meta.name, children),
            unread=unread,
            **assigned,
        )

    def _wished_roles(self, policy: AccessPolicy) -> tuple[set[str], set[str]]:
        """The Azure roles that must be looked up, and the scopes where they are wished for."""
        names = {one.role for one in policy.azure_roles}
        names |= {role for entry in policy.namespaces for role in entry.azure_roles}
        own = {role.name.lower() for role in policy.custom_roles}
        names = {one for one in names if one.lower() not in own}
        scopes = {self._place.scope(one.scope) for one in policy.azure_roles}
        for entry in policy.namespaces:
            if entry.azure_roles:
                scopes |= {
                    self._place.namespace_scope(one) for one in matching(entry, self._cache.namespaces)
                }
        return names, scopes

    async def _who(self, policy: AccessPolicy, status: Status, now: datetime) -> dict[str, Any]:
        """The fields of `PolicyWorld` that are about the subject."""
        match policy.subject:
            case GroupSubject() as wish:
                return await self._group(policy, wish, status, now)
            case DirectorySubject() as wish:
                principals = await self._directory.principals([wish.reference])
                known = [one for one in principals.values() if isinstance(one, Principal)]
                found: dict[str, Any] = {
                    "principals": principals,
                    "groups_of": await self._directory.groups_of(known),
                }
            case _:
                found = {}
        # A group that the policy made before it had another subject must go.
        former = bool(group_item(status.inventory))
        group = (
            await seen(self._directory.group(policy.meta, status, now, deleting=False)) if former else None
        )
        return {**found, "group": group}

    async def _group(
        self, policy: AccessPolicy, wish: GroupSubject, status: Status, now: datetime
    ) -> dict[str, Any]:
        adopting = wish.adoption is not AdoptionPolicy.NEVER or bool(policy.meta.annotation(ANNOTATION_ADOPT))
        group = await seen(self._directory.group(policy.meta, status, now, deleting=False, adopting=adopting))
        live = group if isinstance(group, Group) and not group.deleted else None
        candidate = await seen(self._directory.candidate(policy.meta)) if group is None else None
        members, owners = await self._directory.relations(live, wish)
        known = [p for those in (members, owners) if not isinstance(those, Fault) for p in those]
        # While the group itself is not seen, nothing can be done with its members.
        references = set() if isinstance(group, Fault) else {*wish.members, *wish.owners}
        naming = group is None or (isinstance(group, Group) and group.display_name != wish.display_name)
        namesakes, principals = await asyncio.gather(
            seen(self._directory.namesakes(policy, wish, live)) if naming else nothing(),
            self._directory.principals(references, known),
        )
        if adopting and group is None and isinstance(namesakes, tuple):
            # Who is in one that may be taken over: they must be as wished for, or will leave.
            named = bool(policy.meta.annotation(ANNOTATION_ADOPT))
            first = candidate if named else next(iter(namesakes), None)
            live = first if isinstance(first, Group) else None
            members, owners = await self._directory.relations(live, wish)
        applications = [one for one in principals.values() if isinstance(one, Principal)]
        members, groups_of = await asyncio.gather(
            self._directory.with_applications(live, members, wish, principals),
            self._directory.groups_of(applications),
        )
        policies = [one.value for one in wish.members if one.kind == POLICY_MEMBER]
        return {
            "group": group,
            "namesakes": namesakes,
            "candidate": candidate,
            "claimant": self._cache.claimant(policy.meta.name),
            "members": members,
            "owners": owners,
            "principals": principals,
            "policies": {name: self._cache.policy_view(name) for name in policies},
            "cycles": self._cache.cycles(policy.meta.name),
            "groups_of": groups_of,
        }

    def _heirs(self, meta: Meta, children: Iterable[SeenChild]) -> dict[ChildRef, tuple[Meta, ...]]:
        accounts = [child.ref for child in children if child.ref.kind is SERVICE_ACCOUNT]
        return {ref: self._cache.heirs(meta.name, ref) for ref in accounts}

    # Grants

    async def grant(self, grant: NamespaceGrant, status: Status, now: datetime) -> GrantWorld:
        """What there is for a NamespaceGrant; without Azure roles the watches know all of it."""
        world = await self.grant_local(grant, status)
        if not self._cache.needs_azure(_key(grant.meta)):
            return replace(world, assignments=())
        roles, own = self._granted_roles(grant, world, now)
        scope = self._place.namespace_scope(grant.meta.namespace or "")
        azure = await self._azure.world(roles, [scope], status)
        azure["roles"] = {**world.roles, **azure["roles"], **own}
        return replace(world, **azure)

    def _granted_roles(
        self, grant: NamespaceGrant, world: GrantWorld, now: datetime
    ) -> tuple[set[str], dict[str, str]]:
        """The Azure roles that must be looked up, and the GUIDs of the policy's own ones.

        None where the grant is refused for what is known already, so that whoever writes such grants, with
        whatever names in them, cannot keep Azure busy.
        """
        refused, _ = refused_unseen(grant, world, now)
        view = world.policy
        if refused or view is None or view.policy is None or view.policy.ceiling is None:
            return set(), {}
        ceiling = view.policy.ceiling.azure_roles
        plain = {one for one in grant.azure_roles if not any(same_role(one, other) for other in ceiling)}
        if plain and not ceiling:
            return set(), {}
        # Only a role that the ceiling has by another name needs the ceiling's roles too.
        roles = {*grant.azure_roles, *(ceiling if plain else ())}
        custom = self._roles_of(view)
        own = {one: custom[one.lower()] for one in roles if one.lower() in custom}
        return roles - own.keys(), own

    async def grant_local(self, grant: NamespaceGrant, status: Status) -> GrantWorld:
        """What there is for a NamespaceGrant in Kubernetes alone; Azure is left unseen."""
        meta = grant.meta
        namespace = self._cache.namespace(meta.namespace or "")
        children, _ = await self._children(meta, status)
        return GrantWorld(
            policy=self._cache.policy_view(grant.policy),
            namespace_labels=namespace.labels if namespace else {},
            namespace_ending=namespace is None or namespace.ending,
            children=children,
            cluster_roles=self._cache.cluster_roles,
            roles=dict.fromkeys(grant.azure_roles, UNSEEN),
            assignments=UNSEEN,
            facts=self._cluster.facts,
        )

    async def grant_removal(self, meta: Meta, status: Status, *, azure: bool) -> GrantWorld:
        """What there is of a NamespaceGrant that is going; `azure`: there too."""
        assigned = await self._azure.left(status) if azure else {}
        children, _ = await self._children(meta, status)
        return GrantWorld(
            policy=None,
            namespace_labels={},
            namespace_ending=False,
            children=children,
            cluster_roles=frozenset(),
            **assigned,
        )

    def _roles_of(self, view: PolicyView | None) -> dict[str, str]:
        """The custom roles of the grant's own policy, by name in lower case: no looking up is needed."""
        custom = view.policy.custom_roles if view and view.policy else ()
        name = view.name if view else ""
        # One that was taken over has another GUID, which is looked up by its name.
        taken = {item.name for item in self._cache.policy_inventory(name) if item.adopted}
        return {
            role.name.lower(): wished_definition(role, name, self._place).guid
            for role in custom
            if role.name not in taken
        }

    # Both

    def latest(self, world: AzureWorld) -> dict[str, Any]:
        """The assignments with what the operator has written to Azure since they were looked at."""
        elsewhere = {scope: self._azure.latest(found, scope) for scope, found in world.elsewhere.items()}
        return {"assignments": self._azure.latest(world.assignments), "elsewhere": elsewhere}

    def roles_made(self, policy: str, definitions: Iterable[Definition]) -> None:
        """The operator has made or changed custom roles for a policy, which others may wait for."""
        self._azure.roles_made(policy, definitions)

    async def named(self, plan: Plan) -> Plan:
        """The plan with the names of those who changed something in Azure, and of the roles of others.

        Azure itself tells ids only.
        """
        items = [one.item for one in plan.differences if one.item.system is System.AZURE]
        if not items:
            return plan
        hands = {guid_in(item.changed_by) for item in items} - {None}
        roles = {one.role_id for one in plan.differences} - {""}
        names, role_names = await asyncio.gather(
            self._directory.names(one for one in hands if one),
            self._azure.role_names(roles),
        )

        def renamed(one: Difference) -> Difference:
            words = one.item.object.replace(one.role_id, role_names.get(one.role_id, one.role_id))
            by = names.get(one.item.changed_by, one.item.changed_by)
            return replace(one, item=replace(one.item, object=words, changed_by=by))

        return replace(plan, differences=tuple(map(renamed, plan.differences)))

    def claims_known(self, meta: Meta) -> bool:
        """Whether everybody else who may want an assignment has been looked at since the start."""
        own, everybody = _key(meta), self._cache.keys()
        others = (key for key in everybody if key != own and self._cache.needs_azure(key))
        return all(self._cache.azure_claims.noted(key) for key in others)

    def claimed(self, meta: Meta, status: Status, assignments: object) -> frozenset[str]:
        """Which of the assignments that a plan may take away another resource wants too."""
        ids = {item.id.lower() for item in status.inventory if item.system is System.AZURE}
        if isinstance(assignments, tuple):
            ids |= {
                assignment_id(one.scope, one.name).lower()
                for one in assignments
                if isinstance(one, Assignment)
            }
        return self._cache.azure_claims.of_others(_key(meta), ids)

    async def children(self, meta: Meta, status: Status) -> tuple[SeenChild, ...]:
        """What was made in the cluster for a resource."""
        children, _ = await self._children(meta, status)
        return children

    async def _children(self, meta: Meta, status: Status) -> tuple[tuple[SeenChild, ...], tuple[Item, ...]]:
        """What was made in the cluster for a resource, and the inventory's lines of what may not be read.

        One that the inventory names and the watch does not show is looked at itself: it is gone, or another
        hand took the label away by which the watch knows it, or it is a Secret, which no watch shows. It is
        ours by its UID, or where the inventory cannot have that: by our ownerReference, or by our label where
        Kubernetes has taken that out and left it to its Namespace. An account with nothing of ours on it was
        let go for good, by another policy that had it too and keeps what it made.
        """
        found, unread = list(self._cache.children(_key(meta))), []
        known, refs = {child.uid for child in found}, {child.ref for child in found}
        for item in status.inventory:
            kind, (namespace, _, name) = KINDS.get(item.kind), item.name.rpartition("/")
            if item.system is not System.KUBERNETES or kind not in {*CHILD_KINDS, SECRET} or kind is None:
                continue
            if item.id in known or (not item.id and ChildRef(kind, namespace or None, name) in refs):
                continue
            body = await seen(self._kubernetes.get(kind, namespace or None, name))
            if isinstance(body, Denied) and kind is SECRET:
                unread.append(item)  # that is said of the subject, where it asks for a token
            elif isinstance(body, Fault):
                raise body
            elif body and body["metadata"]["uid"] not in known:
                child = seen_child(kind, body)
                nobodys = kind is SERVICE_ACCOUNT and not is_ours(body)
                # One that is going can have made another one and been cut off before it wrote that down.
                unnoted = (not item.id or meta.deleting) and child.held
                left = unnoted and child.labels.get(LABEL_OWNER_UID) == meta.uid
                if (child.uid == item.id and not nobodys) or left or meta.uid in child.owner_uids:
                    found.append(child)
        return tuple(found), tuple(unread)


def _key(meta: Meta) -> Key:
    return Key(meta.kind.kind, meta.namespace, meta.name)
