"""What a pass says of drift: what it put right, what is left, and how both are told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from entra_access.api.drift import DRIFTED, IN_SYNC, UNKNOWN, DriftCheck
from entra_access.api.resources import Mode
from entra_access.api.status import CORRECTED, PENDING, REPORTED, DriftItem
from entra_access.domain.changes import Change
from entra_access.domain.difference import Difference, acted, differences_of
from entra_access.domain.faults import Finding, Severity, Taken
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.contests import CONTESTED

OBSERVE_ONLY = "ObserveOnly"


@dataclass(frozen=True)
class Look:
    """How a pass looks at its resource.

    Attributes
    ----------
    mode
        Whether it puts right what it finds.
    untold
        What earlier passes put right and could not write down.
    last_good
        When the resource was last looked at as a whole; empty where that is not remembered.
    blind
        Why changes of it would not be heard of just now; empty where they would.
    """

    mode: Mode = Mode.ENFORCE
    untold: tuple[DriftItem, ...] = ()
    last_good: str = ""
    blind: str = ""


def all_differences(plan: Plan) -> tuple[Difference, ...]:
    """All that is not as it should be, as a plan has it."""
    group = plan.subject.display_name if plan.subject else ""
    return differences_of(plan.changes, plan.differences, group)


def put_right(plan: Plan, applied: Applied) -> tuple[DriftItem, ...]:
    """The changes by other hands that this pass has undone."""
    done = {id(change) for change in applied.done}
    return tuple(acted(d.item, CORRECTED) for d in plan.differences if d.foreign and id(d.change) in done)


def outstanding(plan: Plan, applied: Applied, mode: Mode) -> tuple[DriftItem, ...]:
    """What is not as it should be after the pass.

    Who only observes is told all of it; else a wish that is not fulfilled yet is no drift.
    """
    done = {id(change) for change in applied.done}
    refused = zip(applied.failed, applied.findings, strict=True)
    taken = {id(change) for change, finding in refused if finding.reason == Taken.reason}
    items = []
    for one in all_differences(plan):
        if id(one.change) in taken:
            # Whether ours was there before, its place is not free.
            items.append(replace(one.item, found="an object of another hand", action=PENDING))
        elif one.change is None or (mode is Mode.OBSERVE and id(one.change) not in done):
            items.append(acted(one.item, REPORTED))
        elif one.foreign and id(one.change) not in done:
            items.append(acted(one.item, PENDING))
    return tuple(items)


def unseen(finding: Finding) -> bool:
    """Whether it tells of something that could not be looked at."""
    return finding.unseen or finding.severity is Severity.UNKNOWN


def drift_check(plan: Plan, applied: Applied, findings: Iterable[Finding], look: Look) -> DriftCheck:
    """What the pass found, for the status."""
    left = outstanding(plan, applied, look.mode)
    blind = next((f.text for f in findings if unseen(f) and f.severity is not Severity.WAITING), look.blind)
    state = UNKNOWN if blind else (DRIFTED if left else IN_SYNC)
    return DriftCheck(
        state=state,
        corrected=(*put_right(plan, applied), *look.untold),
        outstanding=left,
        reason=blind,
        last_good=look.last_good,
    )


def drifted(items: Sequence[DriftItem], findings: Iterable[Finding], mode: Mode) -> tuple[str, list[str]]:
    """The reason of the condition Drifted, and its texts."""
    if any(finding.reason == CONTESTED for finding in findings):
        reason = CONTESTED
    elif mode is Mode.OBSERVE:
        reason = "Observed"
    elif all(item.action == REPORTED for item in items):
        reason = "ForeignAccess"
    else:
        reason = "NotYetCorrected"
    return reason, [drift_text(item) for item in items]


def drift_text(item: DriftItem) -> str:
    """The item in one sentence."""
    by = f" by {item.changed_by}" if item.changed_by else ""
    if item.action == CORRECTED:
        if not item.field:
            return f"{item.object} was {item.found}{by}; it is {item.expected} again"
        return f"{item.object}: {item.field} was changed{by} to {item.found}; it is {item.expected} again"
    if not item.field:
        return f"{item.object} is {item.found}{by}, and should be {item.expected}"
    return f"{item.object}: {item.field} is {item.found}{by}, and should be {item.expected}"


def observed(changes: Iterable[Change]) -> list[Finding]:
    """What is missing where nothing may be written: somebody must act, or change the mode."""
    lacking: dict[str, Change] = {str(change): change for change in changes if change.gives}
    return [
        Finding(
            change.link,
            Severity.STALLED,
            OBSERVE_ONLY,
            f"not in place, and mode is Observe: to {text}, set spec.mode of the policy to Enforce",
        )
        for text, change in lacking.items()
    ]
