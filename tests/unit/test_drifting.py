"""What a pass says of drift: what it put right, what is left, and what it could not see."""

from collections.abc import Iterable
from typing import Any

import pytest

from entra_access.api.drift import DRIFTED, IN_SYNC, UNKNOWN, DriftCheck
from entra_access.api.resources import Mode
from entra_access.api.status import CORRECTED, PENDING, REPORTED, DriftItem, Status, Subject, System
from entra_access.domain.changes import ApplyChild, AssignRole, Change, DeleteChild, UpdateGroup
from entra_access.domain.difference import Difference, items_of
from entra_access.domain.faults import Denied, Fault, Finding, Link, Replicating, Severity, Taken, Unavailable
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.contests import CONTESTED
from entra_access.reconcile.drifting import Look, drift_check, drift_text, drifted, outstanding, put_right
from entra_access.reconcile.outcome import make_status
from unit.builders import AT, BEFORE, GROUP_ID, NOW, SCOPE, a_meta, cluster_binding

BINDING = cluster_binding("view")
EDITED = ApplyChild(BINDING, "uid")
EDIT = Difference(
    DriftItem(System.KUBERNETES, str(BINDING.ref), "subjects", "a", "b", "kubectl", NOW), EDITED, foreign=True
)
WISHED = ApplyChild(cluster_binding("edit"), None)
LEAVES = DeleteChild(cluster_binding("admin").ref, "uid")
ROLE = AssignRole(SCOPE, "Reader", "id", GROUP_ID, "Group", "note")
GONE = Difference(items_of(ROLE, "")[0], ROLE, foreign=True)
TOLD = Difference(
    DriftItem(System.AZURE, "RoleAssignment Owner at aks", "", "absent", "present"), foreign=True
)
RENAME = UpdateGroup(GROUP_ID, (("displayName", "appdev"),), before=(("displayName", "hacked"),))
SUBJECT = Subject("Group", GROUP_ID, "appdev")
COUNTS = {"members": 1}
ENFORCE, OBSERVE = Mode.ENFORCE, Mode.OBSERVE


def a_plan(*changes: Change, found: Iterable[Difference] = (), **fields: Any) -> Plan:
    values: dict[str, Any] = {"subject": SUBJECT, "counts": COUNTS} | fields
    return Plan(tuple(changes), differences=tuple(found), **values)


def unseen(link: Link, fault: Fault) -> Finding:
    return fault.finding(link, observing=True)


WHOLE = a_plan(EDITED, WISHED, ROLE, LEAVES, RENAME, found=[EDIT, GONE, TOLD])


def said(items: Iterable[DriftItem]) -> list[tuple[str, str]]:
    return [(item.object, item.action) for item in items]


def test_only_what_another_hand_did_and_this_pass_undid_was_put_right() -> None:
    applied = Applied(done=[EDITED, WISHED, LEAVES, RENAME])
    (item,) = put_right(WHOLE, applied)
    assert (item.object, item.changed_by, item.action) == (str(BINDING.ref), "kubectl", CORRECTED)
    assert put_right(WHOLE, Applied(failed=[EDITED])) == ()
    new = Difference(items_of(WISHED, "")[0], WISHED)
    assert put_right(a_plan(WISHED, found=[new]), Applied(done=[WISHED])) == ()


def test_a_change_like_it_is_not_it() -> None:
    again = ApplyChild(BINDING, "uid")
    assert again == EDITED
    assert put_right(WHOLE, Applied(done=[again])) == ()


def test_who_enforces_has_left_what_others_did_and_what_is_only_told_of() -> None:
    """A wish that is not fulfilled yet is no drift."""
    assert said(outstanding(WHOLE, Applied(done=[ROLE]), ENFORCE)) == [
        (str(BINDING.ref), PENDING),
        (TOLD.item.object, REPORTED),
    ]
    assert said(outstanding(WHOLE, Applied(done=[EDITED, ROLE]), ENFORCE)) == [(TOLD.item.object, REPORTED)]


def test_who_observes_is_told_all_of_it() -> None:
    held = Applied(held=list(WHOLE.changes))
    assert said(outstanding(WHOLE, held, OBSERVE)) == [
        (str(BINDING.ref), REPORTED),
        (GONE.item.object, REPORTED),
        (TOLD.item.object, REPORTED),
        (str(WISHED.child.ref), REPORTED),
        (str(LEAVES.ref), REPORTED),
        ("Group appdev", REPORTED),
    ]


@pytest.mark.parametrize("foreign", [True, False])
def test_a_place_that_is_taken_is_not_as_it_should_be_whether_ours_was_there_or_not(foreign: bool) -> None:  # noqa: FBT001
    found = Difference(items_of(WISHED, "")[0], WISHED, foreign)
    taken = Applied(failed=[WISHED], findings=[Taken("somebody's").finding(Link.BINDINGS)])
    (item,) = outstanding(a_plan(WISHED, found=[found]), taken, ENFORCE)
    assert (item.found, item.action) == ("an object of another hand", PENDING)


# The check


def check(
    plan: Plan, *findings: Finding, applied: Applied | None = None, look: Look | None = None
) -> DriftCheck:
    return drift_check(plan, applied or Applied(), findings, look or Look())


def test_states() -> None:
    assert check(a_plan()) == DriftCheck(IN_SYNC)
    assert check(a_plan(found=[TOLD])).state == DRIFTED
    assert check(a_plan(WISHED)).state == IN_SYNC
    observing = Look(OBSERVE)
    assert check(a_plan(WISHED), look=observing).state == DRIFTED
    assert check(a_plan(), look=observing).state == IN_SYNC


def test_unknown_says_why_and_where() -> None:
    down = unseen(Link.AZURE_ROLES, Unavailable("no answer from Azure"))
    found = check(a_plan(found=[EDIT]), down)
    assert (found.state, found.reason, found.unseen) == (
        UNKNOWN,
        "no answer from Azure",
        frozenset({System.AZURE}),
    )
    assert said(found.outstanding) == [(str(BINDING.ref), PENDING)]


LINKS = {
    Link.SUBJECT: System.ENTRA,
    Link.MEMBERS: System.ENTRA,
    Link.AZURE_ROLES: System.AZURE,
    Link.BINDINGS: System.KUBERNETES,
}


@pytest.mark.parametrize("link", Link)
@pytest.mark.parametrize("fault", [Unavailable("down"), Denied("no right")], ids=lambda one: one.reason)
def test_every_link_can_be_unseen(link: Link, fault: Fault) -> None:
    found = check(a_plan(), unseen(link, fault))
    assert found.state == UNKNOWN
    assert link not in LINKS or found.unseen == {LINKS[link]}


def test_of_a_service_account_everything_is_in_the_cluster() -> None:
    account = a_plan(without=frozenset({Link.MEMBERS, Link.AZURE_ROLES}))
    assert check(account, unseen(Link.SUBJECT, Unavailable("down"))).unseen == {System.KUBERNETES}


def test_what_is_only_awaited_is_not_unknown_and_not_seen_either() -> None:
    found = check(a_plan(), unseen(Link.MEMBERS, Replicating("not everywhere yet")))
    assert (found.state, found.reason, found.unseen) == (IN_SYNC, "", frozenset({System.ENTRA}))


@pytest.mark.parametrize("severity", Severity)
def test_what_is_wrong_and_was_seen_is_not_unknown(severity: Severity) -> None:
    found = check(a_plan(), Finding(Link.AZURE_ROLES, severity, "Odd", "odd"))
    assert (found.state == UNKNOWN) is (severity is Severity.UNKNOWN)


def test_where_nothing_was_compared_no_state_is_claimed() -> None:
    """As with a spec that cannot be read: what was made before stays, whoever has changed it."""
    stalled = Finding(Link.SUBJECT, Severity.STALLED, "InvalidSpec", "must be given", "spec.subject")
    found = check(a_plan(counts={}), stalled)
    assert (found.state, found.unseen) == ("", frozenset(System))
    assert check(a_plan(counts={}, found=[TOLD]), stalled).state == DRIFTED
    assert check(a_plan(counts={}), unseen(Link.SUBJECT, Unavailable("down"))).state == UNKNOWN


def test_what_earlier_passes_put_right_is_told_with_this_ones() -> None:
    look = Look(untold=(TOLD.item,), last_good=BEFORE)
    found = check(a_plan(EDITED, found=[EDIT]), applied=Applied(done=[EDITED]), look=look)
    assert [item.object for item in found.corrected] == [str(BINDING.ref), TOLD.item.object]
    assert found.last_good == BEFORE


# In the status


def status(
    plan: Plan,
    *findings: Finding,
    old: Status | None = None,
    applied: Applied | None = None,
    mode: Mode = ENFORCE,
) -> Status:
    whole = Plan(**{**vars(plan), "findings": findings})
    return make_status(a_meta(), old or Status(), whole, applied or Applied(), AT, Look(mode))


def drifted_as(found: Status) -> tuple[str, str]:
    condition = found.condition("Drifted")
    assert condition is not None
    assert condition.status == "True"
    return condition.reason, condition.message


def test_the_condition_is_there_only_while_something_is_odd() -> None:
    assert status(a_plan()).condition("Drifted") is None
    assert status(a_plan(EDITED, found=[EDIT]), applied=Applied(done=[EDITED])).condition("Drifted") is None
    assert status(a_plan(WISHED)).condition("Drifted") is None


REASONS: dict[str, tuple[list[Difference], list[Finding], Mode, str]] = {
    "only told of": ([TOLD], [], ENFORCE, "ForeignAccess"),
    "could not be put right": ([EDIT], [], ENFORCE, "NotYetCorrected"),
    "one of each": ([EDIT, TOLD], [], ENFORCE, "NotYetCorrected"),
    "nothing may be written": ([TOLD], [], OBSERVE, "Observed"),
    "held on purpose": (
        [EDIT],
        [Finding(Link.BINDINGS, Severity.WAITING, CONTESTED, "again and again")],
        ENFORCE,
        "Contested",
    ),
}


@pytest.mark.parametrize(("found", "findings", "mode", "reason"), REASONS.values(), ids=REASONS)
def test_the_condition_says_why_it_stays_so(
    found: list[Difference], findings: list[Finding], mode: Mode, reason: str
) -> None:
    made = status(a_plan(EDITED, found=found), *findings, mode=mode)
    assert drifted_as(made)[0] == reason
    assert made.drift["state"] == DRIFTED


def test_the_condition_names_what_was_found_by_whom_and_what_it_should_be() -> None:
    _, message = drifted_as(status(a_plan(EDITED, found=[EDIT, TOLD])))
    assert message == (
        f"{BINDING.ref}: subjects is b by kubectl, and should be a; "
        "RoleAssignment Owner at aks is present, and should be absent"
    )


def test_what_is_only_told_of_hinders_nothing() -> None:
    made = status(a_plan(found=[TOLD], summary="all is well"))
    ready = made.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("True", "all is well; see condition Drifted")
    assert made.condition("Stalled") is None
    assert made.condition("Reconciling") is None


def test_a_thousand_items_fit_into_a_condition() -> None:
    many = [
        Difference(
            DriftItem(System.AZURE, f"RoleAssignment {number} at aks", "", "absent", "x" * 500), foreign=True
        )
        for number in range(1000)
    ]
    made = status(a_plan(found=many))
    _, message = drifted_as(made)
    assert len(message) < 32768
    assert message.endswith("and 990 more")
    assert (len(made.drift["items"]), made.drift["total"]) == (20, 1000)


DOWN = unseen(Link.AZURE_ROLES, Unavailable("down"))


def test_the_condition_stays_while_nobody_can_look_and_is_told_once() -> None:
    old = status(a_plan(found=[TOLD]))
    blind = status(a_plan(), DOWN, old=old)
    assert blind.drift["state"] == UNKNOWN
    assert drifted_as(blind) == drifted_as(old)
    again = status(a_plan(), DOWN, old=blind)
    assert again.as_dict() == blind.as_dict()
    seen = status(a_plan(), old=blind)
    assert (seen.condition("Drifted"), seen.drift["state"]) == (None, IN_SYNC)


def test_a_binding_that_is_well_again_is_not_told_of_however_long_azure_is_away() -> None:
    old = status(a_plan(EDITED, found=[EDIT]), DOWN)
    well = status(a_plan(), DOWN, old=old)
    assert well.condition("Drifted") is None
    assert "items" not in well.drift


def test_a_spec_that_cannot_be_read_makes_nothing_well() -> None:
    old = status(a_plan(EDITED, found=[EDIT]))
    stalled = Finding(Link.SUBJECT, Severity.STALLED, "InvalidSpec", "must be given", "spec.subject")
    new = status(a_plan(counts={}), stalled, old=old)
    assert new.drift == old.drift
    assert drifted_as(new) == drifted_as(old)


# Words


def test_texts() -> None:
    gone = DriftItem(System.KUBERNETES, "Role dev/x", "", "present", "deleted")
    field = DriftItem(System.KUBERNETES, "Role dev/x", "rules", "a", "b", "kubectl-edit")
    assert drift_text(gone) == "Role dev/x was deleted; it is present again"
    assert drift_text(field) == "Role dev/x: rules was changed by kubectl-edit to b; it is a again"
    for action in (PENDING, REPORTED):
        still = [DriftItem(**{**vars(one), "action": action}) for one in (gone, field)]
        assert [drift_text(one) for one in still] == [
            "Role dev/x is deleted, and should be present",
            "Role dev/x: rules is b by kubectl-edit, and should be a",
        ]


def test_the_reason_needs_no_findings() -> None:
    assert drifted([TOLD.item], (), OBSERVE) == ("Observed", [drift_text(TOLD.item)])
