"""The Kubernetes side of a policy: rules of its own, and the same access in several namespaces."""

from dataclasses import replace
from typing import Any

from entra_access.api.names import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from entra_access.api.resources import AccessPolicy, NamespaceAccess
from entra_access.api.status import Item
from entra_access.domain.changes import ApplyChild, Change, DeleteChild, ReplaceChild
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Link, Severity
from entra_access.domain.naming import binding_name, policy_binding_name, policy_role_name, role_name
from entra_access.domain.observed import Namespace, PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import (
    NOW,
    PLACE,
    a_meta,
    a_rule,
    a_selector,
    child_line,
    cluster_binding,
    drift_of_plan,
    edited,
    nothing_yet,
    seen,
    steady,
)
from unit.builders import a_policy as a_group_policy
from unit.worlds import (
    AKS_READER,
    AKS_WRITER,
    ROBOT_ID,
    a_namespace,
    a_policy_for,
    a_world,
    assigned,
    in_namespaces,
    line,
    robot,
    role_id,
)

PODS, SECRETS, URLS = a_rule("get list", "pods"), a_rule("get", "secrets"), a_rule("get", urls="/metrics")
TEAM = a_selector(team="appdev")
DEV, TEST, OPS = a_namespace(team="appdev"), a_namespace(team="appdev"), a_namespace(team="ops")
NAMESPACES = {"dev": DEV, "ops": OPS, "test": TEST}


def plan(policy: AccessPolicy, world: PolicyWorld, inventory: tuple[Item, ...] = ()) -> Plan:
    return plan_policy(policy, PLACE, world, inventory, NOW)


def planned(*entries: NamespaceAccess, namespaces: dict[str, Namespace] | None = None, **fields: Any) -> Plan:
    """The plan of a policy that gives access in namespaces, before anything was made."""
    policy = a_policy_for(robot(), namespaces=entries, **fields)
    return plan(policy, a_world(policy, namespaces=NAMESPACES if namespaces is None else namespaces))


def children(changes: tuple[Change, ...]) -> list[Child]:
    return [change.child for change in changes if isinstance(change, ApplyChild)]


def bindings(made: Plan, namespace: str | None = None) -> set[str]:
    """The roles that the plan binds in a namespace."""
    return {c.role for c in children(made.changes) if c.subject and c.ref.namespace == namespace}


def where(made: Plan) -> set[str | None]:
    """The namespaces in which the plan makes something."""
    return {child.ref.namespace for child in children(made.changes)}


# Rules of the policy's own


def test_rules_are_a_cluster_role_and_then_its_binding() -> None:
    policy = a_policy_for(robot(), rules=(PODS, URLS))
    role, binding = children(plan(policy, a_world(policy)).changes)
    assert role.ref == ChildRef(CLUSTER_ROLE, None, policy_role_name("appdev"))
    assert role.manifest()["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]
    assert binding.ref.kind is CLUSTER_ROLE_BINDING
    assert binding.manifest()["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": role.ref.name,
    }


def with_rules(*rules: Any) -> tuple[AccessPolicy, PolicyWorld, tuple[Item, ...]]:
    """A policy with rules and a ClusterRole, all of it in place."""
    policy = a_policy_for(robot(), cluster_roles="view", rules=rules)
    made = children(plan(policy, a_world(policy)).changes)
    there = tuple(seen(child) for child in made)
    return policy, a_world(policy, children=there), tuple(child_line(child) for child in made)


def test_at_rest_nothing_is_done_about_rules() -> None:
    policy, world, inventory = with_rules(PODS, SECRETS)
    made = plan(policy, world, inventory)
    assert (made.changes, drift_of_plan(made), made.findings) == ((), (), ())
    assert set(made.inventory) == set(inventory)
    assert made.counts["clusterRoleBindings"] == 2
    reordered = replace(policy, rules=(SECRETS, replace(PODS, verbs=("list", "get"))))
    assert plan(reordered, world, inventory).changes == ()


def test_other_rules_are_changed_in_place_and_are_no_drift() -> None:
    policy, world, inventory = with_rules(PODS)
    made = plan(replace(policy, rules=(SECRETS,)), world, inventory)
    (change,) = made.changes
    assert isinstance(change, ApplyChild)
    assert (change.child.ref.kind, change.uid) == (CLUSTER_ROLE, f"uid-of-{policy_role_name('appdev')}")
    assert drift_of_plan(made) == ()


def test_rules_that_go_take_the_binding_first_and_then_the_cluster_role() -> None:
    policy, world, inventory = with_rules(PODS)
    changes = plan(replace(policy, rules=()), world, inventory).changes
    assert [change.ref.kind for change in changes if isinstance(change, DeleteChild)] == [
        CLUSTER_ROLE_BINDING,
        CLUSTER_ROLE,
    ]


def test_rules_that_another_hand_changed_are_put_right_and_told() -> None:
    policy, world, inventory = with_rules(PODS)
    role = Child(ChildRef(CLUSTER_ROLE, None, policy_role_name("appdev")), a_meta(), rules=(PODS,))
    wide = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    hacked = edited(role, "kubectl-edit", "rules", rules=wide)
    others = tuple(child for child in world.children if child.ref != role.ref)
    made = plan(policy, replace(world, children=(*others, hacked)), inventory)
    assert made.changes == (ApplyChild(role, hacked.uid),)
    assert [(item.changed_by, item.field) for item in drift_of_plan(made)] == [("kubectl-edit", "rules")]


def test_a_cluster_role_that_gathers_its_rules_from_others_is_made_anew() -> None:
    """An aggregationRule would fill it with rules that nobody asked for, whatever is applied."""
    policy, world, inventory = with_rules(PODS)
    role = Child(ChildRef(CLUSTER_ROLE, None, policy_role_name("appdev")), a_meta(), rules=(PODS,))
    gathers = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    hacked = edited(role, "kubectl-edit", "aggregationRule", aggregationRule=gathers)
    others = tuple(child for child in world.children if child.ref != role.ref)
    made = plan(policy, replace(world, children=(*others, hacked)), inventory)
    assert made.changes == (ReplaceChild(role.ref, hacked.uid), ApplyChild(role, None))
    assert [item.field for item in drift_of_plan(made)] == ["aggregationRule"]


# Namespaces


def test_every_namespace_that_a_selector_matches_has_the_access() -> None:
    made = planned(in_namespaces(selector=TEAM, cluster_roles="edit", rules=[PODS]))
    assert where(made) == {"dev", "test"}
    for name in ("dev", "test"):
        assert bindings(made, name) == {"edit", policy_role_name("appdev")}
        assert ChildRef(ROLE, name, policy_role_name("appdev")) in {c.ref for c in children(made.changes)}
    assert (made.counts["namespaces"], made.counts["roleBindings"]) == (2, 4)
    assert made.findings == ()
    assert made.summary == "Robot has 0 Azure roles, 0 ClusterRoles and access in 2 namespaces"


def test_namespaces_by_name_have_it_whatever_their_labels() -> None:
    assert where(planned(in_namespaces("ops test", cluster_roles="view"))) == {"ops", "test"}


def test_a_selector_without_requirements_means_every_namespace() -> None:
    assert where(planned(in_namespaces(selector=a_selector(), cluster_roles="view"))) == set(NAMESPACES)


def test_a_role_stands_before_the_binding_to_it() -> None:
    made = planned(in_namespaces("dev", rules=[PODS]))
    role, binding = children(made.changes)
    assert (role.ref.kind, binding.ref.kind) == (ROLE, ROLE_BINDING)
    assert role.ref.name == binding.role == policy_role_name("appdev")
    assert binding.ref.name == policy_binding_name("appdev", "Role", role.ref.name, namespaced=True)


def test_several_entries_for_one_namespace_are_one_access_there() -> None:
    made = planned(
        in_namespaces("dev", cluster_roles="view", rules=[PODS]),
        in_namespaces(selector=TEAM, cluster_roles="view edit", rules=[SECRETS]),
    )
    (role,) = (c for c in children(made.changes) if c.ref.kind is ROLE and c.ref.namespace == "dev")
    assert set(role.rules) == {PODS, SECRETS}
    assert len(role.rules) == 2
    assert bindings(made, "dev") == {"view", "edit", policy_role_name("appdev")}
    refs = [child.ref for child in children(made.changes)]
    assert len(refs) == len(set(refs))
    (other,) = (c for c in children(made.changes) if c.ref.kind is ROLE and c.ref.namespace == "test")
    assert other.rules == (SECRETS,)


def test_azure_roles_of_several_entries_are_assigned_once_at_the_namespace() -> None:
    made = planned(
        in_namespaces("dev", azure_roles=(AKS_READER,)),
        in_namespaces(selector=TEAM, azure_roles=(AKS_READER, AKS_WRITER)),
    )
    changes = {str(change) for change in made.changes}
    assert changes == {
        f"assign Azure role {AKS_READER} at namespace dev",
        f"assign Azure role {AKS_WRITER} at namespace dev",
        f"assign Azure role {AKS_READER} at namespace test",
        f"assign Azure role {AKS_WRITER} at namespace test",
    }
    assert made.counts["azureRoles"] == 4


def test_an_azure_role_in_a_namespace_is_named_by_the_entry_that_asks_for_it_first() -> None:
    entries = (
        in_namespaces("dev", azure_roles=(AKS_READER,)),
        in_namespaces("test", azure_roles=(AKS_WRITER, "Nothing")),
        in_namespaces("test", azure_roles=("Nothing",)),
    )
    policy = a_policy_for(robot(), namespaces=entries)
    world = a_world(policy, namespaces=NAMESPACES)
    made = plan(policy, replace(world, roles={**world.roles, "Nothing": None}))
    assert [f.path for f in made.findings if f.reason == "RoleNotFound"] == [
        "spec.namespaces[1].azureRoles[1]"
    ]


def test_a_namespace_that_is_not_there_is_named_and_stops_no_other() -> None:
    made = planned(in_namespaces("nowhere dev", cluster_roles="view"))
    assert where(made) == {"dev"}
    assert [(f.link, f.severity, f.reason, f.path) for f in made.findings] == [
        (Link.BINDINGS, Severity.WARNING, "NamespaceNotFound", "spec.namespaces[0].names[0]")
    ]
    assert "nowhere" in made.findings[0].message


def test_a_namespace_that_is_ending_is_left_alone_and_stops_no_other() -> None:
    entry = in_namespaces("dev test", cluster_roles="view", azure_roles=(AKS_READER,))
    policy = a_policy_for(robot(), namespaces=(entry,))
    made = children(plan(policy, a_world(policy, namespaces=NAMESPACES)).changes)
    there = tuple(seen(child) for child in made)
    dev = PLACE.namespace_scope("dev")
    ending = NAMESPACES | {"dev": a_namespace(ending=True, team="appdev")}
    world = a_world(policy, namespaces=ending, children=there, assignments=(assigned(AKS_READER, scope=dev),))
    after = plan(policy, world, (*map(child_line, made), line(AKS_READER, scope=dev)))
    assert not any(isinstance(change, DeleteChild) for change in after.changes)
    assert children(after.changes) == []
    assert drift_of_plan(after) == ()
    assert [str(change) for change in after.changes] == [
        f"assign Azure role {AKS_READER} at namespace test",
        f"remove assignment of Azure role {AKS_READER}",
    ]
    assert [finding.severity.hinders for finding in after.findings] == [False] * len(after.findings)


def test_a_namespace_that_is_relabelled_loses_the_access() -> None:
    entry = in_namespaces(selector=TEAM, cluster_roles="view", rules=[PODS], azure_roles=(AKS_READER,))
    policy = a_policy_for(robot(), namespaces=(entry,))
    made = children(plan(policy, a_world(policy, namespaces={"dev": DEV})).changes)
    dev = PLACE.namespace_scope("dev")
    world = a_world(
        policy,
        namespaces={"dev": a_namespace(team="ops")},
        children=tuple(seen(child) for child in made),
        assignments=(assigned(AKS_READER, scope=dev),),
    )
    after = plan(policy, world, (*map(child_line, made), line(AKS_READER, scope=dev)))
    assert {type(change).__name__ for change in after.changes} == {"DeleteChild", "UnassignRole"}
    kinds = [change.ref.kind for change in after.changes if isinstance(change, DeleteChild)]
    assert kinds == [ROLE_BINDING, ROLE_BINDING, ROLE]


def test_a_missing_cluster_role_is_named_by_its_entry_and_the_others_are_bound() -> None:
    made = planned(
        in_namespaces("dev", cluster_roles="view"), in_namespaces("dev", cluster_roles="edit none")
    )
    assert bindings(made, "dev") == {"view", "edit"}
    assert [(f.severity, f.reason, f.path) for f in made.findings] == [
        (Severity.STALLED, "ClusterRoleNotFound", "spec.namespaces[1].clusterRoles[1]")
    ]


def test_a_binding_in_a_namespace_is_left_while_its_cluster_role_is_missing() -> None:
    policy = a_policy_for(robot(), namespaces=(in_namespaces("dev", cluster_roles="view"),))
    (binding,) = children(plan(policy, a_world(policy, namespaces=NAMESPACES)).changes)
    world = a_world(policy, namespaces=NAMESPACES, cluster_roles=frozenset(), children=(seen(binding),))
    assert plan(policy, world, (child_line(binding),)).changes == ()


def test_the_group_that_the_same_plan_makes_has_its_access_in_namespaces_too() -> None:
    entry = in_namespaces("dev", cluster_roles="view", rules=[PODS])
    policy = replace(a_group_policy(), namespaces=(entry,))
    made = plan(policy, replace(nothing_yet(policy), namespaces=NAMESPACES))
    subjects = [child.subject for child in children(made.changes) if child.subject]
    assert [(subject.kind, subject.name) for subject in subjects] == [("Group", ""), ("Group", "")]
    manifest = children(made.changes)[-1].manifest("new-group")
    assert manifest["subjects"][0]["name"] == "new-group"


# Names


def test_no_name_of_a_policy_is_one_that_a_grant_could_give() -> None:
    """A policy's Role in a namespace must not be taken for a grant's, whatever the two are called."""
    policy_role = policy_role_name("a")
    policy_names = {
        policy_role,
        *(
            policy_binding_name("a", kind, role, namespaced=True)
            for kind, role in (("Role", policy_role), ("ClusterRole", "view"))
        ),
    }
    for grant in ("a", "entra-access-a", "entra-access", policy_role, policy_role.removesuffix("-rules")):
        names = {role_name(grant), binding_name(grant, "ClusterRole", "view")}
        names |= {binding_name(grant, "Role", role) for role in (role_name(grant), policy_role)}
        assert not names & policy_names, grant


def test_two_policies_share_no_name() -> None:
    for one, other in (("a", "a-b"), ("a-rules", "a"), ("a", "b")):
        assert policy_role_name(one) != policy_role_name(other)
        for namespaced in (True, False):
            names = {
                policy_binding_name(p, "ClusterRole", "view", namespaced=namespaced) for p in (one, other)
            }
            assert len(names) == 2


def test_names_that_stand_in_clusters_are_as_they_were() -> None:
    """Another value would leave behind what earlier versions made."""
    assert cluster_binding("view").ref.name == policy_binding_name("appdev", "ClusterRole", "view")


def test_names_fit_where_they_are_used() -> None:
    longest = "a" * 63
    assert len(policy_role_name(longest)) <= 253
    assert len(policy_binding_name(longest, "Role", policy_role_name(longest), namespaced=True)) <= 253


def test_a_policy_that_gives_nothing_inside_says_nothing_of_namespaces() -> None:
    world, inventory = steady(a_group_policy(cluster_roles="view"))
    counts = plan(a_group_policy(cluster_roles="view"), world, inventory).counts
    assert counts.keys() == {"members", "azureRoles", "clusterRoleBindings"}
    assert assigned(AKS_READER).role_id == role_id(AKS_READER)
    assert assigned(AKS_READER).principal_id == ROBOT_ID
