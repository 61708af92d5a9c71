"""The end of a policy: in the right order, without a trace, and with the way back."""

import json
from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    Person,
    Policy,
    all_bindings,
    ceiling,
    condition_of,
    events,
    gets,
    last_request,
    loses,
    made_for,
    may,
    new_policy,
    person,
    writes,
)

AKS_CONTRIBUTOR = "Azure Kubernetes Service Contributor Role"
"""Gives nothing inside the cluster, so that what a person can do there is what bindings give."""
FINALIZER = "entra-access.dev/cleanup"


@pytest.fixture
def slow_entra(cluster: Cluster) -> Iterator[Cluster]:
    """Entra whose new groups are unknown to its other replicas for two seconds."""
    cluster.azure.settings(replication_delay=2.0)
    yield cluster
    cluster.azure.settings(replication_delay=0.0)


def full_policy(cluster: Cluster, *members: Person) -> Policy:
    """A policy that has made one of everything."""
    roles = [{"role": AKS_USER}, {"role": AKS_CONTRIBUTOR}]
    grants = ceiling("view", rules=[READ_PODS])
    policy = new_policy(cluster, *members, azureRoles=roles, clusterRoles=["view"], grants=grants)
    policy.ready()
    return policy


def deleted_groups(cluster: Cluster, policy: Policy) -> list[str]:
    """The object ids of the policy's groups among Entra's deleted items."""
    return [one["id"] for one in cluster.azure.state()["deletedGroups"] if one["displayName"] == policy.name]


def groups(cluster: Cluster, policy: Policy) -> list[str]:
    """The object ids of all living groups of that name."""
    return [one["id"] for one in cluster.azure.state()["groups"] if one["displayName"] == policy.name]


def is_gone(cluster: Cluster, policy: Policy) -> bool:
    """Whether there is no such policy any more."""
    return not cluster.kubectl("get", "apol", policy.name, "--ignore-not-found")


def test_a_deleted_policy_takes_all_that_it_made_in_order(cluster: Cluster) -> None:
    """Assignments go before the group, which ends among the deleted items; nothing else is left."""
    who, namespace = person(cluster), cluster.namespace()
    policy = full_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods")
    group = policy.group_id
    assert len(cluster.azure.assignments(group)) == 2
    since = last_request(cluster)

    policy.delete("--timeout=20s")

    requests = [
        entry["path"]
        for entry in cluster.azure.journal(since=since, method="DELETE")
        if group in entry["path"] or "roleAssignments" in entry["path"]
    ]
    assert ["roleAssignments" in path for path in requests] == [True, True, False]
    assert requests[-1] == f"/v1.0/groups/{group}"
    assert cluster.azure.assignments(group) == []
    assert groups(cluster, policy) == []
    assert deleted_groups(cluster, policy) == [group]
    assert made_for(cluster, policy.name) == []
    eventually(lambda: not all_bindings(cluster, namespace), "the grant gives nothing any more")
    loses(cluster, who, "list", "pods")
    reasons = [reason for _, reason, _ in events(cluster, "AccessPolicy", policy.name)]
    eventually(
        lambda: "GroupDeleted" in [r for _, r, _ in events(cluster, "AccessPolicy", policy.name)],
        f"the end is told as an event, not only {reasons}",
    )


def test_what_others_made_for_the_group_is_not_deleted(cluster: Cluster) -> None:
    """An assignment and a ClusterRoleBinding by a foreign hand stay when the policy goes."""
    policy = full_policy(cluster)
    theirs = cluster.azure.assign(policy.group_id, AKS_CONTRIBUTOR, seed.RESOURCE_GROUP)
    at_cluster = cluster.azure.assign(policy.group_id, "Reader", seed.CLUSTER_ID)
    group, binding = policy.group_id, cluster.unique("theirs")
    cluster.kubectl("create", "clusterrolebinding", binding, "--clusterrole=view", f"--group={group}")

    policy.delete("--timeout=20s")

    left = {one["name"] for one in cluster.azure.assignments(group)}
    assert left == {theirs["name"], at_cluster["name"]}
    assert cluster.get("clusterrolebinding", binding)["subjects"][0]["name"] == group


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "with replication delay"])
def test_deleted_and_applied_again_at_once_gives_the_same_group_back(
    request: pytest.FixtureRequest, cluster: Cluster, *, slow: bool
) -> None:
    """Same object id, no second group; members that are no longer asked for never get what grants give."""
    if slow:
        request.getfixturevalue("slow_entra")
    stays, leaves, namespace = person(cluster), person(cluster), cluster.namespace()
    policy = full_policy(cluster, stays, leaves)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    group = policy.group_id

    policy.delete("--timeout=20s")
    policy.apply(group={"members": [stays.ref]}, clusterRoles=None)
    told = eventually(lambda: subject_of(cluster, namespace), "the grant is told of the group")

    assert told == group
    assert cluster.azure.group(group), "the group is alive"
    assert (cluster.group(group) or {})["members"] == [stays.id]
    policy.ready()
    assert policy.group_id == group
    assert groups(cluster, policy) == [group]
    assert deleted_groups(cluster, policy) == []
    assert {a["roleName"] for a in cluster.azure.assignments(group)} == {AKS_USER, AKS_CONTRIBUTOR}
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, stays, "list", "pods", namespace)
    assert not may(cluster, leaves, "list", "pods", namespace)
    assert not may(cluster, stays, "list", "pods")


def subject_of(cluster: Cluster, namespace: str) -> str:
    """Whom the grant in the namespace is for, as its status has it."""
    status = cluster.get("ngrant", "work", namespace)["status"]
    return str(status.get("subject", {}).get("objectId", ""))


def test_an_old_member_who_cannot_be_removed_yet_is_given_nothing(cluster: Cluster) -> None:
    """While Graph refuses to take an old member out of the restored group, neither grants nor bindings of
    the policy give that group anything."""
    stays, leaves, namespace = person(cluster), person(cluster), cluster.namespace()
    policy = full_policy(cluster, stays, leaves)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    group = policy.group_id
    policy.delete("--timeout=20s")
    eventually(lambda: not all_bindings(cluster, namespace), "the grant gives nothing")
    cluster.azure.fault(kind="graph", method="DELETE", path_regex="/members/", status=503, count=None)

    policy.apply(group={"members": [stays.ref]})

    refused = f"{group}/members/{leaves.id}"
    eventually(lambda: cluster.azure.journal(path_regex=refused, status=503), "the removal was refused")
    eventually(
        lambda: "503" in cluster.condition("apol", policy.name, "Reconciling").get("message", ""),
        "the policy says what it waits for",
    )
    given = [
        b["metadata"]["name"] for b in (*all_bindings(cluster, namespace), *made_for(cluster, policy.name))
    ]
    assert given == []
    assert not may(cluster, leaves, "list", "pods", namespace)

    cluster.azure.clear_faults()
    policy.ready()
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, stays, "list", "pods")
    assert policy.entra()["members"] == [stays.id]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "arm"}, "Azure Resource Manager answered 503"),
        ({"kind": "arm", "method": "DELETE"}, "Azure Resource Manager answered 503"),
        ({"kind": "graph"}, "Microsoft Graph answered 503"),
        ({"kind": "graph", "method": "DELETE"}, "Microsoft Graph answered 503"),
    ],
    ids=["arm", "arm-writes", "graph", "graph-writes"],
)
def test_deletion_waits_while_azure_fails_says_why_and_ends_when_it_heals(
    cluster: Cluster, fault: Body, says: str
) -> None:
    """The finalizer stays, the group outlives its assignments, the access in the cluster ends at once."""
    who = person(cluster)
    policy = full_policy(cluster, who)
    group = policy.group_id
    gets(cluster, who, "list", "pods")
    cluster.azure.fault(**fault, status=503, count=None)

    policy.delete("--wait=false")

    said = cluster.waits_for("apol", policy.name, "Reconciling", "Unavailable")
    assert says in said["message"]
    body = cluster.get("apol", policy.name)
    assert FINALIZER in body["metadata"]["finalizers"]
    assert condition_of(body, "Ready")["status"] != "True"
    assert {item["id"] for item in body["status"]["inventory"] if item["system"] == "Entra"} == {group}
    assert made_for(cluster, policy.name) == []
    loses(cluster, who, "list", "pods")
    assert groups(cluster, policy) == [group]
    if fault["kind"] == "arm":
        assert len(cluster.azure.assignments(group)) == 2
    cluster.azure.clear_faults()
    eventually(lambda: is_gone(cluster, policy), "the deletion ends")
    assert cluster.azure.assignments(group) == []
    assert deleted_groups(cluster, policy) == [group]


def test_a_policy_whose_group_was_deleted_for_good_can_be_deleted(cluster: Cluster) -> None:
    """What is already gone counts as done: the assignments of the dead group go too."""
    policy = full_policy(cluster)
    group = policy.group_id
    body = cluster.get("apol", policy.name)
    lines = [
        {**i, "since": "2020-01-01T00:00:00Z"} if "since" in i else i for i in body["status"]["inventory"]
    ]
    old = json.dumps({"status": {"inventory": lines}})
    cluster.kubectl("patch", "apol", policy.name, "--type=merge", "--subresource=status", "-p", old)
    cluster.azure.purge_group(group)
    policy.delete("--timeout=20s")
    assert cluster.azure.assignments(group) == []


def test_a_grant_deleted_without_its_children_leaves_nothing_in_the_end(cluster: Cluster) -> None:
    """`--cascade=orphan` tells Kubernetes to leave the Role and bindings; the operator does not."""
    who, namespace = person(cluster), cluster.namespace()
    policy = full_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    assert len(all_bindings(cluster, namespace)) == 3

    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--cascade=orphan")

    eventually(lambda: not all_bindings(cluster, namespace), "nothing is left")


def test_a_policy_deleted_without_its_children_leaves_nothing_in_the_end(cluster: Cluster) -> None:
    """`--cascade=orphan` of a policy ends as any other deletion."""
    policy = full_policy(cluster)
    group = policy.group_id
    policy.delete("--cascade=orphan", "--timeout=20s")
    eventually(lambda: not made_for(cluster, policy.name), "no ClusterRoleBinding is left")
    assert cluster.azure.assignments(group) == []
    assert deleted_groups(cluster, policy) == [group]


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "with replication delay"])
def test_a_policy_deleted_right_after_its_creation_leaves_nothing(
    request: pytest.FixtureRequest, cluster: Cluster, *, slow: bool
) -> None:
    """However far the operator had come, no living group, assignment or binding is left behind."""
    if slow:
        request.getfixturevalue("slow_entra")
    since = last_request(cluster)
    policies = []
    for moment in range(4):
        policy = new_policy(cluster, azureRoles=[{"role": AKS_USER}], clusterRoles=["view"])
        policies.append(policy)
        if moment == 1:
            eventually(lambda policy=policy: finalizers(cluster, policy), "it is taken up")  # type: ignore[misc]
        if moment == 2:
            eventually(lambda policy=policy: groups(cluster, policy), "the group is made")  # type: ignore[misc]
        if moment == 3:
            eventually(lambda name=policy.name: writes(cluster, since, name), "the first write is seen")  # type: ignore[misc]
        policy.delete("--wait=false", "--ignore-not-found")
    for policy in policies:
        eventually(lambda policy=policy: is_gone(cluster, policy), "it is gone", seconds=20)  # type: ignore[misc]
        assert groups(cluster, policy) == []
        assert made_for(cluster, policy.name) == []
        for group in deleted_groups(cluster, policy):
            assert cluster.azure.assignments(group) == []


def finalizers(cluster: Cluster, policy: Policy) -> list[str]:
    """The finalizers of the policy."""
    found: list[str] = cluster.get("apol", policy.name)["metadata"].get("finalizers", [])
    return found
