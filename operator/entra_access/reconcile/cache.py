"""What the watches have shown: the operator's view of Kubernetes, without asking again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from entra_access.api.names import (
    BINDING_KINDS,
    CHILD_KINDS,
    CLUSTER_ROLE,
    FINALIZER,
    GRANT,
    NAMESPACE,
    POLICY,
    SERVICE_ACCOUNT,
    Kind,
)
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import expiry_fields, read_meta, read_policy
from entra_access.api.resources import Meta, Mode
from entra_access.api.status import ConditionType, Item, Status, System, read_status
from entra_access.domain.approval import NEEDS_APPROVAL
from entra_access.domain.children import ChildRef, SeenChild, is_ours
from entra_access.domain.claims import Claim
from entra_access.domain.definition_plan import made_roles, wished_definition
from entra_access.domain.modes import Modes
from entra_access.domain.observed import ForeignBinding, Namespace, PolicyView, Whom
from entra_access.domain.place import Place
from entra_access.domain.subject_plan import is_for
from entra_access.reconcile.claims import AssignmentClaims, Holders, NameClaims
from entra_access.reconcile.news import News
from entra_access.reconcile.owned import OwnedObjects, Owner
from entra_access.reconcile.relations import PolicyRelations
from entra_access.reconcile.shadows import Shadows

Body = Mapping[str, Any]


class Key(NamedTuple):
    """A resource to look at."""

    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class _Known(NamedTuple):
    """Which object it is, and as of when."""

    uid: str
    version: str


def _newer(body: Body, version: str | None) -> bool:
    """Whether the object is newer than the version; both come from one store, whose numbers only grow."""
    return version is None or int(body["metadata"]["resourceVersion"]) > int(version)


class WatchCache:
    """The last known state of everything that is watched. Written by the watches and after each own write.

    `put` and `drop` return the keys that must be looked at because of the news; none where there is none.
    """

    def __init__(self, modes: Modes | None = None) -> None:
        self.modes = modes or Modes()
        self._resources: dict[Key, Body] = {}
        self._views: dict[str, PolicyView] = {}
        self._lines: dict[str, tuple[Item, ...]] = {}
        self._names = NameClaims()
        self._grants_by_policy: dict[str, set[Key]] = defaultdict(set)
        self._grants_by_namespace: dict[str, set[Key]] = defaultdict(set)
        self._children = OwnedObjects()
        self._namespaces: dict[str, Namespace] = {}
        self._cluster_roles: dict[str, _Known] = {}
        self._relations = PolicyRelations()
        self._shadows = Shadows()
        self.azure_claims: AssignmentClaims[Key] = AssignmentClaims()
        self.news = News()
        self.users: Holders[Key] = Holders()
        """The object ids and the user principal names of the users that policies name."""

    # What is known

    def resource(self, key: Key) -> Body | None:
        """The AccessPolicy or NamespaceGrant, or None."""
        return self._resources.get(key)

    def policy_view(self, name: str) -> PolicyView | None:
        """What grants need to know of a policy, or None where there is no such policy."""
        return self._views.get(name)

    def mode(self, policy: str) -> Mode:
        """The mode in effect for a policy and its grants."""
        body = self._resources.get(self.policy_key(policy)) or {}
        return self.modes.of(body.get("spec") or {})

    def claimant(self, policy: str) -> str | None:
        """The other policy that has the group name which this policy asks for."""
        return self._names.claimant(policy)

    def children(self, owner: Key) -> tuple[SeenChild, ...]:
        """The Roles and bindings that were made for a resource, whichever its UID was then."""
        return self._children.of(owner)

    def heirs(self, policy: str, account: ChildRef) -> tuple[Meta, ...]:
        """The policies, other than the one of that name, that a service account is to stay for."""
        namespace = self._namespaces.get(account.namespace or "")
        if namespace is None or namespace.ending:
            return ()
        others = self.sharers(policy, account)
        return tuple(sorted((one.policy.meta for one in others if one.policy and not one.deleting), key=str))

    def sharers(self, policy: str, account: ChildRef) -> list[PolicyView]:
        """The policies, other than the one of that name, whose subject is a service account."""
        names = self._relations.of_account(account.namespace, account.name) - {policy}
        return [view for name in names if (view := self._views.get(name))]

    @property
    def shadows(self) -> Mapping[Whom, Mapping[ChildRef, ForeignBinding]]:
        """The bindings that others made, by whom they are for."""
        return self._shadows.bindings

    def namespace(self, name: str) -> Namespace | None:
        """The namespace, or None."""
        return self._namespaces.get(name)

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """All namespaces, by name."""
        return self._namespaces

    def cycles(self, policy: str) -> dict[str, str]:
        """The members by which a policy's group would be a member of itself, with the way round."""
        return self._relations.cycles(policy)

    def needs_azure(self, key: Key) -> bool:
        """Whether a pass over the resource asks Entra or Azure anything."""
        body = self._resources.get(key)
        if key.kind == POLICY.kind or body is None:
            return key.kind == POLICY.kind
        if FINALIZER in body["metadata"].get("finalizers", ()):
            return True  # it has been in Azure before, whatever its status tells of
        lines = (body.get("status") or {}).get("inventory") or ()
        wishes = (body.get("spec") or {}).get("azureRoles")
        return bool(wishes) or any(line.get("system") == System.AZURE.value for line in lines)

    @property
    def cluster_roles(self) -> frozenset[str]:
        """The names of all ClusterRoles."""
        return frozenset(self._cluster_roles)

    def keys(self, kind: Kind | None = None) -> list[Key]:
        """The keys of all AccessPolicies and NamespaceGrants, or of one kind."""
        return [key for key in self._resources if kind is None or key.kind == kind.kind]

    def identities(self, kind: Kind) -> dict[tuple[str | None, str], str]:
        """Namespace and name of each object of the kind, with the UID; for comparing with a full list."""
        if kind is NAMESPACE:
            return {(None, name): one.uid for name, one in self._namespaces.items()}
        if kind is CLUSTER_ROLE:
            return {(None, name): one.uid for name, one in self._cluster_roles.items()}
        if kind in CHILD_KINDS:
            return self._children.identities(kind) | self._shadows.identities(kind)
        return {(k.namespace, k.name): self._resources[k]["metadata"]["uid"] for k in self.keys(kind)}

    # What rounds over Entra and Azure need

    def policy_key(self, name: str) -> Key:
        """The key of a policy."""
        return Key(POLICY.kind, None, name)

    def policy_views(self) -> list[PolicyView]:
        """What is known of all policies."""
        return list(self._views.values())

    def policy_inventory(self, name: str) -> tuple[Item, ...]:
        """What a policy's status says that it has made."""
        return self._lines.get(name, ())

    def definition_owners(self, place: Place, policy: str) -> dict[str, str]:
        """The other policies that custom roles belong to, by GUID."""
        found: dict[str, str] = {}
        for view in self._views.values():
            if view.name != policy:
                roles = view.policy.custom_roles if view.policy else ()
                found |= {wished_definition(one, view.name, place).guid: view.name for one in roles}
                lines = self._lines.get(view.name, ())
                found |= dict.fromkeys(made_roles(lines, announced=True).values(), view.name)
        return found

    def subjects(self, principal_type: str) -> set[str]:
        """The object ids of the subjects of a type, as Azure calls it: Group, User or ServicePrincipal."""
        subjects = [view.subject for view in self._views.values() if view.subject]
        return {s.object_id.lower() for s in subjects if s.object_id and s.principal_type == principal_type}

    def by_object_id(self, ids: AbstractSet[str]) -> set[Key]:
        """The policies whose subjects have these object ids."""
        lower = {one.lower() for one in ids}
        return {
            self.policy_key(view.name)
            for view in self._views.values()
            if view.subject and view.subject.object_id.lower() in lower
        }

    def uses_directory(self) -> bool:
        """Whether anybody has a subject that Azure knows."""
        return any(view.subject and view.subject.object_id for view in self._views.values())

    # News

    def put(self, kind: Kind, body: Body) -> set[Key]:
        """Take in an object as a watch, a list or an own write showed it."""
        if kind is CLUSTER_ROLE:
            return self._put_cluster_role(body)
        if kind is SERVICE_ACCOUNT:
            return self._put_account(body)
        if kind in BINDING_KINDS:
            return self._put_binding(kind, body)
        if kind in CHILD_KINDS:
            return self._put_child(kind, body)
        if kind is NAMESPACE:
            return self._put_namespace(body)
        return self._put_resource(body) if kind in {POLICY, GRANT} else set()

    def drop(self, kind: Kind, namespace: str | None, name: str, uid: str | None = None) -> set[Key]:
        """Take in that an object is gone. With a `uid`: only if that one is known."""
        if kind is NAMESPACE:
            was = self._namespaces.get(name)
            if was is None or uid not in {None, was.uid}:
                return set()
            del self._namespaces[name]
            return self._policies_for(self._relations.of_namespace(name, was, None))
        concerned = set()
        role = self._cluster_roles.get(name) if kind is CLUSTER_ROLE else None
        if role and uid in {None, role.uid}:
            del self._cluster_roles[name]
            concerned = self._users_of_cluster_role(name)
        if kind is SERVICE_ACCOUNT:
            concerned = self._policies_for(self._relations.of_account(namespace, name))
        if kind in BINDING_KINDS:
            concerned = self._policies_for(self._shadows.drop(ChildRef(kind, namespace, name), uid))
        if kind in CHILD_KINDS:
            child = self._children.get(ChildRef(kind, namespace, name))
            if child is None or uid not in {None, child.uid}:
                return concerned
            return concerned | _keys(self._children.forget(child.ref))
        return self._drop_resource(Key(kind.kind, namespace, name), uid) if kind in {POLICY, GRANT} else set()

    def _put_resource(self, body: Body) -> set[Key]:
        meta = read_meta(body)
        key = Key(meta.kind.kind, meta.namespace, meta.name)
        old = self._resources.get(key)
        if old is not None and not _newer(body, old["metadata"]["resourceVersion"]):
            return set()
        self.azure_claims.expect(key, _claims_of(read_status(body)))
        trimmed = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
        written = expiry_fields(body["metadata"])
        trimmed |= {"managedFields": written} if written else {}
        self._resources[key] = {**body, "metadata": trimmed}
        if meta.kind is POLICY:
            return {key} | self._put_view(body)
        if old is not None:
            self._unlink_grant(key, old)
        self._grants_by_policy[policy_of(body)].add(key)
        self._grants_by_namespace[meta.namespace or ""].add(key)
        return {key}

    def _put_view(self, body: Body) -> set[Key]:
        """Note what others need to know of a policy. Returns whom the news concerns."""
        meta, status = read_meta(body), read_status(body)
        policy, unreadable = None, ""
        try:
            policy = read_policy(body)
        except InvalidFieldError as error:
            unreadable = str(error)
        subject = status.subject
        view = PolicyView(
            name=meta.name,
            deleting=meta.deleting,
            policy=policy,
            unreadable=unreadable,
            subject=subject if subject and (policy is None or is_for(policy.subject, subject)) else None,
            roles=made_roles(status.inventory),
            withheld=_is_withheld(status),
        )
        old = self._views.get(meta.name)
        self._views[meta.name] = view
        self._lines[meta.name] = status.inventory
        self._shadows.subject(meta.name, status.subject)
        wished = policy.group.display_name.lower() if policy and policy.group else ""
        group = subject if subject and subject.kind == "Group" and subject.origin != "Existing" else None
        held = group.display_name.lower() if group else ""
        concerned = self._policies_for(self._relations.put(view))
        concerned |= self._policies_for(self._names.put(Claim(meta.name, meta.created, wished, held)))
        if old is None or _relevant(old) != _relevant(view):
            concerned |= self._grants_by_policy.get(meta.name, set())
        return concerned

    def _drop_resource(self, key: Key, uid: str | None) -> set[Key]:
        old = self._resources.get(key)
        if old is None or uid not in {None, old["metadata"]["uid"]}:
            return set()
        del self._resources[key]
        self.azure_claims.forget(key)
        self.users.forget(key)
        if key.kind == GRANT.kind:
            self._unlink_grant(key, old)
            return {key}
        self._views.pop(key.name, None)
        self._lines.pop(key.name, None)
        self._shadows.subject(key.name, None)
        concerned = self._policies_for(self._relations.drop(key.name) | self._names.forget(key.name))
        return {key} | concerned | self._grants_by_policy.get(key.name, set())

    def _unlink_grant(self, key: Key, old: Body) -> None:
        self._grants_by_policy[policy_of(old)].discard(key)
        self._grants_by_namespace[key.namespace or ""].discard(key)

    def _put_binding(self, kind: Kind, body: Body) -> set[Key]:
        """A binding of ours, or of others, who may give something to a subject of ours."""
        meta = body["metadata"]
        ref = ChildRef(kind, meta.get("namespace"), meta["name"])
        # One that lost its label is still known by what it was.
        if is_ours(body) or ref in self._children:
            return self._policies_for(self._shadows.drop(ref)) | self._put_child(kind, body)
        return self._policies_for(self._shadows.put(kind, body))

    def _put_child(self, kind: Kind, body: Body) -> set[Key]:
        meta = body["metadata"]
        old = self._children.get(ChildRef(kind, meta.get("namespace"), meta["name"]))
        if old is not None and not _newer(body, old.resource_version):
            return set()
        return _keys(self._children.put(kind, body))

    def _put_account(self, body: Body) -> set[Key]:
        """Several policies can have the same account as their subject, and one of them looks after it."""
        concerned, meta = self._put_child(SERVICE_ACCOUNT, body), body["metadata"]
        if not concerned:
            return concerned
        return concerned | self._policies_for(self._relations.of_account(meta["namespace"], meta["name"]))

    def _put_namespace(self, body: Body) -> set[Key]:
        meta = body["metadata"]
        old = self._namespaces.get(meta["name"])
        if old and not _newer(body, old.version):
            return set()
        found = Namespace(
            meta.get("labels") or {}, "deletionTimestamp" in meta, meta["uid"], meta["resourceVersion"]
        )
        self._namespaces[meta["name"]] = found
        if old == found:
            return set()
        policies = self._policies_for(self._relations.of_namespace(meta["name"], old, found))
        return policies | self._grants_by_namespace.get(meta["name"], set())

    def _policies_for(self, names: set[str]) -> set[Key]:
        return {self.policy_key(name) for name in names if name in self._views}

    def _put_cluster_role(self, body: Body) -> set[Key]:
        meta = body["metadata"]
        name, known = meta["name"], self._cluster_roles.get(meta["name"])
        if known and not _newer(body, known.version):
            return set()
        self._cluster_roles[name] = _Known(meta["uid"], meta["resourceVersion"])
        concerned = set() if known else self._users_of_cluster_role(name)
        # One that lost its label is still known by what it was.
        ours = is_ours(body) or ChildRef(CLUSTER_ROLE, None, name) in self._children
        return concerned | (self._put_child(CLUSTER_ROLE, body) if ours else set())

    def _users_of_cluster_role(self, name: str) -> set[Key]:
        return {k for k, body in self._resources.items() if name in _cluster_roles_of(body.get("spec") or {})}


def policy_of(grant: Body) -> str:
    """The name of the policy that a grant names, leniently."""
    return str(((grant.get("spec") or {}).get("policyRef") or {}).get("name", ""))


def _cluster_roles_of(spec: Mapping[str, Any]) -> set[str]:
    """The ClusterRoles that a spec names, leniently."""
    entries = [spec, *(one for one in spec.get("namespaces") or () if isinstance(one, Mapping))]
    return {str(role) for one in entries for role in one.get("clusterRoles") or ()}


def _claims_of(status: Status) -> set[str]:
    return {item.id.lower() for item in status.inventory if item.system is System.AZURE and item.id}


def _keys(owners: Iterable[Owner]) -> set[Key]:
    return {Key(*owner) for owner in owners}


def _relevant(view: PolicyView) -> tuple[object, ...]:
    """The part of a policy that its grants depend on."""
    policy = view.policy
    given = (
        (
            policy.ceiling,
            policy.azure_roles,
            policy.custom_roles,
            policy.mode,
            policy.adoption,
            policy.delete_policy,
        )
        if policy
        else None
    )
    return (view.deleting, view.unreadable, given, view.subject, view.roles, view.withheld)


def _is_withheld(status: Status) -> bool:
    """Whether the access waits for a person to approve of who has the subject's name now."""
    ready = status.condition(ConditionType.SUBJECT)
    return ready is not None and ready.reason == NEEDS_APPROVAL
