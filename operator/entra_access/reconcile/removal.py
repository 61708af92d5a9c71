"""What happens when a resource is deleted: what it made goes, or is let go, and then the resource itself."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import ANNOTATION_ABANDON, FINALIZERS, GRANT, KINDS, POLICY
from entra_access.api.reading import read_meta
from entra_access.api.resources import AdoptionPolicy, DeletePolicy, Meta, Mode
from entra_access.api.status import Item, Status, System, read_status
from entra_access.api.times import stamp
from entra_access.domain.changes import AssignRole, DefineRole, ReleaseChild, UnassignRole, place_name
from entra_access.domain.children import is_shared
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.grant_plan import plan_grant_removal
from entra_access.domain.group_plan import group_item
from entra_access.domain.naming import guid_in, scope_of
from entra_access.domain.observed import GrantWorld, PolicyWorld
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, plan_children_removal
from entra_access.domain.policy_plan import plan_policy_removal
from entra_access.domain.role_plan import ASSIGNMENT
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.cache import Body, Key, WatchCache, policy_of
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.keepers import kept_by_others
from entra_access.reconcile.notes import Note
from entra_access.reconcile.outcome import EXPECTED_REASONS, Next, next_look
from entra_access.reconcile.reporting import Reporter, key_of

logger = logging.getLogger(__name__)
MAX_EVENT: Final = 900
"""An event's message has about so many characters."""


class Remover:
    """Takes away what resources made that are deleted."""

    def __init__(
        self,
        place: Place,
        cache: WatchCache,
        kubernetes: Kubernetes,
        gatherer: Gatherer,
        applier: Applier,
        report: Reporter,
        tell: Callable[[Key], None],
        clock: Callable[[], datetime],
        stalled_after: float,
    ) -> None:
        self._place = place
        self._cache = cache
        self._kubernetes = kubernetes
        self._gatherer = gatherer
        self._applier = applier
        self._report = report
        self._tell = tell
        self._clock = clock
        self._stalled_after = stalled_after

    def keeps(self, body: Body) -> bool:
        """Whether what a resource made stays when it is deleted: a grant does as its policy."""
        return _spec(self._policy(body)).get("deletePolicy") == DeletePolicy.KEEP.value

    def must_let_go(self, body: Body) -> bool:
        """Whether some of what a resource made can be what Kubernetes must not collect with it."""
        if self._policy(body) is None:
            return False  # it makes nothing
        return self.keeps(body) or self._adoption(body) is not AdoptionPolicy.NEVER

    def _adoption(self, body: Body) -> AdoptionPolicy:
        """Whether a resource can have taken something over. Of one whose policy is gone nobody knows."""
        policy = self._policy(body)
        if policy is None:
            return AdoptionPolicy.ALWAYS
        wished = _spec(policy).get("adoptionPolicy")
        return next((one for one in AdoptionPolicy if one.value == wished), AdoptionPolicy.NEVER)

    def _policy(self, body: Body) -> Body | None:
        return (
            body
            if read_meta(body).kind is POLICY
            else self._cache.resource(self._cache.policy_key(policy_of(body)))
        )

    async def remove(self, body: Body) -> Next:
        """Take away all that a resource made, or let go of it, and then let the resource go."""
        meta, old, now = read_meta(body), read_status(body), self._clock()
        if meta.annotation(ANNOTATION_ABANDON) == "true":
            released = await self._release(meta, body, old, now)
            self._say_what_stays(meta, "Abandoned", old.inventory, kept=self.keeps(body))
            return await self._let_go(meta) if released else Next(failed=True)
        keep = self.keeps(body)
        plan = await self._plan(meta, body, old, now, keep=keep)
        applied = await self._applier.run(plan, stamp(now))
        self.tell_of_writes(meta, applied)
        findings = (*plan.findings, *applied.findings)
        if any(finding.severity.hinders for finding in findings):
            plan = replace(plan, findings=tuple(_with_way_out(meta, one) for one in plan.findings))
            applied.findings = [_with_way_out(meta, one) for one in applied.findings]
            await self._report.write(meta, body, old, plan, applied, Mode.ENFORCE)
            return next_look(findings, self._stalled_after)
        self._report.tell_of(meta, old, old, plan, applied)
        # Of what is in the cluster, what was seen there: it can have been collected in the meantime.
        there = (*plan.inventory, *(one for one in old.inventory if one.system is not System.KUBERNETES))
        lines = {(one.key, one.id): one for one in there if keep or one.adopted}
        self._say_what_stays(meta, "Kept", list(lines.values()))
        logger.info("%s: removed with all that it had made", meta)
        return await self._let_go(meta)

    async def _release(self, meta: Meta, body: Body, old: Status, now: datetime) -> bool:
        """Let go of what is in the cluster and stays, without asking Azure. Returns whether that worked.

        What carries our labels for a resource that is gone would be taken for a remainder.
        """
        children = await self._gatherer.children(meta, old)
        plan = plan_children_removal(children, old.inventory, self._adoption(body), keep=self.keeps(body))
        released = tuple(change for change in plan.removals if isinstance(change, ReleaseChild))
        applied = await self._applier.run(Plan(changes=released), stamp(now))
        return not applied.failed

    async def absent(self, key: Key) -> Next:
        """A resource that is not there any more. Kubernetes collects its children; what it left, we do."""
        # What other policies have too stays for them; Kubernetes takes this one out of the owners.
        children = [one for one in self._cache.children(key) if not is_shared(one, key.name)]
        kept = kept_by_others(self._cache, key.name, children)
        children = [one for one in children if one.ref not in kept]
        if not children or key.kind not in {POLICY.kind, GRANT.kind}:
            return Next()
        if await self._kubernetes.get(KINDS[key.kind], key.namespace, key.name) is not None:
            return Next(failed=True)  # the watch has not shown it yet
        removals = plan_children_removal(children, (), AdoptionPolicy.ALWAYS, keep=False).removals
        applied = await self._applier.run(Plan(changes=removals), stamp(self._clock()))
        return next_look(applied.findings, self._stalled_after)

    def tell_of_writes(self, meta: Meta, applied: Applied) -> None:
        """Let those look again whom the writes concern, as the watch's echo of them will be no news.

        And let a role that was made be found by whoever looks for it now.
        """
        made = [change.definition for change in applied.done if isinstance(change, DefineRole)]
        if made:
            self._gatherer.roles_made(meta.name, made)
            # Another policy that has taken over the same role at the same moment has it to put right.
            owners = self._cache.definition_owners(self._place, meta.name)
            for policy in {owners[one.guid] for one in made if one.guid in owners}:
                self._tell(self._cache.policy_key(policy))
        for key in (self._sharing(meta, applied) | applied.concerned) - {key_of(meta)}:
            self._tell(key)

    def _sharing(self, meta: Meta, applied: Applied) -> set[Key]:
        """Who else wants the assignments that were made or taken away, or has the subject that lost them.

        No round tells them: to it the operator's own writes are no news.
        """
        taken = {change.assignment_id for change in applied.done if isinstance(change, UnassignRole)}
        given = [change for change in applied.done if isinstance(change, AssignRole)]
        made = {one.id_for(one.principal_id or applied.group_id or "") for one in given}
        policy = meta.name if meta.kind is POLICY else policy_of(self._cache.resource(key_of(meta)) or {})
        view = self._cache.policy_view(policy)
        subjects = {view.subject.object_id} if taken and view and view.subject else set()
        return self._cache.azure_claims.holders(taken | made) | self._cache.by_object_id(subjects)

    async def _let_go(self, meta: Meta) -> Next:
        left = tuple(finalizer for finalizer in meta.finalizers if finalizer not in FINALIZERS)
        written = await self._kubernetes.set_finalizers(meta, left)
        if left:
            self._report.take_in(meta, written)
        else:
            # It is gone now: a look that is due already must not remove everything once more.
            for key in self._cache.drop(meta.kind, meta.namespace, meta.name, meta.uid) - {key_of(meta)}:
                self._tell(key)
        return Next()

    def _say_what_stays(
        self, meta: Meta, reason: str, lines: list[Item] | tuple[Item, ...], *, kept: bool = True
    ) -> None:
        """In an event and in the log: nobody will look after these any more."""
        if not kept:
            # With the resource Kubernetes collects what it owns.
            lines = [one for one in lines if one.adopted or one.system is not System.KUBERNETES]
        if not lines:
            return
        for one in lines:
            line = f"{one.system.value} {one.kind} {one.name}"
            logger.warning("%s: stays behind: %s%s", meta, line, f" ({one.id})" if one.id else "")
        words = [_words(one) for one in lines]
        ends = accumulate(len(text) + 2 for text in words)
        fitting = [text for text, end in zip(words, ends, strict=True) if end <= MAX_EVENT]
        more = f" and {len(words) - len(fitting)} more, see the log" if len(fitting) < len(words) else ""
        message = f"stays behind: {', '.join(fitting)}{more}"
        self._report.note(meta, Note("Warning" if reason == "Abandoned" else "Normal", reason, message))

    async def _plan(self, meta: Meta, body: Body, old: Status, now: datetime, *, keep: bool) -> Plan:
        claims = self._cache.azure_claims
        adoption = self._adoption(body)
        if meta.kind is POLICY:
            world = await self._policy_world(meta, body, old, now, keep=keep)
            claims.note(key_of(meta), frozenset())
            world = replace(world, claimed=self._gatherer.claimed(meta, old, world.assignments))
            inventory = old.inventory
            return plan_policy_removal(meta, self._place, world, inventory, stamp(now), adoption, keep=keep)
        if keep:
            children = await self._gatherer.children(meta, old)
            grant_world = GrantWorld(
                policy=None,
                namespace_labels={},
                namespace_ending=False,
                children=children,
                cluster_roles=frozenset(),
            )
        else:
            azure = self._cache.needs_azure(key_of(meta))
            grant_world = await self._gatherer.grant_removal(meta, old, azure=azure)
        claims.note(key_of(meta), frozenset())
        grant_world = replace(grant_world, claimed=self._gatherer.claimed(meta, old, grant_world.assignments))
        return plan_grant_removal(meta, self._place, grant_world, old.inventory, adoption, keep=keep)

    async def _policy_world(
        self, meta: Meta, body: Body, old: Status, now: datetime, *, keep: bool
    ) -> PolicyWorld:
        spec = body.get("spec") or {}
        account = "serviceAccount" in (spec.get("subject") or {})
        azure = not account or any(item.system is System.AZURE for item in old.inventory)
        group = "group" in (spec.get("subject") or {}) or group_item(old.inventory) is not None
        return await self._gatherer.removal(
            meta, old, now, group=group and not keep, azure=azure and not keep
        )


def held(meta: Meta) -> Finding:
    """Who may write nothing but the status cannot let a resource go either."""
    link = Link.SUBJECT if meta.kind is POLICY else Link.POLICY
    message = "to be deleted, but the operator was started with --observe; start it without"
    return Finding(link, Severity.STALLED, "ReadOnly", message)


def _spec(policy: Body | None) -> Mapping[str, Any]:
    return (policy or {}).get("spec") or {}


def _words(line: Item) -> str:
    """A line of the inventory, as short as people need it to find the thing."""
    name = line.name
    if line.kind == ASSIGNMENT:
        name = f"{name} at {place_name(scope_of(line.id))}"
    known = guid_in(line.id) if line.system is not System.KUBERNETES else None
    return f"{line.system.value} {line.kind} {name}{f' ({known})' if known else ''}"


def _with_way_out(meta: Meta, finding: Finding) -> Finding:
    """What is awaited may never come, and what only a person can mend may never be mended."""
    if not finding.severity.hinders or finding.reason in EXPECTED_REASONS:
        return finding
    where = f" -n {meta.namespace}" if meta.namespace else ""
    command = f"kubectl annotate {meta.kind.plural} {meta.name}{where} --overwrite {ANNOTATION_ABANDON}=true"
    return replace(finding, message=f"{finding.message}; to let it go as it is: {command}")
