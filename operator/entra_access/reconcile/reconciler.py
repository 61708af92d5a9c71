"""One pass over one resource: gather, plan, apply, status."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import FINALIZER, GRANT, KINDS, POLICY, SECRET, SERVICE_ACCOUNT
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_grant, read_meta, read_policy
from entra_access.api.resources import AccessPolicy, Meta, NamespaceGrant
from entra_access.api.status import ConditionType, DriftItem, Item, Status, System, read_status
from entra_access.api.times import stamp
from entra_access.domain.changes import ApplyChild, DefineRole, DeleteChild, UnassignRole
from entra_access.domain.children import by_ref, is_shared
from entra_access.domain.faults import Fault, Finding, Link, Missing, Severity
from entra_access.domain.grant_plan import plan_grant, plan_grant_removal
from entra_access.domain.group_plan import group_item
from entra_access.domain.inventory import announced
from entra_access.domain.observed import GrantWorld, PolicyWorld
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan, child_item, plan_children, still_to_come
from entra_access.domain.policy_plan import plan_policy, plan_policy_removal
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.cache import Body, Key, WatchCache
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.notes import Notes, notes_of
from entra_access.reconcile.outcome import Next, in_order, make_status, next_look, put_right

logger = logging.getLogger(__name__)
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
    ) -> None:
        self._place = place
        self._cache = cache
        self._kubernetes = kubernetes
        self._gatherer = gatherer
        self._applier = applier
        self._notes = notes
        self._tell = tell
        self._clock = clock
        self._stalled_after = stalled_after
        self._untold: dict[Key, tuple[DriftItem, ...]] = {}
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
            if self._leaves_something(key, meta):
                body = await self._kubernetes.set_finalizers(meta, (*meta.finalizers, FINALIZER))
                self._take_in(meta, body)
            return await self._pass(body)
        except Missing:
            return Next()  # gone while it was looked at; the watch will say so
        except Fault as fault:
            logger.warning("%s: %s: %s", key, fault.reason, fault.message)
            return Next(after=fault.retry_after, failed=True)

    def _leaves_something(self, key: Key, meta: Meta) -> bool:
        """Whether it makes what Kubernetes does not collect, and does not say so yet."""
        return self._cache.needs_azure(key) and FINALIZER not in meta.finalizers

    async def _pass(self, body: Body) -> Next:
        meta, old, now = read_meta(body), read_status(body), self._clock()
        try:
            resource = read_policy(body) if meta.kind is POLICY else read_grant(body)
        except InvalidFieldError as error:
            plan = self._unreadable(meta, old, error)
        else:
            old = await self._bindings_first(resource, old, now)
            plan = await self._plan(resource, old, now)
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines:
            # It stays told of when it cannot be made, too: its making may only seem to fail.
            plan = replace(plan, inventory=(*plan.inventory, *lines))
            old = await self._announce(meta, old, plan, lines, now)
        applied = await self._applier.run(plan, stamp(now))
        self._tell_of_writes(meta, applied)
        await self._write_status(meta, body, old, plan, applied)
        return next_look((*plan.findings, *applied.findings), self._stalled_after)

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
        key = _key(resource.meta)
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
            plan = plan_grant(resource, self._place, world, old.inventory, stamp(now))
        elif isinstance(resource, AccessPolicy) and isinstance(world, PolicyWorld):
            plan = plan_policy(resource, self._place, world, old.inventory, stamp(now), old.subject)
        else:
            raise TypeError("the world of another kind")
        if noted:
            self._cache.azure_claims.note(_key(meta), plan.claims)
        return plan

    async def _bindings_first(
        self, resource: AccessPolicy | NamespaceGrant, old: Status, now: datetime
    ) -> Status:
        """Do what is to be done in the cluster before Graph and ARM are asked anything.

        They may take long to answer, or not answer at all. It is the same plan, made of what is known without
        them: who the subject is, and nothing of members and roles. Returns the status as it is now.
        """
        meta, key = resource.meta, _key(resource.meta)
        if not self._cache.needs_azure(key):
            return old
        if isinstance(resource, NamespaceGrant):
            local: PolicyWorld | GrantWorld = await self._gatherer.grant_local(resource, old)
        else:
            local = await self._gatherer.local(resource, old)
        plan = self._planned(resource, local, old, now, noted=False)
        plan = replace(
            plan, changes=tuple(c for c in plan.changes if isinstance(c, ApplyChild | DeleteChild))
        )
        if not plan.changes:
            return old
        lines = announced(plan, old.inventory, self._place, stamp(now))
        if lines:
            # Nothing else is known yet that would be worth telling.
            old = replace(old, inventory=in_order((*old.inventory, *lines)))
            self._take_in(meta, await self._kubernetes.apply_status(meta, old.as_dict()))
        applied = await self._applier.run(plan, stamp(now))
        self._tell_of_writes(meta, applied)
        self._tell_of(meta, old, old, plan, applied)
        self._untold[key] = (*put_right(plan, applied), *self._untold.get(key, ()))
        return old

    def _unreadable(self, meta: Meta, old: Status, error: InvalidFieldError) -> Plan:
        """A spec that cannot be used changes nothing: what was made before stays."""
        link = Link.SUBJECT if meta.kind is POLICY else Link.POLICY
        finding = Finding(link, Severity.STALLED, "InvalidSpec", error.message, error.path)
        children = self._cache.children(_key(meta))
        # No watch shows Secrets, nor whose else an account is; and what is about to be made may be there.
        unseen = {SECRET.kind, SERVICE_ACCOUNT.kind}
        kept = [i for i in old.inventory if i.system is not System.KUBERNETES or i.kind in unseen]
        kept += still_to_come(old.inventory, by_ref(children))
        kept += [child_item(child.ref, child.uid) for child in children]
        return Plan(findings=(finding,), subject=old.subject, inventory=tuple(kept))

    async def _announce(
        self, meta: Meta, old: Status, plan: Plan, lines: tuple[Item, ...], now: datetime
    ) -> Status:
        """Write down what is about to be made, before it is.

        Were the operator to end right after making it, a deletion or another wish would else find no trace
        of what is not visible everywhere yet, or where nobody would look for it, and leave it behind.
        """
        finding = Finding(Link.SUBJECT, Severity.WAITING, "Creating", _being_made(lines))
        kept = plan.subject if plan.subject and plan.subject.rbac_name else None
        announced_plan = replace(plan, findings=(finding,), subject=kept)
        status = make_status(meta, old, announced_plan, Applied(), now)
        self._take_in(meta, await self._kubernetes.apply_status(meta, status.as_dict()))
        return status

    async def _remove(self, body: Body) -> Next:
        """Take away all that a resource made, then let it go."""
        meta, old, now = read_meta(body), read_status(body), self._clock()
        plan = await self._removal_plan(meta, body, old, now)
        applied = await self._applier.run(plan, stamp(now))
        self._tell_of_writes(meta, applied)
        findings = (*plan.findings, *applied.findings)
        if any(finding.severity.hinders for finding in findings):
            await self._write_status(meta, body, old, plan, applied)
            return next_look(findings, self._stalled_after)
        self._tell_of(meta, old, old, plan, applied)
        left = tuple(finalizer for finalizer in meta.finalizers if finalizer != FINALIZER)
        written = await self._kubernetes.set_finalizers(meta, left)
        if left:
            self._take_in(meta, written)
        else:
            # It is gone now: a look that is due already must not remove everything once more.
            for key in self._cache.drop(meta.kind, meta.namespace, meta.name, meta.uid) - {_key(meta)}:
                self._tell(key)
        logger.info("%s: removed with all that it had made", meta)
        return Next()

    async def _removal_plan(self, meta: Meta, body: Body, old: Status, now: datetime) -> Plan:
        claims = self._cache.azure_claims
        if meta.kind is POLICY:
            spec = body.get("spec") or {}
            account = "serviceAccount" in (spec.get("subject") or {})
            in_azure = not account or any(item.system is System.AZURE for item in old.inventory)
            group = "group" in (spec.get("subject") or {}) or group_item(old.inventory) is not None
            world = await self._gatherer.removal(meta, old, now, group=group, azure=in_azure)
            claims.note(_key(meta), frozenset())
            world = replace(world, claimed=self._gatherer.claimed(meta, old, world.assignments))
            return plan_policy_removal(meta, self._place, world, old.inventory, stamp(now))
        grant_world = await self._gatherer.grant_removal(meta, old)
        claims.note(_key(meta), frozenset())
        grant_world = replace(grant_world, claimed=self._gatherer.claimed(meta, old, grant_world.assignments))
        return plan_grant_removal(meta, self._place, grant_world, old.inventory, stamp(now))

    async def _absent(self, key: Key) -> Next:
        """A resource that is not there any more. Kubernetes collects its children; what it left, we do."""
        # What other policies have too stays for them; Kubernetes takes this one out of the owners.
        children = [one for one in self._cache.children(key) if not is_shared(one, key.name)]
        if not children or key.kind not in {POLICY.kind, GRANT.kind}:
            return Next()
        if await self._kubernetes.get(KINDS[key.kind], key.namespace, key.name) is not None:
            return Next(failed=True)  # the watch has not shown it yet
        removals = plan_children((), children, (), "").removals
        applied = await self._applier.run(Plan(changes=removals), stamp(self._clock()))
        return next_look(applied.findings, self._stalled_after)

    async def _write_status(self, meta: Meta, body: Body, old: Status, plan: Plan, applied: Applied) -> None:
        """Write the status if there is anything new in it, and say so in events and the log."""
        now = self._clock()
        # What was put right in a pass whose status could not be written is still worth telling.
        untold = self._untold.pop(_key(meta), ())
        new = make_status(meta, old, plan, applied, now, untold)
        self._tell_of(meta, old, new, plan, applied)
        if _as_compared(new.as_dict()) == _as_compared(self._current(meta, body)):
            return
        try:
            written = await self._kubernetes.apply_status(meta, new.as_dict())
            if _as_compared(written["status"]) != _as_compared(new.as_dict()):
                # Another hand put something into it that is ours to say; an apply leaves that where it is.
                others = [c for c in written["status"]["conditions"] if c["type"] not in OURS]
                status = new.as_dict()
                status["conditions"] += others
                written = await self._kubernetes.replace_status(meta, written, status)
        except Fault:
            self._untold[_key(meta)] = (*put_right(plan, applied), *untold)
            raise
        self._take_in(meta, written)

    def _tell_of_writes(self, meta: Meta, applied: Applied) -> None:
        """Let those look again whom the writes concern, as the watch's echo of them will be no news.

        And those who have begun to want an assignment while it was taken away; and let a role that was made
        be found by whoever looks for it now.
        """
        if any(isinstance(change, DefineRole) for change in applied.done):
            self._gatherer.role_made()
        taken = {change.assignment_id for change in applied.done if isinstance(change, UnassignRole)}
        for key in (self._cache.azure_claims.holders(taken) | applied.concerned) - {_key(meta)}:
            self._tell(key)

    def _tell_of(self, meta: Meta, old: Status, new: Status, plan: Plan, applied: Applied) -> None:
        """Say in the log and in events what was done."""
        for change in applied.done:
            logger.info("%s: %s", meta, change)
        for note in notes_of(old, new, plan, applied):
            self._notes.add(meta, note, self._clock())

    def _take_in(self, meta: Meta, written: Body) -> None:
        """Take in the answer to an own write, and tell whom it concerns.

        The watch's echo of it will be no news then. So this is where grants learn of a new subject, and
        where a spec is noticed that somebody changed between our reading and our writing.
        """
        own = _key(meta)
        for key in self._cache.put(meta.kind, written) - {own}:
            self._tell(key)
        now = read_meta(written)
        if (now.generation, now.deleting) != (meta.generation, meta.deleting):
            self._tell(own)

    def _current(self, meta: Meta, body: Body) -> dict[str, object]:
        """The status that is there now; the pass may have written one itself."""
        latest = self._cache.resource(_key(meta)) or body
        return dict(latest.get("status") or {})


def _key(meta: Meta) -> Key:
    return Key(meta.kind.kind, meta.namespace, meta.name)


def _being_made(lines: tuple[Item, ...]) -> str:
    """As ``the Group appdev is being made``, for what is announced."""
    named = ", ".join(f"{item.kind} {item.name}" for item in lines)
    return f"{named} {'is' if len(lines) == 1 else 'are'} being made"


def _as_compared(status: dict[str, object]) -> dict[str, object]:
    """A status for comparing: our conditions only, in the order of their types."""
    conditions = status.get("conditions") or []
    ours = [c for c in conditions if c["type"] in OURS] if isinstance(conditions, list) else []
    return {**status, "conditions": sorted(ours, key=lambda condition: str(condition["type"]))}
