"""The plan of an AccessPolicy: members and owners of its group, its Azure roles and bindings."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.resources import AccessPolicy, Membership
from entra_access.api.status import Item
from entra_access.domain.changes import AddPrincipals, Change, RemovePrincipal
from entra_access.domain.faults import Link, Severity, Unavailable
from entra_access.domain.marks import marks
from entra_access.domain.observed import PolicyWorld, Principal
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import GROUP_ID, NOW, PLACE, a_policy, got, group_of, guid, principal, ref, steady

STRANGER = principal("stranger@x.io")
DOWN = Unavailable("down")


def plan(policy: AccessPolicy, world: PolicyWorld, inventory: tuple[Item, ...] = ()) -> Plan:
    return plan_policy(policy, PLACE, world, inventory, NOW)


def added(relation: str, *names: str) -> Change:
    return AddPrincipals(GROUP_ID, relation, tuple(sorted(guid(name) for name in names)))


def removed(relation: str, *names: str) -> list[Change]:
    return [RemovePrincipal(GROUP_ID, relation, guid(name)) for name in names]


def with_members(policy: AccessPolicy, *members: Principal, **changes: Any) -> Plan:
    """The plan where the group has other members than those that are wished for."""
    world, inventory = steady(policy)
    return plan(policy, replace(world, members=members, **changes), inventory)


def not_found(policy: AccessPolicy, *missing: str, members: tuple[Principal, ...], owners: Any = ()) -> Plan:
    """The plan where the directory certainly has none of that name."""
    world, inventory = steady(policy)
    principals = {**world.principals, **{ref(name): None for name in missing}}
    return plan(policy, replace(world, members=members, owners=owners, principals=principals), inventory)


def test_exact_puts_right_what_another_hand_did() -> None:
    made = with_members(a_policy(members="a@x.io b@x.io"), principal("a@x.io"), STRANGER)
    assert made.changes == (added("members", "b@x.io"), *removed("members", "stranger@x.io"))
    assert made.counts["members"] == 2


def test_additive_takes_nobody_out() -> None:
    policy = a_policy(members="a@x.io b@x.io", owners="o@x.io", membership=Membership.ADDITIVE)
    world, inventory = steady(policy)
    extra = principal("p@x.io")
    made = plan(policy, replace(world, members=(STRANGER,), owners=(extra,)), inventory)
    assert made.changes == (added("members", "a@x.io", "b@x.io"), added("owners", "o@x.io"))
    assert made.counts["members"] == 3


def test_unmanaged_leaves_members_alone_and_adds_owners() -> None:
    policy = a_policy(owners="o@x.io", membership=Membership.UNMANAGED)
    world, inventory = steady(policy)
    others = (STRANGER, principal("a@x.io"))
    made = plan(policy, replace(world, members=others, owners=(principal("p@x.io"),)), inventory)
    assert made.changes == (added("owners", "o@x.io"),)
    assert made.counts["members"] == 2


def test_members_of_every_kind_are_members() -> None:
    group, robot = principal("22222222", "group"), Principal("3333", "servicePrincipal")
    policy = a_policy(members="a@x.io")
    wish = group_of(policy)
    policy = replace(policy, subject=replace(wish, members=(*wish.members, ref("22222222", "group"))))
    made = with_members(policy, principal("a@x.io"), group, robot)
    assert made.changes == (RemovePrincipal(GROUP_ID, "members", "3333", application=True),)


def test_one_person_under_two_names_is_one_member() -> None:
    policy = a_policy(members="a@x.io alias@x.io")
    world, inventory = steady(policy)
    same = {ref("a@x.io"): principal("a@x.io"), ref("alias@x.io"): principal("a@x.io")}
    made = plan(policy, replace(world, members=(principal("a@x.io"),), principals=same), inventory)
    assert (made.changes, made.counts["members"]) == ((), 1)


def test_members_and_owners_are_apart() -> None:
    policy = a_policy(members="a@x.io", owners="o@x.io")
    world, inventory = steady(policy)
    swapped = replace(world, members=world.owners, owners=world.members)
    assert plan(policy, swapped, inventory).changes == (
        added("members", "a@x.io"),
        added("owners", "o@x.io"),
        *removed("members", "o@x.io"),
        *removed("owners", "a@x.io"),
    )


def test_who_is_missing_is_named_and_the_others_are_served() -> None:
    policy = a_policy(members="a@x.io gone@x.io b@x.io")
    made = not_found(policy, "gone@x.io", members=(principal("a@x.io"), STRANGER))
    assert made.changes == (added("members", "b@x.io"), *removed("members", "stranger@x.io"))
    (finding,) = made.findings
    assert (finding.link, finding.severity, finding.reason) == (
        Link.MEMBERS,
        Severity.STALLED,
        "MemberNotFound",
    )
    assert finding.path == "spec.subject.group.members[1].user"
    assert "gone@x.io" in finding.message


def test_a_reference_that_was_not_looked_up_at_all_counts_as_missing() -> None:
    world, inventory = steady(a_policy())
    assert [f.reason for f in plan(a_policy(members="a@x.io"), world, inventory).findings] == [
        "MemberNotFound"
    ]


def test_who_is_in_the_group_under_the_name_that_was_not_found_stays() -> None:
    """The directory contradicts itself, as it does for minutes after a user was made."""
    here = Principal("id-of-lead", "user", "Lead@X.io")
    made = not_found(a_policy(members="lead@x.io"), "lead@x.io", members=(here,))
    assert made.changes == ()


def test_who_is_in_the_group_under_the_id_that_was_not_found_stays() -> None:
    object_id = guid("lead")
    here = Principal(object_id, "user", "lead@x.io")
    made = not_found(a_policy(members=object_id), object_id, members=(here,))
    assert made.changes == ()


@pytest.mark.parametrize("relation", ["members", "owners"])
def test_who_was_renamed_stays(relation: str) -> None:
    """The name that the spec has is nobody's now; who was put in by it is the same person."""
    wished = "anna@x.io other@x.io"
    policy = a_policy(members=wished) if relation == "members" else a_policy(owners=wished)
    renamed = Principal(guid("anna@x.io"), "user", "anna.new@x.io")
    there = (renamed, principal("other@x.io"), STRANGER)
    world, inventory = steady(policy)
    principals = {**world.principals, ref("anna@x.io"): None}
    changes: dict[str, Any] = {relation: there, "principals": principals}
    put_in = marks((relation, f"user {name}", guid(name)) for name in ("anna@x.io", "other@x.io"))
    made = plan_policy(policy, PLACE, replace(world, **changes), inventory, NOW, put_in=put_in)
    assert made.changes == tuple(removed(relation, "stranger@x.io"))
    assert [finding.reason for finding in made.findings] == ["MemberNotFound"]
    assert (relation, renamed.id) in made.stays, "and is still known as put in"


def test_who_was_renamed_leaves_when_nobody_asks_for_the_former_name_any_more() -> None:
    policy = a_policy(members="other@x.io")
    world, inventory = steady(policy)
    there = (Principal(guid("anna@x.io"), "user", "anna.new@x.io"), principal("other@x.io"))
    put_in = marks(("members", f"user {name}", guid(name)) for name in ("anna@x.io", "other@x.io"))
    made = plan_policy(policy, PLACE, replace(world, members=there), inventory, NOW, put_in=put_in)
    assert made.changes == tuple(removed("members", "anna@x.io"))


def test_who_could_not_be_looked_up_by_name_is_held_and_so_is_every_other_user() -> None:
    policy = a_policy(members="a@x.io b@x.io")
    world, inventory = steady(policy)
    principals = {**world.principals, ref("b@x.io"): DOWN}
    here = Principal("id-of-b", "user", "another-name@x.io")
    made = plan(policy, replace(world, members=(here, STRANGER), principals=principals), inventory)
    assert made.changes == (added("members", "a@x.io"),)
    assert [finding.reason for finding in made.findings] == ["Unavailable"]


def test_an_unseen_member_does_not_hold_owners() -> None:
    policy = a_policy(members="a@x.io", owners="o@x.io")
    world, inventory = steady(policy)
    principals = {**world.principals, ref("a@x.io"): DOWN}
    owners = (*got(world.owners), principal("p@x.io"))
    made = plan(policy, replace(world, owners=owners, principals=principals), inventory)
    assert made.changes == tuple(removed("owners", "p@x.io"))


OWNERS: dict[str, tuple[str, list[Principal], list[Change]]] = {
    "none wished, none there": ("", [], []),
    "none wished, one there: stays": ("", [principal("o@x.io")], []),
    "none wished, two there: one stays": (
        "",
        [Principal("2", "user", "b@x.io"), Principal("1", "user", "a@x.io")],
        [RemovePrincipal(GROUP_ID, "owners", "2")],
    ),
    "none wished, a program: goes": (
        "",
        [Principal("1", "servicePrincipal")],
        [RemovePrincipal(GROUP_ID, "owners", "1", application=True)],
    ),
    "none wished, a program and a user: the user stays": (
        "",
        [Principal("1", "servicePrincipal"), Principal("2", "user", "b@x.io")],
        [RemovePrincipal(GROUP_ID, "owners", "1", application=True)],
    ),
    "one wished, another there": (
        "o@x.io",
        [principal("p@x.io")],
        [added("owners", "o@x.io"), *removed("owners", "p@x.io")],
    ),
    "one wished, both there": (
        "o@x.io",
        [principal("o@x.io"), principal("p@x.io")],
        removed("owners", "p@x.io"),
    ),
}


@pytest.mark.parametrize(("wished", "there", "changes"), OWNERS.values(), ids=OWNERS)
def test_owners(wished: str, there: list[Principal], changes: list[Change]) -> None:
    policy = a_policy(owners=wished)
    world, inventory = steady(policy)
    made = plan(policy, replace(world, owners=tuple(there)), inventory)
    assert made.changes == tuple(changes)
    stays = not wished and any(one.kind == "user" for one in there)
    assert [(f.reason, f.severity) for f in made.findings] == (
        [("LastOwnerStays", Severity.NOTE)] if stays else []
    )


def test_the_last_owner_stays_while_the_wished_one_is_missing() -> None:
    policy = a_policy(owners="gone@x.io")
    made = not_found(policy, "gone@x.io", members=(), owners=(principal("p@x.io"),))
    assert made.changes == ()
    assert sorted(finding.reason for finding in made.findings) == ["LastOwnerStays", "MemberNotFound"]


def test_the_last_owner_stays_in_whatever_order_owners_are_found() -> None:
    one, two = Principal("1", "user", "a@x.io"), Principal("2", "user", "b@x.io")
    world, inventory = steady(a_policy())
    plans = [
        plan(a_policy(), replace(world, owners=owners), inventory) for owners in ((one, two), (two, one))
    ]
    assert plans[0].changes == plans[1].changes
    assert plans[0].findings == plans[1].findings


def test_the_order_of_members_does_not_matter() -> None:
    names = ["a@x.io", "b@x.io", "c@x.io"]
    there = tuple(principal(name) for name in reversed(names))
    assert with_members(a_policy(members=" ".join(names)), *there).changes == ()
    plans = [
        with_members(a_policy(members=" ".join(order))).changes for order in (names, list(reversed(names)))
    ]
    assert plans[0] == plans[1]


@pytest.mark.parametrize("relation", ["members", "owners"])
def test_the_order_in_which_they_leave_is_always_the_same(relation: str) -> None:
    """A list comes in any order; were the order new each time, a contest about it would look new too."""
    policy = a_policy(owners="o@x.io")
    there = [principal(name) for name in ("a@x.io", "b@x.io", "c@x.io")]
    world, inventory = steady(policy)
    plans = []
    for order in (there, there[::-1]):
        changes: dict[str, Any] = {relation: (*order, principal("o@x.io")) if relation == "owners" else order}
        plans.append(plan(policy, replace(world, **changes), inventory))
    assert len(plans[0].changes) == len(there)
    assert plans[0].changes == plans[1].changes
    assert plans[0].differences == plans[1].differences
