"""One pass over one resource: gather, plan, apply, status."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import FINALIZER, GRANT, KINDS, POLICY
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_grant, read_meta, read_policy
from entra_access.api.resources import AccessPolicy, Meta, Mode, NamespaceGrant
from entra_access.api.status import ConditionType, Status, System, read_status
from entra_access.api.times import moment, stamp
from entra_access.domain.changes import ApplyChild, DeleteChild, UnassignRole
from entra_access.domain.faults import Fault, Finding, Link, Missing, Severity
from entra_access.domain.grant_plan import plan_grant, plan_grant_removal
from entra_access.domain.group_plan import group_item
from entra_access.domain.inventory import announced
from entra_access.domain.observed import GrantWorld, PolicyWorld
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, child_item, plan_children
from entra_access.domain.policy_plan import plan_policy, plan_policy_removal
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.cache import Body, Key, WatchCache, policy_of
from entra_access.reconcile.drifting import observed, put_right
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.notes import Notes
from entra_access.reconcile.outcome import Next, next_look
from entra_access.reconcile.reporting import Reporter, key_of

logger = logging.getLogger(__name__)
LOOK_AHEAD: Final = 600.0
OURS: Final = {value for name, value in vars(ConditionType).items() if name.isupper()}


@dataclass(frozen=True)
class Modes:
    """How the operator was started.

    Attributes
    ----------
    default
        The mode of policies that give none.
    read_only
        Nothing but the status is ever written, whatever a resource says.
    """

    default: Mode = Mode.ENFORCE
    read_only: bool = False


class Reconciler:
    """Makes the world as one resource says, and says how that went."""

    def __init__(
        self,
        place: Place,
        cache: WatchCache,
        kubernetes: Kubernetes,
        gatherer: Gatherer,
        applier: Applier,
        notes: Notes,
        tell: Callable[[Key], None],
        clock: Callable[[], datetime],
        stalled_after: float,
        modes: Modes | None = None,
    ) -> None:
        self._place = place
        self._cache = cache
        self._kubernetes = kubernetes
        self._gatherer = gatherer
        self._applier = applier
        self._tell = tell
        self._clock = clock
        self._stalled_after = stalled_after
        self._modes = modes or Modes()
        self._report = Reporter(cache, kubernetes, notes, tell, clock)
        self._news: dict[Key, asyncio.Event] = {}

    async def reconcile(self, key: Key) -> Next:
        """Look at the resource once. Returns when to look again.

        Never raises `Fault`: what fails is in the status, or, where even that cannot be written, in the log.
        """
        body = self._cache.resource(key)
        try:
            if body is None:
                return await self._absent(key)
            meta = read_meta(body)
            if meta.deleting:
                return await self._remove(body) if FINALIZER in meta.finalizers else Next()
            if self._mode(key) is Mode.ENFORCE and self._leaves_something(key, meta):
                body = await self._kubernetes.set_finalizers(meta, (*meta.finalizers, FINALIZER))
                self._report.take_in(meta, body)
            return await self._pass(body)
        except Missing:
            return Next()  # gone while it was looked at; the watch will say so
        except Fault as fault:
            logger.warning("%s: %s: %s", key, fault.reason, fault.message)
            return Next(after=fault.retry_after, failed=True)

    def _leaves_something(self, key: Key, meta: Meta) -> bool:
        """Whether it makes what Kubernetes does not collect, and does not say so yet."""
        return self._cache.needs_azure(key) and FINALIZER not in meta.finalizers

    def _mode(self, key: Key) -> Mode:
        """The mode in effect: the operator's, else the policy's, which is its grants' too."""
        if self._modes.read_only:
            return Mode.OBSERVE
        body = self._cache.resource(key) or {}
        policy = key.name if key.kind == POLICY.kind else policy_of(body)
        view = self._cache.policy_view(policy)
        return (view.policy.mode if view and view.policy else None) or self._modes.default

    async def _pass(self, body: Body) -> Next:
        meta, old, now = read_meta(body), read_status(body), self._clock()
        try:
            resource = read_policy(body) if meta.kind is POLICY else read_grant(body)
        except InvalidFieldError as error:
            plan = self._unreadable(meta, old, error)
        else:
            await self._bindings_first(resource, old, now)
            plan = await self._plan(resource, old, now)
        mode = self._mode(key_of(meta))
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines and mode is Mode.ENFORCE:
            # It stays told of when it cannot be made, too: its making may only seem to fail.
            plan = replace(plan, inventory=(*plan.inventory, *lines))
            old = await self._report.announce(meta, old, plan, lines, now)
        plan, applied = await self._carry_out(key_of(meta), plan, mode, now)
        self._tell_of_removals(meta, applied)
        await self._report.write(meta, body, old, plan, applied, mode)
        then = next_look((*plan.findings, *applied.findings), self._stalled_after)
        return replace(then, due=self._until(plan.expires_at))

    def _until(self, end: str) -> float | None:
        """In how many seconds that is; None where it is no time, or is over."""
        then = moment(end)
        left = (then - self._clock()).total_seconds() if then else 0.0
        # Not too far ahead: clocks are set, and machines sleep.
        return min(left, LOOK_AHEAD) if left > 0 else None

    async def _carry_out(self, key: Key, plan: Plan, mode: Mode, now: datetime) -> tuple[Plan, Applied]:
        """Make the changes of a plan that may be made now. Returns it with what there is to say."""
        if mode is Mode.OBSERVE:
            held = plan.changes
            return replace(plan, findings=(*plan.findings, *observed(held))), Applied(held=list(held))
        waiting = self._report.contests.held(key, plan)
        plan = replace(plan, findings=(*plan.findings, *waiting.findings))
        return plan, await self._applier.run(plan, stamp(now), waiting.changes)

    async def _plan(self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime) -> Plan:
        looking = asyncio.create_task(self._gather(resource, old, now))
        try:
            await self._follow(resource, looking)
            return self._planned(resource, await looking, old, now)
        finally:
            looking.cancel()

    async def _gather(
        self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime
    ) -> PolicyWorld | GrantWorld:
        if isinstance(resource, NamespaceGrant):
            return await self._gatherer.grant(resource, old)
        return await self._gatherer.policy(resource, old, now)

    async def _follow(
        self, resource: AccessPolicy | NamespaceGrant, looking: "asyncio.Task[PolicyWorld | GrantWorld]"
    ) -> None:
        """While Entra and Azure are looked at, do at once what news from the cluster asks for.

        They can take as long as a time-out to answer, and nobody else works on this resource meanwhile.
        """
        key = key_of(resource.meta)
        news = self._news[key] = asyncio.Event()
        try:
            while not looking.done():
                coming = asyncio.create_task(news.wait())
                await asyncio.wait({looking, coming}, return_when=asyncio.FIRST_COMPLETED)
                coming.cancel()
                if looking.done():
                    return
                news.clear()
                body = self._cache.resource(key)
                now = read_meta(body) if body else None
                # Another wish is for the next pass, which is due already.
                if body and now and (now.generation, now.deleting) == (resource.meta.generation, False):
                    await self._bindings_first(resource, read_status(body), self._clock())
        finally:
            self._news.pop(key, None)

    def notice(self, key: Key) -> None:
        """There is news of the resource: a pass that waits for the cloud looks at the cluster again."""
        if key in self._news:
            self._news[key].set()

    def _planned(
        self,
        resource: AccessPolicy | NamespaceGrant,
        world: PolicyWorld | GrantWorld,
        old: Status,
        now: datetime,
        *,
        noted: bool = True,
    ) -> Plan:
        """The plan, and what it wants of Azure noted with what others want.

        Both at once: of two that stop wanting the same role at the same time, the second must see that the
        first does not want it any more.
        """
        meta = resource.meta
        world = replace(world, **self._gatherer.latest(world))
        world = replace(world, claimed=self._gatherer.claimed(meta, old, world.assignments))
        if isinstance(resource, NamespaceGrant) and isinstance(world, GrantWorld):
            plan = plan_grant(resource, self._place, world, old.inventory, now)
        elif isinstance(resource, AccessPolicy) and isinstance(world, PolicyWorld):
            plan = plan_policy(resource, self._place, world, old.inventory, stamp(now), old.subject)
        else:
            raise TypeError("the world of another kind")
        if noted:
            self._cache.azure_claims.note(key_of(meta), plan.claims)
        return plan

    async def _bindings_first(
        self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime
    ) -> None:
        """Do what is to be done in the cluster before Graph and ARM are asked anything.

        They may take long to answer, or not answer at all. It is the same plan, made of what is known without
        them: who the subject is, and nothing of members and roles.
        """
        key = key_of(resource.meta)
        if not self._cache.needs_azure(key) or self._mode(key) is Mode.OBSERVE:
            return
        if isinstance(resource, NamespaceGrant):
            local: PolicyWorld | GrantWorld = await self._gatherer.grant_local(resource, old)
        else:
            local = await self._gatherer.local(resource, old)
        plan = self._planned(resource, local, old, now, noted=False)
        plan = replace(
            plan, changes=tuple(c for c in plan.changes if isinstance(c, ApplyChild | DeleteChild))
        )
        if not plan.changes:
            return
        plan, applied = await self._carry_out(key, plan, Mode.ENFORCE, now)
        self._report.tell_of(resource.meta, old, old, plan, applied)
        self._report.remember(resource.meta, put_right(plan, applied))

    def _unreadable(self, meta: Meta, old: Status, error: InvalidFieldError) -> Plan:
        """A spec that cannot be used changes nothing: what was made before stays."""
        link = Link.SUBJECT if meta.kind is POLICY else Link.POLICY
        finding = Finding(link, Severity.STALLED, "InvalidSpec", error.message, error.path)
        children = self._cache.children(key_of(meta))
        kept = [item for item in old.inventory if item.system is not System.KUBERNETES]
        kept += [child_item(child.ref, child.uid) for child in children]
        return Plan(
            findings=(finding,), subject=old.subject, inventory=tuple(kept), expires_at=old.expires_at
        )

    async def _remove(self, body: Body) -> Next:
        """Take away all that a resource made, then let it go."""
        meta, old, now = read_meta(body), read_status(body), self._clock()
        if self._modes.read_only:
            return await self._hold_removal(meta, body, old)
        plan = await self._removal_plan(meta, body, old, now)
        applied = await self._applier.run(plan, stamp(now))
        self._tell_of_removals(meta, applied)
        findings = (*plan.findings, *applied.findings)
        if any(finding.severity.hinders for finding in findings):
            await self._report.write(meta, body, old, plan, applied, Mode.ENFORCE)
            return next_look(findings, self._stalled_after)
        self._report.tell_of(meta, old, old, plan, applied)
        left = tuple(finalizer for finalizer in meta.finalizers if finalizer != FINALIZER)
        written = await self._kubernetes.set_finalizers(meta, left)
        if left:
            self._report.take_in(meta, written)
        else:
            # It is gone now: a look that is due already must not remove everything once more.
            for key in self._cache.drop(meta.kind, meta.namespace, meta.name, meta.uid) - {key_of(meta)}:
                self._tell(key)
        logger.info("%s: removed with all that it had made", meta)
        return Next()

    async def _hold_removal(self, meta: Meta, body: Body, old: Status) -> Next:
        """Who may write nothing but the status cannot let a resource go either."""
        link = Link.SUBJECT if meta.kind is POLICY else Link.POLICY
        message = "to be deleted, but the operator was started with --observe; start it without"
        finding = Finding(link, Severity.WAITING, "ReadOnly", message, unseen=True)
        plan = Plan(findings=(finding,), subject=old.subject, inventory=old.inventory)
        await self._report.write(meta, body, old, plan, Applied(), Mode.OBSERVE)
        return Next(after=self._stalled_after)

    async def _removal_plan(self, meta: Meta, body: Body, old: Status, now: datetime) -> Plan:
        claims = self._cache.azure_claims
        if meta.kind is POLICY:
            spec = body.get("spec") or {}
            account = "serviceAccount" in (spec.get("subject") or {})
            in_azure = not account or any(item.system is System.AZURE for item in old.inventory)
            group = "group" in (spec.get("subject") or {}) or group_item(old.inventory) is not None
            world = await self._gatherer.removal(meta, old, now, group=group, azure=in_azure)
            claims.note(key_of(meta), frozenset())
            world = replace(world, claimed=self._gatherer.claimed(meta, old, world.assignments))
            return plan_policy_removal(meta, self._place, world, old.inventory, stamp(now))
        grant_world = await self._gatherer.grant_removal(meta, old)
        claims.note(key_of(meta), frozenset())
        grant_world = replace(grant_world, claimed=self._gatherer.claimed(meta, old, grant_world.assignments))
        return plan_grant_removal(meta, self._place, grant_world, old.inventory)

    async def _absent(self, key: Key) -> Next:
        """A resource that is not there any more. Kubernetes collects its children; what it left, we do."""
        self._report.forget(key)
        children = self._cache.children(key)
        if not children or self._modes.read_only or key.kind not in {POLICY.kind, GRANT.kind}:
            return Next()
        if await self._kubernetes.get(KINDS[key.kind], key.namespace, key.name) is not None:
            return Next(failed=True)  # the watch has not shown it yet
        removals = plan_children((), children, ()).removals
        applied = await self._applier.run(Plan(changes=removals), stamp(self._clock()))
        return next_look(applied.findings, self._stalled_after)

    def _tell_of_removals(self, meta: Meta, applied: Applied) -> None:
        """Let those look again who have begun to want an assignment while it was taken away."""
        taken = {change.assignment_id for change in applied.done if isinstance(change, UnassignRole)}
        for key in self._cache.azure_claims.holders(taken) - {key_of(meta)}:
            self._tell(key)
