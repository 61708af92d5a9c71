"""Custom roles: made, used, changed, renamed and deleted by policies, left alone where not theirs."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually
from support.life import AKS_USER, ceiling, gets, last_request, loses, may
from support.scopes import (
    DEFINITIONS,
    PODS,
    Personal,
    administrator,
    arm_writes,
    at,
    custom_role,
    has,
    inventory,
    operator_may,
    personal,
    roles_of,
)

CONNECT = at(AKS_USER)
FAR = seed.OTHER_RESOURCE_GROUP


def role(name: str, *verbs: str, **more: Any) -> Body:
    """An entry of `customRoles` whose holders may do this to pods."""
    return {"name": name, "dataActions": [f"{PODS}/{verb}" for verb in verbs], **more}


def with_role(cluster: Cluster, *verbs: str, **spec: Any) -> tuple[Personal, str]:
    """A policy with a custom role and its holder, Ready. Returns the role's name too."""
    name = cluster.unique("Pod Worker")
    policy = personal(cluster, customRoles=[role(name, *verbs)], azureRoles=[CONNECT, at(name)], **spec)
    policy.ready()
    return policy, name


def data_actions(cluster: Cluster, name: str) -> list[str]:
    """What holders of a custom role may do, as Azure has it."""
    found = custom_role(cluster, name)
    return [one for block in (found or {})["permissions"] for one in block["dataActions"]]


def test_a_custom_role_is_made_changed_in_place_and_deleted_after_its_assignments(cluster: Cluster) -> None:
    """The person may do what it says, and nothing else; an edit changes the role and no assignment."""
    namespace = cluster.namespace()
    policy, name = with_role(cluster, "delete")
    gets(cluster, policy.who, "delete", "pods", namespace)
    assert not may(cluster, policy.who, "list", "pods", namespace)
    made = custom_role(cluster, name)
    assert made is not None
    assert made["assignableScopes"] == [seed.RESOURCE_GROUP]
    guid = made["name"]
    assert [one.rpartition("/")[2] for one in inventory(policy.ready(), "RoleDefinition")] == [guid]
    since = last_request(cluster)

    policy.update(customRoles=[role(name, "read", description="May look.")])

    loses(cluster, policy.who, "delete", "pods", namespace)
    assert may(cluster, policy.who, "list", "pods", namespace)
    changed = custom_role(cluster, name)
    assert changed is not None
    assert (changed["name"], changed["description"]) == (guid, "May look.")
    assert [one.partition(" ")[0] for one in arm_writes(cluster, since)] == ["PUT"]
    since = last_request(cluster)

    found = policy.update(customRoles=None, azureRoles=[CONNECT])

    kinds = [one.rpartition("/")[0].rpartition("/")[2] for one in arm_writes(cluster, since)]
    assert kinds == ["roleAssignments", "roleDefinitions"]
    assert custom_role(cluster, name) is None
    assert inventory(found, "RoleDefinition") == []


def test_a_custom_role_goes_with_its_policy(cluster: Cluster) -> None:
    """Assignments first, then the role: also one that was never assigned."""
    policy, name = with_role(cluster, "delete")
    unused = cluster.unique("Unused")
    policy.update(customRoles=[role(name, "delete"), role(unused, "read")])
    since = last_request(cluster)

    policy.delete()

    assert custom_role(cluster, name) is None
    assert custom_role(cluster, unused) is None
    deleted = [one.rpartition("/")[0].rpartition("/")[2] for one in arm_writes(cluster, since)]
    assert deleted == ["roleAssignments", "roleAssignments", "roleDefinitions", "roleDefinitions"]


def test_a_grant_gives_the_custom_role_of_its_policy(cluster: Cluster) -> None:
    """In its namespace only; while a grant holds it, the role stays, and goes when the grants are gone."""
    namespace, other = cluster.namespace(), cluster.namespace()
    name = cluster.unique("Pod Killer")
    limits = {**ceiling(), "azureRoles": [name]}
    policy = personal(cluster, customRoles=[role(name, "delete")], azureRoles=[CONNECT], grants=limits)
    cluster.grant("work", namespace, policy.name, azureRoles=[name])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, policy.who, "delete", "pods", namespace)
    assert not may(cluster, policy.who, "delete", "pods", other)

    policy.apply(customRoles=None)
    said = policy.says("Reconciling", "InUse")
    assert "still assigned" in said["message"]
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")

    policy.ready(40)
    assert custom_role(cluster, name) is None


def test_a_policy_with_a_custom_role_and_its_grant_are_deleted_together(cluster: Cluster) -> None:
    """Whichever comes first, nothing is left."""
    namespace, name = cluster.namespace(), cluster.unique("Pod Killer")
    limits = {**ceiling(), "azureRoles": [name]}
    policy = personal(cluster, customRoles=[role(name, "delete")], azureRoles=[CONNECT], grants=limits)
    cluster.grant("work", namespace, policy.name, azureRoles=[name])
    cluster.ready("ngrant", "work", namespace)

    policy.delete()

    assert custom_role(cluster, name) is None
    assert policy.roles() == []
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")


def test_an_edit_by_hand_in_azure_is_put_right_at_the_next_look(cluster: Cluster) -> None:
    """More permissions, another name, or gone altogether."""
    policy, name = with_role(cluster, "delete")
    namespace = cluster.namespace()
    guid = (custom_role(cluster, name) or {})["name"]
    with administrator(cluster) as somebody:
        somebody.define(guid, name, f"{PODS}/*")
        assert may(cluster, policy.who, "create", "pods", namespace)
        policy.look_again()
        loses(cluster, policy.who, "create", "pods", namespace)
        somebody.define(guid, f"{name} renamed", f"{PODS}/delete")
        policy.look_again()
        eventually(lambda: custom_role(cluster, name), "it has its name again")
        policy.ready()
        for one in cluster.azure.assignments(policy.who.id):
            cluster.azure.unassign(one["name"])
        somebody.undefine(guid)
    policy.look_again()
    eventually(lambda: custom_role(cluster, name), "it is made again")
    assert (custom_role(cluster, name) or {})["name"] == guid
    assert data_actions(cluster, name) == [f"{PODS}/delete"]


def test_a_role_that_somebody_else_has_too_waits_for_them(cluster: Cluster) -> None:
    """It says so, the policy's own assignment is gone meanwhile, and it goes when it can."""
    policy, name = with_role(cluster, "delete")
    theirs = cluster.azure.assign(seed.BOB, name, seed.RESOURCE_GROUP)["name"]

    policy.apply(customRoles=None, azureRoles=[CONNECT])

    said = policy.says("Reconciling", "InUse")
    assert "still assigned to somebody" in said["message"]
    assert policy.roles() == [(AKS_USER, cluster.stack.cluster_id)]
    cluster.kubectl("delete", "apol", policy.name, "--wait=false")
    eventually(lambda: policy.roles() == [], "what can go is gone")
    assert custom_role(cluster, name) is not None
    assert [one["name"] for one in cluster.azure.assignments(seed.USER_IDS[seed.BOB])] == [theirs]
    cluster.azure.unassign(theirs)
    eventually(lambda: custom_role(cluster, name) is None, "the role is gone", 40)
    cluster.kubectl("wait", "--for=delete", f"apol/{policy.name}", "--timeout=30s")


def test_a_name_that_is_taken_in_the_tenant_is_refused(cluster: Cluster) -> None:
    """The other role is named by its GUID, and not touched; when it is gone, the policy goes on."""
    name, guid = cluster.unique("Taken"), str(uuid.uuid4())
    with administrator(cluster) as somebody:
        somebody.define(guid, name, f"{PODS}/read")
        policy = personal(cluster, customRoles=[role(name, "delete")], azureRoles=[CONNECT, at(name)])

        said = policy.says("Stalled", "RoleExists")

        assert said["message"].startswith("spec.customRoles[0].name: ")
        assert guid in said["message"]
        has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id))
        assert data_actions(cluster, name) == [f"{PODS}/read"]
        somebody.undefine(guid)
    policy.ready()
    assert data_actions(cluster, name) == [f"{PODS}/delete"]
    policy.delete()


def test_a_taken_name_leaves_what_the_policy_gave_before(cluster: Cluster) -> None:
    """A rename to a name that somebody has: the role of before stays until that is settled."""
    taken, guid = cluster.unique("Taken"), str(uuid.uuid4())
    policy, name = with_role(cluster, "delete")
    namespace = cluster.namespace()
    with administrator(cluster) as somebody:
        somebody.define(guid, taken, f"{PODS}/read")

        policy.apply(customRoles=[role(taken, "delete")], azureRoles=[CONNECT, at(taken)])

        policy.says("Stalled", "RoleExists")
        cluster.quiet(0.2)
        assert may(cluster, policy.who, "delete", "pods", namespace)
        somebody.undefine(guid)
    policy.ready()
    gets(cluster, policy.who, "delete", "pods", namespace)
    assert custom_role(cluster, name) is None
    has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id), (taken, cluster.stack.cluster_id))


def test_two_policies_ask_for_the_same_custom_role_name(cluster: Cluster) -> None:
    """The first has it; the second says which GUID is in the way, and gets it when the first is gone."""
    policy, name = with_role(cluster, "delete")
    guid = (custom_role(cluster, name) or {})["name"]
    second = personal(cluster, customRoles=[role(name, "read")], azureRoles=[CONNECT, at(name)])
    said = second.says("Stalled", "RoleExists")
    assert guid in said["message"]
    assert data_actions(cluster, name) == [f"{PODS}/delete"]

    policy.delete()

    second.ready()
    assert data_actions(cluster, name) == [f"{PODS}/read"]
    second.delete()


def test_a_custom_role_that_is_renamed_in_the_spec(cluster: Cluster) -> None:
    """The new one is given before the former is taken away and deleted."""
    policy, name = with_role(cluster, "delete")
    other = cluster.unique("Renamed")
    since = last_request(cluster)

    policy.update(customRoles=[role(other, "delete")], azureRoles=[CONNECT, at(other)])

    done = [one.partition(" ")[::2] for one in arm_writes(cluster, since)]
    assert [(method, path.split("/")[-2]) for method, path in done] == [
        ("PUT", "roleDefinitions"),
        ("PUT", "roleAssignments"),
        ("DELETE", "roleAssignments"),
        ("DELETE", "roleDefinitions"),
    ]
    assert custom_role(cluster, name) is None
    has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id), (other, cluster.stack.cluster_id))


def test_where_a_custom_role_can_be_assigned(cluster: Cluster) -> None:
    """As the spec says: another resource group too, first or last; and gone from all of them in the end."""
    name = cluster.unique("Wide")
    author = operator_may(cluster, FAR, role=seed.CUSTOM_ROLE_AUTHOR)
    with author, operator_may(cluster, FAR):
        wide = role(name, "read", assignableScopes=[seed.RESOURCE_GROUP, FAR])
        policy = personal(cluster, customRoles=[wide], azureRoles=[CONNECT, at(name), at(name, FAR)])
        policy.ready()
        assert (name, FAR) in policy.roles()
        policy.update(azureRoles=[CONNECT, at(name, FAR)])
        policy.update(customRoles=[role(name, "read", assignableScopes=[FAR])])
        assert (custom_role(cluster, name) or {})["assignableScopes"] == [FAR]
        policy.delete()
    assert custom_role(cluster, name) is None
    assert policy.roles() == []


def test_an_assignable_scope_out_of_the_operators_reach_is_named(cluster: Cluster) -> None:
    """What else the policy asks for is given."""
    name = cluster.unique("Out of reach")
    policy = personal(
        cluster, customRoles=[role(name, "read", assignableScopes=[FAR])], azureRoles=[CONNECT, at(name)]
    )
    said = policy.says("Stalled", "Denied")
    assert "Microsoft.Authorization/roleDefinitions/write" in said["message"]
    assert FAR in said["message"]
    has(cluster, policy.who.id, (AKS_USER, cluster.stack.cluster_id))
    policy.delete()


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"drop": True, "after": True}],
    ids=["error", "answer-lost"],
)
def test_faults_at_every_write_of_a_policy_with_custom_roles_and_far_scopes(
    cluster: Cluster, fault: Body
) -> None:
    """Each write fails once, or its answer is lost: in the end all is as asked for, and then all is gone."""
    name = cluster.unique("Faulty")
    author = operator_may(cluster, FAR, role=seed.CUSTOM_ROLE_AUTHOR)
    with author, operator_may(cluster, FAR):
        for path in (
            DEFINITIONS,
            f"{FAR}/.*roleAssignments",
            f"{cluster.stack.cluster_id}/.*roleAssignments",
        ):
            for method in ("PUT", "DELETE"):
                cluster.azure.fault(method=method, path_regex=path, **fault)
        wide = role(name, "read", assignableScopes=[seed.RESOURCE_GROUP, FAR])
        policy = personal(cluster, customRoles=[wide], azureRoles=[CONNECT, at(name), at(name, FAR)])
        policy.ready()
        here = cluster.stack.cluster_id
        has(cluster, policy.who.id, (AKS_USER, here), (name, here), (name, FAR))
        policy.delete()
        assert custom_role(cluster, name) is None
        assert policy.roles() == []
        assert [one["used"] for one in cluster.azure.faults()] == [1] * 6


@pytest.fixture
def weak(cluster: Cluster) -> Iterator[Cluster]:
    """The shared set-up, while its operator may assign roles and not write any."""
    held = cluster.azure.assignments(seed.OPERATOR_OBJECT_ID)
    author = next(one for one in held if one["role"] == seed.CUSTOM_ROLE_AUTHOR)
    cluster.azure.unassign(author["name"])
    yield cluster
    cluster.azure.assign(seed.OPERATOR_CLIENT_ID, author["role"], author["scope"], name=author["name"])


def test_without_the_right_to_write_roles_it_is_named(weak: Cluster) -> None:
    """Everything else is done; with the right granted the rest follows by itself."""
    name = weak.unique("Unwritten")
    policy = personal(weak, customRoles=[role(name, "delete")], azureRoles=[CONNECT, at(name)])
    said = policy.says("Stalled", "Denied")
    assert "Microsoft.Authorization/roleDefinitions/write" in said["message"]
    assert "may not write a custom role" in said["message"]
    has(weak, policy.who.id, (AKS_USER, weak.stack.cluster_id))

    with operator_may(weak, seed.RESOURCE_GROUP, role=seed.CUSTOM_ROLE_AUTHOR):
        policy.ready()
        assert len(roles_of(weak, policy.who.id)) == 2
        policy.delete()
    assert custom_role(weak, name) is None
