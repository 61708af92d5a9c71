"""Azure roles at every scope that can be asked for, by every way to name them, in namespaces too."""

import uuid

import pytest

from entra_sandbox import seed
from support.azure import AKS_WRITER, role_id
from support.cluster import Cluster, eventually
from support.life import AKS_USER, condition_of, gets, last_request, loses, may, new_policy, person
from support.scopes import (
    ASSIGNMENTS,
    MANAGEMENT_GROUP,
    PLAIN_READER,
    PODS,
    READER,
    VAULT,
    WRITER,
    administrator,
    arm_writes,
    at,
    has,
    inventory,
    namespace_scope,
    operator_may,
    personal,
    roles_of,
)

FAR = seed.OTHER_RESOURCE_GROUP
CONNECT = at(AKS_USER)


def test_every_scope_that_can_be_asked_for(cluster: Cluster) -> None:
    """The cluster, above it, beside it and far from it: each once, and gone with the policy."""
    scopes = [seed.RESOURCE_GROUP, FAR, seed.SUBSCRIPTION, VAULT, MANAGEMENT_GROUP]
    with operator_may(cluster, seed.SUBSCRIPTION, MANAGEMENT_GROUP):
        policy = personal(cluster, azureRoles=[CONNECT, *(at(PLAIN_READER, scope) for scope in scopes)])
        found = policy.ready()

        wanted = [(AKS_USER, cluster.stack.cluster_id), *((PLAIN_READER, scope) for scope in scopes)]
        assert policy.roles() == sorted(wanted)
        assert len(inventory(found)) == len(wanted)
        assert found["status"]["counts"]["azureRoles"] == len(wanted)
        policy.delete()
    assert policy.roles() == []


def test_a_group_that_is_made_for_them_gets_far_roles_too(cluster: Cluster) -> None:
    """Far roles follow when the group is there, without anybody's help."""
    with operator_may(cluster, FAR):
        policy = new_policy(cluster, azureRoles=[CONNECT, at(PLAIN_READER, FAR), at(PLAIN_READER, VAULT)])
        policy.ready()
        group = policy.group_id
        assert [scope for _, scope in roles_of(cluster, group)] == [cluster.stack.cluster_id, FAR, VAULT]
        policy.delete("--timeout=30s")
    assert roles_of(cluster, group) == []


@pytest.mark.parametrize("scope", [FAR, seed.SUBSCRIPTION, MANAGEMENT_GROUP, VAULT])
def test_a_scope_that_is_out_of_the_operators_reach_is_named(cluster: Cluster, scope: str) -> None:
    """The role at the cluster is given all the same; with the right granted, the rest follows."""
    policy = personal(cluster, azureRoles=[CONNECT, at(PLAIN_READER, scope)])

    said = policy.says("Stalled", "Denied")

    assert f"on {scope} or above it" in said["message"]
    assert "Role Based Access Control Administrator" in said["message"]
    has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id))
    with operator_may(cluster, scope):
        policy.ready()
        assert (PLAIN_READER, scope) in policy.roles()
        policy.delete()
    assert policy.roles() == []


def test_the_same_role_at_two_scopes_is_two_assignments(cluster: Cluster) -> None:
    """Taking one out of the spec leaves the other, and a scope's case means nothing."""
    upper = seed.RESOURCE_GROUP.replace("rg-aks", "RG-AKS")
    policy = personal(cluster, azureRoles=[CONNECT, at(READER), at(READER, seed.RESOURCE_GROUP)])
    policy.ready()
    assert [scope for role, scope in policy.roles() if role == READER] == [
        seed.RESOURCE_GROUP,
        cluster.stack.cluster_id,
    ]
    since = last_request(cluster)

    policy.update(azureRoles=[CONNECT, at(READER, upper), at(READER, seed.RESOURCE_GROUP)])

    assert [scope for role, scope in policy.roles() if role == READER] == [seed.RESOURCE_GROUP]
    assert len(arm_writes(cluster, since)) == 1, "the one that stays is not touched"
    gets(cluster, policy.who, "list", "pods")


def test_a_changed_scope_is_given_before_the_former_is_taken(cluster: Cluster) -> None:
    """There is no moment without the role."""
    policy = personal(cluster, azureRoles=[CONNECT, at(READER)])
    policy.ready()
    since = last_request(cluster)

    policy.update(azureRoles=[CONNECT, at(READER, seed.RESOURCE_GROUP)])

    methods = [one.partition(" ") for one in arm_writes(cluster, since)]
    assert [(method, scope.partition(ASSIGNMENTS)[0]) for method, _, scope in methods] == [
        ("PUT", seed.RESOURCE_GROUP),
        ("DELETE", cluster.stack.cluster_id),
    ]
    has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id), (READER, seed.RESOURCE_GROUP))


@pytest.mark.parametrize(("status", "reason"), [(503, "Unavailable"), (403, "Denied")])
def test_a_far_scope_that_cannot_be_seen_loses_nothing_and_holds_up_nothing(
    cluster: Cluster, status: int, reason: str
) -> None:
    """What is asked for elsewhere is done; what is there stays until it can be seen again."""
    with operator_may(cluster, FAR):
        policy = personal(cluster, azureRoles=[CONNECT, at(PLAIN_READER, FAR)])
        policy.ready()
        cluster.azure.fault(
            method="GET",
            path_regex=f"{FAR}{ASSIGNMENTS}",
            status=status,
            count=None,
            code="AuthorizationFailed",
        )
        cluster.quiet(0.7)  # until the last list is too old to be used again; no new one can be had

        policy.apply(azureRoles=[CONNECT, at(READER)])

        policy.says("Ready", reason)
        here = [(AKS_USER, cluster.stack.cluster_id), (READER, cluster.stack.cluster_id)]
        has(cluster, policy.who.id, *here, (PLAIN_READER, FAR))
        gets(cluster, policy.who, "list", "pods")
        cluster.azure.clear_faults()
        policy.ready()
        has(cluster, policy.who.id, *here)


def test_a_resource_group_that_is_gone_does_not_keep_its_policy(cluster: Cluster) -> None:
    """With the resource group its assignments went: the policy can be deleted, and can be Ready without."""
    with operator_may(cluster, FAR):
        policy = personal(cluster, azureRoles=[CONNECT, at(PLAIN_READER, FAR)])
        other = personal(cluster, azureRoles=[CONNECT, at(PLAIN_READER, FAR)])
        policy.ready()
        other.ready()
        for one in (*cluster.azure.assignments(policy.who.id), *cluster.azure.assignments(other.who.id)):
            if one["scope"] == FAR:
                cluster.azure.unassign(one["name"])
    cluster.quiet(0.7)  # until the last list is too old to be used again
    cluster.azure.fault(
        kind="arm", path_regex=f"^{FAR}/", status=404, code="ResourceGroupNotFound", count=None
    )

    other.update(azureRoles=[CONNECT])
    policy.delete()

    assert policy.roles() == []
    assert len(inventory(other.ready())) == 1


def test_a_resource_group_that_went_with_the_operators_right_says_what_to_do(cluster: Cluster) -> None:
    """Azure says that it is forbidden, for ever; with the right above it, that it is gone."""
    with operator_may(cluster, FAR):
        policy = personal(cluster, azureRoles=[CONNECT, at(PLAIN_READER, FAR)])
        policy.ready()
    for one in cluster.azure.assignments(policy.who.id):
        if one["scope"] == FAR:
            cluster.azure.unassign(one["name"])
    cluster.quiet(0.7)  # until the last list is too old to be used again
    cluster.kubectl("delete", "apol", policy.name, "--wait=false")

    said = policy.says("Stalled", "Denied")["message"]

    assert said.startswith("status.inventory: the operator's identity may not list role assignments")
    assert f"if {FAR} was deleted" in said
    cluster.azure.fault(
        kind="arm", path_regex=f"^{FAR}/", status=404, code="ResourceGroupNotFound", count=None
    )
    cluster.kubectl("wait", "--for=delete", f"apol/{policy.name}", "--timeout=30s")
    cluster.azure.clear_faults()
    assert policy.roles() == []


def test_a_resource_group_that_was_never_there_is_somebodys_mistake(cluster: Cluster) -> None:
    """A slip of the pen does not pass by itself: Stalled, with the field and the scope."""
    nowhere = f"{seed.SUBSCRIPTION}/resourceGroups/rg-nowhere"
    with operator_may(cluster, seed.SUBSCRIPTION):
        policy = personal(cluster, azureRoles=[CONNECT, at(PLAIN_READER, nowhere)])
        has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id))
        said = eventually(lambda: cluster.condition("apol", policy.name, "Stalled"), "it is Stalled")
        assert said["message"].startswith("spec.azureRoles[1]")
        assert "rg-nowhere" in said["message"]
        policy.update(azureRoles=[CONNECT])
        policy.delete()


def test_a_role_by_name_in_other_case_by_guid_by_id_and_by_a_custom_name(cluster: Cluster) -> None:
    """However it is named, it is the one role; nothing is written when another name is given to it."""
    name, guid = cluster.unique("Pod Remover"), str(uuid.uuid4())
    namespace = cluster.namespace()
    with administrator(cluster) as somebody:
        somebody.define(guid, name, f"{PODS}/delete")
        roles = [READER.upper(), AKS_WRITER, role_id(seed.RBAC_ADMINISTRATOR), name.lower(), AKS_USER]
        policy = personal(cluster, azureRoles=[at(role) for role in roles])
        policy.ready()
        here = cluster.stack.cluster_id
        whole = (READER, WRITER, "Role Based Access Control Administrator", name, AKS_USER)
        has(cluster, policy.who.id, *((role, here) for role in whole))
        assert may(cluster, policy.who, "delete", "pods", namespace)
        since = last_request(cluster)

        policy.update(azureRoles=[at(role) for role in whole])

        assert arm_writes(cluster, since) == []
        policy.update(azureRoles=[CONNECT])
        assert not may(cluster, policy.who, "delete", "pods", namespace)
        somebody.undefine(guid)


def test_a_role_that_there_is_not_is_named_and_the_others_are_given(cluster: Cluster) -> None:
    """Stalled with the field; once it is corrected, all is as asked for."""
    policy = personal(cluster, azureRoles=[CONNECT, at(READER)])
    policy.ready()
    namespace = cluster.namespace()

    policy.apply(azureRoles=[CONNECT, at("No Such Role", seed.RESOURCE_GROUP), at(WRITER)])

    said = policy.says("Stalled", "RoleNotFound")
    assert said["message"].startswith("spec.azureRoles[1].role: ")
    assert "No Such Role" in said["message"]
    gets(cluster, policy.who, "create", "secrets", namespace)
    policy.update(azureRoles=[CONNECT, at(READER)])
    has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id), (READER, cluster.stack.cluster_id))


def test_roles_in_every_namespace_that_matches_now_and_later(cluster: Cluster) -> None:
    """A namespace that is relabelled, goes and comes back: the role follows it."""
    label = cluster.unique("label")
    first, second = cluster.namespace(group=label), cluster.namespace(group=label)
    outside = cluster.namespace(group="other")
    entry = {"selector": {"matchLabels": {"group": label}}, "azureRoles": [READER]}
    policy = personal(cluster, azureRoles=[CONNECT], namespaces=[entry])
    policy.ready()

    def given(*namespaces: str) -> None:
        scopes = [namespace_scope(cluster, name) for name in namespaces]
        here = (AKS_USER, cluster.stack.cluster_id)
        has(cluster, policy.who.id, here, *((READER, scope) for scope in scopes))

    given(first, second)
    gets(cluster, policy.who, "list", "pods", first)
    assert not may(cluster, policy.who, "list", "pods", outside)
    assert not may(cluster, policy.who, "list", "secrets", first)

    cluster.kubectl("label", "namespace", second, "group=other", "--overwrite")
    given(first)
    loses(cluster, policy.who, "list", "pods", second)
    cluster.kubectl("label", "namespace", outside, f"group={label}", "--overwrite")
    given(first, outside)
    cluster.kubectl("delete", "namespace", first, "--timeout=30s")
    given(outside)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": first, "labels": {"group": label}}}
    )
    given(first, outside)
    assert not condition_of(policy.ready(), "Stalled")
    policy.delete()
    assert policy.roles() == []


def test_a_namespace_that_is_named_and_not_there_yet_gets_its_role_when_it_is_made(cluster: Cluster) -> None:
    """By name: a warning until then."""
    name = cluster.unique("later")
    who = person(cluster)
    policy = personal(
        cluster, who, azureRoles=[CONNECT], namespaces=[{"names": [name], "azureRoles": [READER]}]
    )
    policy.ready()
    assert name in policy.says("Warning", "NamespaceNotFound")["message"]

    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    gets(cluster, who, "list", "pods", name)
    eventually(lambda: not cluster.condition("apol", policy.name, "Warning"), "the warning is gone")
