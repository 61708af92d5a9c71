"""What a pass says of drift: what it put right, what is left, and how both are told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from entra_access.api.drift import DRIFTED, IN_SYNC, UNKNOWN, DriftCheck
from entra_access.api.resources import Mode
from entra_access.api.status import CORRECTED, PENDING, REPORTED, DriftItem, System
from entra_access.domain.adoption import ADOPTING
from entra_access.domain.changes import Change, RemovePrincipal
from entra_access.domain.difference import GONE, NOT, Difference, acted, differences_of
from entra_access.domain.expiry import EXPIRED
from entra_access.domain.faults import Finding, Link, Severity, Taken
from entra_access.domain.group_plan import RESTORING, SETTLING
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import CREATING
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.contests import CONTESTED

OBSERVE_ONLY = "ObserveOnly"
UNDER_WAY = {RESTORING, SETTLING, CREATING, ADOPTING}
"""What plans say of what their own changes begin or go on with."""
_SYSTEMS = {
    Link.SUBJECT: System.ENTRA,
    Link.MEMBERS: System.ENTRA,
    Link.AZURE_ROLES: System.AZURE,
    Link.BINDINGS: System.KUBERNETES,
    Link.POLICY: System.KUBERNETES,
    Link.CEILING: System.AZURE,
}
"""Where that is what a link is about."""


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


def unmade(plan: Plan, applied: Applied) -> list[Change]:
    """The changes of a plan that were not made, for whatever reason."""
    done = {id(change) for change in applied.done}
    return [change for change in plan.changes if id(change) not in done]


def missing(plan: Plan, applied: Applied) -> list[Change]:
    """The changes that were not made, without those whose place something of another hand has."""
    taken = _taken(applied)
    return [change for change in unmade(plan, applied) if id(change) not in taken]


def _taken(applied: Applied) -> set[int]:
    """The ids of the changes whose objects cannot be made because others have their place."""
    refused = zip(applied.failed, applied.findings, strict=False)
    return {id(change) for change, finding in refused if finding.reason == Taken.reason}


def outstanding(plan: Plan, applied: Applied, mode: Mode) -> tuple[DriftItem, ...]:
    """What is not as it should be after the pass.

    Who only observes is told all of it; else a wish that is not fulfilled yet is no drift.
    """
    done, taken = {id(change) for change in applied.done}, _taken(applied)
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
    findings, left = tuple(findings), outstanding(plan, applied, look.mode)
    blind = [finding for finding in findings if unseen(finding)]
    worst = next((finding for finding in blind if finding.severity is not Severity.WAITING), None)
    if not plan.compared and plan.inventory and worst is None:
        # What was made is not looked after until somebody acts.
        stalled = (finding for finding in findings if finding.severity is Severity.STALLED)
        worst = next((finding for finding in stalled if finding.reason != OBSERVE_ONLY), None)
    reason = worst.text if worst else look.blind
    looked = DRIFTED if left else (IN_SYNC if plan.compared else "")
    return DriftCheck(
        state=UNKNOWN if reason else looked,
        corrected=(*put_right(plan, applied), *look.untold),
        outstanding=left,
        reason=reason,
        last_good=look.last_good,
        unseen=_unseen_systems(plan, blind),
    )


def _unseen_systems(plan: Plan, blind: Iterable[Finding]) -> frozenset[System]:
    """Where a pass could not look at everything."""
    if not plan.compared:
        return frozenset(System)
    account = Link.AZURE_ROLES in plan.without  # Azure knows no service accounts: all of it is in the cluster
    return frozenset(System.KUBERNETES if account else _SYSTEMS[finding.link] for finding in blind)


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
    if item.system is System.ENTRA and item.field in {"members", "owners"}:
        return _membership_text(item)
    if item.action == CORRECTED and item.found == GONE:
        return f"{item.object} was {GONE}; there is a new one, and all bindings and assignments move to it"
    if item.system is System.KUBERNETES and item.expected.startswith(NOT):
        by = f", written by {item.changed_by}" if item.changed_by else ""
        return f"{item.object}{by}: {item.found}, which nobody declared"
    by = f" by {item.changed_by}" if item.changed_by else ""
    if item.action == CORRECTED:
        if not item.field:
            return f"{item.object} was {item.found}{by}; it is {item.expected} again"
        return f"{item.object}: {item.field} was changed{by} to {item.found}; it is {item.expected} again"
    if not item.field:
        return f"{item.object} is {item.found}{by}, and should be {item.expected}"
    return f"{item.object}: {item.field} is {item.found}{by}, and should be {item.expected}"


def _membership_text(item: DriftItem) -> str:
    """Somebody in a group who is not to be there, or the other way round."""
    missing = item.found.startswith(NOT)
    who = item.expected if missing else item.found
    if item.action == CORRECTED:
        done, undone = ("taken out of", "put back") if missing else ("put into", "taken out")
        return f"{item.object}: {who} was {done} the {item.field}, and is {undone} again"
    return f"{item.object}: {who} {'is missing' if missing else 'should not be'} among the {item.field}"


def observed(plan: Plan, *, read_only: bool = False) -> tuple[Finding, ...]:
    """What a plan finds where nothing may be written: somebody must act, or change the mode.

    `read_only`: because the operator was started so.
    """
    why, then = ("mode is Observe", "set spec.mode of the policy to Enforce")
    if read_only:
        why, then = "the operator was started with --observe", "start it without"
    lacking = {str(change): change.link for change in plan.changes if _lacks(change, plan)}
    missing = (
        Finding(link, Severity.STALLED, OBSERVE_ONLY, f"not in place, and {why}: to {text}, {then}")
        for text, link in lacking.items()
    )
    findings = [finding for finding in plan.findings if finding.reason not in UNDER_WAY]
    if any(change.removal for change in plan.changes) or any(map(unseen, plan.findings)):
        message = (
            f"the access was to end at {plan.expires_at}, and nothing takes it away, because {why}; to end "
            f"it {then}, to keep it set a later spec.expiresAt"
        )
        findings = [replace(one, message=message) if one.reason == EXPIRED else one for one in findings]
    return (*findings, *missing)


def _lacks(change: Change, plan: Plan) -> bool:
    """Whether access is lacking without the change: also as long as a group is not seen as settled."""
    return change.gives or (plan.subject is None and isinstance(change, RemovePrincipal))
