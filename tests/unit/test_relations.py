"""Which policies are concerned by news of another policy, or of a namespace."""

from dataclasses import replace
from typing import Any

from entra_access.api.resources import AccessPolicy, Reference
from entra_access.api.status import Subject
from entra_access.domain.observed import PolicyView
from entra_access.reconcile.relations import PolicyRelations
from unit.builders import a_meta, a_policy, a_selector, group_of, guid
from unit.worlds import TEAM_ID, a_namespace, a_policy_for, an_account, in_namespaces, robot, team


def group_id(name: str) -> str:
    return guid(f"group {name}")


def with_members(name: str, *members: str) -> AccessPolicy:
    """A policy with a group; members are names of policies, or object ids of groups."""
    policy = a_policy(meta=a_meta(name=name))
    kinds = {True: "group", False: "policy"}
    references = tuple(Reference(kinds["-" in member], member) for member in members)
    return replace(policy, subject=replace(group_of(policy), members=references))


def view(policy: AccessPolicy, *, ready: bool = True, **changes: Any) -> PolicyView:
    name = policy.meta.name
    subject = Subject("Group", group_id(name), name) if ready else None
    return replace(PolicyView(name, deleting=False, policy=policy, unreadable="", subject=subject), **changes)


def known(*policies: AccessPolicy) -> PolicyRelations:
    found = PolicyRelations()
    for policy in policies:
        found.put(view(policy))
    return found


# News of other policies


def test_who_has_the_group_as_a_member_hears_that_it_is_there() -> None:
    relations = known(with_members("all", "dev"), with_members("other"))
    assert relations.put(view(with_members("dev"), ready=False)) == {"all"}
    assert relations.put(view(with_members("dev"))) == {"all"}
    assert relations.put(view(with_members("dev"))) == set()


def test_who_names_the_group_by_its_id_hears_of_it_too() -> None:
    relations = known(with_members("all", group_id("dev")))
    assert relations.put(view(with_members("dev"))) == {"all"}


def test_who_has_it_as_a_member_hears_that_it_goes() -> None:
    relations = known(with_members("all", "dev"), with_members("dev"))
    assert relations.put(view(with_members("dev"), deleting=True)) == {"all"}
    assert relations.drop("dev") == {"all"}


def test_a_new_group_wakes_those_that_named_the_old_one_and_the_new_one() -> None:
    relations = known(with_members("old", group_id("dev")), with_members("new", group_id("next")))
    relations.put(view(with_members("dev")))
    moved = view(with_members("dev"), subject=Subject("Group", group_id("next"), "dev"))
    assert relations.put(moved) == {"old", "new"}


def test_what_does_not_matter_to_others_wakes_nobody() -> None:
    relations = known(with_members("all", "dev"), with_members("dev"))
    policy = replace(with_members("dev"), cluster_roles=("view",))
    assert relations.put(view(policy)) == set()


def test_a_policy_is_not_woken_by_itself() -> None:
    relations = known()
    assert relations.put(view(with_members("dev", "dev"))) == set()
    assert relations.drop("dev") == set()


def test_a_policy_that_nobody_knows_goes_without_a_word() -> None:
    assert known(with_members("dev")).drop("nobody") == set()


# Cycles


def test_cycles_are_found_by_name_and_by_object_id() -> None:
    relations = known(with_members("a", "b"), with_members("b", group_id("a")))
    assert relations.cycles("a") == {"b": "a → b → a"}
    assert relations.cycles("b") == {group_id("a"): "b → a → b"}


def test_a_cycle_that_closes_or_opens_is_told_to_all_in_it() -> None:
    relations = known(with_members("a", "b"), with_members("b"))
    assert relations.put(view(with_members("b", "a"))) == {"a"}
    assert relations.cycles("a") != {}
    assert relations.put(view(with_members("b"))) == {"a"}
    assert relations.cycles("a") == {}


def test_a_long_way_round_is_told_to_its_neighbours_who_tell_theirs() -> None:
    relations = known(with_members("a", "b"), with_members("b", "c"), with_members("c"))
    assert relations.put(view(with_members("c", "a"))) == {"a", "b"}
    assert {name: len(relations.cycles(name)) for name in "abc"} == {"a": 1, "b": 1, "c": 1}


def test_a_policy_that_goes_opens_the_way() -> None:
    relations = known(with_members("a", "b"), with_members("b", "a"))
    assert relations.drop("b") == {"a"}
    assert relations.cycles("a") == {}


def test_an_existing_group_has_no_members_of_ours_and_closes_no_way() -> None:
    relations = known(with_members("a", TEAM_ID))
    existing = a_policy_for(team(), meta=a_meta(name="t"))
    relations.put(view(existing, subject=Subject("Group", TEAM_ID, "Team", "Existing")))
    assert relations.cycles("a") == {}


def test_a_cycle_is_found_although_another_policy_uses_the_group_as_it_is() -> None:
    """By its object id: that policy made nothing, and the one that made it still has the members."""
    relations = known(with_members("a", "b"), with_members("b", group_id("a")))
    user = a_policy_for(team(group_id("a")), meta=a_meta(name="user"))
    relations.put(view(user, subject=Subject("Group", group_id("a"), "a", "Existing")))
    assert relations.cycles("b") == {group_id("a"): "b → a → b"}
    relations.drop("user")
    assert relations.cycles("b") == {group_id("a"): "b → a → b"}


# News of namespaces

BY_LABEL = a_policy_for(
    robot(),
    namespaces=(in_namespaces(selector=a_selector(team="dev"), cluster_roles="view"),),
    meta=a_meta(name="label"),
)
BY_NAME = a_policy_for(
    robot(), namespaces=(in_namespaces("dev test", cluster_roles="view"),), meta=a_meta(name="name")
)
ACCOUNT = a_policy_for(an_account(), meta=a_meta(name="account"))
PLAIN = a_policy_for(robot(), cluster_roles="view", meta=a_meta(name="plain"))
OURS, OTHER = a_namespace(team="dev"), a_namespace(team="ops")


def concerned(name: str, old: Any, new: Any) -> set[str]:
    return known(BY_LABEL, BY_NAME, ACCOUNT, PLAIN).of_namespace(name, old, new)


def test_a_namespace_that_appears_concerns_those_that_give_something_in_it() -> None:
    assert concerned("shop", None, OURS) == {"label"}
    assert concerned("shop", None, OTHER) == set()
    assert concerned("dev", None, OTHER) == {"name"}
    assert concerned("dev", None, OURS) == {"label", "name"}


def test_a_namespace_that_is_relabelled_concerns_those_of_before_and_after() -> None:
    assert concerned("shop", OURS, OTHER) == {"label"}
    assert concerned("shop", OTHER, OURS) == {"label"}
    assert concerned("shop", OTHER, OTHER) == set()


def test_a_namespace_that_goes_concerns_those_that_gave_something_in_it() -> None:
    assert concerned("shop", OURS, None) == {"label"}
    assert concerned("test", OTHER, None) == {"name"}


def test_the_namespace_of_a_service_account_concerns_its_policy() -> None:
    assert concerned("tools", None, OTHER) == {"account"}
    assert concerned("tools", OTHER, None) == {"account"}


def test_a_policy_that_gives_nothing_in_namespaces_any_more_is_left_in_peace() -> None:
    relations = known(BY_NAME)
    relations.put(view(replace(BY_NAME, namespaces=())))
    assert relations.of_namespace("dev", None, OURS) == set()
    relations = known(BY_NAME)
    relations.drop("name")
    assert relations.of_namespace("dev", None, OURS) == set()


def test_a_policy_that_cannot_be_read_any_more_concerns_nothing() -> None:
    relations = known(BY_NAME)
    relations.put(PolicyView("name", deleting=False, policy=None, unreadable="spec: x", subject=None))
    assert relations.of_namespace("dev", None, OURS) == set()
