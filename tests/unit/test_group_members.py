"""Members of a group of every kind: service principals, which lists leave out, and other policies' groups."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.resources import AccessPolicy, Membership, Reference
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import AddPrincipals, ApplyChild, CreateGroup, RemovePrincipal
from entra_access.domain.faults import Finding, Link, Severity, Unavailable
from entra_access.domain.observed import PolicyView, PolicyWorld, Principal
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import (
    GROUP_ID,
    NOW,
    PLACE,
    a_group,
    a_meta,
    a_policy,
    a_view,
    group_line,
    group_of,
    guid,
    nothing_yet,
    principal,
    ref,
    steady,
)
from unit.worlds import A_ROBOT, A_TEAM, ROBOT_ID, TEAM_ID, a_policy_for, robot, team, user

ROBOT = ref("app-of-robot", "servicePrincipal")
OPS = Reference("policy", "ops")
OPS_GROUP = guid("group of ops")
STRANGER = principal("stranger@x.io")
ANNA = ref("anna@x.io")
DOWN = Unavailable("down")


def with_members(
    *members: Reference, owners: tuple[Reference, ...] = (), membership: Membership = Membership.EXACT
) -> AccessPolicy:
    policy = a_policy()
    wish = replace(group_of(policy), members=members, owners=owners, membership=membership)
    return replace(policy, subject=wish)


def view(policy: AccessPolicy | None = None, subject: Subject | None = None, **changes: Any) -> PolicyView:
    """What is known of the policy ``ops``; its group is there unless told otherwise."""
    policy = policy or a_policy(meta=a_meta(name="ops"))
    values: dict[str, Any] = {"name": "ops", "subject": subject or Subject("Group", OPS_GROUP, "ops")}
    return a_view(policy, **(values | changes))


def world(
    policy: AccessPolicy, *there: Principal, ops: PolicyView | None = None, **fields: Any
) -> PolicyWorld:
    """The world in which the group is there with some in it."""
    found, _ = steady(a_policy())
    names = [*group_of(policy).members, *group_of(policy).owners]
    principals = {one: principal(one.value) for one in names if one.kind == "user"}
    principals |= {one: A_ROBOT for one in names if one.kind == "servicePrincipal"}
    values: dict[str, Any] = {"members": there, "principals": principals, "policies": {"ops": ops}}
    return replace(found, **(values | fields))


def plan(policy: AccessPolicy, seen: PolicyWorld, *lines: Item) -> Plan:
    return plan_policy(policy, PLACE, seen, (group_line(), *lines), NOW)


def member_line(reference: Reference = ROBOT, object_id: str = ROBOT_ID) -> Item:
    """The inventory's line for a service principal that is a member."""
    return Item(System.ENTRA, "Member", str(reference), object_id)


def only(made: Plan) -> Finding:
    (finding,) = made.findings
    return finding


# Service principals


def test_a_service_principal_is_added_in_a_call_of_its_own() -> None:
    """It needs a permission that the operator may not have, and people must not wait for that."""
    policy = with_members(ANNA, ROBOT)
    made = plan(policy, world(policy))
    assert made.changes == (
        AddPrincipals(GROUP_ID, "members", (guid("anna@x.io"),)),
        AddPrincipals(GROUP_ID, "members", (ROBOT_ID,), applications=True),
    )
    assert made.counts["members"] == 2
    assert member_line() in made.inventory


def test_a_service_principal_that_is_a_member_is_written_down() -> None:
    policy = with_members(ROBOT)
    made = plan(policy, world(policy, A_ROBOT))
    assert made.changes == ()
    assert member_line() in made.inventory


def test_a_hidden_service_principal_that_is_not_wished_for_any_more_leaves_by_its_line() -> None:
    policy = with_members(ANNA)
    made = plan(policy, world(policy, principal("anna@x.io")), member_line())
    assert made.changes == (RemovePrincipal(GROUP_ID, "members", ROBOT_ID, application=True),)


def test_one_that_the_list_shows_after_all_leaves_once() -> None:
    policy = with_members()
    made = plan(policy, world(policy, A_ROBOT), member_line())
    assert made.changes == (RemovePrincipal(GROUP_ID, "members", ROBOT_ID, application=True),)


def test_one_that_is_wished_for_by_another_id_stays() -> None:
    by_object = ref(ROBOT_ID, "servicePrincipal")
    policy = with_members(by_object)
    made = plan(policy, world(policy, A_ROBOT), member_line())
    assert made.changes == ()
    assert member_line(by_object) in made.inventory


def test_two_lines_for_the_same_service_principal_take_it_out_once() -> None:
    by_object = ref(ROBOT_ID, "servicePrincipal")
    made = plan(with_members(), world(with_members()), member_line(), member_line(by_object))
    assert made.changes == (RemovePrincipal(GROUP_ID, "members", ROBOT_ID, application=True),)


OTHER_ROBOT = ref("app-of-another", "servicePrincipal")
UNSURE: dict[str, tuple[Reference, dict[str, Any]]] = {
    "members unseen": (ANNA, {"members": DOWN}),
    "an application not looked up": (OTHER_ROBOT, {"principals": {OTHER_ROBOT: DOWN}}),
}


@pytest.mark.parametrize(("wished", "fields"), UNSURE.values(), ids=UNSURE)
def test_a_hidden_one_stays_while_it_may_be_wished_for(wished: Reference, fields: dict[str, Any]) -> None:
    policy = with_members(wished)
    made = plan(policy, world(policy, **fields), member_line())
    assert not any(isinstance(change, RemovePrincipal) for change in made.changes)


@pytest.mark.parametrize("membership", [Membership.ADDITIVE, Membership.UNMANAGED])
def test_where_nobody_is_removed_lines_remove_nobody(membership: Membership) -> None:
    policy = with_members(membership=membership)
    assert plan(policy, world(policy), member_line()).changes == ()


def test_where_nobody_is_removed_who_is_added_is_written_down_all_the_same() -> None:
    """Who was added while nobody was removed must leave when that changes, though no list shows them."""
    policy = with_members(ROBOT, membership=Membership.ADDITIVE)
    made = plan(policy, world(policy))
    assert made.changes == (AddPrincipals(GROUP_ID, "members", (ROBOT_ID,), applications=True),)
    assert member_line() in made.inventory
    unmanaged = with_members(ROBOT, membership=Membership.UNMANAGED)
    assert member_line() not in plan(unmanaged, world(unmanaged)).inventory


def test_a_line_without_an_id_takes_nobody_out() -> None:
    assert plan(with_members(), world(with_members()), member_line(object_id="")).changes == ()


def test_a_service_principal_may_be_an_owner() -> None:
    policy = with_members(owners=(ROBOT,))
    assert plan(policy, world(policy)).changes == (
        AddPrincipals(GROUP_ID, "owners", (ROBOT_ID,), applications=True),
    )


@pytest.mark.parametrize("found", [None, DOWN], ids=["missing", "unseen"])
def test_a_service_principal_that_is_not_found_is_named(found: Any) -> None:
    policy = with_members(ROBOT, ANNA)
    seen = world(policy, A_ROBOT, principals={ROBOT: found, ANNA: principal("anna@x.io")})
    made = plan(policy, seen, member_line())
    if found is None:
        assert only(made).path == "spec.subject.group.members[0].servicePrincipal"
        assert "there is no servicePrincipal app-of-robot" in only(made).message
    else:
        assert only(made).reason == "Unavailable"
        assert not any(isinstance(change, RemovePrincipal) for change in made.changes)


def test_a_member_in_too_many_groups_is_told() -> None:
    policy = with_members(ANNA, ROBOT)
    made = plan(policy, world(policy, A_ROBOT, principal("anna@x.io"), groups_of={ROBOT_ID: 201}))
    assert made.changes == ()
    finding = only(made)
    assert (finding.severity, finding.reason, finding.link) == (
        Severity.WARNING,
        "TooManyGroups",
        Link.MEMBERS,
    )
    assert finding.path == "spec.subject.group.members[1].servicePrincipal"


# Groups of other policies


def test_the_group_of_another_policy_is_a_member() -> None:
    policy = with_members(OPS)
    made = plan(policy, world(policy, ops=view()))
    assert made.changes == (AddPrincipals(GROUP_ID, "members", (OPS_GROUP,)),)
    assert made.findings == ()
    there = Principal(OPS_GROUP, "group")
    assert plan(policy, world(policy, there, ops=view())).changes == ()


def test_an_existing_group_of_another_policy_is_a_member_too() -> None:
    subject = Subject("Group", TEAM_ID, "Team", "Existing")
    policy = with_members(OPS)
    made = plan(policy, world(policy, ops=view(a_policy_for(team()), subject)))
    assert made.changes == (AddPrincipals(GROUP_ID, "members", (TEAM_ID,)),)


PERSON = Subject("User", guid("anna"), "Anna", "Existing", principal_type="User")
NOT_YET: dict[str, tuple[PolicyView | None, Severity, str]] = {
    "not existing": (None, Severity.WAITING, "PolicyNotFound"),
    "deleting": (view(deleting=True), Severity.WAITING, "PolicyNotFound"),
    "without a group yet": (replace(view(), subject=None), Severity.WAITING, "PolicyNotReady"),
    "unreadable": (
        replace(view(), policy=None, unreadable="spec: x", subject=None),
        Severity.WAITING,
        "PolicyNotReady",
    ),
    "for a user": (view(a_policy_for(user()), PERSON), Severity.STALLED, "PolicyHasNoGroup"),
    "for a service principal": (view(a_policy_for(robot()), PERSON), Severity.STALLED, "PolicyHasNoGroup"),
}


@pytest.mark.parametrize(("ops", "severity", "reason"), NOT_YET.values(), ids=NOT_YET)
def test_while_the_group_of_a_policy_is_not_known_no_group_leaves(
    ops: PolicyView | None, severity: Severity, reason: str
) -> None:
    """Whichever of the groups it is, nobody knows now; a person it is not."""
    policy = with_members(OPS, ANNA)
    made = plan(policy, world(policy, STRANGER, A_TEAM, ops=ops), member_line())
    assert made.changes == (
        AddPrincipals(GROUP_ID, "members", (guid("anna@x.io"),)),
        RemovePrincipal(GROUP_ID, "members", STRANGER.id),
        RemovePrincipal(GROUP_ID, "members", ROBOT_ID, application=True),
    )
    finding = only(made)
    assert (finding.link, finding.severity, finding.reason) == (Link.MEMBERS, severity, reason)
    assert finding.path == "spec.subject.group.members[0].policy"
    assert "ops" in finding.message


def test_a_group_that_was_a_user_before_is_waited_for() -> None:
    """The other policy's spec names a group now, and its status still tells of the user."""
    made = plan(with_members(OPS), world(with_members(OPS), ops=view(subject=PERSON)))
    assert (only(made).severity, only(made).reason) == (Severity.WAITING, "PolicyNotReady")


def test_a_cycle_is_refused_with_the_way_round_and_the_others_are_served() -> None:
    policy = with_members(OPS, ANNA)
    way = {"ops": "appdev → ops → appdev"}
    made = plan(policy, world(policy, ops=view(), cycles=way))
    assert made.changes == (AddPrincipals(GROUP_ID, "members", (guid("anna@x.io"),)),)
    finding = only(made)
    assert (finding.severity, finding.reason, finding.path) == (
        Severity.STALLED,
        "MembershipCycle",
        "spec.subject.group.members[0].policy",
    )
    assert "appdev → ops → appdev" in finding.message


def test_a_cycle_through_an_object_id_is_refused_too() -> None:
    by_id = ref(OPS_GROUP, "group")
    policy = with_members(by_id)
    found = world(policy, cycles={OPS_GROUP: "appdev → ops → appdev"}, principals={by_id: principal("x")})
    made = plan(policy, found)
    assert made.changes == ()
    assert only(made).path == "spec.subject.group.members[0].group"


def test_members_of_a_group_that_is_being_made_wait_for_nothing_but_their_own() -> None:
    policy = with_members(ANNA, OPS, ROBOT)
    fresh = replace(
        nothing_yet(a_policy()),
        principals={ANNA: principal("anna@x.io"), ROBOT: A_ROBOT},
        policies={"ops": None},
    )
    made = plan_policy(policy, PLACE, fresh, (), NOW)
    assert [type(change) for change in made.changes] == [CreateGroup, AddPrincipals, AddPrincipals]
    assert only(made).reason == "PolicyNotFound"


# A group that comes back


def test_a_group_that_comes_back_waits_while_a_group_of_then_may_have_to_leave() -> None:
    """It is given nothing while somebody may be in it who must not have it."""
    policy = replace(with_members(OPS), cluster_roles=("view",))
    made = plan_policy(policy, PLACE, world(policy, A_TEAM, group=a_group(), ops=None), (), NOW)
    assert made.changes == ()
    assert made.subject is None


def test_a_group_that_comes_back_with_nobody_who_must_leave_is_served_while_a_policy_is_awaited() -> None:
    policy = replace(with_members(OPS), cluster_roles=("view",))
    made = plan_policy(policy, PLACE, world(policy, group=a_group(), ops=None), (), NOW)
    assert [type(change) for change in made.changes] == [ApplyChild]
    assert made.subject is not None
