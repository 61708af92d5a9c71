"""A grant gives what its policy's ceiling allows and nothing beyond it, whoever changes which of the two."""

import json

import pytest

from support.cluster import Body, Cluster
from support.life import (
    ALL_CORE,
    READ_PODS,
    Person,
    all_bindings,
    ceiling,
    condition_of,
    gets,
    last_request,
    loses,
    may,
    new_policy,
    person,
)


def rule(groups: str, resources: str, verbs: str, names: str = "") -> Body:
    """A rule from comma-separated lists; "core" is the core API group."""
    lists = {
        "apiGroups": ["" if group == "core" else group for group in groups.split(",")],
        "resources": resources.split(","),
        "verbs": verbs.split(","),
    }
    return lists | ({"resourceNames": names.split(",")} if names else {})


PODS, EVENTS = rule("core", "pods", "get"), rule("core", "events", "list")
TWO_SECRETS = rule("core", "secrets", "get", "one,two")
BEYOND = {
    "another resource": (READ_PODS, rule("core", "pods,secrets", "get"), "get secrets"),
    "another verb": (PODS, rule("core", "pods", "get,delete"), "delete pods"),
    "another API group": (ALL_CORE, rule("apps", "deployments", "get"), "get deployments"),
    "every verb": (rule("core", "pods", "get,list,watch,create"), rule("core", "pods", "*"), "* pods"),
    "every resource": (READ_PODS, rule("core", "*", "get"), "get *"),
    "every API group": (rule("core,apps", "*", "*"), rule("*", "pods", "get"), "in API group *"),
    "a subresource": (rule("core", "pods", "*"), rule("core", "pods/exec", "create"), "create pods/exec"),
    "the resource of a subresource": (rule("core", "pods/log", "get"), PODS, "get pods"),
    "every name": (TWO_SECRETS, rule("core", "secrets", "get"), "get secrets"),
    "another name": (TWO_SECRETS, rule("core", "secrets", "get", "two,three"), "get secrets three"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_beyond_the_ceiling_nothing_is_given_and_the_first_thing_too_much_is_named(
    cluster: Cluster, case: str
) -> None:
    """The first rule alone would be allowed, but a grant that asks for too much gives nothing at all."""
    allowed, asked, named = BEYOND[case]
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(cluster, who, grants=ceiling("view", rules=[allowed, EVENTS]))

    cluster.grant("work", namespace, policy.name, clusterRoles=["view"], rules=[EVENTS, asked])

    said = cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    assert said["message"].startswith("spec.rules[1]: ")
    assert named in said["message"]
    assert policy.name in said["message"]
    policy.ready()
    body = cluster.get("ngrant", "work", namespace)
    assert condition_of(body, "WithinCeiling")["status"] == condition_of(body, "Ready")["status"] == "False"
    assert all_bindings(cluster, namespace) == []
    assert not may(cluster, who, "list", "events", namespace)


def test_a_cluster_role_beyond_the_ceiling_is_named_with_its_path(cluster: Cluster) -> None:
    """That the rules of a ClusterRole would be covered makes no difference: it can change any time."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(cluster, who, grants=ceiling("view", rules=[rule("*", "*", "*")]))
    cluster.grant("work", namespace, policy.name, clusterRoles=["view", "cluster-admin", "edit"])
    said = cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    assert said["message"].startswith("spec.clusterRoles[1]: ")
    assert "cluster-admin" in said["message"]
    assert all_bindings(cluster, namespace) == []


def test_what_was_given_is_taken_back_when_the_ceiling_narrows_and_given_when_it_widens(
    cluster: Cluster,
) -> None:
    """No edit of the grant is needed in either direction."""
    who, namespace = person(cluster), cluster.namespace()
    wide = ceiling("view", "edit", rules=[ALL_CORE])
    policy = new_policy(cluster, who, grants=wide)
    cluster.grant(
        "work", namespace, policy.name, clusterRoles=["edit"], rules=[rule("core", "secrets", "get")]
    )
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "create", "pods", namespace)

    policy.update(grants=ceiling("view", "edit", rules=[READ_PODS]))
    said = cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    assert said["message"].startswith("spec.rules[0]: get secrets ")
    assert all_bindings(cluster, namespace) == []
    loses(cluster, who, "create", "pods", namespace)
    assert cluster.get("ngrant", "work", namespace)["status"]["inventory"] == []

    policy.update(grants=wide)
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "create", "pods", namespace)
    assert may(cluster, who, "get", "secrets", namespace)

    policy.update(grants=ceiling("view", rules=[ALL_CORE]))
    said = cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    assert said["message"].startswith("spec.clusterRoles[0]: ")
    loses(cluster, who, "create", "pods", namespace)


def test_a_policy_without_grants_lets_nobody_use_it_until_it_does(cluster: Cluster) -> None:
    """No ceiling is no leave. Taking the ceiling away takes back what grants gave."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    said = cluster.waits_for("ngrant", "work", "Stalled", "NoGrantsAllowed", namespace)
    assert policy.name in said["message"]
    assert said["message"].startswith("spec.policyRef.name: ")
    assert all_bindings(cluster, namespace) == []

    policy.update(grants=ceiling(rules=[READ_PODS]))
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)

    policy.update(grants=None)
    cluster.waits_for("ngrant", "work", "Stalled", "NoGrantsAllowed", namespace)
    loses(cluster, who, "list", "pods", namespace)


def test_the_namespaces_of_the_ceiling_are_chosen_by_expressions_too(cluster: Cluster) -> None:
    """Only where all requirements are met may the policy be used."""
    selector = {
        "matchLabels": {"team": "a"},
        "matchExpressions": [
            {"key": "stage", "operator": "In", "values": ["dev", "test"]},
            {"key": "frozen", "operator": "DoesNotExist"},
        ],
    }
    policy = new_policy(cluster, grants={**ceiling(rules=[READ_PODS]), "namespaces": selector})
    within = cluster.namespace(team="a", stage="dev")
    beyond = [
        cluster.namespace(team="b", stage="dev"),
        cluster.namespace(team="a", stage="live"),
        cluster.namespace(team="a"),
        cluster.namespace(team="a", stage="dev", frozen=""),
    ]
    for namespace in (within, *beyond):
        cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", within)
    for namespace in beyond:
        cluster.waits_for("ngrant", "work", "Stalled", "NamespaceNotAllowed", namespace)
        assert all_bindings(cluster, namespace) == []


def given(cluster: Cluster, allowed: Body, asked: Body) -> tuple[Person, str]:
    """Give what is asked under a ceiling that allows it. Returns who has it, and where."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(cluster, who, grants=ceiling(rules=[allowed]))
    cluster.grant("work", namespace, policy.name, rules=[asked])
    cluster.ready("ngrant", "work", namespace)
    return who, namespace


def test_names_of_resources_limit_what_the_user_has(cluster: Cluster) -> None:
    """One name out of the two that are allowed: that one and no other, and no list of all."""
    allowed = rule("core", "configmaps", "get,update", "one,two")
    who, namespace = given(cluster, allowed, rule("core", "configmaps", "get", "two"))
    gets(cluster, who, "get", "configmaps/two", namespace)
    for verb, resource in (
        ("get", "configmaps/one"),
        ("get", "configmaps"),
        ("list", "configmaps"),
        ("update", "configmaps/two"),
    ):
        assert not may(cluster, who, verb, resource, namespace)


def test_a_subresource_is_had_without_its_resource(cluster: Cluster) -> None:
    """`pods/log` under a ceiling of `pods/log`: the log and not the pod, nor another subresource."""
    who, namespace = given(cluster, rule("core", "pods/log,pods", "get"), rule("core", "pods/log", "get"))
    assert may(cluster, who, "get", "pods", namespace, "--subresource=log")
    assert not may(cluster, who, "get", "pods", namespace, "--subresource=exec")
    assert not may(cluster, who, "get", "pods", namespace)


def test_a_wildcard_for_resources_covers_subresources_and_nothing_of_other_groups(cluster: Cluster) -> None:
    """`*` under a ceiling of `*` in one API group: all of that group, and nothing of another one."""
    who, namespace = given(cluster, rule("apps", "*", "*"), rule("apps", "*", "*"))
    gets(cluster, who, "delete", "deployments.apps", namespace)
    assert may(cluster, who, "patch", "deployments.apps", namespace, "--subresource=scale")
    assert not may(cluster, who, "get", "pods", namespace)
    assert not may(cluster, who, "get", "jobs.batch", namespace)


def test_a_wildcard_for_scales_covers_every_scale_and_nothing_else(cluster: Cluster) -> None:
    """`*/scale` covers `deployments/scale`; neither gives the deployment itself."""
    who, namespace = given(cluster, rule("apps", "*/scale", "*"), rule("apps", "deployments/scale", "patch"))
    assert may(cluster, who, "patch", "deployments.apps", namespace, "--subresource=scale")
    assert not may(cluster, who, "patch", "statefulsets.apps", namespace, "--subresource=scale")
    assert not may(cluster, who, "patch", "deployments.apps", namespace)


def test_a_rule_may_be_covered_by_several_rules_of_the_ceiling_together(cluster: Cluster) -> None:
    """As in Kubernetes' own check each single permission must be covered, not each rule by one rule."""
    who, namespace = person(cluster), cluster.namespace()
    rules = [
        rule("core", "pods", "get,list"),
        rule("core", "secrets", "list"),
        rule("core", "secrets", "get"),
    ]
    policy = new_policy(cluster, who, grants=ceiling(rules=rules))
    cluster.grant("work", namespace, policy.name, rules=[rule("core", "pods,secrets", "get,list")])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "secrets", namespace)


def test_a_grant_that_is_refused_anyway_costs_azure_nothing(cluster: Cluster) -> None:
    """Azure is asked for the names in it only where its policy may be used at all, and not at each look."""
    stem, namespace = cluster.unique("no-such-role"), cluster.namespace()
    limits = {**ceiling(team=stem), "azureRoles": ["Azure Kubernetes Service RBAC Reader"]}
    policy = new_policy(cluster, grants=limits)
    since = last_request(cluster)

    cluster.grant("work", namespace, policy.name, azureRoles=[f"{stem} {number}" for number in range(20)])

    cluster.waits_for("ngrant", "work", "Stalled", "NamespaceNotAllowed", namespace)
    assert asked_for(cluster, since, stem) == 0
    cluster.kubectl("label", "namespace", namespace, f"team={stem}")
    cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    assert asked_for(cluster, since, stem) == 20


def asked_for(cluster: Cluster, since: int, name: str) -> int:
    """How often Azure was asked for a role whose name has this in it."""
    return sum(name in json.dumps(one) for one in cluster.azure.journal(since=since, kind="arm"))
