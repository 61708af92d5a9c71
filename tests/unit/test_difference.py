"""What each change says of itself, and which differences a plan has."""

import inspect
from dataclasses import replace

import pytest

from entra_access.api.names import SERVICE_ACCOUNT
from entra_access.api.resources import AdoptionPolicy
from entra_access.api.status import DriftItem, System
from entra_access.domain import changes as all_changes
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
    DeleteChild,
    DeleteGroup,
    HoldChild,
    LeaveAccount,
    ReleaseChild,
    RemovePrincipal,
    RemoveRole,
    ReplaceChild,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.difference import Difference, differences_of, items_of
from entra_access.domain.naming import assignment_id, definition_id
from entra_access.domain.observed import Definition
from unit.builders import GROUP_ID, PLACE, SCOPE, cluster_binding, guid
from unit.worlds import DEV_SCOPE, RESOURCE_GROUP

BINDING = cluster_binding("view")
ACCOUNT = Child(ChildRef(SERVICE_ACCOUNT, "tools", "robot"), BINDING.owner)
CUSTOM = Definition(guid("custom"), "Pod Restarter")
E, A, K = System.ENTRA, System.AZURE, System.KUBERNETES
Words = tuple[System, str, str, str, str]
SAID: dict[str, tuple[Change, list[Words]]] = {
    "a new group": (
        CreateGroup("u", "appdev", "appdev", None),
        [(E, "Group appdev", "", "present", "absent")],
    ),
    "a group that is taken over": (
        AdoptGroup(GROUP_ID, "u", "appdev"),
        [(E, "Group appdev", "uniqueName", "u", "none")],
    ),
    "a deleted group": (
        RestoreGroup(GROUP_ID, "appdev"),
        [(E, "Group appdev", "", "present", "deleted")],
    ),
    "a group too many": (
        DeleteGroup(GROUP_ID, "appdev"),
        [(E, "Group appdev", "", "absent", "present")],
    ),
    "each attribute": (
        UpdateGroup(
            GROUP_ID,
            (("displayName", "ops"), ("description", None)),
            before=(("displayName", "hacked"), ("description", "words")),
        ),
        [
            (E, "Group team", "displayName", "ops", "hacked"),
            (E, "Group team", "description", "none", "words"),
        ],
    ),
    "an attribute that was empty": (
        UpdateGroup(GROUP_ID, (("description", "words"),)),
        [(E, "Group team", "description", "words", "none")],
    ),
    "each member by name": (
        AddPrincipals(GROUP_ID, "members", ("1", "2"), ("a@x.io", "b@x.io")),
        [
            (E, "Group team", "members", "a@x.io", "not a@x.io"),
            (E, "Group team", "members", "b@x.io", "not b@x.io"),
        ],
    ),
    "an owner without a name": (
        AddPrincipals(None, "owners", ("1",)),
        [(E, "Group team", "owners", "1", "not 1")],
    ),
    "a member too many": (
        RemovePrincipal(GROUP_ID, "members", "1", "eve@x.io"),
        [(E, "Group team", "members", "not eve@x.io", "eve@x.io")],
    ),
    "an owner too many without a name": (
        RemovePrincipal(GROUP_ID, "owners", "1"),
        [(E, "Group team", "owners", "not 1", "1")],
    ),
    "a role at the cluster": (
        AssignRole(SCOPE, "Reader", "id", GROUP_ID, "Group", "note"),
        [(A, "RoleAssignment Reader at aks", "", "present", "absent")],
    ),
    "a role in a namespace": (
        AssignRole(DEV_SCOPE, "Reader", "id", None, "Group", "note"),
        [(A, "RoleAssignment Reader at namespace dev", "", "present", "absent")],
    ),
    "a role too many": (
        UnassignRole(assignment_id(RESOURCE_GROUP, guid("a")), "Reader"),
        [(A, "RoleAssignment Reader at resourceGroup rg", "", "absent", "present")],
    ),
    "a new custom role": (
        DefineRole(PLACE.subscription, CUSTOM, new=True),
        [(A, "RoleDefinition Pod Restarter", "", "present", "absent")],
    ),
    "another custom role": (
        DefineRole(PLACE.subscription, CUSTOM, new=False),
        [(A, "RoleDefinition Pod Restarter", "definition", "as in spec.customRoles", "another")],
    ),
    "a custom role too many": (
        RemoveRole(definition_id(PLACE.subscription, CUSTOM.guid), "Pod Restarter"),
        [(A, "RoleDefinition Pod Restarter", "", "absent", "present")],
    ),
    "a binding": (
        ApplyChild(BINDING, None),
        [(K, str(BINDING.ref), "", "present", "absent")],
    ),
    "a binding that is there: whoever compared it knows what differs": (ApplyChild(BINDING, "uid"), []),
    "a binding too many": (
        DeleteChild(BINDING.ref, "uid"),
        [(K, str(BINDING.ref), "", "absent", "present")],
    ),
    "what makes room: what takes its place speaks of it": (ReplaceChild(BINDING.ref, "uid"), []),
    "what is let go is as it should be": (ReleaseChild(BINDING.ref, "uid"), []),
    "an account that another policy is to have too": (
        ApplyChild(replace(ACCOUNT, joins=True), "uid"),
        [(K, str(ACCOUNT.ref), "metadata.ownerReferences", "AccessPolicy appdev", "none of it")],
    ),
    "an account that is to stay": (
        HoldChild(ACCOUNT.ref, "uid", "uid-of-tools"),
        [(K, str(ACCOUNT.ref), "metadata.ownerReferences", "Namespace tools", "none of it")],
    ),
    "an account that is to stay no more": (
        HoldChild(ACCOUNT.ref, "uid", "uid-of-tools", holds=False),
        [(K, str(ACCOUNT.ref), "metadata.ownerReferences", "without it", "Namespace tools")],
    ),
    "an account that is left to the others": (
        LeaveAccount(ACCOUNT.ref, "uid", ACCOUNT.owner),
        [(K, str(ACCOUNT.ref), "metadata.ownerReferences", "without it", "AccessPolicy appdev")],
    ),
}


@pytest.mark.parametrize(("change", "expected"), SAID.values(), ids=SAID)
def test_each_change_says_what_it_finds_and_what_it_leaves(change: Change, expected: list[Words]) -> None:
    assert items_of(change, "team") == tuple(DriftItem(*words) for words in expected)


def test_no_kind_of_change_was_forgotten() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(all_changes, inspect.isclass)
        if issubclass(kind, Change) and kind is not Change
    }
    assert {type(change) for change, _ in SAID.values()} == kinds


def test_a_plans_makers_know_more_than_the_changes() -> None:
    """What they found is told in their words, and the rest in those of the changes, once each."""
    known, other = ApplyChild(BINDING, "uid"), ApplyChild(cluster_binding("edit"), None)
    found = Difference(DriftItem(K, str(BINDING.ref), "subjects", "a", "b"), known, foreign=True)
    more = differences_of((known, other), (found,), "team")
    assert more == (found, Difference(items_of(other, "team")[0], other))
    assert [one.foreign for one in more] == [True, False]


def test_what_nobody_is_to_put_right_is_a_difference_too() -> None:
    told = Difference(DriftItem(A, "RoleAssignment Owner at aks", "", "absent", "present"), foreign=True)
    change = UnassignRole(assignment_id(SCOPE, guid("a")), "Reader")
    assert differences_of((change,), (told,), "team") == (
        told,
        Difference(items_of(change, "team")[0], change),
    )


def test_of_two_equal_changes_only_the_one_that_was_compared_is_told_of() -> None:
    """They are told apart by what they are, and not by what they say."""
    one, same = ApplyChild(BINDING, None), ApplyChild(BINDING, None, adoption=AdoptionPolicy.ALWAYS)
    assert one == same
    found = Difference(items_of(one, "")[0], one, foreign=True)
    assert differences_of((one,), (found,), "") == (found,)
    assert len(differences_of((one, same), (found,), "")) == 2


def test_several_items_of_one_change_are_several_differences() -> None:
    change = AddPrincipals(GROUP_ID, "members", ("1", "2"))
    found = differences_of((change,), (), "team")
    assert [one.item.expected for one in found] == ["1", "2"]
    assert all(one.change is change and not one.foreign for one in found)
