"""What a preview says of one resource: in words for people, and in values for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from entra_access.api.resources import Mode
from entra_access.api.status import REPORTED, DriftItem
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    ApplyChild,
    Change,
    HoldChild,
    LeaveAccount,
    RemovePrincipal,
    RestoreGroup,
    UnassignRole,
)
from entra_access.domain.difference import ABSENT, PRESENT, Difference, acted
from entra_access.domain.expiry import EXPIRED
from entra_access.domain.faults import (
    Denied,
    Finding,
    Link,
    Rejected,
    Replicating,
    Severity,
    SignInFailed,
    Throttled,
    Unavailable,
)
from entra_access.domain.naming import is_guid
from entra_access.domain.plan import Plan, count
from entra_access.reconcile.cache import Key
from entra_access.reconcile.drifting import all_differences, drift_text, unseen

NOTHING_TO_DO: Final = 0
FAILED: Final = 1
CHANGES: Final = 2
FOREIGN: Final = "ForeignAccess"
_SIGNS: Final = {"create": "+", "update": "~", "delete": "-"}
_FAULTS: Final = (Denied, Rejected, Replicating, SignInFailed, Throttled, Unavailable)
_NOT_SEEN: Final = {fault.reason for fault in _FAULTS}
"""Where nothing is written, these can only have come from looking."""
_WORDS: Final = {Severity.UNKNOWN: "not known"}


@dataclass(frozen=True)
class Line:
    """One thing that would be changed. `action` is create, update or delete."""

    action: str
    item: DriftItem
    text: str

    def as_dict(self) -> dict[str, str]:
        """The line for programs."""
        item = self.item
        values = {"action": self.action, "system": item.system.value, "object": item.object}
        values |= {"field": item.field, "expected": item.expected, "found": item.found}
        more = {"changedBy": item.changed_by} if item.changed_by else {}
        return values | more | {"text": self.text}


@dataclass(frozen=True)
class Proposal:
    """What the operator would do about one resource.

    Attributes
    ----------
    mode
        In Observe nothing of it is done.
    asked
        The resource is in the files; else it is concerned by what is in them.
    """

    key: Key
    mode: Mode
    plan: Plan
    asked: bool = True

    @cached_property
    def changes(self) -> tuple[Line, ...]:
        """What would be changed, in the order in which it is done."""
        order = {id(change): number for number, change in enumerate(self.plan.changes)}
        found = [one for one in all_differences(self.plan) if one.change]
        found.sort(key=lambda one: order.get(id(one.change), len(order)))
        return tuple(_line(one, one.change) for one in found if one.change)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What else there is to say, the worst first; access that others gave is only told of."""
        told = (acted(one.item, REPORTED) for one in all_differences(self.plan) if one.change is None)
        notes = (Finding(Link.BINDINGS, Severity.NOTE, FOREIGN, drift_text(item)) for item in told)
        findings = dict.fromkeys((*self.plan.findings, *notes))
        return tuple(sorted(findings, key=lambda one: -one.severity))

    @property
    def incomplete(self) -> bool:
        """Whether something could not be looked at, so that there may be more to do, or less."""
        return any(unseen(one) or one.reason in _NOT_SEEN for one in self.findings)

    @property
    def stalled(self) -> bool:
        """Whether somebody must act before all is as the resource says. What is over is over as it says."""
        return any(one.severity is Severity.STALLED and one.reason != EXPIRED for one in self.findings)

    @property
    def waiting(self) -> bool:
        """Whether more follows when something has come."""
        return any(one.severity is Severity.WAITING for one in self.findings)

    def words(self) -> str:
        """A headline, then a line for each change and each finding."""
        lines = [f"  {_SIGNS[one.action]} {one.text}" for one in self.changes]
        lines += [f"  {_word(one.severity)}: {one.text}" for one in self.findings]
        outside = "" if self.asked else " (not in the files)"
        return "\n".join([f"{self.key}{outside}: {self._headline()}", *lines])

    def _headline(self) -> str:
        number = len(self.changes)
        if self.incomplete:
            many = f"{count(number, 'change')}, and perhaps more or less" if number else "no plan"
            return f"{many}: not all could be looked at"
        if number:
            observed = "; none is made, because mode is Observe" if self.mode is Mode.OBSERVE else ""
            return count(number, "change") + observed
        return "nothing can be done" if self.stalled else f"no changes{' yet' if self.waiting else ''}"

    def as_dict(self) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "inFiles": self.asked,
            "mode": self.mode.value,
            "changes": [one.as_dict() for one in self.changes],
            "findings": [
                {"severity": one.severity.name.capitalize(), "reason": one.reason, "message": one.text}
                for one in self.findings
            ],
            "subject": self._subject(),
        }

    def _subject(self) -> dict[str, str] | None:
        """Without the id of a group that is not made yet."""
        subject = self.plan.subject
        if subject is None:
            return None
        made_up = subject.object_id if not is_guid(subject.object_id) else ""
        return {key: value for key, value in subject.as_dict().items() if not made_up or value != made_up}


def exit_code(proposals: Sequence[Proposal]) -> int:
    """0: nothing to do. 2: changes, now or when what is awaited has come. 1: not all can be said, or done."""
    if any(one.incomplete or (one.asked and one.stalled) for one in proposals):
        return FAILED
    return CHANGES if any(one.changes or one.waiting for one in proposals) else NOTHING_TO_DO


def all_words(proposals: Iterable[Proposal]) -> str:
    """All of them in words."""
    return "\n\n".join(one.words() for one in proposals)


def _word(severity: Severity) -> str:
    return _WORDS.get(severity) or severity.name.lower()


def _line(difference: Difference, change: Change) -> Line:
    item = difference.item
    if change.removal and not isinstance(change, LeaveAccount):
        action = "delete"
    elif item.field and not isinstance(change, AddPrincipals):
        action = "update"
    else:
        action = "create"
    return Line(action, item, _text(difference, change))


def _text(difference: Difference, change: Change) -> str:
    item = difference.item
    by = f" by {item.changed_by}" if item.changed_by else ""
    match change:
        case AddPrincipals():
            return f"add {item.expected} to the {item.field} of {_group(item)}"
        case RemovePrincipal():
            return f"remove {item.found} from the {item.field} of {_group(item)}"
        case UnassignRole():
            # With the place: the same role may be assigned elsewhere, and stay.
            return f"remove assignment of Azure role {item.object.removeprefix('RoleAssignment ')}"
        case ApplyChild(child) if child.joins:
            return str(change)
        case LeaveAccount() | HoldChild() | RestoreGroup():
            return str(change)
        case _ if item.field and not isinstance(change, AdoptGroup):
            return f"{item.object}: {item.field} is {item.found}{by}, and will be {item.expected}"
        case _:
            lost = difference.foreign and item.found not in {PRESENT, ABSENT}
            return f"{change}, which was {item.found}{by}" if lost else str(change)


def _group(item: DriftItem) -> str:
    return f"group {item.object.removeprefix('Group ')}"
