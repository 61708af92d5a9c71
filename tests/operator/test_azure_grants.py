"""Azure roles that grants give in their namespaces, and assignments that more than one resource wants."""

from collections.abc import Callable
from typing import Any

import pytest

from entra_access.domain.naming import assignment_name
from entra_sandbox import seed
from support.azure import AKS_READER, AKS_WRITER, role_id
from support.cluster import Body, Cluster, eventually
from support.life import AKS_USER, all_bindings, ceiling, gets, last_request, loses, may
from support.scopes import (
    ASSIGNMENTS,
    PLAIN_READER,
    READER,
    WRITER,
    Personal,
    arm_writes,
    at,
    has,
    inventory,
    namespace_scope,
    operator_may,
    personal,
)
from support.watching import users_in_the_rounds

FINALIZER = "entra-access.dev/cleanup"
CONNECT = at(AKS_USER)


def open_for(cluster: Cluster, *azure_roles: str, **spec: Any) -> Personal:
    """A policy for a new person whose grants may give these Azure roles and ClusterRole view."""
    grants = {**ceiling("view"), "azureRoles": list(azure_roles)}
    policy = personal(cluster, azureRoles=[CONNECT], grants=grants, **spec)
    policy.ready()
    return policy


def assigned(cluster: Cluster, namespace: str) -> list[tuple[str, str]]:
    """Who has which role in the namespace, in Azure."""
    found = cluster.azure.assignments(scope=namespace_scope(cluster, namespace))
    return sorted((one["principalId"], one["roleName"]) for one in found)


def gone(cluster: Cluster, kind: str, name: str, namespace: str | None = None) -> Callable[[], bool]:
    """A question whether an object is gone."""
    where = ("-n", namespace) if namespace else ()
    return lambda: not cluster.kubectl("get", kind, name, *where, "--ignore-not-found")


# What a grant gives


def test_a_grant_gives_an_azure_role_in_its_namespace_and_nowhere_else(cluster: Cluster) -> None:
    """Through the webhook; it is in the inventory, kept by a finalizer, and goes with the grant."""
    namespace, other = cluster.namespace(), cluster.namespace()
    policy = open_for(cluster, WRITER)
    cluster.grant("work", namespace, policy.name, azureRoles=[WRITER])
    found = cluster.ready("ngrant", "work", namespace)

    gets(cluster, policy.who, "create", "secrets", namespace)
    assert not may(cluster, policy.who, "list", "pods", other)
    assert not may(cluster, policy.who, "create", "rolebindings", namespace)
    assert assigned(cluster, namespace) == [(policy.who.id, WRITER)]
    scope = namespace_scope(cluster, namespace)
    assert [one.startswith(f"{scope}/providers/") for one in inventory(found)] == [True]
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert found["status"]["counts"]["azureRoles"] == 1
    assert cluster.condition("ngrant", "work", "AzureRolesReady", namespace)["status"] == "True"

    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")

    assert assigned(cluster, namespace) == []
    loses(cluster, policy.who, "create", "secrets", namespace)


def test_a_grant_without_azure_roles_has_no_finalizer_and_asks_azure_nothing(cluster: Cluster) -> None:
    """It may get some later, and lose them again."""
    namespace = cluster.namespace()
    policy = open_for(cluster, READER)
    since = last_request(cluster)
    cluster.grant("work", namespace, policy.name, clusterRoles=["view"])
    found = cluster.ready("ngrant", "work", namespace)
    assert "finalizers" not in found["metadata"]
    assert "azureRoles" not in found["status"]["counts"]
    asked = [one["path"] for one in cluster.azure.journal(since=since, kind="arm")]
    the_rounds = f"{seed.CLUSTER_ID}{ASSIGNMENTS}"
    assert set(asked) <= {the_rounds}, "a round, which lists all at the cluster, can fall into this moment"

    cluster.grant("work", namespace, policy.name, clusterRoles=["view"], azureRoles=[READER])
    cluster.ready("ngrant", "work", namespace)
    assert assigned(cluster, namespace) == [(policy.who.id, READER)]
    cluster.grant("work", namespace, policy.name, clusterRoles=["view"])
    found = cluster.ready("ngrant", "work", namespace)

    assert assigned(cluster, namespace) == []
    assert inventory(found) == []


def test_the_ceiling_names_the_role_that_is_too_much(cluster: Cluster) -> None:
    """Nothing is given, neither in Azure nor in Kubernetes, until the ceiling has it; by GUID is as good."""
    namespace = cluster.namespace()
    policy = open_for(cluster, READER)
    cluster.grant("work", namespace, policy.name, clusterRoles=["view"], azureRoles=[READER, WRITER])
    said = cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    assert said["message"].startswith("spec.azureRoles[1]: ")
    assert WRITER in said["message"]
    assert policy.name in said["message"]
    assert cluster.condition("ngrant", "work", "WithinCeiling", namespace)["status"] == "False"
    assert assigned(cluster, namespace) == []
    assert all_bindings(cluster, namespace) == []

    policy.apply(grants={**ceiling("view"), "azureRoles": [AKS_READER, AKS_WRITER.upper()]})

    cluster.ready("ngrant", "work", namespace)
    assert assigned(cluster, namespace) == [(policy.who.id, READER), (policy.who.id, WRITER)]
    gets(cluster, policy.who, "create", "secrets", namespace)

    policy.apply(grants={**ceiling("view"), "azureRoles": [AKS_READER]})

    cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    eventually(lambda: assigned(cluster, namespace) == [], "what was given is taken away")
    loses(cluster, policy.who, "list", "pods", namespace)
    assert inventory(cluster.get("ngrant", "work", namespace)) == []


def test_a_namespace_with_such_a_grant_can_be_deleted(cluster: Cluster) -> None:
    """Its finalizer does not keep the namespace, and nothing is left in Azure."""
    namespace = cluster.namespace()
    policy = open_for(cluster, WRITER)
    cluster.grant("work", namespace, policy.name, azureRoles=[WRITER], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)

    cluster.kubectl("delete", "namespace", namespace, "--timeout=30s")

    assert assigned(cluster, namespace) == []
    log = [line for line in cluster.operator_log().splitlines() if f"{namespace}/" in line]
    assert not [line for line in log if "ERROR" in line or "WARNING" in line]


def test_a_policy_deleted_before_its_grants(cluster: Cluster) -> None:
    """The access ends in Azure too, at once; with the policy back it is there again."""
    namespace = cluster.namespace()
    policy = open_for(cluster, WRITER)
    cluster.grant("work", namespace, policy.name, azureRoles=[WRITER])
    cluster.ready("ngrant", "work", namespace)

    policy.delete()

    cluster.waits_for("ngrant", "work", "Ready", "PolicyDeleted", namespace)
    eventually(lambda: assigned(cluster, namespace) == [], "it gives nothing")
    assert policy.roles() == []
    policy.apply()
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, policy.who, "create", "secrets", namespace)
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")


def test_bindings_do_not_wait_for_azure(cluster: Cluster) -> None:
    """ARM takes requests and says nothing: bindings are made at once, other grants are served;
    then the rest follows by itself."""
    namespace, ending = cluster.namespace(), cluster.namespace()
    policy = open_for(cluster, READER)
    cluster.grant("ending", ending, policy.name, azureRoles=[READER])
    cluster.ready("ngrant", "ending", ending)
    cluster.quiet(0.7)  # until the last list is too old to be used again
    cluster.azure.fault(kind="arm", delay_seconds=8, drop=True, count=None)

    cluster.grant("azure", namespace, policy.name, clusterRoles=["view"], azureRoles=[READER])
    cluster.grant("plain", namespace, policy.name, clusterRoles=["view"])
    cluster.kubectl("delete", "namespace", ending, "--wait=false")

    cluster.ready("ngrant", "plain", namespace, seconds=5)
    eventually(lambda: len(cluster.list_all("rolebindings", namespace)) == 2, "both are bound", 2)
    said = cluster.waits_for("ngrant", "azure", "Reconciling", "Unavailable", namespace)
    assert "Azure Resource Manager" in said["message"]
    assert cluster.condition("ngrant", "azure", "BindingsReady", namespace)["status"] == "True"
    assert cluster.condition("ngrant", "azure", "AzureRolesReady", namespace)["status"] != "True"
    cluster.azure.clear_faults()
    cluster.ready("ngrant", "azure", namespace, seconds=40)
    assert assigned(cluster, namespace) == [(policy.who.id, READER)]
    eventually(gone(cluster, "namespace", ending), "the namespace is gone", 40)
    assert assigned(cluster, ending) == []


@pytest.mark.parametrize(
    "fault",
    [{"status": 429, "retry_after": 1}, {"status": 500}, {"drop": True}, {"drop": True, "after": True}],
    ids=["throttled", "error", "dropped", "answer-lost"],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_faults_at_the_writes_of_a_grant(cluster: Cluster, fault: Body, method: str) -> None:
    """What failed is done again, once; an answer that was lost leaves nothing behind."""
    namespace = cluster.namespace()
    policy = open_for(cluster, READER, WRITER)
    path = f"{namespace_scope(cluster, namespace)}/providers"
    if method == "PUT":
        cluster.azure.fault(method=method, path_regex=path, **fault)
    cluster.grant("work", namespace, policy.name, azureRoles=[READER])
    cluster.ready("ngrant", "work", namespace)
    if method == "DELETE":
        cluster.azure.fault(method=method, path_regex=path, **fault)
    cluster.grant("work", namespace, policy.name, azureRoles=[WRITER])
    cluster.ready("ngrant", "work", namespace)

    assert assigned(cluster, namespace) == [(policy.who.id, WRITER)]
    assert [one["used"] for one in cluster.azure.faults()] == [1]
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")
    assert assigned(cluster, namespace) == []


# What more than one wants


def existing(cluster: Cluster, **spec: Any) -> tuple[str, str]:
    """A policy for a group that is there already. Returns its name and the group."""
    group = str(cluster.azure.add_group(cluster.unique("existing"))["id"])
    return for_group(cluster, group, **spec), group


def for_group(cluster: Cluster, group: str, **spec: Any) -> str:
    """Another policy for that group."""
    name = cluster.unique("shared")
    cluster.policy(name, {"subject": {"existingGroup": {"objectId": group}}, **spec})
    return name


def test_two_policies_that_want_the_same_assignment(cluster: Cluster) -> None:
    """Whichever goes first, the other keeps it; with the last one it goes."""
    roles = [CONNECT, at(READER)]
    first, group = existing(cluster, azureRoles=roles)
    cluster.ready("apol", first)
    second = for_group(cluster, group, azureRoles=roles)
    cluster.ready("apol", second)
    here = cluster.stack.cluster_id
    assert len(cluster.azure.assignments(group)) == 2

    cluster.kubectl("delete", "apol", first, "--timeout=20s")

    has(cluster, group, (AKS_USER, here), (READER, here))
    cluster.policy(second, {"subject": {"existingGroup": {"objectId": group}}, "azureRoles": [CONNECT]})
    has(cluster, group, (AKS_USER, here))
    cluster.ready("apol", second)
    cluster.kubectl("delete", "apol", second, "--timeout=20s")
    has(cluster, group)


def test_two_that_want_the_same_are_deleted_at_once(cluster: Cluster) -> None:
    """Neither leaves it to the other."""
    first, group = existing(cluster, azureRoles=[CONNECT, at(READER)])
    names = [first, *(for_group(cluster, group, azureRoles=[CONNECT, at(READER)]) for _ in range(3))]
    for name in names:
        cluster.ready("apol", name)

    cluster.kubectl("delete", "apol", *names, "--timeout=30s")

    has(cluster, group)


def test_a_policy_and_a_grant_that_want_the_same_assignment(cluster: Cluster) -> None:
    """A grant that stops wanting it leaves it to the policy, and the other way round."""
    namespace = cluster.namespace()
    entry = {"names": [namespace], "azureRoles": [READER]}
    policy = open_for(cluster, READER, namespaces=[entry])
    cluster.grant("work", namespace, policy.name, azureRoles=[READER])
    cluster.ready("ngrant", "work", namespace)
    assert assigned(cluster, namespace) == [(policy.who.id, READER)]

    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")
    assert assigned(cluster, namespace) == [(policy.who.id, READER)]
    cluster.grant("again", namespace, policy.name, azureRoles=[READER])
    cluster.ready("ngrant", "again", namespace)
    policy.update(namespaces=None)
    assert assigned(cluster, namespace) == [(policy.who.id, READER)]
    gets(cluster, policy.who, "list", "pods", namespace)

    cluster.kubectl("delete", "ngrant", "again", "-n", namespace, "--timeout=20s")
    assert assigned(cluster, namespace) == []


def test_one_that_begins_to_want_it_while_the_other_lets_it_go(cluster: Cluster) -> None:
    """The grant saw the assignment before the policy took it away: and has it all the same in the end."""
    namespace = cluster.namespace()
    entry = {"names": [namespace], "azureRoles": [READER]}
    policy = open_for(cluster, READER, WRITER, namespaces=[entry])
    cluster.grant("work", namespace, policy.name, azureRoles=[WRITER])
    cluster.ready("ngrant", "work", namespace)
    cluster.quiet(0.7)  # until the last list is too old to be used again
    slow = cluster.azure.fault(method="GET", path_regex="/roleDefinitions", delay_seconds=2)
    since = last_request(cluster)
    cluster.grant("work", namespace, policy.name, azureRoles=[role_id(AKS_READER)])

    def looked() -> bool:
        held = any(one["id"] == slow["id"] and one["used"] for one in cluster.azure.faults())
        return held and bool(cluster.azure.journal(since=since, path_regex="roleAssignments$"))

    eventually(looked, "the grant has looked at what is assigned, and waits for the role's GUID")
    policy.update(namespaces=None)

    cluster.ready("ngrant", "work", namespace)
    eventually(lambda: assigned(cluster, namespace) == [(policy.who.id, READER)], "it has the role", 5)
    gets(cluster, policy.who, "list", "pods", namespace)


def test_one_that_begins_to_want_a_far_one_while_the_other_goes(cluster: Cluster) -> None:
    """Likewise at a scope that no list at the cluster shows."""
    far = at(PLAIN_READER, seed.OTHER_RESOURCE_GROUP)
    with operator_may(cluster, seed.OTHER_RESOURCE_GROUP):
        first, group = existing(cluster, azureRoles=[CONNECT, far])
        second = for_group(cluster, group, azureRoles=[CONNECT])
        cluster.ready("apol", first)
        cluster.ready("apol", second)
        cluster.quiet(0.7)  # until the last list is too old to be used again
        slow = cluster.azure.fault(method="GET", path_regex=f"/groups/{group}$", delay_seconds=2)
        since = last_request(cluster)
        subject = {"existingGroup": {"objectId": group}}
        cluster.policy(second, {"subject": subject, "azureRoles": [CONNECT, far]})

        def looked() -> bool:
            held = any(one["id"] == slow["id"] and one["used"] for one in cluster.azure.faults())
            path = f"{seed.OTHER_RESOURCE_GROUP}/providers/.*roleAssignments$"
            return held and bool(cluster.azure.journal(since=since, path_regex=path))

        eventually(looked, "the second has looked at what is assigned, and waits for Graph")
        cluster.kubectl("delete", "apol", first, "--timeout=20s")

        cluster.ready("apol", second)
        whole = ((AKS_USER, cluster.stack.cluster_id), (PLAIN_READER, seed.OTHER_RESOURCE_GROUP))
        has(cluster, group, *whole, seconds=5)
        cluster.kubectl("delete", "apol", second, "--timeout=20s")


def test_a_policy_for_a_person_does_not_set_all_the_others_to_work(cluster: Cluster) -> None:
    """They have nothing to do with one another: when one goes, Azure is not asked about the rest."""
    others = [personal(cluster, azureRoles=[CONNECT]) for _ in range(5)]
    one = personal(cluster, azureRoles=[CONNECT])
    for policy in (*others, one):
        policy.ready()
    users_in_the_rounds(cluster)
    since = last_request(cluster)

    one.delete()
    cluster.quiet(1.0)

    asked = [entry["path"] for entry in cluster.azure.journal(since=since, kind="graph")]
    assert [other.who.upn for other in others if any(other.who.upn in path for path in asked)] == []


@pytest.mark.parametrize(
    "description", [None, "AccessPolicy other, kept by entra-access-operator (other, 1234)"]
)
def test_an_assignment_of_another_hand_is_used_and_never_taken_away(
    cluster: Cluster, description: str | None
) -> None:
    """Somebody else made it for the same person, role and scope: the policy is content, and leaves it."""
    policy = personal(cluster, azureRoles=[CONNECT])
    policy.ready()
    here = cluster.stack.cluster_id
    more = {"description": description} if description else {}
    theirs = cluster.azure.assign(policy.who.upn, READER, here, **more)["name"]
    cluster.quiet(0.7)  # until the last list is too old to be used again
    since = last_request(cluster)

    found = policy.update(azureRoles=[CONNECT, at(READER)])

    assert arm_writes(cluster, since) == []
    assert len(inventory(found)) == 1
    policy.update(azureRoles=[CONNECT])
    policy.delete()
    assert [one["name"] for one in cluster.azure.assignments(policy.who.id)] == [theirs]


def test_the_same_name_by_another_cluster_is_left_to_it(cluster: Cluster) -> None:
    """Another cluster gives the same name to the same assignment; its note tells that it is not ours."""
    policy = personal(cluster, azureRoles=[CONNECT])
    policy.ready()
    name = assignment_name(seed.RESOURCE_GROUP, policy.who.id, AKS_READER)
    note = cluster.azure.assignments(policy.who.id)[0]["description"].replace("(aks-demo,", "(another,")
    cluster.azure.assign(policy.who.upn, READER, seed.RESOURCE_GROUP, name=name, description=note)
    cluster.quiet(0.7)  # until the last list is too old to be used again

    found = policy.update(azureRoles=[CONNECT, at(READER, seed.RESOURCE_GROUP)])

    assert len(inventory(found)) == 1
    policy.delete()
    assert [one["description"] for one in cluster.azure.assignments(policy.who.id)] == [note]
