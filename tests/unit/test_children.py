"""Roles and bindings: what is a difference, what is drift, and whose it is."""

import copy
from typing import Any

import pytest

from entra_access.api.names import ANNOTATION_APPLIED, CLUSTER_ROLE_BINDING, ROLE
from entra_access.api.status import DriftItem, System
from entra_access.domain.children import (
    Child,
    SeenChild,
    differences,
    drift_of,
    fingerprint,
    seen_child,
)
from unit.builders import (
    BEFORE,
    GROUP_ID,
    NOW,
    a_grant,
    a_rule,
    body_of,
    cluster_binding,
    edited,
    grant_binding,
    grant_role,
    guid,
    seen,
)

GRANT = a_grant(a_rule("get list", "pods services", "- apps", names="a b"), a_rule("*", "jobs", "batch"))
THE_ROLE = grant_role(GRANT)
BINDING = grant_binding(GRANT, "view")
EVE = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]
PASS = {"resources": ["pods"], "verbs": ["get"], "apiGroups": [""]}


def drift(child: Child, found: SeenChild) -> list[DriftItem]:
    return [item for item, foreign in drift_of(child, found) if foreign]


def fields(child: Child, found: SeenChild) -> list[str]:
    return [name for name, _, _ in differences(child, found)]


@pytest.mark.parametrize("child", [THE_ROLE, BINDING, cluster_binding("view")], ids=str)
def test_what_was_applied_is_no_difference(child: Child) -> None:
    assert fields(child, seen(child)) == []
    assert drift(child, seen(child)) == []


def test_the_order_of_rules_and_of_what_is_in_them_means_nothing() -> None:
    body = body_of(THE_ROLE)
    shuffled = [
        {key: list(reversed(value)) for key, value in reversed(rule.items())}
        for rule in reversed(body["rules"])
    ]
    assert shuffled != body["rules"]
    found = seen_child(ROLE, {**body, "rules": shuffled})
    assert (fields(THE_ROLE, found), drift(THE_ROLE, found)) == ([], [])


def test_the_order_of_subjects_means_nothing() -> None:
    two = [*body_of(BINDING)["subjects"], *EVE]
    assert fingerprint({"subjects": two}) == fingerprint({"subjects": list(reversed(two))})
    assert fingerprint({"subjects": two}) != fingerprint({"subjects": two[:1]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subjects", EVE),
        ("subjects", [*body_of(BINDING)["subjects"], *EVE]),
        ("subjects", []),
        ("subjects", None),
        ("subjects", [{**body_of(BINDING)["subjects"][0], "kind": "User"}]),
        ("roleRef", {**body_of(BINDING)["roleRef"], "kind": "Role"}),
    ],
    ids=str,
)
def test_each_other_content_of_a_binding_is_a_difference(field: str, value: Any) -> None:
    found = seen(BINDING, **{field: value})
    assert fields(BINDING, found) == [field]


@pytest.mark.parametrize("rules", [None, [], [PASS], body_of(THE_ROLE)["rules"] + [PASS]], ids=str)
def test_each_other_rule_is_a_difference(rules: object) -> None:
    assert fields(THE_ROLE, seen(THE_ROLE, rules=rules)) == ["rules"]


def test_a_rule_limited_to_other_names_is_a_difference() -> None:
    rules = copy.deepcopy(body_of(THE_ROLE)["rules"])
    del rules[0]["resourceNames"]
    assert fields(THE_ROLE, seen(THE_ROLE, rules=rules)) == ["rules"]


def with_metadata(child: Child, **changes: Any) -> SeenChild:
    body = body_of(child)
    body["metadata"] |= changes
    return seen_child(child.ref.kind, body)


def test_our_labels_and_our_owner_are_part_of_it() -> None:
    labels = body_of(BINDING)["metadata"]["labels"]
    assert fields(BINDING, with_metadata(BINDING, labels={**labels, "more": "x"})) == []
    for key in labels:
        found = with_metadata(BINDING, labels={**labels, key: "x"})
        assert fields(BINDING, found) == [f"metadata.labels[{key}]"]
        left = {name: value for name, value in labels.items() if name != key}
        assert fields(BINDING, with_metadata(BINDING, labels=left)) == [f"metadata.labels[{key}]"]
    assert fields(BINDING, with_metadata(BINDING, ownerReferences=[{"uid": "other"}])) == [
        "metadata.ownerReferences"
    ]
    assert len(fields(BINDING, with_metadata(BINDING, labels=None, ownerReferences=[]))) == len(labels) + 1


def test_drift_says_what_was_there_and_who_did_it() -> None:
    (item,) = drift(BINDING, edited(BINDING, "kubectl-edit", "subjects", subjects=EVE))
    assert item == DriftItem(
        System.KUBERNETES,
        str(BINDING.ref),
        "subjects",
        f"Group {GROUP_ID}",
        "User eve",
        "kubectl-edit",
        NOW,
        "Corrected",
    )


def test_of_several_hands_the_one_that_owns_the_field_did_it() -> None:
    body = body_of(BINDING, subjects=EVE)
    body["metadata"]["managedFields"] += [
        {"manager": "kubectl-edit", "time": BEFORE, "fieldsV1": {"f:subjects": {}}},
        {"manager": "kubectl-label", "time": NOW, "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}},
    ]
    (item,) = drift(BINDING, seen_child(BINDING.ref.kind, body))
    assert (item.changed_by, item.since) == ("kubectl-edit", BEFORE)


def test_of_several_owners_of_the_field_the_last_one_did_it() -> None:
    body = body_of(BINDING, subjects=EVE)
    body["metadata"]["managedFields"] += [
        {"manager": "later", "time": NOW, "fieldsV1": {"f:subjects": {}}},
        {"manager": "earlier", "time": BEFORE, "fieldsV1": {"f:subjects": {}}},
    ]
    (item,) = drift(BINDING, seen_child(BINDING.ref.kind, body))
    assert item.changed_by == "later"


def test_a_labels_owner_is_found() -> None:
    body = body_of(BINDING)
    key = "entra-access.dev/owner-uid"
    body["metadata"]["labels"][key] = "x"
    body["metadata"]["managedFields"] += [
        {
            "manager": "kubectl-label",
            "time": BEFORE,
            "fieldsV1": {"f:metadata": {"f:labels": {f"f:{key}": {}}}},
        },
        {"manager": "somebody", "time": NOW, "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}},
    ]
    (item,) = drift(BINDING, seen_child(BINDING.ref.kind, body))
    assert (item.field, item.found, item.changed_by) == (f"metadata.labels[{key}]", "x", "kubectl-label")


def test_who_did_it_can_be_unknown() -> None:
    (item,) = drift(BINDING, seen(BINDING, subjects=EVE))
    assert (item.changed_by, item.since) == ("", "")
    body = body_of(BINDING, subjects=EVE)
    del body["metadata"]["managedFields"]
    (item,) = drift(BINDING, seen_child(BINDING.ref.kind, body))
    assert item.changed_by == ""


def test_a_new_wish_is_no_drift() -> None:
    other = grant_role(a_grant(a_rule("get", "pods")))
    assert fields(other, seen(THE_ROLE)) == ["rules"]
    assert drift(other, seen(THE_ROLE)) == []
    moved = grant_binding(GRANT, "view", group_id=guid("new group"))
    assert fields(moved, seen(BINDING)) == ["subjects"]
    assert drift(moved, seen(BINDING)) == []


def test_a_group_that_is_still_to_be_made_is_no_drift() -> None:
    wanted, there = cluster_binding("view", None), seen(cluster_binding("view"))
    assert [name for name, _, _ in differences(wanted, there)] == ["subjects"]
    assert drift(wanted, there) == []


def test_a_hand_that_also_takes_our_mark_away_does_not_hide() -> None:
    """The mark is in everybody's reach; that another hand owns the field is not."""
    for mark in ({}, {ANNOTATION_APPLIED: "0123456789abcdef"}):
        body = body_of(BINDING, subjects=EVE)
        body["metadata"]["annotations"] = mark
        body["metadata"]["managedFields"].append(
            {"manager": "kubectl-edit", "time": NOW, "fieldsV1": {"f:subjects": {}}}
        )
        (item,) = drift(BINDING, seen_child(BINDING.ref.kind, body))
        assert item.changed_by == "kubectl-edit"


def test_what_is_told_of_a_drift_is_short() -> None:
    """Twenty of them must fit into one object, however long a Role is."""
    names = " ".join(f"a-rather-long-name-of-some-secret-{number}" for number in range(100))
    long = grant_role(a_grant(*[a_rule("get", "secrets", names=names)] * 100))
    (item,) = drift(long, edited(long, "kubectl-edit", "rules", rules=[*body_of(long)["rules"], PASS]))
    assert len(item.expected) <= 4096
    assert len(item.found) <= 4096


def test_a_child_knows_whose_it_is() -> None:
    found = seen(BINDING)
    assert found.owner_key == ("NamespaceGrant", "dev", "dev-access")
    assert found.owners == (("NamespaceGrant", "dev-access", GRANT.meta.uid),)
    found = seen(cluster_binding("view"))
    assert found.owner_key == ("AccessPolicy", None, "appdev")


def test_a_foreign_object_is_nobodys() -> None:
    found = seen_child(CLUSTER_ROLE_BINDING, {"metadata": {"name": "x", "uid": "u"}})
    assert (found.owner_key, found.owners, found.applied) == (("", None, ""), (), "")
    assert found.content == {"roleRef": [], "subjects": []}
