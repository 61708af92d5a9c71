"""From what a pass found to conditions, status and the next look."""

import itertools
import re
from collections.abc import Iterable
from datetime import timedelta

import pytest

from entra_access.api.names import GRANT, POLICY, Kind
from entra_access.api.status import DriftItem, Item, Status, Subject, System, read_status
from entra_access.domain.changes import AddPrincipals, ApplyChild, Change, CreateGroup, UpdateGroup
from entra_access.domain.difference import Difference
from entra_access.domain.faults import Denied, Fault, Finding, Link, Replicating, Severity, Unavailable
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import SHORT_PAUSE, Next, make_status, merge_inventory, next_look
from unit.builders import AT, BEFORE, GROUP_ID, NOW, a_meta, cluster_binding, group_line

SUBJECT = Subject("Group", GROUP_ID, "appdev")
CHAIN = {
    POLICY: ["SubjectReady", "MembersReady", "AzureRolesReady", "BindingsReady"],
    GRANT: ["PolicyReady", "WithinCeiling", "BindingsReady"],
}
LINKS = {
    POLICY: [Link.SUBJECT, Link.MEMBERS, Link.AZURE_ROLES, Link.BINDINGS],
    GRANT: [Link.POLICY, Link.CEILING, Link.BINDINGS],
}
BINDING = cluster_binding("view")
DRIFT = DriftItem(System.KUBERNETES, str(BINDING.ref), "subjects", "a", "b", "kubectl", NOW)


def finding(
    severity: Severity, link: Link = Link.MEMBERS, message: str = "hm", after: float | None = None
) -> Finding:
    return Finding(link, severity, severity.name.title(), message, retry_after=after)


def status_of(
    *findings: Finding,
    kind: Kind = POLICY,
    subject: Subject | None = SUBJECT,
    old: Status | None = None,
    applied: Applied | None = None,
    drift: Iterable[DriftItem] = (),
    changes: tuple[Change, ...] = (),
) -> Status:
    by_object = {str(one.child.ref): one for one in changes if isinstance(one, ApplyChild)}
    found = tuple(Difference(item, by_object.get(item.object), foreign=True) for item in drift)
    plan = Plan(changes, findings, found, subject, {"members": 2}, summary="all is well")
    return make_status(a_meta(kind, generation=7), old or Status(), plan, applied or Applied(), AT)


def said(status: Status) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def check_kstatus(status: Status) -> None:
    """What tools that read conditions rely on, whatever was found."""
    types = [condition.type for condition in status.conditions]
    assert len(types) == len(set(types))
    assert types[0] == "Ready"
    by_type = {condition.type: condition for condition in status.conditions}
    for condition in status.conditions:
        assert condition.status in {"True", "False", "Unknown"}
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", condition.reason)
        assert condition.observed_generation == status.observed_generation == 7
        assert condition.last_transition_time
        assert len(condition.message) <= 32768
    for abnormal in ("Warning", "Reconciling", "Stalled"):
        assert abnormal not in by_type or by_type[abnormal].status == "True"
    troubled = "Reconciling" in by_type or "Stalled" in by_type
    assert troubled is (by_type["Ready"].status != "True")


def test_all_is_well() -> None:
    status = status_of()
    assert said(status) == {"Ready": ("True", "InPlace")} | dict.fromkeys(CHAIN[POLICY], ("True", "InPlace"))
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.message == "all is well"
    assert (status.observed_generation, status.subject, status.counts) == (7, SUBJECT, {"members": 2})
    check_kstatus(status)


SEVERITIES = {
    Severity.NOTE: ("True", "True", []),
    Severity.WARNING: ("True", "True", ["Warning"]),
    Severity.UNKNOWN: ("Unknown", "Unknown", ["Reconciling"]),
    Severity.WAITING: ("False", "False", ["Reconciling"]),
    Severity.STALLED: ("False", "False", ["Stalled"]),
}


@pytest.mark.parametrize("severity", Severity)
def test_each_severity(severity: Severity) -> None:
    ready, own, abnormal = SEVERITIES[severity]
    status = status_of(finding(severity, Link.MEMBERS, "look here"))
    conditions = said(status)
    assert conditions["Ready"][0] == ready
    assert conditions["MembersReady"][0] == own
    assert [kind for kind in ("Warning", "Reconciling", "Stalled") if kind in conditions] == abnormal
    assert {conditions[kind] for kind in CHAIN[POLICY] if kind != "MembersReady"} == {("True", "InPlace")}
    members = status.condition("MembersReady")
    assert members is not None
    assert members.message == "look here"
    for kind in abnormal:
        condition = status.condition(kind)
        assert condition is not None
        assert (condition.reason, condition.message) == (severity.name.title(), "look here")


@pytest.mark.parametrize("kind", [POLICY, GRANT], ids=["policy", "grant"])
def test_what_other_tools_rely_on_holds_whatever_was_found(kind: Kind) -> None:
    for chosen in itertools.product([None, *Severity], repeat=len(LINKS[kind])):
        findings = [
            finding(severity, link)
            for severity, link in zip(chosen, LINKS[kind], strict=True)
            if severity is not None
        ]
        for subject in (SUBJECT, None):
            status = status_of(*findings, kind=kind, subject=subject)
            check_kstatus(status)
            types = [condition.type for condition in status.conditions]
            assert types[1 : len(CHAIN[kind]) + 1] == CHAIN[kind]


def test_the_worst_finding_speaks_for_the_resource() -> None:
    status = status_of(
        finding(Severity.UNKNOWN, message="one"),
        finding(Severity.STALLED, Link.AZURE_ROLES, "two"),
        finding(Severity.WAITING, message="three"),
        finding(Severity.STALLED, Link.BINDINGS, "four"),
    )
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("False", "two")
    stalled, reconciling = status.condition("Stalled"), status.condition("Reconciling")
    assert stalled is not None
    assert reconciling is not None
    assert (stalled.message, reconciling.message) == ("two; four", "one; three")


def test_findings_of_the_plan_and_of_its_execution_count_alike() -> None:
    applied = Applied(findings=[finding(Severity.WAITING, Link.BINDINGS)])
    assert said(status_of(applied=applied))["BindingsReady"] == ("False", "Waiting")


def test_the_path_of_the_field_is_told() -> None:
    status = status_of(Finding(Link.SUBJECT, Severity.STALLED, "Bad", "is wrong", "spec.x"))
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.message == "spec.x: is wrong"


def test_later_links_wait_while_nobody_is_known_to_give_access_to() -> None:
    conditions = said(status_of(finding(Severity.STALLED, Link.SUBJECT), subject=None))
    assert conditions["SubjectReady"][0] == "False"
    assert {conditions[kind] for kind in CHAIN[POLICY][1:]} == {("Unknown", "Waiting")}
    conditions = said(status_of(finding(Severity.WAITING, Link.POLICY), kind=GRANT, subject=None))
    assert {conditions[kind] for kind in CHAIN[GRANT][1:]} == {("Unknown", "Waiting")}


def test_a_thousand_findings_fit_into_a_condition() -> None:
    """The API server takes messages of at most 32768 characters, and refuses the whole status else."""
    findings = [
        Finding(
            Link.MEMBERS,
            Severity.STALLED,
            "MemberNotFound",
            f"there is no user developer.number.{number}@contoso.onmicrosoft.com in the directory; "
            "correct it, or create it there",
            f"spec.subject.group.members[{number}].user",
        )
        for number in range(1000)
    ]
    status = status_of(*findings)
    check_kstatus(status)
    members = status.condition("MembersReady")
    assert members is not None
    assert "members[0]" in members.message


def test_the_same_finding_is_told_once() -> None:
    status = status_of(finding(Severity.UNKNOWN), finding(Severity.UNKNOWN))
    reconciling = status.condition("Reconciling")
    assert reconciling is not None
    assert reconciling.message == "hm"


def test_a_second_look_that_finds_the_same_changes_nothing() -> None:
    for findings in ((), (finding(Severity.STALLED),), (finding(Severity.UNKNOWN), finding(Severity.NOTE))):
        old = status_of(*findings)
        again = read_status({"status": old.as_dict()})
        plan = Plan(findings=findings, subject=SUBJECT, counts={"members": 2}, summary="all is well")
        new = make_status(a_meta(generation=7), again, plan, Applied(), AT + timedelta(hours=1))
        assert new.as_dict() == old.as_dict()


def test_transition_times_move_only_with_the_status() -> None:
    old = status_of(finding(Severity.WAITING, message="one"))
    plan = Plan(findings=(finding(Severity.WAITING, message="two"),), subject=SUBJECT)
    later = AT + timedelta(hours=1)
    waiting = make_status(a_meta(generation=7), old, plan, Applied(), later)
    well = make_status(a_meta(generation=7), old, Plan(subject=SUBJECT), Applied(), later)
    times = {c.type: c.last_transition_time for c in waiting.conditions}
    assert set(times.values()) == {NOW}
    assert {c.type: c.last_transition_time for c in well.conditions}["Ready"] == "2026-11-23T13:00:00Z"
    assert {c.type: c.last_transition_time for c in well.conditions}["SubjectReady"] == NOW


# The subject


def test_the_group_that_was_just_made_is_the_subject() -> None:
    status = status_of(subject=Subject("Group", "", "appdev"), applied=Applied(group_id="new"))
    assert status.subject == Subject("Group", "new", "appdev")


def test_a_group_that_could_not_be_made_is_no_subject() -> None:
    assert status_of(subject=Subject("Group", "", "appdev")).subject is None


def test_the_last_known_subject_stays_while_it_cannot_be_seen() -> None:
    old = Status(subject=SUBJECT)
    assert status_of(finding(Severity.UNKNOWN, Link.SUBJECT), subject=None, old=old).subject == SUBJECT
    assert (
        status_of(finding(Severity.WAITING, Link.POLICY), kind=GRANT, subject=None, old=old).subject is None
    )


@pytest.mark.parametrize("fault", [Unavailable("down"), Denied("no right")], ids=lambda one: one.reason)
def test_nor_is_it_forgotten_because_the_operator_may_not_look(fault: Fault) -> None:
    old = Status(subject=SUBJECT)
    seen = fault.finding(Link.SUBJECT, observing=True)
    assert status_of(seen, subject=None, old=old).subject == SUBJECT


def test_a_rename_that_failed_is_not_told_as_done() -> None:
    """By the name in the status the claims of policies on names are settled."""
    rename = UpdateGroup(GROUP_ID, (("displayName", "ops"),))
    old, wished = Status(subject=SUBJECT), Subject("Group", GROUP_ID, "ops")
    failed = Applied(findings=[finding(Severity.WAITING, Link.SUBJECT)])
    assert status_of(subject=wished, old=old, changes=(rename,), applied=failed).subject == SUBJECT
    assert status_of(subject=wished, old=old, changes=(rename,), applied=Applied([rename])).subject == wished


def test_counts_that_were_not_taken_stay() -> None:
    old = Status(counts={"members": 5, "azureRoles": 1})
    plan = Plan(subject=SUBJECT, counts={"members": 2, "azureRoles": None})
    assert make_status(a_meta(), old, plan, Applied(), AT).counts == {"members": 2, "azureRoles": 1}
    assert make_status(a_meta(), old, Plan(subject=SUBJECT), Applied(), AT).counts == old.counts


def test_when_it_takes_effect() -> None:
    applied = Applied(done=[AddPrincipals(GROUP_ID, "members", ("x",))])
    assert status_of(applied=applied).effective_by == "2026-11-23T13:30:00Z"
    assert status_of(old=Status(effective_by=BEFORE)).effective_by == BEFORE


# Drift


CORRECT = ApplyChild(BINDING, "uid")
OTHER = ApplyChild(cluster_binding("edit"), "uid")
OTHER_DRIFT = DriftItem(System.KUBERNETES, str(OTHER.child.ref), "subjects", "a", "b", "kubectl", NOW)


def test_drift_that_was_put_right_is_told() -> None:
    drift = status_of(drift=[DRIFT], changes=(CORRECT,), applied=Applied(done=[CORRECT])).drift
    assert (drift["state"], drift["corrected"], len(drift["items"])) == ("InSync", 1, 1)


def test_drift_that_could_not_be_put_right_is_not_told_as_such() -> None:
    applied = Applied(findings=[finding(Severity.WAITING, Link.BINDINGS)])
    drift = status_of(drift=[DRIFT], changes=(CORRECT,), applied=applied).drift
    assert (drift["state"], drift["corrected"]) == ("Drifted", 0)


def test_drift_whose_change_was_never_come_to_is_not_told_as_put_right() -> None:
    """The group could not be made, so the rest of the plan waited: each pass would count it again."""
    create = CreateGroup("u", "appdev", "appdev", None)
    applied = Applied(findings=[Denied("no right").finding(Link.SUBJECT)])
    drift = status_of(drift=[DRIFT], changes=(create, CORRECT), applied=applied).drift
    assert (drift["state"], drift["corrected"]) == ("Drifted", 0)


def test_of_two_drifts_the_one_that_was_put_right_is_told() -> None:
    """The next pass finds it in place, so that this one alone can tell of it."""
    applied = Applied(done=[CORRECT], findings=[finding(Severity.WAITING, Link.BINDINGS)])
    drift = status_of(drift=[DRIFT, OTHER_DRIFT], changes=(CORRECT, OTHER), applied=applied).drift
    assert (drift["state"], drift["corrected"]) == ("Drifted", 1)
    assert [(item["object"], item["action"]) for item in drift["items"]] == [
        (OTHER_DRIFT.object, "Pending"),
        (DRIFT.object, "Corrected"),
    ]


def test_what_could_not_be_seen_is_not_said_to_be_in_sync() -> None:
    assert status_of(finding(Severity.UNKNOWN)).drift["state"] == "Unknown"
    assert status_of().drift["state"] == "InSync"


# The next look


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], Next()),
        ([finding(Severity.NOTE)], Next()),
        ([finding(Severity.STALLED)], Next(after=60)),
        ([finding(Severity.STALLED), finding(Severity.NOTE)], Next(after=60)),
        ([finding(Severity.WAITING)], Next(failed=True)),
        ([finding(Severity.UNKNOWN)], Next(failed=True)),
        ([finding(Severity.UNKNOWN, after=9)], Next(after=9, failed=True)),
        ([finding(Severity.UNKNOWN, after=9), finding(Severity.WAITING, after=30)], Next(30, failed=True)),
        ([finding(Severity.STALLED), finding(Severity.WAITING)], Next(failed=True)),
        ([finding(Severity.STALLED), finding(Severity.UNKNOWN, after=5)], Next(5, failed=True)),
        ([finding(Severity.WAITING, after=0)], Next(after=0, failed=True)),
        ([finding(Severity.WAITING, after=0), finding(Severity.WAITING)], Next(after=0, failed=True)),
        ([finding(Severity.STALLED, after=0)], Next(after=60)),
    ],
)
def test_next_look(findings: list[Finding], expected: Next) -> None:
    assert next_look(findings, 60) == expected


def test_what_was_to_be_looked_at_at_once_waits_where_something_failed() -> None:
    """The group was being restored, and that failed: at once again would be without end."""
    restoring = Finding(Link.SUBJECT, Severity.WAITING, "Restoring", "", retry_after=0)
    failed = Unavailable("down").finding(Link.SUBJECT)
    assert next_look([restoring, failed], 60).failed


def test_what_is_only_on_its_way_is_looked_at_more_often() -> None:
    on_its_way = Replicating("not everywhere yet").finding(Link.SUBJECT)
    assert next_look([on_its_way], 60) == Next(failed=True, longest=SHORT_PAUSE)
    assert next_look([on_its_way, Unavailable("down").finding(Link.SUBJECT)], 60) == Next(failed=True)
    assert next_look([on_its_way, finding(Severity.STALLED)], 60).longest == SHORT_PAUSE


# The inventory

ROLE_LINE = Item(System.AZURE, "RoleAssignment", "Reader", "/a1", BEFORE)
CHILD = Item(System.KUBERNETES, "Role", "dev/x", "uid-1")


def test_what_was_made_is_written_down() -> None:
    made = Applied(made=[ROLE_LINE, CHILD])
    assert merge_inventory((), (), made) == (ROLE_LINE, CHILD)


def test_what_is_gone_is_struck_out() -> None:
    both = (ROLE_LINE, CHILD)
    assert merge_inventory(both, both, Applied(gone={"/a1", "uid-1"})) == ()


def test_only_the_group_stays_where_the_plan_does_not_name_it() -> None:
    """The plan names all assignments that are ours, seen or not; another line was written by another hand."""
    assert merge_inventory((group_line(), ROLE_LINE, CHILD), (), Applied()) == (group_line(),)
    assert merge_inventory((group_line(),), (ROLE_LINE,), Applied()) == (ROLE_LINE, group_line())


def test_an_announced_group_gets_its_id() -> None:
    made = Applied(made=[Item(System.ENTRA, "Group", group_line().name, "new", NOW)])
    assert merge_inventory((group_line(""),), (group_line(""),), made) == tuple(made.made)


def test_an_announced_group_is_not_taken_for_gone() -> None:
    assert merge_inventory((group_line(""),), (), Applied(gone={""})) == (group_line(""),)


def test_the_first_time_is_kept() -> None:
    later = Item(System.AZURE, "RoleAssignment", "Viewer", "/a1", NOW)
    (line,) = merge_inventory((ROLE_LINE,), (later,), Applied())
    assert (line.name, line.since) == ("Viewer", BEFORE)


def test_two_assignments_of_one_role_are_two_lines() -> None:
    moved = Item(System.AZURE, "RoleAssignment", "Reader", "/a2")
    assert len(merge_inventory((ROLE_LINE,), (ROLE_LINE, moved), Applied())) == 2


def test_a_child_that_was_replaced_is_one_line() -> None:
    new = Item(System.KUBERNETES, "Role", "dev/x", "uid-2")
    assert merge_inventory((CHILD,), (CHILD,), Applied(made=[new], gone={"uid-1"})) == (new,)


def test_the_order_is_always_the_same() -> None:
    lines = [group_line(), ROLE_LINE, CHILD, Item(System.AZURE, "RoleAssignment", "Writer", "/a0")]
    orders = {merge_inventory((), order, Applied()) for order in itertools.permutations(lines)}
    assert len(orders) == 1
