"""Who of ours wants which assignment: what two of them want goes only when neither does."""

from entra_access.reconcile.claims import AssignmentClaims

A, B = "/a", "/b"


def claims(**known: set[str]) -> AssignmentClaims[str]:
    """Claims as the inventories of a start tell them."""
    found: AssignmentClaims[str] = AssignmentClaims()
    for key, ids in known.items():
        found.expect(key, ids)
    return found


def test_what_somebody_else_wants_is_told() -> None:
    found = claims(one={A}, two={A, B})
    assert found.of_others("one", {A, B}) == {A, B}
    assert found.of_others("two", {A, B}) == {A}
    assert found.of_others("three", {A}) == {A}


def test_what_one_wants_itself_is_nobody_elses() -> None:
    assert claims(one={A}).of_others("one", {A}) == frozenset()


def test_what_nobody_wants_is_not_claimed() -> None:
    assert claims(one={A}).of_others("two", {B}) == frozenset()
    assert claims().of_others("one", {A}) == frozenset()


def test_only_what_is_asked_for_is_told() -> None:
    assert claims(one={A, B}).of_others("two", {A}) == {A}


def test_until_its_first_pass_the_inventory_of_a_resource_stands_for_it() -> None:
    """After a restart the first of two must not take away what the second one wants."""
    found = claims(one={A}, two={A})
    found.note("one", frozenset())
    assert found.of_others("one", {A}) == {A}


def test_a_pass_knows_better_than_the_inventory() -> None:
    """The inventory still has what is to go: it would be claimed for ever."""
    found = claims(one={A})
    found.note("one", frozenset({B}))
    found.expect("one", {A, B})
    assert found.of_others("two", {A, B}) == {B}


def test_of_two_that_let_go_the_second_takes_it_away() -> None:
    found = claims(one={A}, two={A})
    found.note("one", frozenset())
    found.note("two", frozenset())
    assert found.of_others("two", {A}) == frozenset()


def test_what_is_gone_claims_nothing_and_may_come_back() -> None:
    found = claims(one={A}, two={A})
    found.note("one", frozenset({A}))
    found.forget("one")
    assert found.of_others("two", {A}) == frozenset()
    found.expect("one", {A})
    assert found.of_others("two", {A}) == {A}


def test_nothing_is_kept_of_what_is_gone() -> None:
    found = claims(one={A, B})
    found.note("one", frozenset({A}))
    found.forget("one")
    found.forget("nobody")
    assert (found._held, dict(found._holders), found._noted) == ({}, {}, set())
