"""Role definitions that are not there yet, not there any more, or not where they are needed."""

import uuid

from entra_sandbox import seed
from support.cluster import Cluster
from support.life import AKS_USER, ceiling, gets
from support.scopes import PODS, administrator, at, custom_role, namespace_scope, personal

FAR = seed.OTHER_RESOURCE_GROUP


def test_a_role_that_somebody_made_anew_under_its_name_is_given(cluster: Cluster) -> None:
    """It has another GUID now, and what is known of names is believed for long."""
    name, first, second = cluster.unique("Remade"), str(uuid.uuid4()), str(uuid.uuid4())
    with administrator(cluster) as somebody:
        somebody.define(first, name, f"{PODS}/read")
        personal(cluster, azureRoles=[at(name)]).update(azureRoles=[at(AKS_USER)])
        somebody.undefine(first)
        somebody.define(second, name, f"{PODS}/read")

        policy = personal(cluster, azureRoles=[at(AKS_USER), at(name)])

        policy.ready()
        (given,) = [one for one in cluster.azure.assignments(policy.who.id) if one["roleName"] == name]
        assert given["role"] == second
        policy.delete()
        somebody.undefine(second)


def test_a_grant_waits_for_the_role_that_its_policy_cannot_make(cluster: Cluster) -> None:
    """Nothing is tried before, and it follows by itself when the policy has made it."""
    namespace, name, guid = cluster.namespace(), cluster.unique("Pod Killer"), str(uuid.uuid4())
    custom = {"name": name, "dataActions": [f"{PODS}/delete"]}
    with administrator(cluster) as somebody:
        somebody.define(guid, name, f"{PODS}/read")
        limits = {**ceiling(), "azureRoles": [name]}
        policy = personal(cluster, customRoles=[custom], azureRoles=[at(AKS_USER)], grants=limits)
        policy.says("Stalled", "RoleExists")
        cluster.grant("work", namespace, policy.name, azureRoles=[name])

        said = cluster.waits_for("ngrant", "work", "Reconciling", "RoleNotReady", namespace)

        assert said["message"] == (
            f"spec.azureRoles[0]: waiting for AccessPolicy {policy.name} to make the custom role {name}; "
            "see its AzureRolesReady"
        )
        tried = [one["path"] for one in cluster.azure.journal(kind="arm", write=True)]
        assert not [path for path in tried if path.startswith(namespace_scope(cluster, namespace))]
        somebody.undefine(guid)
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, policy.who, "delete", "pods", namespace)
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")
    policy.delete()
    assert custom_role(cluster, name) is None


def test_a_grant_says_that_a_role_cannot_be_assigned_at_its_namespace(cluster: Cluster) -> None:
    """With the policy's field that can be mended; and goes on when it is."""
    namespace, name = cluster.namespace(), cluster.unique("Elsewhere")
    custom = {"name": name, "dataActions": [f"{PODS}/delete"]}
    limits = {**ceiling(), "azureRoles": [name]}
    policy = personal(
        cluster,
        customRoles=[{**custom, "assignableScopes": [FAR]}],
        azureRoles=[at(AKS_USER)],
        grants=limits,
    )
    cluster.grant("work", namespace, policy.name, azureRoles=[name])

    said = cluster.waits_for("ngrant", "work", "Stalled", "NotAssignable", namespace)["message"]

    assert said.startswith(f"spec.azureRoles[0]: the custom role {name} of AccessPolicy {policy.name} cannot")
    assert "spec.customRoles" in said
    policy.update(customRoles=[custom])
    cluster.ready("ngrant", "work", namespace)
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")
    policy.delete()
