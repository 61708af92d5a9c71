"""The operator dies between its writes to Azure: custom roles, far roles, roles of grants."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually, running
from support.deaths import Write, asleep, killed_at
from support.life import AKS_USER, ceiling, gets, may, new_policy
from support.scopes import (
    ASSIGNMENTS,
    DEFINITIONS,
    PLAIN_READER,
    PODS,
    READER,
    WRITER,
    Personal,
    administrator,
    arm_writes,
    at,
    custom_role,
    has,
    inventory,
    last_entry,
    namespace_scope,
    operator_may,
    personal,
    roles_of,
)
from support.trouble import clean_log, orphans

CONNECT = at(AKS_USER)
FAR = seed.OTHER_RESOURCE_GROUP
DEFINE: Write = ("PUT", DEFINITIONS)
UNDEFINE: Write = ("DELETE", DEFINITIONS)
ASSIGN_FAR: Write = ("PUT", f"{FAR}{ASSIGNMENTS}")
UNASSIGN_FAR: Write = ("DELETE", f"{FAR}{ASSIGNMENTS}")
ASSIGN_INSIDE: Write = ("PUT", f"/namespaces/[^/]+{ASSIGNMENTS}")
UNASSIGN_INSIDE: Write = ("DELETE", f"/namespaces/[^/]+{ASSIGNMENTS}")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which the operator may die, and may assign roles in the other resource group."""
    with running(tmp_path_factory.mktemp("azure-kill")) as cluster:
        author = operator_may(cluster, FAR, role=seed.CUSTOM_ROLE_AUTHOR)
        with author, operator_may(cluster, FAR):
            yield cluster


@pytest.fixture
def mortal(own_cluster: Cluster) -> Iterator[Cluster]:
    """That set-up; in the end an operator runs, nothing is orphaned, and no log has a defect in it."""
    yield own_cluster
    own_cluster.azure.clear_faults()
    assert orphans(own_cluster) == []
    clean_log(own_cluster)


def killed_at_each(cluster: Cluster, *writes: Write) -> None:
    """Kill it at each of these writes in turn, first before it is done and then after it was."""
    for write in writes:
        for moment in ("never", "done"):
            killed_at(cluster, write, moment)


def rich(cluster: Cluster) -> tuple[Personal, str, str]:
    """A policy with a custom role and a role far from the cluster, and a grant. No operator saw them yet.

    Returns it, the custom role's name, and the namespace of the grant.
    """
    asleep(cluster)
    name, namespace = cluster.unique("Pod Worker"), cluster.namespace()
    wide: Body = {
        "name": name,
        "dataActions": [f"{PODS}/delete"],
        "assignableScopes": [seed.RESOURCE_GROUP, FAR],
    }
    policy = personal(
        cluster,
        customRoles=[wide],
        azureRoles=[CONNECT, at(name), at(PLAIN_READER, FAR), at(name, FAR)],
        grants={**ceiling("view"), "azureRoles": [name, READER, WRITER]},
    )
    grant(policy, name, namespace)
    return policy, name, namespace


def grant(policy: Personal, name: str, namespace: str) -> None:
    """The grant: with the custom role and a role of Azure's own."""
    policy.cluster.grant("work", namespace, policy.name, azureRoles=[name, READER], clusterRoles=["view"])


def is_whole(policy: Personal, name: str, namespace: str) -> None:
    """Wait until all that `rich` asked for is there, and nothing else."""
    cluster, here = policy.cluster, policy.cluster.stack.cluster_id
    inside = namespace_scope(cluster, namespace)
    policy.ready(40)
    cluster.ready("ngrant", "work", namespace, seconds=40)
    wanted = [
        (AKS_USER, here),
        (name, here),
        (PLAIN_READER, FAR),
        (name, FAR),
        (name, inside),
        (READER, inside),
    ]
    has(cluster, policy.who.id, *wanted)
    assert len(inventory(cluster.get("apol", policy.name))) == 4
    assert len(inventory(cluster.get("ngrant", "work", namespace))) == 2


def is_gone(policy: Personal, namespace: str, *names: str) -> None:
    """Wait until the policy and the grant that were deleted are gone, with all that they made."""
    cluster = policy.cluster
    for kind, name, where in (("ngrant", "work", ("-n", namespace)), ("apol", policy.name, ())):
        cluster.kubectl("wait", "--for=delete", f"{kind}/{name}", *where, "--timeout=50s")
    assert policy.roles() == []
    assert [name for name in names if custom_role(cluster, name)] == []


def delete_both(policy: Personal, namespace: str) -> None:
    """Delete the policy and the grant, without waiting."""
    policy.cluster.kubectl("delete", "apol", policy.name, "--wait=false")
    policy.cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--wait=false")


def test_killed_at_each_write_of_a_creation_and_of_the_deletion(mortal: Cluster) -> None:
    """One role definition, one assignment of each; and then none."""
    policy, name, namespace = rich(mortal)
    mortal.kubectl("delete", "ngrant", "work", "-n", namespace)
    killed_at_each(mortal, DEFINE, ASSIGN_FAR)
    grant(policy, name, namespace)
    killed_at(mortal, ASSIGN_INSIDE, "done")
    mortal.start_operator()
    is_whole(policy, name, namespace)
    gets(mortal, policy.who, "delete", "pods", namespace)

    mortal.kill_operator()
    mortal.kubectl("delete", "ngrant", "work", "-n", namespace, "--wait=false")
    killed_at(mortal, UNASSIGN_INSIDE, "done")
    mortal.kubectl("delete", "apol", policy.name, "--wait=false")
    killed_at_each(mortal, UNASSIGN_FAR, UNDEFINE)
    mortal.start_operator()
    is_gone(policy, namespace, name)


@pytest.mark.parametrize("write", [DEFINE, ASSIGN_INSIDE], ids=["define", "grant"])
def test_deleted_while_the_operator_is_dead(mortal: Cluster, write: Write) -> None:
    """The write was done and nobody could note its answer: all of it goes."""
    policy, name, namespace = rich(mortal)
    killed_at(mortal, write, "done")

    delete_both(policy, namespace)
    mortal.start_operator()

    is_gone(policy, namespace, name)


@pytest.mark.parametrize("write", [ASSIGN_FAR, ASSIGN_INSIDE], ids=["far", "grant"])
def test_edited_while_the_operator_is_dead(mortal: Cluster, write: Write) -> None:
    """What was just made is not asked for any more: it goes, and the new wish is there."""
    policy, name, namespace = rich(mortal)
    killed_at(mortal, write, "done")

    other = mortal.unique("Other")
    wish = {"name": other, "dataActions": [f"{PODS}/read"]}
    limits = {**ceiling("view"), "azureRoles": [WRITER]}
    policy.apply(customRoles=[wish], azureRoles=[CONNECT, at(other)], grants=limits)
    mortal.grant("work", namespace, policy.name, azureRoles=[WRITER])
    mortal.start_operator()

    policy.ready(50)
    mortal.ready("ngrant", "work", namespace, seconds=40)
    here = mortal.stack.cluster_id
    has(
        mortal,
        policy.who.id,
        (AKS_USER, here),
        (other, here),
        (WRITER, namespace_scope(mortal, namespace)),
    )
    assert custom_role(mortal, name) is None
    delete_both(policy, namespace)
    is_gone(policy, namespace, other)


def test_a_group_and_its_far_roles(mortal: Cluster) -> None:
    """The group is made in one pass and the far role given in another, with a death in each."""
    mortal.kill_operator()
    policy = new_policy(mortal, azureRoles=[CONNECT, at(PLAIN_READER, FAR)])
    killed_at(mortal, ("PATCH", r"/groups\(uniqueName="), "done")
    killed_at(mortal, ASSIGN_FAR, "done")
    mortal.start_operator()
    policy.ready()
    group = policy.group_id
    has(mortal, group, (AKS_USER, mortal.stack.cluster_id), (PLAIN_READER, FAR))
    policy.delete("--timeout=30s")
    assert roles_of(mortal, group) == []


# Over a restart


def test_a_role_that_was_renamed_in_azure_survives_a_restart(mortal: Cluster) -> None:
    """A role is its GUID: the access stays, nothing is written, and the policy says how it is called now."""
    name, guid = mortal.unique("Somebodys"), "d1111111-1111-4111-8111-111111111111"
    namespace = mortal.namespace()
    with administrator(mortal) as somebody:
        somebody.define(guid, name, f"{PODS}/delete")
        policy = personal(mortal, azureRoles=[CONNECT, at(name)])
        policy.ready()
        mortal.kill_operator()
        somebody.define(guid, f"{name} of today", f"{PODS}/delete")
        since = last_entry(mortal)
        mortal.start_operator()

        def note() -> str:
            return str(mortal.condition("apol", policy.name, "AzureRolesReady").get("message", ""))

        eventually(lambda: "has another name now" in note(), "the policy says so")
        assert guid in note()
        assert note().startswith("spec.azureRoles[1].role: ")
        policy.ready()
        assert arm_writes(mortal, since) == []
        assert may(mortal, policy.who, "delete", "pods", namespace)
        policy.update(azureRoles=[CONNECT, at(f"{name} of today")])
        assert arm_writes(mortal, since) == []
        policy.delete()
        somebody.undefine(guid)


@pytest.mark.parametrize("together", [True, False], ids=["at-once", "one-after-the-other"])
def test_what_two_want_goes_over_a_restart_when_neither_does(mortal: Cluster, *, together: bool) -> None:
    """What others want is known again before anything is taken away, and forgotten when they are gone."""
    group = str(mortal.azure.add_group(mortal.unique("existing"))["id"])
    namespace = mortal.namespace()
    names = [mortal.unique("shared"), mortal.unique("shared")]
    for name in names:
        spec: Body = {
            "subject": {"existingGroup": {"objectId": group}},
            "azureRoles": [CONNECT, at(PLAIN_READER, FAR)],
            "namespaces": [{"names": [namespace], "azureRoles": [READER]}],
            "grants": {**ceiling(), "azureRoles": [READER]},
        }
        mortal.policy(name, spec)
    mortal.grant("work", namespace, names[1], azureRoles=[READER])
    for name in names:
        mortal.ready("apol", name)
    mortal.ready("ngrant", "work", namespace)
    here, inside = mortal.stack.cluster_id, namespace_scope(mortal, namespace)
    whole = ((AKS_USER, here), (PLAIN_READER, FAR), (READER, inside))
    has(mortal, group, *whole)

    mortal.kill_operator()
    mortal.kubectl("delete", "apol", names[0], "--wait=false")
    if together:
        mortal.kubectl("delete", "apol", names[1], "--wait=false")
        mortal.kubectl("delete", "ngrant", "work", "-n", namespace, "--wait=false")
    since = last_entry(mortal)
    mortal.start_operator()
    mortal.kubectl("wait", "--for=delete", f"apol/{names[0]}", "--timeout=30s")
    if not together:
        has(mortal, group, *whole)
        assert arm_writes(mortal, since) == [], "nothing was taken away for a moment either"
        mortal.kill_operator()
        mortal.kubectl("delete", "apol", names[1], "--wait=false")
        mortal.start_operator()
        mortal.kubectl("wait", "--for=delete", f"apol/{names[1]}", "--timeout=30s")
        eventually(lambda: roles_of(mortal, group) == [], "the grant gives nothing without its policy")
        mortal.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")
    eventually(lambda: roles_of(mortal, group) == [], "nothing is left", 20)
