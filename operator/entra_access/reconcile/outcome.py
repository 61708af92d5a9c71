"""From what a pass found to what people see: the one mapping to conditions, status and the next look."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from entra_access.api.names import GRANT, POLICY, Kind
from entra_access.api.resources import Meta
from entra_access.api.status import (
    Condition,
    ConditionType,
    DriftItem,
    Item,
    Status,
    Subject,
    System,
    merge_drift,
    settle_conditions,
)
from entra_access.api.times import stamp
from entra_access.domain.changes import ApplyChild, UpdateGroup
from entra_access.domain.effective import effective_by
from entra_access.domain.faults import Finding, Link, Replicating, Severity, Taken
from entra_access.domain.group_plan import RESTORING, SETTLING
from entra_access.domain.plan import Plan, count
from entra_access.domain.policy_plan import CREATING
from entra_access.reconcile.apply import Applied

SHORT_PAUSE: Final = 3.0
"""The longest pause while nothing failed and only replication is awaited, which takes seconds as a rule."""
EXPECTED_REASONS: Final = {Replicating.reason, RESTORING, SETTLING, CREATING}
MAX_TEXTS: Final = 10
MAX_TEXT: Final = 1000
_CONDITION: Final = {
    Link.POLICY: ConditionType.POLICY,
    Link.CEILING: ConditionType.CEILING,
    Link.SUBJECT: ConditionType.SUBJECT,
    Link.MEMBERS: ConditionType.MEMBERS,
    Link.AZURE_ROLES: ConditionType.AZURE_ROLES,
    Link.BINDINGS: ConditionType.BINDINGS,
}
_CHAIN: Final = {
    POLICY: (Link.SUBJECT, Link.MEMBERS, Link.AZURE_ROLES, Link.BINDINGS),
    GRANT: (Link.POLICY, Link.CEILING, Link.AZURE_ROLES, Link.BINDINGS),
}
"""The links of each kind, in order. While nobody is known to give access to, later ones wait."""
_COUNTS: Final = {
    POLICY: {"members", "azureRoles", "clusterRoleBindings", "roleBindings", "namespaces"},
    GRANT: {"roles", "roleBindings", "azureRoles"},
}
_GIVES_NOTHING: Final = {Link.POLICY, Link.CEILING}
"""While one of these is broken, a grant gives nothing."""


@dataclass(frozen=True)
class Next:
    """When to look again: after so many seconds; `failed`: later after each further failure.

    `longest` bounds the pause that failures lead to; None: as long as the queue thinks fit.
    """

    after: float | None = None
    failed: bool = False
    longest: float | None = None


def next_look(findings: Iterable[Finding], stalled_after: float) -> Next:
    """When a pass with these findings is to be repeated without being asked.

    Passing troubles soon, with growing pauses, and not before the service's own Retry-After. What somebody
    must mend, now and then: it may be mended where no watch sees it.
    """
    passing = [f for f in findings if f.severity in {Severity.WAITING, Severity.UNKNOWN}]
    if passing:
        waits = [f.retry_after for f in passing if f.retry_after is not None]
        soon = {finding.reason for finding in passing} <= EXPECTED_REASONS
        return Next(max(waits, default=None), failed=True, longest=SHORT_PAUSE if soon else None)
    stalled = any(finding.severity is Severity.STALLED for finding in findings)
    return Next(after=stalled_after if stalled else None)


def make_status(
    meta: Meta, old: Status, plan: Plan, applied: Applied, now: datetime, untold: Iterable[DriftItem] = ()
) -> Status:
    """The whole status after a pass. `untold`: what earlier passes put right and could not write down."""
    # What failed first: it explains what the plan awaits.
    findings = (*applied.findings, *plan.findings)
    subject = _subject(old, plan, applied, findings)
    corrected = (*put_right(plan, applied), *untold)
    counts = _counts(meta, old, plan)
    return Status(
        observed_generation=meta.generation,
        conditions=settle_conditions(
            old.conditions, _conditions(meta, plan, findings, subject, counts), stamp(now)
        ),
        subject=subject,
        counts=counts,
        inventory=merge_inventory(old.inventory, plan.inventory, applied, plan.gone),
        effective_by=effective_by(old.effective_by, applied.done, now),
        drift=merge_drift(old.drift, _drift_state(plan, applied, findings), corrected, stamp(now)),
    )


def _counts(meta: Meta, old: Status, plan: Plan) -> dict[str, int]:
    """How many of each there are. What was not seen in this pass (None) stays as it was known."""
    known = {name: number for name, number in old.counts.items() if name in _COUNTS[meta.kind]}
    if not plan.counts:
        return known
    now = {name: known.get(name) if number is None else number for name, number in plan.counts.items()}
    return {name: number for name, number in now.items() if number is not None}


def _subject(old: Status, plan: Plan, applied: Applied, findings: Iterable[Finding]) -> Subject | None:
    """Who has the access now. What was not seen in this pass stays as it was known."""
    subject = plan.subject
    if subject is None:
        return old.subject if any(map(_unseen, findings)) else None
    object_id = applied.group_id or subject.object_id
    if not (object_id or subject.name):
        return None
    known = old.subject.display_name if old.subject and old.subject.object_id == object_id else ""
    renaming = any(isinstance(change, UpdateGroup) and change.renames for change in plan.changes)
    renamed = any(isinstance(change, UpdateGroup) and change.renames for change in applied.done)
    wished = "" if renaming and not renamed else subject.display_name
    return replace(subject, object_id=object_id, display_name=wished or known)


def _unseen(finding: Finding) -> bool:
    return finding.unseen or finding.severity is Severity.UNKNOWN


def put_right(plan: Plan, applied: Applied) -> tuple[DriftItem, ...]:
    """The changes by other hands that this pass has undone."""
    corrected = {str(change.child.ref) for change in applied.done if isinstance(change, ApplyChild)}
    return tuple(item for item in plan.drift if item.object in corrected)


def _drift_state(plan: Plan, applied: Applied, findings: Iterable[Finding]) -> str:
    replaced = any(finding.reason == Taken.reason for finding in applied.findings)
    if replaced or len(put_right(plan, applied)) < len(plan.drift):
        return "Drifted"
    unseen = any(_unseen(f) and f.severity is not Severity.WAITING for f in findings)
    return "Unknown" if unseen else "InSync"


def merge_inventory(
    old: Sequence[Item], seen: Sequence[Item], applied: Applied, found_gone: frozenset[str] = frozenset()
) -> tuple[Item, ...]:
    """The inventory after a pass: what was known, seen or made, without what is gone.

    The plan names all that is ours in Azure and Kubernetes, also what it could not look at now, so what it
    does not name is gone or was never ours. The group leaves only when its removal was confirmed.
    """
    before = {_key(item): item for item in old}
    known = {key: item for key, item in before.items() if item.system is System.ENTRA}
    for item in (*seen, *applied.made):
        was = before.get(_key(item))
        since = was.since if was and was.id == item.id else ""
        known[_key(item)] = replace(item, since=since or item.since)
    gone = {one.lower() for one in applied.gone} | found_gone
    left = (item for item in known.values() if not (item.id and item.id.lower() in gone))
    return tuple(sorted(left, key=lambda item: (item.system.value, item.kind, item.name, item.id)))


def _key(item: Item) -> tuple[str, ...]:
    """A role can be assigned anew to another group while the old assignment is still to go, so by id."""
    name = item.id.lower() if item.system is System.AZURE else item.name
    return (item.system.value, item.kind, name)


def _conditions(
    meta: Meta,
    plan: Plan,
    findings: Sequence[Finding],
    subject: Subject | None,
    counts: Mapping[str, int],
) -> list[Condition]:
    def condition(kind: str, status: str, reason: str, message: str) -> Condition:
        return Condition(kind, status, reason, message, meta.generation)

    ready = _ready(plan, findings)
    conditions = [condition(ConditionType.READY, *ready)]
    broken = ""
    for link in _links(meta.kind, plan, findings, counts):
        own = [finding for finding in findings if finding.link is link]
        worst = max(own, key=lambda finding: finding.severity, default=None)
        if worst and worst.severity.hinders:
            said = (_state(worst), worst.reason, _all_texts(own))
            nobody = link in _GIVES_NOTHING or (link is Link.SUBJECT and subject is None)
            broken = broken or (_CONDITION[link] if nobody else "")
        elif broken:
            said = ("Unknown", "Waiting", f"waiting for {broken}")
        else:
            said = ("True", "InPlace", _all_texts(own) or _in_place(meta.kind, link, plan))
        conditions.append(condition(_CONDITION[link], *said))
    for kind, severities in (
        (ConditionType.WARNING, {Severity.WARNING}),
        (ConditionType.RECONCILING, {Severity.WAITING, Severity.UNKNOWN}),
        (ConditionType.STALLED, {Severity.STALLED}),
    ):
        those = [finding for finding in findings if finding.severity in severities]
        if those:
            conditions.append(condition(kind, "True", those[0].reason, _all_texts(those)))
    return conditions


def _links(kind: Kind, plan: Plan, findings: Sequence[Finding], counts: Mapping[str, int]) -> list[Link]:
    """The links that this resource has: not every grant has Azure roles, and not every policy members."""
    told = {finding.link for finding in findings}
    without = set(plan.without) - told
    if kind is GRANT and "azureRoles" not in {*plan.counts, *counts}:
        without |= {Link.AZURE_ROLES} - told
    return [link for link in _CHAIN[kind] if link not in without]


def _ready(plan: Plan, findings: Sequence[Finding]) -> tuple[str, str, str]:
    """The status, reason and message of Ready: the worst finding speaks first."""
    worst = max(findings, key=lambda finding: finding.severity, default=None)
    if worst is None or not worst.severity.hinders:
        hint = "; see condition Warning" if worst and worst.severity is Severity.WARNING else ""
        return "True", "InPlace", plan.summary + hint
    return _state(worst), worst.reason, worst.text[:MAX_TEXT]


def _state(finding: Finding) -> str:
    return "Unknown" if finding.severity is Severity.UNKNOWN else "False"


def _all_texts(findings: Iterable[Finding]) -> str:
    """The texts of the findings, as many as a person would read."""
    texts = list(dict.fromkeys(finding.text for finding in findings))
    more = [f"and {len(texts) - MAX_TEXTS} more"] if len(texts) > MAX_TEXTS else []
    return "; ".join([text[:MAX_TEXT] for text in texts[:MAX_TEXTS]] + more)


def _in_place(kind: Kind, link: Link, plan: Plan) -> str:
    """What to say of a link where all is well."""
    counts = plan.counts
    match link:
        case Link.SUBJECT:
            return f"{subject_words(plan.subject)} is in place" if plan.subject else "in place"
        case Link.MEMBERS:
            return count(counts.get("members") or 0, "member")
        case Link.AZURE_ROLES:
            return count(counts.get("azureRoles") or 0, "Azure role")
        case Link.BINDINGS if kind is POLICY:
            bindings = count(counts.get("clusterRoleBindings") or 0, "ClusterRoleBinding")
            inside = counts.get("roleBindings") or 0
            where = f" in {count(counts.get('namespaces') or 0, 'namespace')}"
            return f"{bindings}, {count(inside, 'RoleBinding')}{where}" if inside else bindings
        case Link.BINDINGS:
            return count(counts.get("roleBindings") or 0, "RoleBinding")
        case Link.POLICY:
            return f"the subject is {subject_words(plan.subject)}" if plan.subject else "in place"
        case Link.CEILING:
            return "within what the policy lets grants give"


def subject_words(subject: Subject) -> str:
    """Who it is, for people, as ``group appdev``."""
    words = {"Group": "group", "User": "user", "ServicePrincipal": "service principal"}
    return f"{words.get(subject.principal_type, 'service account')} {subject.display_name}"
