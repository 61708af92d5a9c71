"""What stays when a policy or grant is deleted: by `deletePolicy: Keep`."""

from collections.abc import Iterator
from typing import Any

import pytest

from entra_sandbox import seed
from support.adopting import group_lines, kept, marks_of
from support.cluster import Body, Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    Person,
    Policy,
    all_bindings,
    ceiling,
    gets,
    last_request,
    loses,
    may,
    new_policy,
    person,
)
from support.scopes import PODS, READER, WRITER, at, custom_role, namespace_scope, roles_of
from support.trouble import clean_log
from support.watching import in_the_rounds

KEEP: dict[str, Any] = {"deletePolicy": "Keep"}
CONNECT = at(AKS_USER)


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def finalizers(cluster: Cluster, namespace: str, name: str = "work") -> list[str]:
    """The finalizers of a grant."""
    found: list[str] = cluster.get("ngrant", name, namespace)["metadata"].get("finalizers", [])
    return found


def cluster_objects(cluster: Cluster, owner: str) -> list[Body]:
    """The ClusterRoles and ClusterRoleBindings with the name of a policy, whatever marks they have."""
    found = cluster.list_all("clusterroles,clusterrolebindings")
    return [one for one in found if owner in one["metadata"]["name"]]


def at_rest(cluster: Cluster) -> None:
    """Wait until nothing is written any more."""
    eventually(lambda: cluster.quiet(1.0) == ([], False), "it has come to rest")


@pytest.fixture
def rich(cluster: Cluster) -> tuple[Policy, Person, str]:
    """A policy that keeps what it made, which is one of everything; its member, and a namespace of it."""
    who, labels = person(cluster), {"keep": cluster.unique("label")}
    namespace = cluster.namespace(**labels)
    role = cluster.unique("Pod Keeper")
    policy = new_policy(
        cluster,
        who,
        group={"owners": [{"user": seed.LEAD}]},
        azureRoles=[CONNECT, at(role)],
        customRoles=[{"name": role, "dataActions": [f"{PODS}/delete"]}],
        clusterRoles=["view"],
        rules=[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
        namespaces=[
            {"selector": {"matchLabels": labels}, "clusterRoles": ["edit"], "rules": [READ_PODS]},
            {"names": [namespace], "azureRoles": [READER]},
        ],
        grants={**ceiling("view", rules=[READ_PODS]), "azureRoles": [WRITER]},
        **KEEP,
    )
    policy.ready()
    return policy, who, namespace


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_policy_that_keeps_leaves_everything_as_it_is(
    cluster: Cluster, rich: tuple[Policy, Person, str], cascade: str
) -> None:
    """Group, members, assignments, roles and bindings stay and work, and nothing says that they are ours.

    However it is deleted: Argo CD has Kubernetes collect in the foreground.
    """
    policy, who, namespace = rich
    group, role = policy.entra(), policy.spec["customRoles"][0]["name"]
    lines = policy.ready()["status"]["inventory"]
    assignments, custom = cluster.azure.assignments(group["id"]), custom_role(cluster, role)
    objects = [*cluster_objects(cluster, policy.name), *all_bindings(cluster, namespace)]
    assert (len(assignments), len(objects)) == (3, 6)
    since = last_request(cluster)

    policy.delete("--timeout=20s", f"--cascade={cascade}")

    at_rest(cluster)
    assert cluster.azure.journal(since=since, write=True) == []
    assert cluster.group(group["id"]) == group
    assert cluster.azure.assignments(group["id"]) == assignments
    assert custom_role(cluster, role) == custom
    left = [*cluster_objects(cluster, policy.name), *all_bindings(cluster, namespace)]
    content = ("rules", "roleRef", "subjects")
    assert [(o["metadata"]["uid"], [o.get(k) for k in content]) for o in left] == [
        (o["metadata"]["uid"], [o.get(k) for k in content]) for o in objects
    ]
    assert [marks_of(one) for one in left] == [[]] * 6
    assert may(cluster, who, "list", "nodes")
    assert may(cluster, who, "create", "configmaps", namespace)
    assert may(cluster, who, "delete", "pods")
    told = kept(cluster, "AccessPolicy", policy.name)
    assert group["id"] in told
    assert all(one["name"] in told for one in assignments)
    for line in lines:
        assert f"{line['system']} {line['kind']} {line['name']}" in told
        assert f"stays behind: {line['system']} {line['kind']} {line['name']}" in cluster.operator_log()


def test_the_same_policy_finds_what_it_kept(cluster: Cluster, rich: tuple[Policy, Person, str]) -> None:
    """The group by its uniqueName, its assignments and custom role by their names, as its own; Roles and
    bindings are nobody's by then, and are taken over where they are identical."""
    policy, who, namespace = rich
    group, role = policy.group_id, custom_role(cluster, policy.spec["customRoles"][0]["name"])
    names = sorted(one["name"] for one in cluster.azure.assignments(group))
    policy.delete("--timeout=20s")
    since = last_request(cluster)

    policy.apply()

    said = cluster.waits_for("apol", policy.name, "Stalled", "NameTaken")["message"]
    assert "is already there and was not made here" in said
    body = policy.update(adoptionPolicy="IfIdentical", deletePolicy="Delete")
    assert policy.group_id == group
    assert cluster.azure.journal(since=since, write=True) == []
    lines = body["status"]["inventory"]
    ids = {one["id"].rpartition("/")[2] for one in lines if one["system"] == "Azure"}
    assert ids == {*names, (role or {})["name"]}
    assert [one.get("origin") for one in group_lines(policy)] == [None]
    policy.delete("--timeout=20s")
    assert cluster.azure.assignments(group) == []
    assert cluster.group(group) is None
    assert len(cluster_objects(cluster, policy.name)) == 3, "adopted, they are kept once more"
    assert [marks_of(one) for one in all_bindings(cluster, namespace)] == [[]] * 3
    loses(cluster, who, "list", "nodes")


def test_keeping_asks_nothing_of_entra_and_azure(cluster: Cluster) -> None:
    """Nothing is to be done there, so it does not matter that nothing answers."""
    policy = new_policy(cluster, person(cluster), azureRoles=[CONNECT], clusterRoles=["view"], **KEEP)
    policy.ready()
    group = policy.group_id
    in_the_rounds(cluster, group)
    for kind in ("graph", "arm"):
        cluster.azure.fault(kind=kind, status=503, count=None)
    since = last_request(cluster)

    policy.delete("--timeout=20s")

    assert len(cluster_objects(cluster, policy.name)) == 1
    about = [one["path"] for one in cluster.azure.journal(since=since) if group in one["path"]]
    assert about == []


# Grants


@pytest.mark.parametrize("cascade", ["background", "foreground"])
@pytest.mark.parametrize("azure", [False, True], ids=["in the cluster", "in Azure too"])
def test_a_grant_keeps_what_it_made_as_its_policy_says(
    cluster: Cluster, cascade: str, *, azure: bool
) -> None:
    """It stays and works without anything of ours on it; the policy goes on, and no finalizer hangs."""
    who, namespace = person(cluster), cluster.namespace()
    grants = {**ceiling("edit", rules=[READ_PODS]), "azureRoles": [WRITER]}
    policy = new_policy(cluster, who, azureRoles=[CONNECT], grants=grants, **KEEP)
    more = {"azureRoles": [WRITER]} if azure else {}
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["edit"], **more)
    cluster.ready("ngrant", "work", namespace)
    where = namespace_scope(cluster, namespace)
    given = roles_of(cluster, policy.group_id)
    assert ((WRITER, where) in given) == azure
    since = last_request(cluster)

    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s", f"--cascade={cascade}")

    at_rest(cluster)
    left = all_bindings(cluster, namespace)
    assert [marks_of(one) for one in left] == [[]] * 3
    assert roles_of(cluster, policy.group_id) == given
    assert cluster.azure.journal(since=since, write=True) == []
    gets(cluster, who, "create", "configmaps", namespace)
    told = kept(cluster, "NamespaceGrant", "work", namespace)
    assert all(one["metadata"]["name"] in told for one in left)
    assert (WRITER in told) == azure
    policy.ready()


def test_an_edit_of_the_policy_decides_for_grants_that_are_there(cluster: Cluster) -> None:
    """From Delete to Keep and back, a grant that nobody touches does as the policy says at the end.

    Nobody owns what is kept; that is no drift, and neither is the way back.
    """
    first, second = cluster.namespace(), cluster.namespace()

    def owners(namespace: str) -> list[int]:
        return [len(one["metadata"].get("ownerReferences", ())) for one in all_bindings(cluster, namespace)]

    policy = new_policy(cluster, person(cluster), grants=ceiling("view"))
    for namespace in (first, second):
        cluster.grant("work", namespace, policy.name, clusterRoles=["view"])
        cluster.ready("ngrant", "work", namespace)
        assert finalizers(cluster, namespace) == []

    policy.update(**KEEP)

    for namespace in (first, second):
        eventually(lambda namespace=namespace: finalizers(cluster, namespace), "it is told to the grant")  # type: ignore[misc]
        eventually(lambda namespace=namespace: owners(namespace) == [0], "nobody owns it")  # type: ignore[misc]
    cluster.kubectl("delete", "ngrant", "work", "-n", first, "--timeout=20s")
    policy.update(deletePolicy="Delete")
    eventually(lambda: owners(second) == [1], "the grant owns it")
    drift = cluster.ready("ngrant", "work", second)["status"]["drift"]
    assert (drift["state"], drift["corrected"]) == ("InSync", 0)
    cluster.kubectl("delete", "ngrant", "work", "-n", second, "--timeout=20s")
    eventually(lambda: not all_bindings(cluster, second), "what the second had goes")
    at_rest(cluster)
    assert [marks_of(one) for one in all_bindings(cluster, first)] == [[]]


def test_grants_of_a_policy_that_keeps_follow_it_into_the_end(cluster: Cluster) -> None:
    """Deleted before their policy they keep; without a policy a grant gives nothing, as always."""
    who, kept_in, lost_in = person(cluster), cluster.namespace(), cluster.namespace()
    policy = new_policy(cluster, who, grants=ceiling("edit"), **KEEP)
    for namespace in (kept_in, lost_in):
        cluster.grant("work", namespace, policy.name, clusterRoles=["edit"])
        cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "create", "configmaps", lost_in)
    cluster.kubectl("delete", "ngrant", "work", "-n", kept_in, "--timeout=20s")

    policy.delete("--timeout=20s")

    loses(cluster, who, "create", "configmaps", lost_in)
    cluster.waits_for("ngrant", "work", "Stalled", "PolicyDeleted", lost_in)
    assert may(cluster, who, "create", "configmaps", kept_in)
    cluster.kubectl("delete", "ngrant", "work", "-n", lost_in, "--timeout=20s")


# Namespaces that go


@pytest.mark.parametrize("spec", [KEEP, {"adoptionPolicy": "Always"}], ids=["keeps", "adopts"])
def test_a_namespace_is_not_held_up_by_such_grants(cluster: Cluster, spec: Body) -> None:
    """Also while Entra and Azure answer nothing: what the grant has is in the namespace, and goes with it."""
    namespace = cluster.namespace()
    policy = new_policy(cluster, person(cluster), grants=ceiling("view", rules=[READ_PODS]), **spec)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    assert finalizers(cluster, namespace) == ["entra-access.dev/release"]
    for kind in ("graph", "arm"):
        cluster.azure.fault(kind=kind, status=503, count=None)

    cluster.kubectl("delete", "namespace", namespace, "--timeout=30s")

    cluster.azure.clear_faults()
    log = [line for line in cluster.operator_log().splitlines() if f"{namespace}/" in line]
    assert not [line for line in log if "ERROR" in line]
