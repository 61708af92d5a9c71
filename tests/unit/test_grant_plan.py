"""The plan of a NamespaceGrant: each refusal, and what it makes where there is none."""

from typing import Any

import pytest

from entra_access.api.names import ROLE, ROLE_BINDING
from entra_access.api.resources import NamespaceGrant
from entra_access.api.status import Item, Subject
from entra_access.domain.changes import ApplyChild, DeleteChild, ReplaceChild
from entra_access.domain.faults import Link, Severity
from entra_access.domain.grant_plan import plan_grant
from entra_access.domain.observed import GrantWorld, PolicyView
from entra_access.domain.plan import Plan
from unit.builders import (
    AT,
    GROUP_ID,
    PLACE,
    a_ceiling,
    a_grant,
    a_policy,
    a_rule,
    a_selector,
    a_view,
    body_of,
    child_line,
    drift_of_plan,
    grant_binding,
    grant_children,
    grant_role,
    grant_world,
    guid,
    seen,
)

PODS = a_rule("get list", "pods")
CEILING = a_ceiling(a_rule("*", "*", "*"), cluster_roles="view edit")
VIEW = a_view(a_policy(ceiling=CEILING))
GRANT = a_grant(PODS, cluster_roles="view edit")
IN_PLACE = tuple(seen(child) for child in grant_children(GRANT))
LINES = tuple(child_line(child) for child in grant_children(GRANT))


def plan(grant: NamespaceGrant, world: GrantWorld, inventory: tuple[Item, ...] = ()) -> Plan:
    return plan_grant(grant, PLACE, world, inventory, AT)


def test_everything_is_made_the_role_before_its_binding() -> None:
    made = plan(GRANT, grant_world(VIEW))
    assert made.changes == tuple(ApplyChild(child, None) for child in grant_children(GRANT))
    assert [change.child.ref.kind for change in made.changes if isinstance(change, ApplyChild)] == [
        ROLE,
        ROLE_BINDING,
        ROLE_BINDING,
        ROLE_BINDING,
    ]
    assert made.findings == ()
    assert drift_of_plan(made) == ()
    assert made.counts == {"roles": 1, "roleBindings": 3}
    assert made.summary == "appdev has 3 RoleBindings here"


def test_what_it_makes_is_what_kubernetes_is_asked_for() -> None:
    made = plan(a_grant(PODS), grant_world(VIEW))
    role, binding = (change.child.manifest() for change in made.changes if isinstance(change, ApplyChild))
    assert (role["kind"], role["apiVersion"]) == ("Role", "rbac.authorization.k8s.io/v1")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": role["metadata"]["name"],
    }
    assert binding["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP_ID}
    ]
    for manifest in (role, binding):
        meta = manifest["metadata"]
        assert meta["namespace"] == "dev"
        assert meta["labels"] == {
            "app.kubernetes.io/managed-by": "entra-access-operator",
            "entra-access.dev/owner-kind": "NamespaceGrant",
            "entra-access.dev/owner-name": "dev-access",
            "entra-access.dev/owner-uid": GRANT.meta.uid,
        }
        (owner,) = meta["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "NamespaceGrant",
            "dev-access",
            GRANT.meta.uid,
            True,
        )
    assert role["metadata"]["name"] != binding["metadata"]["name"]


def test_at_steady_state_nothing_changes() -> None:
    made = plan(GRANT, grant_world(VIEW, IN_PLACE), LINES)
    assert made.changes == ()
    assert made.findings == ()
    assert drift_of_plan(made) == ()
    assert set(made.inventory) == set(LINES)
    assert made.subject is not None
    assert (made.subject.kind, made.subject.object_id, made.subject.display_name) == (
        "Group",
        GROUP_ID,
        "appdev",
    )


Refusal = tuple[PolicyView | None, dict[str, Any], Link, Severity, str]
TAKES_BACK: dict[str, Refusal] = {
    "no policy": (None, {}, Link.POLICY, Severity.WAITING, "PolicyNotFound"),
    "the policy is going": (
        a_view(a_policy(ceiling=CEILING), deleting=True),
        {},
        Link.POLICY,
        Severity.STALLED,
        "PolicyDeleting",
    ),
    "no grants allowed": (a_view(a_policy()), {}, Link.CEILING, Severity.STALLED, "NoGrantsAllowed"),
    "a rule beyond the ceiling": (
        a_view(a_policy(ceiling=a_ceiling(a_rule("get", "pods"), cluster_roles="view edit"))),
        {},
        Link.CEILING,
        Severity.STALLED,
        "BeyondCeiling",
    ),
    "a ClusterRole beyond the ceiling": (
        a_view(a_policy(ceiling=a_ceiling(a_rule("*", "*", "*"), cluster_roles="view"))),
        {},
        Link.CEILING,
        Severity.STALLED,
        "BeyondCeiling",
    ),
    "the namespace is not allowed": (
        a_view(a_policy(ceiling=a_ceiling(a_rule("*", "*"), namespaces=a_selector(team="x")))),
        {"labels": {"team": "y"}},
        Link.CEILING,
        Severity.STALLED,
        "NamespaceNotAllowed",
    ),
}


@pytest.mark.parametrize(
    ("view", "fields", "link", "severity", "reason"), TAKES_BACK.values(), ids=TAKES_BACK
)
def test_a_refused_grant_gives_nothing_and_takes_back_what_it_gave(
    view: PolicyView | None, fields: dict[str, Any], link: Link, severity: Severity, reason: str
) -> None:
    made = plan(GRANT, grant_world(view, IN_PLACE, **fields), LINES)
    assert [(f.link, f.severity, f.reason) for f in made.findings] == [(link, severity, reason)]
    assert set(made.changes) == {DeleteChild(child.ref, child.uid) for child in IN_PLACE}
    assert drift_of_plan(made) == ()
    assert made.counts == {"roles": 0, "roleBindings": 0}
    assert set(made.inventory) == set(LINES)  # until each removal is confirmed
    fresh = plan(GRANT, grant_world(view, (), **fields), ())
    assert (fresh.changes, fresh.inventory) == ((), ())


def test_bindings_go_before_the_role_that_they_refer_to() -> None:
    made = plan(GRANT, grant_world(None, IN_PLACE), LINES)
    kinds = [change.ref.kind for change in made.changes if isinstance(change, DeleteChild)]
    assert kinds[-1] == ROLE
    assert kinds.count(ROLE) == 1


KEEPS: dict[str, Refusal] = {
    "the policy is unreadable": (a_view(None), {}, Link.POLICY, Severity.WAITING, "PolicyUnreadable"),
    "the namespace is going": (VIEW, {"ending": True}, Link.POLICY, Severity.WAITING, "NamespaceEnding"),
    "the namespace is going, and the policy": (
        None,
        {"ending": True},
        Link.POLICY,
        Severity.WAITING,
        "NamespaceEnding",
    ),
    "the subject is not ready": (
        a_view(a_policy(ceiling=CEILING), subject=None),
        {},
        Link.POLICY,
        Severity.WAITING,
        "SubjectNotReady",
    ),
}


@pytest.mark.parametrize(("view", "fields", "link", "severity", "reason"), KEEPS.values(), ids=KEEPS)
def test_what_is_not_known_now_leaves_what_is_there(
    view: PolicyView | None, fields: dict[str, Any], link: Link, severity: Severity, reason: str
) -> None:
    made = plan(GRANT, grant_world(view, IN_PLACE, **fields), LINES)
    assert [(f.link, f.severity, f.reason) for f in made.findings] == [(link, severity, reason)]
    assert made.changes == ()
    assert set(made.inventory) == set(LINES)
    assert made.findings[0].path == "spec.policyRef.name"


def test_beyond_the_ceiling_is_taken_back_even_while_the_subject_is_not_ready() -> None:
    view = a_view(a_policy(ceiling=a_ceiling()), subject=None)
    assert len(plan(GRANT, grant_world(view, IN_PLACE), LINES).changes) == len(IN_PLACE)


def test_why_a_policy_is_unreadable_is_told() -> None:
    (finding,) = plan(GRANT, grant_world(a_view(None, unreadable="spec.x: is wrong"))).findings
    assert "spec.x: is wrong" in finding.message


@pytest.mark.parametrize(
    ("wish", "changes"),
    [
        (
            a_grant(a_rule("get", "pods"), cluster_roles="view edit"),
            [ApplyChild(grant_role(a_grant(a_rule("get", "pods"))), child_line(grant_role(GRANT)).id)],
        ),
        (
            a_grant(PODS, cluster_roles="view"),
            [DeleteChild(grant_binding(GRANT, "edit").ref, child_line(grant_binding(GRANT, "edit")).id)],
        ),
        (
            a_grant(cluster_roles="view edit"),
            [
                DeleteChild(
                    grant_binding(GRANT, kind=ROLE).ref, child_line(grant_binding(GRANT, kind=ROLE)).id
                ),
                DeleteChild(grant_role(GRANT).ref, child_line(grant_role(GRANT)).id),
            ],
        ),
    ],
    ids=["other rules", "a ClusterRole less", "no rules"],
)
def test_another_wish_is_exactly_its_change_and_no_drift(wish: NamespaceGrant, changes: list[Any]) -> None:
    made = plan(wish, grant_world(VIEW, IN_PLACE), LINES)
    assert made.changes == tuple(changes)
    assert drift_of_plan(made) == ()


def test_the_new_binding_is_made_before_the_old_one_goes() -> None:
    grant = a_grant(cluster_roles="edit")
    old = seen(grant_binding(grant, "view"))
    made = plan(grant, grant_world(VIEW, [old]), (child_line(old),))
    assert made.changes == (
        ApplyChild(grant_binding(grant, "edit"), None),
        DeleteChild(old.ref, old.uid),
    )


def test_another_group_moves_the_bindings_and_is_no_drift() -> None:
    moved = a_view(a_policy(ceiling=CEILING), subject=Subject("Group", guid("new group"), "appdev"))
    made = plan(GRANT, grant_world(moved, IN_PLACE), LINES)
    assert made.changes == tuple(
        ApplyChild(child, f"uid-of-{child.ref.name}")
        for child in grant_children(GRANT, guid("new group"))
        if child.ref.kind is ROLE_BINDING
    )
    assert drift_of_plan(made) == ()


def test_a_binding_with_another_role_is_replaced() -> None:
    """A roleRef cannot be changed, and this object stands where ours must be."""
    grant = a_grant(cluster_roles="view")
    binding = grant_binding(grant, "view")
    other = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    hacked = seen(binding, roleRef=other)
    made = plan(grant, grant_world(VIEW, [hacked]), (child_line(binding),))
    assert made.changes == (ReplaceChild(binding.ref, hacked.uid), ApplyChild(binding, None))
    assert [item.field for item in drift_of_plan(made)] == ["roleRef"]
    assert not ReplaceChild.removal  # else it would wait for what cannot come before it


def test_a_missing_cluster_role_is_named_and_the_others_are_bound() -> None:
    made = plan(GRANT, grant_world(VIEW, cluster_roles="edit"))
    assert [(f.link, f.severity, f.reason, f.path) for f in made.findings] == [
        (Link.BINDINGS, Severity.STALLED, "ClusterRoleNotFound", "spec.clusterRoles[0]")
    ]
    assert ApplyChild(grant_binding(GRANT, "edit"), None) in made.changes
    assert ApplyChild(grant_binding(GRANT, "view"), None) not in made.changes


def test_the_binding_to_a_cluster_role_that_went_is_left() -> None:
    made = plan(GRANT, grant_world(VIEW, IN_PLACE, cluster_roles="edit"), LINES)
    assert made.changes == ()
    assert [finding.reason for finding in made.findings] == ["ClusterRoleNotFound"]


def test_children_of_an_earlier_grant_of_that_name_are_taken_over() -> None:
    old = a_grant(PODS, cluster_roles="view edit", uid="an-older-uid")
    children = [seen(child) for child in grant_children(old)]
    made = plan(GRANT, grant_world(VIEW, children), ())
    assert made.changes == tuple(
        ApplyChild(child, f"uid-of-{child.ref.name}") for child in grant_children(GRANT)
    )


def test_a_deleted_binding_is_made_again_and_told() -> None:
    grant = a_grant(cluster_roles="view")
    binding = grant_binding(grant, "view")
    made = plan(grant, grant_world(VIEW), (child_line(binding),))
    assert made.changes == (ApplyChild(binding, None),)
    (item,) = drift_of_plan(made)
    assert (item.object, item.found, item.changed_by, item.since) == (str(binding.ref), "deleted", "", "")


def test_a_deleted_object_that_is_no_longer_wished_is_no_drift() -> None:
    made = plan(a_grant(cluster_roles="view"), grant_world(VIEW, IN_PLACE[2:3]), LINES)
    assert (made.changes, drift_of_plan(made)) == ((), ())


def test_the_body_that_the_builders_make_is_that_of_the_api_server() -> None:
    body = body_of(grant_binding(GRANT, "view"))
    assert body.keys() == {"apiVersion", "kind", "metadata", "roleRef", "subjects"}
