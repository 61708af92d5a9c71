"""Kubernetes Events: what a user would want to know without looking at the status. Never needed to work."""

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import FIELD_MANAGER
from entra_access.api.resources import Meta
from entra_access.api.status import ConditionType, DriftItem, Status
from entra_access.api.times import stamp
from entra_access.domain.changes import Change, ChildChange
from entra_access.domain.faults import Fault, Severity
from entra_access.domain.naming import digest
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.contests import CONTESTED
from entra_access.reconcile.drifting import drift_text

logger = logging.getLogger(__name__)
MAX_WAITING: Final = 1000
_COMPONENT: Final = FIELD_MANAGER


@dataclass(frozen=True)
class Note:
    """One event: `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def notes_of(
    old: Status, new: Status, plan: Plan, applied: Applied, corrected: Iterable[DriftItem] = ()
) -> Iterator[Note]:
    """What is worth an event after a pass; `corrected` is what it put right of what others did."""
    for change in applied.done:
        if not isinstance(change, ChildChange):
            yield Note("Normal", _reason(change), _past(str(change)))
    for item in corrected:
        yield Note("Warning", "DriftCorrected", drift_text(item))
    yield from _found(old, new)
    yield from _warnings(old, plan)
    for kind, wanted, note_type in (
        (ConditionType.READY, "True", "Normal"),
        (ConditionType.STALLED, "True", "Warning"),
    ):
        condition, before = new.condition(kind), old.condition(kind)
        if condition is None or condition.status != wanted:
            continue
        same = before is not None and (before.status, before.reason) == (condition.status, condition.reason)
        if not same:
            reason = "Ready" if kind == ConditionType.READY else condition.reason
            yield Note(note_type, reason, condition.message)


def _found(old: Status, new: Status) -> Iterator[Note]:
    """An event when something is not as it was made and stays so, and when that is for another reason.

    A contest comes and goes with each correction: it is told of once, by who keeps count of it.
    """
    condition, before = new.condition(ConditionType.DRIFTED), old.condition(ConditionType.DRIFTED)
    if condition is None or condition.reason == CONTESTED:
        return
    if before is None or (before.reason, before.message) != (condition.reason, condition.message):
        yield Note("Warning", condition.reason, condition.message)


def _warnings(old: Status, plan: Plan) -> Iterator[Note]:
    """An event for each warning that the condition did not have yet."""
    condition = old.condition(ConditionType.WARNING)
    told = condition.message if condition else ""
    texts = {f.text: f.reason for f in plan.findings if f.severity is Severity.WARNING}
    for text, reason in texts.items():
        if text not in told:
            yield Note("Warning", reason, text)


def _reason(change: Change) -> str:
    """As GroupCreated for CreateGroup."""
    verbs = {
        "CreateGroup": "GroupCreated",
        "RestoreGroup": "GroupRestored",
        "AdoptGroup": "GroupAdopted",
        "UpdateGroup": "GroupUpdated",
        "DeleteGroup": "GroupDeleted",
        "AddPrincipals": "MembershipAdded",
        "RemovePrincipal": "MembershipRemoved",
        "AssignRole": "RoleAssigned",
        "UnassignRole": "RoleUnassigned",
        "DefineRole": "CustomRoleWritten",
        "RemoveRole": "CustomRoleDeleted",
    }
    return verbs[type(change).__name__]


def _past(text: str) -> str:
    """What was to be done, as done: the first word is the verb."""
    verb, _, rest = text.partition(" ")
    irregular = {"set": "set", "adopt": "adopted"}
    return f"{irregular.get(verb) or verb.removesuffix('e') + 'ed'} {rest}"


class Notes:
    """Writes events in the background, one after another, so that no pass waits for them."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes
        self._waiting: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue(MAX_WAITING)

    def add(self, meta: Meta, note: Note, now: datetime) -> None:
        """Have an event written. When too many wait already it is left out: events are a courtesy."""
        namespace = meta.namespace or "default"
        when = stamp(now)
        name = f"{meta.name}.{digest(f'{meta.uid}{note}{now.isoformat()}', 16)}"
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": meta.kind.api_version,
                "kind": meta.kind.kind,
                "name": meta.name,
                "namespace": meta.namespace or "",
                "uid": meta.uid,
            },
            "type": note.type,
            "reason": note.reason,
            "message": note.message[:1000],
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": os.environ.get("HOSTNAME", _COMPONENT),
            "firstTimestamp": when,
            "lastTimestamp": when,
            "count": 1,
        }
        try:
            self._waiting.put_nowait((namespace, event))
        except asyncio.QueueFull:
            logger.info("too many events are waiting; left out: %s", note.message)

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            namespace, event = await self._waiting.get()
            try:
                await self._kubernetes.create_event(namespace, event)
            except Fault as fault:
                logger.info("an event could not be recorded: %s", fault.message)
