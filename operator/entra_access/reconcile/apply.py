"""Carry out a plan. The only place from which anything but status, finalizers and events is written."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from entra_access.adapters.arm import Arm
from entra_access.adapters.graph import Graph
from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import SERVICE_ACCOUNT
from entra_access.api.status import ADOPTED, Item, System
from entra_access.api.times import moment
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
    DeleteChild,
    DeleteGroup,
    HoldChild,
    LeaveAccount,
    ReleaseChild,
    RemovePrincipal,
    RemoveRole,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
    place_name,
)
from entra_access.domain.children import ROLE_KINDS, Child, seen_child
from entra_access.domain.definition_plan import definition_item, definition_mark
from entra_access.domain.faults import Denied, Fault, Finding, PrincipalUnknown, RoleUnknown, Severity, Taken
from entra_access.domain.group_plan import GROUP, group_mark
from entra_access.domain.observed import Assignment
from entra_access.domain.plan import Plan, child_item
from entra_access.domain.role_plan import ASSIGNMENT, MADE
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.role_ids import RoleIds
from entra_access.reconcile.shared import Assignments
from entra_access.reconcile.unknown import Unknown


@dataclass
class Applied:
    """What became of a plan.

    `held` are the changes that were not to be made in this pass. `group_id` is that of the group which the
    plan made, if it made one; `concerned`: whom the writes to the cluster are news for. The watch shows them
    too, but they are no news then.
    """

    done: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    made: list[Item] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    failed: list[Change] = field(default_factory=list)
    held: list[Change] = field(default_factory=list)
    group_id: str | None = None
    concerned: set[Key] = field(default_factory=set)


class Applier:
    """Runs plans."""

    def __init__(
        self,
        cache: WatchCache,
        graph: Graph,
        arm: Arm,
        kubernetes: Kubernetes,
        assignments: Assignments,
        roles: RoleIds,
    ) -> None:
        self._cache = cache
        self._graph = graph
        self._arm = arm
        self._kubernetes = kubernetes
        self._assignments = assignments
        self._roles = roles
        self._principals = Unknown[str](roles.window)

    async def run(self, plan: Plan, now: str, held: Iterable[Change] = ()) -> Applied:
        """Run the changes in their order, without those that are `held`.

        It goes on after one that fails where that is safe.

        Without its group a policy has nobody to give anything to, so the rest waits. What takes away waits
        until all that adds to the same link has succeeded; the group itself goes last, and only when all
        that depends on it is known to be gone.
        """
        applied = Applied(held=list(held))
        waiting = {id(change) for change in applied.held}
        for change in plan.changes:
            first = isinstance(change, CreateGroup | RestoreGroup | AdoptGroup)
            if first and id(change) in waiting:
                break
            if id(change) in waiting or self._must_wait(change, plan, applied):
                continue
            try:
                await self._run_one(change, applied, now)
            except Fault as fault:
                applied.failed.append(change)
                applied.findings.append(self._finding(fault, change, now))
                if isinstance(fault, Taken) and isinstance(change, ApplyChild):
                    await self._unbind(change.child, applied)
                if first:
                    break
            else:
                applied.done.append(change)
        return applied

    def _finding(self, fault: Fault, change: Change, now: str) -> Finding:
        """What to say of a change that failed."""
        at = moment(now)
        if at and isinstance(change, AssignRole):
            principal = change.principal_id
            if isinstance(fault, RoleUnknown) and self._roles.unknown(change, at):
                return _no_role(change)
            if isinstance(fault, PrincipalUnknown) and principal and self._principals.note(principal, at):
                return _no_principal(change, principal, self._principals.window)
        return fault.finding(change.link)

    async def _unbind(self, role: Child, applied: Applied) -> None:
        """Take away our bindings to a role that somebody put in the place of ours."""
        owner, ref = role.owner, role.ref
        if ref.kind not in ROLE_KINDS:
            return
        for child in self._cache.children(Key(owner.kind.kind, owner.namespace, owner.name)):
            bound = child.content.get("roleRef") or {}
            same = (bound.get("kind"), bound.get("name")) == (ref.kind.kind, ref.name)
            if same and ref.namespace in {None, child.ref.namespace}:
                change = DeleteChild(child.ref, child.uid)
                try:
                    await self._run_one(change, applied, "")
                except Fault as fault:
                    applied.failed.append(change)
                    applied.findings.append(fault.finding(change.link))
                else:
                    applied.done.append(change)

    @staticmethod
    def _must_wait(change: Change, plan: Plan, applied: Applied) -> bool:
        if isinstance(change, DeleteGroup):
            unseen = [finding for finding in plan.findings if finding.severity.hinders]
            return bool(applied.findings or unseen)
        if isinstance(change, ApplyChild):
            # A Role of that name that is not ours has rules which no ceiling has seen.
            return any(isinstance(one, ApplyChild) and _is_for(one, change) for one in applied.failed)
        if isinstance(change, AssignRole):
            failed = (one for one in applied.failed if isinstance(one, DefineRole))
            return any(one.definition.guid == change.role_id for one in failed)
        if isinstance(change, UnassignRole):
            made = {item.id.lower() for item in applied.made}
            if change.assignment_id.lower() in made:
                return True  # it was thought to be for a group that is gone, and now is for this one
        if isinstance(change, DeleteChild | LeaveAccount) and change.removal:
            # What fails in one namespace does not keep another one's access from ending.
            refused = zip(applied.failed, applied.findings, strict=True)
            return any(
                isinstance(one, ApplyChild | DeleteChild | LeaveAccount)
                and _namespace(one) == change.ref.namespace
                and finding.reason != Taken.reason
                for one, finding in refused
            )
        if isinstance(change, RemovePrincipal) and not change.application:
            # Who lacks the permission for service principals can take people and groups out all the same.
            refused = zip(applied.failed, applied.findings, strict=True)
            return any(
                finding.link is change.link
                and not (_of_applications(one) and finding.reason == Denied.reason)
                for one, finding in refused
            )
        # A name that is taken says nothing of what else is to go; everything else may be in its place soon.
        hindered = {finding.link for finding in applied.findings if finding.reason != Taken.reason}
        return change.removal and change.link in hindered

    # How each change is made

    async def _run_one(self, change: Change, applied: Applied, now: str) -> None:
        match change:
            case AssignRole():
                await self._assign(change, applied)
            case UnassignRole():
                self._assignments.unsure(change.assignment_id)
                await self._arm.unassign(change.assignment_id)
                self._assignments.unassigned(change.assignment_id)
                applied.gone.add(change.assignment_id)
            case DefineRole():
                await self._arm.define(change.scope, change.definition)
                mark = definition_mark(change.definition)
                line = definition_item(change.definition, now, mark)
                applied.made.append(replace(line, origin=ADOPTED) if change.adopted else line)
            case RemoveRole():
                await self._arm.undefine(change.definition_id)
                applied.gone.add(change.definition_id)
            case ApplyChild():
                await self._apply_child(change, applied)
            case ReleaseChild():
                ref = change.ref
                await self._kubernetes.release_child(ref, change.uid)
                applied.concerned |= self._cache.drop(ref.kind, ref.namespace, ref.name, change.uid)
                applied.gone.add(change.uid)
            case LeaveAccount():
                ref = change.ref
                body = await self._kubernetes.leave_account(ref, change.uid, change.owner.uid)
                applied.concerned |= self._cache.put(ref.kind, body) if body else set()
                applied.gone.add(change.uid)
            case HoldChild():
                ref = change.ref
                body = await self._kubernetes.hold_child(ref, change.uid, change.holder, holds=change.holds)
                applied.concerned |= self._cache.put(ref.kind, body)
            case DeleteChild():
                await self._kubernetes.delete_child(change.ref, change.uid)
                ref = change.ref
                applied.concerned |= self._cache.drop(ref.kind, ref.namespace, ref.name, change.uid)
                applied.gone.add(change.uid)
            case _:
                await self._run_on_group(change, applied, now)

    async def _run_on_group(self, change: Change, applied: Applied, now: str) -> None:
        match change:
            case CreateGroup():
                group = await self._graph.create_group(
                    change.unique_name, change.display_name, change.mail_nickname, change.description
                )
                applied.group_id = group.id
                mark = group_mark(change.display_name, change.mail_nickname, change.description)
                applied.made.append(
                    Item(System.ENTRA, GROUP, change.unique_name, group.id, now, applied=mark)
                )
            case AdoptGroup():
                await self._graph.update_group(change.group_id, {"uniqueName": change.unique_name})
            case RestoreGroup():
                await self._graph.restore_group(change.group_id)
            case UpdateGroup():
                await self._graph.update_group(change.group_id, dict(change.attributes))
            case AddPrincipals():
                group_id = change.group_id or applied.group_id or ""
                await self._graph.add(group_id, change.relation, change.ids)
            case RemovePrincipal():
                await self._graph.remove(change.group_id, change.relation, change.id)
                applied.gone |= {change.id} if change.relation == "members" else set()
            case DeleteGroup():
                await self._graph.delete_group(change.group_id)
                applied.gone.add(change.group_id)
            case _:
                raise AssertionError(f"no way to run {type(change).__name__}")

    async def _assign(self, change: AssignRole, applied: Applied) -> None:
        principal = change.principal_id or applied.group_id or ""
        name, arm_id = change.name_for(principal), change.id_for(principal)
        made = Assignment(name, change.scope, principal, change.role_id, change.description)
        self._assignments.unsure(arm_id)
        await self._arm.assign(made, change.principal_type)
        self._roles.known(change)
        self._principals.known(principal)
        self._assignments.assigned(made)
        origin = ADOPTED if change.name else ""
        applied.made.append(Item(System.AZURE, ASSIGNMENT, change.role, arm_id, origin=origin, applied=MADE))

    async def _apply_child(self, change: ApplyChild, applied: Applied) -> None:
        ref = change.child.ref
        body = await self._kubernetes.apply_child(change.child, applied.group_id, change.uid, change.adoption)
        applied.concerned |= self._cache.put(ref.kind, body)
        made = seen_child(ref.kind, body)
        adopted = made.adopted and change.child.owner.uid not in made.owner_uids
        applied.made.append(child_item(ref, made.uid, adopted=adopted))


def _of_applications(change: Change) -> bool:
    """Whether the change is of members that are service principals, and of nobody else."""
    if isinstance(change, AddPrincipals):
        return change.applications and change.relation == "members"
    return isinstance(change, RemovePrincipal) and change.application and change.relation == "members"


def _namespace(change: ApplyChild | DeleteChild | LeaveAccount) -> str | None:
    return (change.child.ref if isinstance(change, ApplyChild) else change.ref).namespace


def _is_for(first: ApplyChild, then: ApplyChild) -> bool:
    """Whether the one is the role that the other binds to, or the account that the other is a token for."""
    ref, child = first.child.ref, then.child
    if ref.kind is SERVICE_ACCOUNT:
        return child.account == ref.name
    named = ref.kind in ROLE_KINDS and (ref.kind.kind, ref.name) == (child.role_kind, child.role)
    return named and ref.namespace in {None, child.ref.namespace}


def _no_role(change: AssignRole) -> Finding:
    message = (
        f"the role definition of Azure role {change.role} ({change.role_id}) does not exist, or not any "
        f"more, or cannot be assigned at {place_name(change.scope)}; correct the role, create it, or add "
        "to its assignable scopes"
    )
    return Finding(change.link, Severity.STALLED, "RoleNotFound", message, change.path)


def _no_principal(change: AssignRole, principal: str, window: timedelta) -> Finding:
    message = (
        f"Azure has not known the {change.principal_type} {principal} for more than "
        f"{window.total_seconds():.0f} s, although Entra does; see that it is in the tenant of the "
        "subscription, or make it anew"
    )
    return Finding(change.link, Severity.STALLED, "PrincipalNotFound", message)
