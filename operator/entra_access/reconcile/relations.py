"""Which policies are concerned by news of another policy, or of a namespace."""

from collections import defaultdict

from entra_access.api.resources import (
    POLICY_MEMBER,
    AccessPolicy,
    NamespaceAccess,
    PrincipalKind,
    ServiceAccountSubject,
)
from entra_access.domain.ceiling import selects
from entra_access.domain.membership import cycles
from entra_access.domain.observed import Namespace, PolicyView


class PolicyRelations:
    """What policies have to do with one another, and with namespaces. The methods return policies' names."""

    def __init__(self) -> None:
        self._views: dict[str, PolicyView] = {}
        self._members: dict[str, dict[str, str]] = {}  # policies by the value that names each as a member
        self._named_by: dict[str, set[str]] = defaultdict(set)  # who names it, policy or group, as a member
        self._by_group: dict[str, str] = {}
        self._in_namespaces: set[str] = set()

    def put(self, view: PolicyView) -> set[str]:
        """Take in what is known of a policy. Returns the others that must be looked at."""
        old = self._views.get(view.name)
        self._views[view.name] = view
        before = set(self._references(old))
        self._unlink(old)
        self._link(view)
        concerned: set[str] = set()
        if old is None or (old.subject, old.deleting) != (view.subject, view.deleting):
            concerned |= self._who_names(old) | self._who_names(view)
        if before != set(self._references(view)):
            # A way round may have opened or closed.
            concerned |= self._who_names(view) | before | set(self._references(view))
        return concerned - {view.name}

    def drop(self, name: str) -> set[str]:
        """Take in that a policy is gone. Returns the others that must be looked at."""
        old = self._views.pop(name, None)
        self._unlink(old)
        account = old.policy.subject if old and old.policy else None
        same = (
            self.of_account(account.namespace, account.name)
            if isinstance(account, ServiceAccountSubject)
            else set()
        )
        return (self._who_names(old) | set(self._references(old)) | same) - {name}

    def cycles(self, policy: str) -> dict[str, str]:
        """The members by which a policy's group would be a member of itself, with the way round."""
        return cycles(policy, self._edges)

    def of_namespace(self, name: str, old: Namespace | None, new: Namespace | None) -> set[str]:
        """The policies that give something in the namespace, as it was or is, or whose subject is in it."""
        return {
            policy
            for policy in self._in_namespaces
            if (view := self._views.get(policy)) and view.policy and _concerns(view.policy, name, old, new)
        }

    def of_account(self, namespace: str | None, name: str) -> set[str]:
        """The policies whose subject is that service account, whoever made it."""
        views = (self._views.get(policy) for policy in self._in_namespaces)
        return {
            view.name
            for view in views
            if view
            and view.policy
            and isinstance(account := view.policy.subject, ServiceAccountSubject)
            and (account.namespace, account.name) == (namespace, name)
        }

    def _edges(self, policy: str) -> dict[str, str]:
        found = {}
        for value in self._references(self._views.get(policy)):
            name = value if value in self._views else self._by_group.get(value)
            if name:
                found[value] = name
        return found

    @staticmethod
    def _references(view: PolicyView | None) -> list[str]:
        """The policies and groups that are named as members."""
        group = view.policy.group if view and view.policy else None
        kinds = {POLICY_MEMBER, PrincipalKind.GROUP.value}
        return [one.value for one in group.members if one.kind in kinds] if group else []

    def _who_names(self, view: PolicyView | None) -> set[str]:
        if view is None:
            return set()
        subject = view.subject.object_id if view.subject else ""
        return self._named_by.get(view.name, set()) | self._named_by.get(subject, set())

    def _link(self, view: PolicyView) -> None:
        for value in self._references(view):
            self._named_by[value].add(view.name)
        # Only a group that a policy makes has members to look at; others may use it as it is.
        if view.policy and view.policy.group and view.subject and view.subject.kind == "Group":
            self._by_group[view.subject.object_id] = view.name
        policy = view.policy
        if policy and (policy.namespaces or isinstance(policy.subject, ServiceAccountSubject)):
            self._in_namespaces.add(view.name)

    def _unlink(self, view: PolicyView | None) -> None:
        if view is None:
            return
        for value in self._references(view):
            self._named_by[value].discard(view.name)
        if view.subject and self._by_group.get(view.subject.object_id) == view.name:
            del self._by_group[view.subject.object_id]
        self._in_namespaces.discard(view.name)


def _concerns(policy: AccessPolicy, name: str, old: Namespace | None, new: Namespace | None) -> bool:
    subject = policy.subject
    if isinstance(subject, ServiceAccountSubject) and subject.namespace == name:
        return True
    return any(_matches(entry, name, one) for entry in policy.namespaces for one in (old, new) if one)


def _matches(entry: NamespaceAccess, name: str, namespace: Namespace) -> bool:
    return selects(entry.selector, namespace.labels) if entry.selector else name in entry.names
