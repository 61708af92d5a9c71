"""The end of a grant in its plan and in its status, whatever becomes of its policy meanwhile."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from entra_access.api.resources import NamespaceGrant
from entra_access.api.status import Status
from entra_access.api.times import stamp
from entra_access.domain.changes import DeleteChild, UnassignRole
from entra_access.domain.expiry import EXPIRED
from entra_access.domain.faults import Finding, Link, Severity, Unavailable
from entra_access.domain.grant_plan import plan_grant
from entra_access.domain.observed import PolicyView
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import Next, make_status, next_look
from unit.builders import (
    AT,
    GROUP_ID,
    PLACE,
    a_ceiling,
    a_grant,
    a_policy,
    a_rule,
    a_view,
    child_line,
    grant_children,
    grant_world,
    seen,
)
from unit.worlds import AKS_READER, DEV_SCOPE, assigned, line

HOUR = timedelta(hours=1)
CEILING = a_ceiling(a_rule("*", "*", "*"), cluster_roles="view edit", azure_roles=(AKS_READER,))
MADE = AT - 10 * HOUR
WISH = a_grant(a_rule("get", "pods"), cluster_roles="view", created=stamp(MADE))
CHILDREN = tuple(seen(child) for child in grant_children(WISH))
LINES = tuple(child_line(child) for child in grant_children(WISH))


def view(longest: timedelta | None = None, **changes: object) -> PolicyView:
    """The policy as its grants see it."""
    return a_view(a_policy(ceiling=replace(CEILING, max_duration=longest)), **changes)


UNREADABLE = a_view(None)


def planned(
    found: PolicyView | None,
    end: datetime | None = None,
    now: datetime = AT,
    *,
    known: datetime | None = None,
    written: datetime | None = None,
    ending: bool = False,
) -> Plan:
    meta = replace(WISH.meta, expiry_set=stamp(written) if written else "")
    wish = replace(WISH, meta=meta, expires_at=end)
    world = grant_world(found, CHILDREN, ending=ending)
    return plan_grant(wish, PLACE, world, LINES, now, known_end=stamp(known) if known else "")


def gives_nothing(plan: Plan) -> bool:
    """All of it is taken away, and nothing else is done."""
    taken = {change.uid for change in plan.changes if isinstance(change, DeleteChild)}
    assert not plan.changes or (len(taken) == len(plan.changes))
    assert taken in (set(), {child.uid for child in CHILDREN})
    return bool(taken)


def reasons(plan: Plan) -> list[str]:
    return [finding.reason for finding in plan.findings]


POLICIES: dict[str, PolicyView | None] = {
    "is there": view(),
    "limits it": view(100 * HOUR),
    "lets no grants be": a_view(a_policy()),
    "is missing": None,
    "is going": view(deleting=True),
    "cannot be read": UNREADABLE,
    "has no subject yet": view(subject=None),
}


@pytest.mark.parametrize("found", POLICIES.values(), ids=POLICIES)
def test_a_time_of_its_own_ends_the_access_whatever_its_policy(found: PolicyView | None) -> None:
    over = planned(found, AT)
    assert reasons(over) == [EXPIRED]
    assert gives_nothing(over)
    assert over.expires_at == stamp(AT)
    assert over.counts == {"roles": 0, "roleBindings": 0}
    assert EXPIRED not in reasons(planned(found, AT + timedelta(seconds=1)))


@pytest.mark.parametrize("found", POLICIES.values(), ids=POLICIES)
def test_when_it_ends_is_told_before(found: PolicyView | None) -> None:
    assert planned(found, AT + HOUR).expires_at == stamp(AT + HOUR)


def test_without_any_time_nothing_is_told() -> None:
    for found in (view(), None, UNREADABLE, view(subject=None)):
        assert planned(found).expires_at == ""


def test_what_the_policy_lets_it_last_counts_from_when_it_was_made() -> None:
    alive = planned(view(11 * HOUR))
    assert (reasons(alive), alive.expires_at) == ([], stamp(MADE + 11 * HOUR))
    over = planned(view(8 * HOUR))
    assert (reasons(over), over.expires_at) == ([EXPIRED], stamp(MADE + 8 * HOUR))
    assert gives_nothing(over)
    assert "spec.grants.maxDuration of the policy allows" in over.findings[0].message


def test_the_same_yaml_again_begins_nothing_anew() -> None:
    """What is not changed is not recorded as written: only the object's age and its own time count."""
    over = planned(view(8 * HOUR), written=AT)
    assert reasons(over) == [EXPIRED]


def test_a_grant_that_is_made_anew_lasts_anew() -> None:
    anew = replace(WISH, meta=replace(WISH.meta, created=stamp(AT)))
    made = plan_grant(anew, PLACE, grant_world(view(8 * HOUR), CHILDREN), LINES, AT)
    assert (reasons(made), made.expires_at) == ([], stamp(AT + 8 * HOUR))


LATEST = MADE + 8 * HOUR
OWN: dict[str, tuple[datetime, datetime | None, list[str]]] = {
    "within what is allowed, and over": (LATEST, None, [EXPIRED]),
    "later than allowed": (AT + HOUR, None, ["BeyondCeiling"]),
    "within, from when it was written": (AT + HOUR, AT - HOUR, []),
    "exactly, from when it was written": (AT + 7 * HOUR, AT - HOUR, []),
    "later than allowed from when it was written": (
        AT + 7 * HOUR + timedelta(seconds=1),
        AT - HOUR,
        ["BeyondCeiling"],
    ),
    "written again and over": (AT - HOUR, AT, [EXPIRED]),
    "written in a year, says a forged record": (AT + 8761 * HOUR, AT + 8760 * HOUR, ["BeyondCeiling"]),
    "no longer than allowed, whatever a forged record says": (AT + 8 * HOUR, AT + 8760 * HOUR, []),
}


@pytest.mark.parametrize(("end", "written", "expected"), OWN.values(), ids=OWN)
def test_a_time_of_its_own_within_what_the_policy_allows(
    end: datetime, written: datetime | None, expected: list[str]
) -> None:
    made = planned(view(8 * HOUR), end, written=written)
    assert reasons(made) == expected
    assert gives_nothing(made) is bool(expected)
    assert made.expires_at == stamp(end)


def test_one_that_is_too_late_is_over_when_it_is_over() -> None:
    """And is not told to be too late then."""
    assert reasons(planned(view(HOUR), AT - HOUR, written=MADE)) == [EXPIRED]


def test_while_the_policy_cannot_be_read_it_ends_as_it_was_known() -> None:
    """Else a spec that somebody broke would let all grants of its policy last."""
    end = MADE + 11 * HOUR
    alive = planned(UNREADABLE, known=end)
    assert (reasons(alive), alive.expires_at, alive.changes) == (["PolicyUnreadable"], stamp(end), ())
    over = planned(UNREADABLE, now=end, known=end)
    assert (reasons(over), over.expires_at) == ([EXPIRED], stamp(end))
    assert gives_nothing(over)


def test_what_was_known_counts_only_while_nothing_else_does() -> None:
    later = MADE + 100 * HOUR
    assert planned(view(11 * HOUR), known=later).expires_at == stamp(MADE + 11 * HOUR)
    assert planned(view(), known=later).expires_at == ""
    assert planned(UNREADABLE, AT + HOUR, known=later).expires_at == stamp(AT + HOUR)
    assert planned(UNREADABLE, known=None).expires_at == ""
    assert reasons(planned(None, known=AT - HOUR)) == ["PolicyNotFound"]


def test_with_its_namespace_everything_goes_by_itself() -> None:
    going = planned(view(), AT - HOUR, ending=True)
    assert (reasons(going), going.changes) == (["NamespaceEnding"], ())


def test_azure_roles_go_too_and_stay_told_of_while_they_cannot_be_seen() -> None:
    wish: NamespaceGrant = replace(WISH, azure_roles=(AKS_READER,), expires_at=AT)
    role = line(AKS_READER, GROUP_ID, DEV_SCOPE)
    there = assigned(AKS_READER, GROUP_ID, DEV_SCOPE, owner=WISH.meta)
    over = plan_grant(wish, PLACE, grant_world(view(), CHILDREN, assignments=(there,)), (*LINES, role), AT)
    assert [change.assignment_id for change in over.changes if isinstance(change, UnassignRole)] == [role.id]
    down = Unavailable("down")
    blind = plan_grant(wish, PLACE, grant_world(view(), CHILDREN, assignments=down), (*LINES, role), AT)
    assert role.id in {item.id for item in blind.inventory}
    assert reasons(blind) == [EXPIRED, "Unavailable"]


# In the status


def test_the_status_says_that_it_is_over_and_what_to_do() -> None:
    plan = planned(view(), AT - HOUR)
    status = make_status(WISH.meta, Status(), plan, Applied(done=list(plan.changes)), AT)
    said = {one.type: (one.status, one.reason) for one in status.conditions}
    assert said["Expired"] == ("True", EXPIRED)
    assert said["Ready"] == ("False", EXPIRED)
    assert said["WithinCeiling"] == ("False", EXPIRED)
    assert said["Stalled"] == ("True", EXPIRED)
    assert said["BindingsReady"] == ("Unknown", "Waiting")
    condition = status.condition("Expired")
    assert condition is not None
    assert condition.message == (
        f"the access ended at {stamp(AT - HOUR)}; to give it again set a later spec.expiresAt"
    )
    assert (status.expires_at, status.drift["state"]) == (stamp(AT - HOUR), "InSync")


def test_the_condition_goes_with_a_later_time() -> None:
    over = planned(view(), AT - HOUR)
    old = make_status(WISH.meta, Status(), over, Applied(), AT)
    status = make_status(WISH.meta, old, planned(view(), AT + HOUR), Applied(), AT)
    assert status.condition("Expired") is None
    assert status.condition("Stalled") is None


def finding(severity: Severity, reason: str = "Odd") -> Finding:
    return Finding(Link.CEILING, severity, reason, "words")


def test_what_is_over_is_not_looked_at_again_and_again() -> None:
    """Only another time gives it back, and the watch tells of that."""
    over = finding(Severity.STALLED, EXPIRED)
    assert next_look([over], 60) == Next()
    assert next_look([over, finding(Severity.NOTE)], 60) == Next()
    assert next_look([over, finding(Severity.STALLED)], 60) == Next(after=60)
    assert next_look([over, finding(Severity.WAITING)], 60).failed
    assert next_look([over, finding(Severity.UNKNOWN)], 60).failed
