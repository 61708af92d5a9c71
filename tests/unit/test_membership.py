"""Groups of policies that would be members of themselves."""

from collections.abc import Mapping

import pytest

from entra_access.domain.membership import cycles

Edges = Mapping[str, str]  # the members of one policy, each as ``reference member``, in words


def found(policy: str, **members: str) -> dict[str, str]:
    """The cycles of a policy, where each policy's members are named by the policies' own names."""
    return cycles(policy, lambda name: {one: one for one in members.get(name, "").split()})


CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nobody": ({}, {}),
    "a chain": ({"a": "b", "b": "c"}, {}),
    "itself": ({"a": "a"}, {"a": "a → a"}),
    "two": ({"a": "b", "b": "a"}, {"b": "a → b → a"}),
    "three": ({"a": "b", "b": "c", "c": "a"}, {"b": "a → b → c → a"}),
    "one of two members": ({"a": "b c", "c": "a"}, {"c": "a → c → a"}),
    "both members": ({"a": "b c", "b": "a", "c": "b"}, {"b": "a → b → a", "c": "a → c → b → a"}),
    "the shortest way": ({"a": "b", "b": "c a", "c": "a"}, {"b": "a → b → a"}),
    "a cycle of others": ({"a": "b", "b": "c", "c": "b"}, {}),
    "a diamond": ({"a": "b c", "b": "d", "c": "d"}, {}),
    "a member that nobody knows": ({"a": "x"}, {}),
}


@pytest.mark.parametrize(("members", "expected"), CASES.values(), ids=CASES)
def test_cycles(members: dict[str, str], expected: dict[str, str]) -> None:
    assert found("a", **members) == expected


def test_a_member_is_named_by_the_reference_that_the_spec_has() -> None:
    """A group can be named by its object id and be another policy's."""
    edges: dict[str, Edges] = {"a": {"id-of-b": "b"}, "b": {"a": "a"}}
    assert cycles("a", lambda name: edges.get(name, {})) == {"id-of-b": "a → b → a"}


def test_every_policy_of_a_cycle_is_told() -> None:
    members = {"a": "b", "b": "c", "c": "a"}
    assert [list(found(policy, **members).values()) for policy in "abc"] == [
        ["a → b → c → a"],
        ["b → c → a → b"],
        ["c → a → b → c"],
    ]


def test_a_long_chain_is_walked_without_end_or_recursion() -> None:
    members = {f"p{number}": f"p{number + 1}" for number in range(3000)}
    assert found("p0", **members) == {}
    members["p3000"] = "p0"
    assert found("p0", **members)["p1"].count("→") == 3001
