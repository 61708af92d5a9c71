"""The plan: what would make the world as it should be. One value, however it is used.

Here: the plan itself, the part that both kinds share (Roles and bindings), and the plan of a grant.
The plan of a policy is in `policy_plan`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from entra_access.api.names import CLUSTER_ROLE, ROLE, ROLE_BINDING
from entra_access.api.resources import NamespaceGrant
from entra_access.api.status import DriftItem, Item, Subject, System
from entra_access.domain import ceiling
from entra_access.domain.changes import ApplyChild, Change, DeleteChild, ReplaceChild
from entra_access.domain.children import (
    Child,
    ChildRef,
    SeenChild,
    by_ref,
    deleted_drift,
    differences,
    drift_of,
)
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.naming import binding_name, role_name
from entra_access.domain.observed import GrantWorld, PolicyView


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order, and what was found on the way.

    Attributes
    ----------
    changes
        The writes, those that add before those that take away.
    findings
        What keeps the whole wish from being fulfilled, or is worth saying.
    drift
        Which of the changes put right what another hand did.
    subject
        Who gets the access; None while that is not known.
    counts
        How many of each there will be when the changes are done.
    inventory
        What was seen to be there and is ours; what the changes make is added to it.
    summary
        The access in words, for people.
    """

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    drift: tuple[DriftItem, ...] = ()
    subject: Subject | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    inventory: tuple[Item, ...] = ()
    summary: str = ""


@dataclass
class Part:
    """What one link adds to the plan."""

    additions: list[Change] = field(default_factory=list)
    removals: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    inventory: list[Item] = field(default_factory=list)
    count: int | None = None  # None where it was not seen
    unseen: bool = False  # something that it depends on could not be looked at
    name: str = ""  # the display name that the group will have; empty where it is not seen now


@dataclass(frozen=True)
class ChildPlan:
    """The part of a plan that is about Roles and bindings."""

    additions: tuple[Change, ...]
    removals: tuple[Change, ...]
    drift: tuple[DriftItem, ...]
    inventory: tuple[Item, ...]


def child_item(ref: ChildRef, uid: str) -> Item:
    """The line of the inventory for a Role or binding."""
    return Item(System.KUBERNETES, ref.kind.kind, ref.path, uid)


def plan_children(
    wanted: Iterable[Child],
    seen: Iterable[SeenChild],
    group_id: str | None,
    inventory: Iterable[Item],
    now: str,
) -> ChildPlan:
    """Compare Roles and bindings as they should be with those that are there."""
    there = by_ref(seen)
    known = {(item.kind, item.name) for item in inventory if item.system is System.KUBERNETES and item.id}
    additions: list[Change] = []
    drift: list[DriftItem] = []
    wanted_refs = set()
    for child in wanted:
        wanted_refs.add(child.ref)
        one = there.get(child.ref)
        if one is None:
            additions.append(ApplyChild(child, None))
            if (child.ref.kind.kind, child.ref.path) in known:
                drift.append(deleted_drift(child.ref, now))
            continue
        different = {name for name, _, _ in differences(child, one, group_id)}
        if "roleRef" in different:
            additions += [ReplaceChild(child.ref, one.uid), ApplyChild(child, None)]
        elif different:
            additions.append(ApplyChild(child, one.uid))
        drift += drift_of(child, one, group_id)
    # A binding goes before the Role that it refers to.
    leaving = sorted(
        (c for c in there.values() if c.ref not in wanted_refs), key=lambda c: c.ref.kind is ROLE
    )
    removals: tuple[Change, ...] = tuple(DeleteChild(c.ref, c.uid) for c in leaving)
    return ChildPlan(
        tuple(additions), removals, tuple(drift), tuple(child_item(c.ref, c.uid) for c in there.values())
    )


def missing_cluster_roles(names: Iterable[str], existing: frozenset[str]) -> list[Finding]:
    """A finding for each ClusterRole that is asked for and is not there."""
    return [
        Finding(
            Link.BINDINGS,
            Severity.STALLED,
            "ClusterRoleNotFound",
            f"there is no ClusterRole {name}; create it or correct the name",
            f"spec.clusterRoles[{index}]",
        )
        for index, name in enumerate(names)
        if name not in existing
    ]


def plan_grant(grant: NamespaceGrant, world: GrantWorld, inventory: Iterable[Item], now: str) -> Plan:
    """What makes the access in one namespace as the grant and its policy's ceiling say."""
    refusal, gives_nothing = _refusal(grant, world)
    if refusal and not gives_nothing:
        kept = tuple(child_item(c.ref, c.uid) for c in world.children)
        return Plan(findings=(refusal,), subject=_subject(world.policy), inventory=kept)
    view = world.policy
    if refusal or view is None:
        findings = [refusal] if refusal else []
        wanted: list[Child] = []
    else:
        findings = missing_cluster_roles(grant.cluster_roles, world.cluster_roles)
        wanted = _grant_children(grant, world, view.subject_id)
    children = plan_children(wanted, world.children, view.subject_id if view else None, inventory, now)
    roles = sum(child.ref.kind is ROLE for child in wanted)
    bindings = len(wanted) - roles
    return Plan(
        changes=children.additions + children.removals,
        findings=tuple(findings),
        drift=children.drift,
        subject=_subject(view),
        counts={"roles": roles, "roleBindings": bindings},
        inventory=children.inventory,
        summary=f"{view.subject_name if view else ''} has {count(bindings, 'RoleBinding')} here",
    )


def _subject(view: PolicyView | None) -> Subject | None:
    if view is None or view.deleting or not view.subject_id:
        return None
    return Subject("Group", view.subject_id, view.subject_name)


def _refusal(grant: NamespaceGrant, world: GrantWorld) -> tuple[Finding | None, bool]:
    """Why the grant gives nothing now, and whether what it gave before must go."""
    view = world.policy

    def policy(severity: Severity, reason: str, message: str) -> Finding:
        return Finding(Link.POLICY, severity, reason, message, "spec.policyRef.name")

    if world.namespace_ending:
        message = f"namespace {grant.meta.namespace} is being deleted"
        return policy(Severity.WAITING, "NamespaceEnding", message), False
    if view is None:
        message = f"waiting for AccessPolicy {grant.policy}, which does not exist"
        return policy(Severity.WAITING, "PolicyNotFound", message), True
    if view.deleting:
        message = f"AccessPolicy {grant.policy} is being deleted"
        return policy(Severity.WAITING, "PolicyDeleting", message), True
    if view.policy is None:
        message = f"waiting for AccessPolicy {grant.policy}, which cannot be read: {view.unreadable}"
        return policy(Severity.WAITING, "PolicyUnreadable", message), False
    too_much = ceiling.beyond(grant, view.policy.ceiling, world.namespace_labels)
    if too_much:
        return too_much, True
    if not view.subject_id:
        message = f"waiting for AccessPolicy {grant.policy} to have its group"
        return policy(Severity.WAITING, "SubjectNotReady", message), False
    return None, False


def _grant_children(grant: NamespaceGrant, world: GrantWorld, group_id: str) -> list[Child]:
    meta = grant.meta
    there = {child.ref for child in world.children}
    children = []
    if grant.rules:
        role = ChildRef(ROLE, meta.namespace, role_name(meta.name))
        children = [Child(role, meta, rules=grant.rules), _binding(grant, ROLE.kind, role.name, group_id)]
    for name in grant.cluster_roles:
        binding = _binding(grant, CLUSTER_ROLE.kind, name, group_id)
        # A binding that is already there is left while its ClusterRole is missing: it gives nothing then.
        if name in world.cluster_roles or binding.ref in there:
            children.append(binding)
    return children


def _binding(grant: NamespaceGrant, role_kind: str, role: str, group_id: str) -> Child:
    name = binding_name(grant.meta.name, role_kind, role)
    ref = ChildRef(ROLE_BINDING, grant.meta.namespace, name)
    return Child(ref, grant.meta, role_kind=role_kind, role=role, group_id=group_id)


def count(number: int, noun: str) -> str:
    """The number with its noun, in the plural where it must be."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
