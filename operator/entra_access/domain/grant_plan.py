"""The plan of a NamespaceGrant: the access in one namespace, within its policy's ceiling."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from entra_access.api.names import CLUSTER_ROLE, ROLE, ROLE_BINDING
from entra_access.api.resources import AdoptionPolicy, DeletePolicy, Meta, NamespaceGrant
from entra_access.api.status import Item, Subject, System
from entra_access.api.times import moment, stamp
from entra_access.domain import ceiling
from entra_access.domain.access_plan import rbac_subject
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.definition_plan import assignable, wished_definition
from entra_access.domain.expiry import expired, expiry, too_long
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.naming import binding_name, role_name
from entra_access.domain.observed import GrantWorld, PolicyView
from entra_access.domain.place import Place
from entra_access.domain.plan import (
    Plan,
    child_item,
    count,
    missing_cluster_roles,
    plan_children,
    plan_children_removal,
)
from entra_access.domain.role_plan import ASSIGNMENT, WishedRole, plan_assignments
from entra_access.domain.warnings import grant_warnings

POLICY_DELETED: Final = "PolicyDeleted"
SUBJECT_NOT_APPROVED: Final = "SubjectNotApproved"
POLICY_DELETING: Final = "PolicyDeleting"


def plan_grant(
    grant: NamespaceGrant,
    place: Place,
    world: GrantWorld,
    inventory: tuple[Item, ...],
    now: datetime,
    *,
    had: bool = False,
    known_end: str = "",
) -> Plan:
    """What makes the access in one namespace as the grant and its policy's ceiling say.

    `had`: its policy was there before, so one that is not there was deleted and is not yet to come.
    `known_end`: when the access ends as the status has it, for as long as the policy cannot be read.
    """
    given = world.policy.policy.ceiling if world.policy and world.policy.policy else None
    known = moment(known_end) if world.policy and world.policy.policy is None else None
    end = expiry(grant, given, known)
    refusal, gives_nothing = _refusal(grant, world, now, had=had, known=known)
    if refusal and not gives_nothing:
        return replace(_unchanged(refusal, world, inventory), expires_at=stamp(end) if end else "")
    subject = _subject(world.policy)
    findings = [refusal] if refusal else []
    wanted: list[Child] = []
    wishes: list[WishedRole] = []
    # Bindings are by name, and give somebody else access; Azure's roles are still those of the one before.
    withheld = refusal is not None and refusal.reason == SUBJECT_NOT_APPROVED
    if subject and (not refusal or withheld):
        findings += missing_cluster_roles(grant.cluster_roles, world.cluster_roles, "spec")
        wanted = [] if withheld else _children(grant, world, subject)
        scope = place.namespace_scope(grant.meta.namespace or "")
        wishes = [
            _wish(WishedRole(f"spec.azureRoles[{index}]", role, scope), world.policy, place)
            for index, role in enumerate(grant.azure_roles)
        ]
    policy = world.policy.policy if world.policy else None
    adoption = policy.adoption if policy else AdoptionPolicy.NEVER
    if world.policy is None or world.policy.deleting:
        # As when the grant itself is deleted: what was there before stays. Of one whose policy is gone nobody
        # knows whether it was to take anything over.
        might = policy.adoption if policy else AdoptionPolicy.ALWAYS
        children = plan_children_removal(world.children, inventory, might, keep=False)
    else:
        keep = policy is not None and policy.delete_policy is DeletePolicy.KEEP
        children = plan_children(wanted, world.children, inventory, adoption=adoption, keep=keep)
    roles = plan_assignments(wishes, subject, grant.meta, place, world, inventory, adoption)
    findings += roles.findings
    if subject and policy and not refusal:
        of_policy = policy.azure_roles
        findings += grant_warnings(
            roles.resolved, place, world, subject, of_policy, bound=any(c.subject for c in wanted)
        )
    bindings = sum(child.subject is not None for child in wanted)
    counts: dict[str, int | None] = {"roles": len(wanted) - bindings, "roleBindings": bindings}
    if grant.azure_roles or any(item.kind == ASSIGNMENT for item in inventory):
        counts["azureRoles"] = roles.count
    return Plan(
        changes=(*children.additions, *roles.additions, *children.removals, *roles.removals),
        findings=tuple(findings),
        differences=(*roles.differences, *children.differences),
        subject=subject,
        counts=counts,
        inventory=(*roles.inventory, *children.inventory),
        summary=_summary(subject, counts),
        claims=roles.claims,
        unsure=roles.unsure,
        expires_at=stamp(end) if end else "",
    )


def _wish(wish: WishedRole, view: PolicyView | None, place: Place) -> WishedRole:
    """The wish, with what is to be said where the role is one that the grant's own policy makes."""
    custom = view.policy.custom_roles if view and view.policy else ()
    own = next((one for one in custom if one.name.lower() == wish.role.lower()), None)
    if view is None or own is None:
        return wish
    definition = wished_definition(own, view.name, place)
    if not assignable(definition, wish.scope):
        message = (
            f"the custom role {own.name} of AccessPolicy {view.name} cannot be assigned at {wish.scope}: add "
            "that, or what it lies in, to its assignableScopes in the policy's spec.customRoles"
        )
        return replace(wish, refusal=message)
    if own.name.lower() not in view.roles:
        what = f"AccessPolicy {view.name} to make the custom role {own.name}; see its AzureRolesReady"
        return replace(wish, awaited=what)
    return wish


def plan_grant_removal(
    owner: Meta,
    place: Place,
    world: GrantWorld,
    inventory: tuple[Item, ...],
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
    *,
    keep: bool = False,
) -> Plan:
    """What takes away all that a grant made: bindings, then role assignments.

    What was adopted stays. With `keep` all of it stays, and what is in the cluster is let go.
    """
    children = plan_children_removal(world.children, inventory, adoption, keep=keep)
    if keep:
        kept = tuple(item for item in inventory if item.system is not System.KUBERNETES)
        return Plan(changes=children.removals, inventory=(*kept, *children.inventory))
    roles = plan_assignments((), None, owner, place, world, inventory)
    # What could not be seen may be there, and would be left behind.
    unseen = world.assignments
    findings = [unseen.finding(Link.AZURE_ROLES, observing=True)] if isinstance(unseen, Fault) else []
    return Plan(
        changes=(*children.removals, *roles.removals),
        findings=(*findings, *roles.findings),
        subject=_subject(world.policy),
        inventory=(*roles.inventory, *children.inventory),
    )


def _unchanged(finding: Finding, world: GrantWorld, inventory: tuple[Item, ...]) -> Plan:
    """What was given stays as it is."""
    in_azure = [item for item in inventory if item.system is System.AZURE]
    return Plan(
        findings=(finding,),
        subject=_subject(world.policy),
        inventory=(*in_azure, *(child_item(c.ref, c.uid) for c in world.children)),
        claims=frozenset(item.id.lower() for item in in_azure),
    )


def _summary(subject: Subject | None, counts: dict[str, int | None]) -> str:
    parts = [count(counts["roleBindings"] or 0, "RoleBinding")]
    parts += [count(counts["azureRoles"] or 0, "Azure role")] if counts.get("azureRoles") else []
    return f"{subject.display_name if subject else ''} has {' and '.join(parts)} here"


def _subject(view: PolicyView | None) -> Subject | None:
    if view is None or view.deleting or view.subject is None:
        return None
    return replace(view.subject, reference="")


def _refusal(
    grant: NamespaceGrant, world: GrantWorld, now: datetime, *, had: bool, known: datetime | None
) -> tuple[Finding | None, bool]:
    """Why the grant gives nothing now, and whether what it gave before must go."""
    refusal, gives_nothing = refused_unseen(grant, world, now, had=had, known=known)
    view = world.policy
    if refusal or view is None or view.policy is None:
        return refusal, gives_nothing
    given = view.policy.ceiling
    too_much = ceiling.beyond(grant, given, world.namespace_labels, world.roles) or too_long(
        grant, given, now
    )
    if too_much:
        return too_much, too_much.severity is Severity.STALLED
    if view.withheld:
        message = (
            f"the subject of AccessPolicy {grant.policy} is somebody else now, so nothing is given until its "
            "removals are approved; see its condition SubjectReady"
        )
        return _of_policy(Severity.STALLED, SUBJECT_NOT_APPROVED, message), True
    if view.subject is None:
        message = f"waiting for AccessPolicy {grant.policy} to have its subject"
        # Whoever had the access before has it still.
        return replace(_of_policy(Severity.WAITING, "SubjectNotReady", message), unseen=True), False
    return None, False


def refused_unseen(
    grant: NamespaceGrant,
    world: GrantWorld,
    now: datetime,
    *,
    had: bool = False,
    known: datetime | None = None,
) -> tuple[Finding | None, bool]:
    """What `_refusal` says without a look at Azure: such a grant's Azure roles need not be looked up."""
    view = world.policy
    if world.namespace_ending:
        message = f"namespace {grant.meta.namespace} is being deleted"
        return _of_policy(Severity.WAITING, "NamespaceEnding", message), False
    given = view.policy.ceiling if view and view.policy else None
    over = expired(grant, given, now, known)
    if over:
        return over, True
    if view is None and had:
        message = f"AccessPolicy {grant.policy} was deleted, so nothing is given; make it anew or delete this"
        return _of_policy(Severity.STALLED, POLICY_DELETED, message), True
    if view is None:
        message = f"waiting for AccessPolicy {grant.policy}, which does not exist"
        return _of_policy(Severity.WAITING, "PolicyNotFound", message), True
    if view.deleting:
        message = f"AccessPolicy {grant.policy} is being deleted, so nothing is given any more"
        return _of_policy(Severity.STALLED, POLICY_DELETING, message), True
    if view.policy is None:
        message = f"waiting for AccessPolicy {grant.policy}, which cannot be read: {view.unreadable}"
        return _of_policy(Severity.WAITING, "PolicyUnreadable", message), False
    closed = ceiling.not_here(grant, given, world.namespace_labels)
    return closed, closed is not None


def _of_policy(severity: Severity, reason: str, message: str) -> Finding:
    return Finding(Link.POLICY, severity, reason, message, "spec.policyRef.name")


def _children(grant: NamespaceGrant, world: GrantWorld, subject: Subject) -> list[Child]:
    meta = grant.meta
    there = {child.ref for child in world.children}
    children = []
    if grant.rules:
        role = ChildRef(ROLE, meta.namespace, role_name(meta.name))
        children = [Child(role, meta, rules=grant.rules), _binding(grant, ROLE.kind, role.name, subject)]
    for name in grant.cluster_roles:
        binding = _binding(grant, CLUSTER_ROLE.kind, name, subject)
        # A binding that is already there is left while its ClusterRole is missing: it gives nothing then.
        if name in world.cluster_roles or binding.ref in there:
            children.append(binding)
    return children


def _binding(grant: NamespaceGrant, role_kind: str, role: str, subject: Subject) -> Child:
    name = binding_name(grant.meta.name, role_kind, role)
    ref = ChildRef(ROLE_BINDING, grant.meta.namespace, name)
    return Child(ref, grant.meta, role_kind=role_kind, role=role, subject=rbac_subject(subject))
