"""One pass over one resource: gather, plan, apply, status."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import FINALIZER, FINALIZER_RELEASE, FINALIZERS, POLICY, SECRET
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_grant, read_meta, read_policy
from entra_access.api.resources import AccessPolicy, Meta, Mode, NamespaceGrant
from entra_access.api.status import ConditionType, Status, System, read_status
from entra_access.api.times import moment, stamp
from entra_access.domain.changes import ApplyChild, DeleteChild
from entra_access.domain.children import by_ref
from entra_access.domain.faults import Fault, Finding, Link, Missing, Severity
from entra_access.domain.grant_plan import POLICY_DELETED, POLICY_DELETING, plan_grant
from entra_access.domain.inventory import announced
from entra_access.domain.marks import read_marks
from entra_access.domain.observed import GrantWorld, PolicyWorld
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, child_item, still_to_come
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.cache import Body, Key, WatchCache, policy_of
from entra_access.reconcile.drifting import observed, put_right
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.notes import Notes
from entra_access.reconcile.outcome import Next, in_order, next_look
from entra_access.reconcile.removal import Remover
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
        self._remover = Remover(
            place, cache, kubernetes, gatherer, applier, self._report, tell, clock, stalled_after
        )
        self._news: dict[Key, asyncio.Event] = {}

    async def reconcile(self, key: Key) -> Next:
        """Look at the resource once. Returns when to look again.

        Never raises `Fault`: what fails is in the status, or, where even that cannot be written, in the log.
        """
        body = self._cache.resource(key)
        try:
            if body is None:
                self._report.forget(key)
                return Next() if self._modes.read_only else await self._remover.absent(key)
            meta = read_meta(body)
            if meta.deleting:
                return await self._going(meta, body)
            needed = self._finalizer(key, meta, body) if self._mode(key) is Mode.ENFORCE else None
            if needed:
                body = await self._kubernetes.set_finalizers(meta, (*meta.finalizers, needed))
                self._report.take_in(meta, body)
            return await self._pass(body)
        except Missing:
            return Next()  # gone while it was looked at; the watch will say so
        except Fault as fault:
            logger.warning("%s: %s: %s", key, fault.reason, fault.message)
            return Next(after=fault.retry_after, failed=True)

    async def _going(self, meta: Meta, body: Body) -> Next:
        if not FINALIZERS & set(meta.finalizers):
            return Next()
        if self._modes.read_only:
            return await self._remover.hold(body)
        return await self._remover.remove(body)

    def _finalizer(self, key: Key, meta: Meta, body: Body) -> str | None:
        """The finalizer that the resource needs and has not.

        It makes what Kubernetes does not collect, or what Kubernetes must not collect.
        """
        if self._cache.needs_azure(key):
            return None if FINALIZER in meta.finalizers else FINALIZER
        released = FINALIZERS & set(meta.finalizers) or not self._remover.must_let_go(body)
        return None if released else FINALIZER_RELEASE

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
            old, end = await self._bindings_first(resource, old, now)
            world = await self._look(resource, old, now, end)
            now = self._clock()  # to look can take long
            plan = await self._gatherer.named(self._planned(resource, world, old, now))
        mode = self._mode(key_of(meta))
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines and mode is Mode.ENFORCE:
            # It stays told of when it cannot be made, too: its making may only seem to fail.
            plan = replace(plan, inventory=(*plan.inventory, *lines))
            old = await self._report.announce(meta, old, plan, lines, now)
        plan, applied = await self._carry_out(key_of(meta), plan, mode, now)
        self._remover.tell_of_writes(meta, applied)
        await self._report.write(meta, body, old, plan, applied, mode)
        then = next_look((*plan.findings, *applied.findings), self._stalled_after)
        return replace(then, due=self._until(plan.expires_at, now))

    def _until(self, end: str, planned: datetime) -> float | None:
        """In how many seconds that is; None where it is no time, or was over when it was planned."""
        then = moment(end)
        if then is None or then <= planned:
            return None
        # Not too far ahead: clocks are set, and machines sleep.
        return min(max((then - self._clock()).total_seconds(), 0.0), LOOK_AHEAD)

    async def _carry_out(self, key: Key, plan: Plan, mode: Mode, now: datetime) -> tuple[Plan, Applied]:
        """Make the changes of a plan that may be made now. Returns it with what there is to say."""
        if mode is Mode.OBSERVE:
            held = plan.changes
            return replace(plan, findings=(*plan.findings, *observed(held))), Applied(held=list(held))
        waiting = self._report.contests.held(key, plan)
        plan = replace(plan, findings=(*plan.findings, *waiting.findings))
        return plan, await self._applier.run(plan, stamp(now), waiting.changes)

    async def _look(
        self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime, end: str
    ) -> PolicyWorld | GrantWorld:
        looking = asyncio.create_task(self._gather(resource, old, now))
        try:
            await self._follow(resource, looking, end)
            return await looking
        finally:
            looking.cancel()

    async def _gather(
        self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime
    ) -> PolicyWorld | GrantWorld:
        if isinstance(resource, NamespaceGrant):
            return await self._gatherer.grant(resource, old, now)
        return await self._gatherer.policy(resource, old, now)

    async def _follow(
        self,
        resource: AccessPolicy | NamespaceGrant,
        looking: "asyncio.Task[PolicyWorld | GrantWorld]",
        end: str,
    ) -> None:
        """While Entra and Azure are looked at, do at once what news from the cluster asks for.

        They can take as long as a time-out to answer, and nobody else works on this resource meanwhile. That
        the time of a grant is over, its `end`, is such news.
        """
        key = key_of(resource.meta)
        news = self._news[key] = asyncio.Event()
        try:
            while not looking.done():
                coming = asyncio.create_task(news.wait())
                left = self._until(end, self._clock())
                await asyncio.wait({looking, coming}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                coming.cancel()
                if looking.done():
                    return
                news.clear()
                body = self._cache.resource(key)
                now = read_meta(body) if body else None
                # Another wish is for the next pass, which is due already.
                if body and now and (now.generation, now.deleting) == (resource.meta.generation, False):
                    _, end = await self._bindings_first(resource, read_status(body), self._clock())
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
            plan = plan_grant(resource, self._place, world, old.inventory, now, had=_had_policy(old))
        elif isinstance(resource, AccessPolicy) and isinstance(world, PolicyWorld):
            put_in = read_marks(old.member_marks)
            plan = plan_policy(resource, self._place, world, old.inventory, stamp(now), old.subject, put_in)
        else:
            raise TypeError("the world of another kind")
        if noted:
            self._cache.azure_claims.note(key_of(meta), plan.claims)
        return plan

    async def _bindings_first(
        self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime
    ) -> tuple[Status, str]:
        """Do what is to be done in the cluster before Graph and ARM are asked anything.

        They may take long to answer, or not answer at all. It is the same plan, made of what is known without
        them: who the subject is, and nothing of members and roles. Returns the status as it
        is now, and when the access ends.
        """
        key = key_of(resource.meta)
        if not self._cache.needs_azure(key) or self._mode(key) is Mode.OBSERVE:
            return old, ""
        if isinstance(resource, NamespaceGrant):
            local: PolicyWorld | GrantWorld = await self._gatherer.grant_local(resource, old)
        else:
            local = await self._gatherer.local(resource, old)
        plan = self._planned(resource, local, old, now, noted=False)
        plan = replace(
            plan, changes=tuple(c for c in plan.changes if isinstance(c, ApplyChild | DeleteChild))
        )
        if not plan.changes:
            return old, plan.expires_at
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines:
            # Nothing else is known yet that would be worth telling.
            old = replace(old, inventory=in_order((*old.inventory, *lines)))
            written = await self._kubernetes.apply_status(resource.meta, old.as_dict())
            self._report.take_in(resource.meta, written)
        plan, applied = await self._carry_out(key, plan, Mode.ENFORCE, now)
        self._report.tell_of(resource.meta, old, old, plan, applied)
        self._report.remember(resource.meta, put_right(plan, applied))
        return old, plan.expires_at

    def _unreadable(self, meta: Meta, old: Status, error: InvalidFieldError) -> Plan:
        """A spec that cannot be used changes nothing: what was made before stays."""
        link = Link.SUBJECT if meta.kind is POLICY else Link.POLICY
        finding = Finding(link, Severity.STALLED, "InvalidSpec", error.message, error.path)
        children = self._cache.children(key_of(meta))
        # No watch shows Secrets, and what is about to be made may be there.
        kept = [i for i in old.inventory if i.system is not System.KUBERNETES or i.kind == SECRET.kind]
        kept += still_to_come(old.inventory, by_ref(children))
        kept += [child_item(child.ref, child.uid) for child in children]
        return Plan(
            findings=(finding,), subject=old.subject, inventory=tuple(kept), expires_at=old.expires_at
        )


def _had_policy(old: Status) -> bool:
    """Whether the policy of a grant was there before; only how its absence is told depends on it."""
    stalled = old.condition(ConditionType.STALLED)
    return bool(old.subject or (stalled and stalled.reason in {POLICY_DELETED, POLICY_DELETING}))
