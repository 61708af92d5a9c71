"""From what a pass found to what people see: the one mapping to conditions, status and the next look."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from entra_access.api.drift import merge_drift, not_right
from entra_access.api.names import CLUSTER_ROLE_BINDING, GRANT, POLICY, ROLE, ROLE_BINDING, Kind
from entra_access.api.resources import Meta
from entra_access.api.status import (
    Condition,
    ConditionType,
    DriftItem,
    Item,
    Status,
    Subject,
    System,
    settle_conditions,
)
from entra_access.api.times import stamp
from entra_access.domain.adoption import ADOPTING
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    DefineRole,
    RemovePrincipal,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.definition_plan import DEFINITION
from entra_access.domain.effective import effective_by
from entra_access.domain.expiry import EXPIRED
from entra_access.domain.faults import Finding, Link, Replicating, Severity
from entra_access.domain.group_plan import GROUP, RESTORING, SETTLING
from entra_access.domain.marks import Marks, marks, read_marks
from entra_access.domain.plan import Plan, count
from entra_access.domain.policy_plan import CREATING
from entra_access.domain.role_plan import ASSIGNMENT
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.contests import CONTESTED
from entra_access.reconcile.drifting import Look, drift_check, drifted, missing, unmade, unseen

SHORT_PAUSE: Final = 3.0
"""The longest pause while nothing failed and only replication is awaited, which takes seconds as a rule."""
EXPECTED_REASONS: Final = {Replicating.reason, RESTORING, SETTLING, CREATING, ADOPTING}
"""Nothing failed: it takes its time."""
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

    `longest` bounds the pause that failures lead to; None: as long as the queue thinks fit. `due`: after so
    many seconds at the latest something is to be done.
    """

    after: float | None = None
    failed: bool = False
    longest: float | None = None
    due: float | None = None


def next_look(findings: Iterable[Finding], stalled_after: float) -> Next:
    """When a pass with these findings is to be repeated without being asked.

    Passing troubles soon, with growing pauses, and not before the service's own Retry-After. What somebody
    must mend, now and then: it may be mended where no watch sees it.
    """
    findings = tuple(findings)
    # What is over is over until somebody writes another time, and the watch tells of that.
    stalled = any(f.severity is Severity.STALLED and f.reason != EXPIRED for f in findings)
    again = stalled_after if stalled else None
    passing = [f for f in findings if f.severity in {Severity.WAITING, Severity.UNKNOWN}]
    if passing:
        # A contest is no failure: when it goes on is known, and nobody else waits for it.
        contested = [f.retry_after for f in passing if f.reason == CONTESTED and f.retry_after is not None]
        others = [finding for finding in passing if finding.reason != CONTESTED]
        due = min(contested, default=None)
        if not others:
            return Next(after=min((one for one in (due, again) if one is not None), default=None))
        waits = [f.retry_after for f in others if f.retry_after is not None]
        soon = {finding.reason for finding in others} <= EXPECTED_REASONS
        return Next(max(waits, default=None), failed=True, longest=SHORT_PAUSE if soon else None, due=due)
    return Next(after=again)


def make_status(
    meta: Meta, old: Status, plan: Plan, applied: Applied, now: datetime, look: Look | None = None
) -> Status:
    """The whole status after a pass."""
    look = look or Look()
    # What failed first: it explains what the plan awaits.
    findings = (*applied.findings, *plan.findings)
    subject = _subject(old, plan, applied, findings)
    counts = _counts(meta, old, plan, applied)
    conditions = _conditions(meta, plan, findings, subject, counts)
    check = drift_check(plan, applied, findings, look)
    conditions = _with_drift(conditions, _drifted(meta, not_right(old.drift, check), findings, look))
    return Status(
        observed_generation=meta.generation,
        conditions=settle_conditions(old.conditions, conditions, stamp(now)),
        subject=subject,
        counts=counts,
        inventory=merge_inventory(old.inventory, plan.inventory, applied, plan.gone, missing(plan, applied)),
        effective_by=effective_by(old.effective_by, applied.done, now),
        mode=look.mode.value,
        expires_at=plan.expires_at,
        member_marks=_marks(old, plan, applied),
        drift=merge_drift(old.drift, check, stamp(now)),
    )


def _marks(old: Status, plan: Plan, applied: Applied) -> str:
    """Whom the operator has put into the group, after the pass. What was not seen stays as it was known."""
    if plan.entries is None:
        return old.member_marks
    if Link.MEMBERS in plan.without and not plan.entries:
        return ""
    added = {
        (change.relation, one)
        for change in applied.done
        if isinstance(change, AddPrincipals)
        for one in change.ids
    }
    inside = [one for one in plan.entries if one.there or (one.relation, one.id) in added]
    kept = {
        (change.relation, change.id)
        for change in plan.changes
        if isinstance(change, RemovePrincipal) and change not in applied.done
    }
    stay = read_marks(old.member_marks).of(kept | plan.stays)
    wished = marks((one.relation, one.reference, one.id) for one in inside)
    # Who was taken out by another hand, and is not put back yet, is still one whom the operator had put in.
    missing = [one for one in plan.entries if one not in inside]
    lacking = read_marks(old.member_marks).of((one.relation, one.id) for one in missing)
    return str(Marks(wished.pairs | stay.pairs | lacking.pairs, known=True))


def _drifted(
    meta: Meta, items: Sequence[DriftItem], findings: Sequence[Finding], look: Look
) -> list[Condition]:
    """The condition Drifted, which is there only while something is not as it was made."""
    if not items:
        return []
    reason, texts = drifted(items, findings, look.mode)
    return [Condition(ConditionType.DRIFTED, "True", reason, _some(texts), meta.generation)]


def _with_drift(conditions: list[Condition], drifted: list[Condition]) -> list[Condition]:
    """All is well says so with a hint where something is odd."""
    ready, *others = conditions
    if drifted and ready.status == "True":
        ready = replace(ready, message=f"{ready.message}; see condition {ConditionType.DRIFTED}")
    return [ready, *others, *drifted]


def _counts(meta: Meta, old: Status, plan: Plan, applied: Applied) -> dict[str, int]:
    """How many of each there are. What was not seen in this pass (None) stays as it was known."""
    known = {name: number for name, number in old.counts.items() if name in _COUNTS[meta.kind]}
    if not plan.counts:
        return known
    left = unmade(plan, applied)
    there = _there(plan, applied, left) if left else {}
    now = {
        name: known.get(name) if number is None else there.get(name, number)
        for name, number in plan.counts.items()
    }
    return {name: number for name, number in now.items() if number is not None}


def _there(plan: Plan, applied: Applied, left: Iterable[Change]) -> dict[str, int]:
    """How many there are while some changes are `left` unmade: the plan counts on all of them."""
    lines = {
        item.key
        for item in (*plan.inventory, *applied.made)
        if item.system is System.KUBERNETES and item.id and item.id not in applied.gone
    }
    kinds = Counter(kind for _, kind, _ in lines)
    inside = {name.partition("/")[0] for _, kind, name in lines if kind == ROLE_BINDING.kind}
    ours = {item.id.lower() for item in plan.inventory}
    more = {"members": 0, "azureRoles": 0}
    for change in left:
        match change:
            case AddPrincipals(relation="members"):
                more["members"] -= len(change.ids)
            case RemovePrincipal(relation="members"):
                more["members"] += 1
            case AssignRole(new=True):
                more["azureRoles"] -= 1
            case UnassignRole() if change.assignment_id.lower() in ours:
                more["azureRoles"] += 1
    return {
        "clusterRoleBindings": kinds[CLUSTER_ROLE_BINDING.kind],
        "roleBindings": kinds[ROLE_BINDING.kind],
        "roles": kinds[ROLE.kind],
        "namespaces": len(inside),
        **{name: number + (plan.counts.get(name) or 0) for name, number in more.items()},
    }


def _subject(old: Status, plan: Plan, applied: Applied, findings: Iterable[Finding]) -> Subject | None:
    """Who has the access now. What was not seen in this pass stays as it was known."""
    subject = plan.subject
    if subject is None:
        return old.subject if any(map(unseen, findings)) else None
    object_id = applied.group_id or subject.object_id
    if not (object_id or subject.name):
        return None
    known = old.subject.display_name if old.subject and old.subject.object_id == object_id else ""
    renaming = any(isinstance(change, UpdateGroup) and change.renames for change in plan.changes)
    renamed = any(isinstance(change, UpdateGroup) and change.renames for change in applied.done)
    wished = "" if renaming and not renamed else subject.display_name
    return replace(subject, object_id=object_id, display_name=wished or known)


def merge_inventory(
    old: Sequence[Item],
    seen: Sequence[Item],
    applied: Applied,
    found_gone: frozenset[str] = frozenset(),
    later: Sequence[Change] = (),
) -> tuple[Item, ...]:
    """The inventory after a pass: what was known, seen or made, without what is gone.

    The plan names all that is ours in Azure and Kubernetes, also what it could not look at now, so what it
    does not name is gone or was never ours. The group leaves only when its removal was confirmed. `later`
    are the changes of the plan that were not made, and may still be.
    """
    before = {_key(item): item for item in old}
    # What was made once and is not made again now is still told of: else it would be no drift any more.
    lacking = {_line_key(change) for change in later}
    known = {key: item for key, item in before.items() if item.system is System.ENTRA or key in lacking}
    for item in (*seen, *applied.made):
        was = before.get(_key(item))
        same = was is not None and was.id == item.id
        known[_key(item)] = _as_known(item, was) if was and same else item
    if any(isinstance(change, UpdateGroup) for change in later):
        _not_applied(known, before)
    gone = {one.lower() for one in applied.gone} | found_gone
    left = (item for item in known.values() if not (item.id and item.id.lower() in gone))
    return in_order(left)


def _as_known(item: Item, was: Item) -> Item:
    """The line with what only the line before it tells: since when, and that it was there before."""
    return replace(item, since=was.since or item.since, origin=item.origin or was.origin)


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """The lines in the order in which they stand in a status."""
    return tuple(sorted(items, key=lambda item: (item.system.value, item.kind, item.name, item.id)))


def _key(item: Item) -> tuple[str, ...]:
    """A role can be assigned anew to another group while the old assignment is still to go, so by id."""
    name = item.id.lower() if item.system is System.AZURE else item.name
    return (item.system.value, item.kind, name)


def _not_applied(known: dict[tuple[str, ...], Item], before: Mapping[tuple[str, ...], Item]) -> None:
    """The group's attributes are not as the plan counts on: what was applied last is what was before."""
    for key, item in known.items():
        if item.system is System.ENTRA and item.kind == GROUP:
            known[key] = replace(item, applied=before[key].applied if key in before else "")


def _line_key(change: Change) -> tuple[str, ...]:
    """The inventory's line for what a change makes."""
    match change:
        case ApplyChild():
            ref = change.child.ref
            return (System.KUBERNETES.value, ref.kind.kind, ref.path)
        case AssignRole(principal_id=str() as principal):
            return (System.AZURE.value, ASSIGNMENT, change.id_for(principal).lower())
        case DefineRole():
            return (System.AZURE.value, DEFINITION, change.id.lower())
        case _:
            return ()


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
    over = [finding for finding in findings if finding.reason == EXPIRED]
    if over:
        conditions.append(condition(ConditionType.EXPIRED, "True", EXPIRED, over[0].text))
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
    return _some(finding.text for finding in findings)


def _some(all_of_them: Iterable[str]) -> str:
    texts = list(dict.fromkeys(all_of_them))
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
