"""One pass over one resource: gather, plan, apply, status."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import FINALIZER, FINALIZER_RELEASE, FINALIZERS
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_meta, read_resource
from entra_access.api.resources import Meta, Mode
from entra_access.api.status import ConditionType, Status, read_status
from entra_access.api.times import moment, stamp
from entra_access.domain.changes import ChildChange
from entra_access.domain.faults import Fault, Missing
from entra_access.domain.inventory import announced
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Body, Key, WatchCache
from entra_access.reconcile.drifting import observed, put_right
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.notes import Notes
from entra_access.reconcile.outcome import Next, in_order, next_look
from entra_access.reconcile.planning import Planner, Resource, World
from entra_access.reconcile.removal import Remover, held
from entra_access.reconcile.reporting import Reporter, key_of

logger = logging.getLogger(__name__)
LOOK_AHEAD: Final = 600.0
CLAIMS_SECONDS: Final = 5.0
OURS: Final = {value for name, value in vars(ConditionType).items() if name.isupper()}


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
        blindness: Blindness | None = None,
    ) -> None:
        self._place = place
        self._cache = cache
        self._kubernetes = kubernetes
        self._applier = applier
        self._tell = tell
        self._clock = clock
        self._stalled_after = stalled_after
        self._planner = Planner(place, cache, gatherer)
        self._report = Reporter(cache, kubernetes, notes, tell, clock, blindness)
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
                return Next() if self._cache.modes.read_only else await self._remover.absent(key)
            meta = read_meta(body)
            if meta.deleting:
                return await self._going(meta, body)
            needed = self._finalizer(key, meta, body) if self._planner.mode(key) is Mode.ENFORCE else None
            if needed:
                body = await self._kubernetes.set_finalizers(meta, (*meta.finalizers, needed))
                self._report.take_in(meta, body)
            return await self._pass(body, self._planner.mode(key))
        except Missing:
            return Next()  # gone while it was looked at; the watch will say so
        except Fault as fault:
            logger.warning("%s: %s: %s", key, fault.reason, fault.message)
            return Next(after=fault.retry_after, failed=True)

    async def _going(self, meta: Meta, body: Body) -> Next:
        if not FINALIZERS & set(meta.finalizers):
            # Somebody else still holds it; it wants nothing any more.
            self._cache.azure_claims.note(key_of(meta), frozenset())
            return Next()
        if self._cache.modes.read_only:
            return await self._pass(body, Mode.OBSERVE)
        return await self._remover.remove(body)

    def _finalizer(self, key: Key, meta: Meta, body: Body) -> str | None:
        """The finalizer that the resource needs and has not.

        It makes what Kubernetes does not collect, or what Kubernetes must not collect.
        """
        if self._cache.needs_azure(key):
            return None if FINALIZER in meta.finalizers else FINALIZER
        released = FINALIZERS & set(meta.finalizers) or not self._remover.must_let_go(body)
        return None if released else FINALIZER_RELEASE

    async def _pass(self, body: Body, began: Mode) -> Next:
        """`began`: the mode when it was decided whether there must be a finalizer."""
        meta, old, now = read_meta(body), read_status(body), self._clock()
        mark, waiting = self._cache.news.mark(), False
        try:
            resource = read_resource(body)
        except InvalidFieldError as error:
            plan = self._planner.unreadable(meta, old, error)
        else:
            old, end = await self._bindings_first(resource, old, now, began)
            world = await self._look(resource, old, now, end, began)
            now = self._clock()  # to look can take long
            plan = self._planner.plan(resource, world, old, now)
            # As the plan was made: meanwhile the last may say what they want, and nobody would look again.
            waiting = not self._planner.claims_known(meta)
            plan = await self._planner.named(plan)
        if meta.deleting:
            plan = replace(plan, findings=(held(meta), *plan.findings))
        mode = self._mode(meta, began)
        if mode is Mode.OBSERVE:
            # Nothing is taken over now, so nothing may be said to have been.
            known = {item.id for item in old.inventory}
            plan = replace(
                plan, inventory=tuple(one for one in plan.inventory if not one.adopted or one.id in known)
            )
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines and mode is Mode.ENFORCE:
            # It stays told of when it cannot be made, too: its making may only seem to fail.
            plan = replace(plan, inventory=(*plan.inventory, *lines))
            old = await self._report.announce(meta, old, plan, lines, now)
        plan, applied = await self._carry_out(key_of(meta), plan, mode, now)
        self._remover.tell_of_writes(meta, applied)
        await self._report.write(meta, body, old, plan, applied, mode)
        if self._planner.heard_of(meta, plan, mark):
            # When it was told, nobody could know that it concerns this one.
            self._tell(key_of(meta))
        then = next_look((*plan.findings, *applied.findings), self._stalled_after)
        # What nobody declared is removed when everybody has said what they want.
        dues = (then.due, CLAIMS_SECONDS if waiting else None, self._until(plan.expires_at, now))
        return replace(then, due=min((one for one in dues if one is not None), default=None))

    def _mode(self, meta: Meta, began: Mode) -> Mode:
        """The mode now. What was observed when the pass began may have no finalizer, so it waits."""
        return Mode.OBSERVE if Mode.OBSERVE in {began, self._planner.mode(key_of(meta))} else Mode.ENFORCE

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
            findings = observed(plan, read_only=self._cache.modes.read_only)
            return replace(plan, findings=findings), Applied(held=list(plan.changes))
        waiting = self._report.contests.held(key, plan)
        plan = replace(plan, findings=(*plan.findings, *waiting.findings))
        return plan, await self._applier.run(plan, stamp(now), waiting.changes)

    async def _look(self, resource: Resource, old: Status, now: datetime, end: str, began: Mode) -> World:
        looking = asyncio.create_task(self._planner.gather(resource, old, now))
        try:
            await self._follow(resource, looking, end, began)
            return await looking
        finally:
            looking.cancel()

    async def _follow(
        self, resource: Resource, looking: "asyncio.Task[World]", end: str, began: Mode
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
                    _, end = await self._bindings_first(resource, read_status(body), self._clock(), began)
        finally:
            self._news.pop(key, None)

    def notice(self, key: Key) -> None:
        """There is news of the resource: a pass that waits for the cloud looks at the cluster again."""
        if key in self._news:
            self._news[key].set()

    async def _bindings_first(
        self, resource: Resource, old: Status, now: datetime, began: Mode
    ) -> tuple[Status, str]:
        """Do what is to be done in the cluster before Graph and ARM are asked anything.

        They may take long to answer, or not answer at all. It is the same plan, made of what is known without
        them: who the subject is, and nothing of members and roles. Returns the status as it
        is now, and when the access ends.
        """
        key = key_of(resource.meta)
        if not self._cache.needs_azure(key) or self._mode(resource.meta, began) is Mode.OBSERVE:
            return old, ""
        local = await self._planner.gather_local(resource, old)
        plan = self._planner.plan(resource, local, old, now, noted=False)
        plan = replace(plan, changes=tuple(c for c in plan.changes if isinstance(c, ChildChange)))
        if not plan.changes:
            return old, plan.expires_at
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines:
            # Nothing else is known yet that would be worth telling.
            old = replace(old, inventory=in_order((*old.inventory, *lines)))
            written = await self._kubernetes.apply_status(resource.meta, old.as_dict())
            self._report.take_in(resource.meta, written)
        plan, applied = await self._carry_out(key, plan, Mode.ENFORCE, now)
        self._remover.tell_of_writes(resource.meta, applied)
        self._report.tell_of(resource.meta, old, old, plan, applied)
        self._report.remember(resource.meta, put_right(plan, applied))
        return old, plan.expires_at
