"""Groups and objects that were taken over: they stay when all else goes, also when the operator dies."""

from collections.abc import Iterator

import pytest

from support.adopting import (
    adopted,
    adopting,
    foreign_group,
    gives_nothing,
    group_lines,
    group_writes,
    kept,
    marks_of,
    origin,
    stalled,
)
from support.cluster import Cluster, eventually, running
from support.deaths import asleep, killed_at
from support.life import AKS_USER, gets, last_request, loses, made_for, patch, person
from support.sites import new_site
from support.trouble import clean_log


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which the operator may die at any time."""
    with running(tmp_path_factory.mktemp("adopted"), ENTRA_ACCESS_REPLICATION_SECONDS="2") as cluster:
        yield cluster


@pytest.fixture
def mortal(own_cluster: Cluster) -> Iterator[Cluster]:
    """That set-up; in the end no log has a defect in it."""
    yield own_cluster
    own_cluster.azure.clear_faults()
    clean_log(own_cluster)


def test_what_was_taken_over_survives_with_its_members(cluster: Cluster) -> None:
    """What the policy gave goes, the group does not; it is refused later, or taken over again as adopted."""
    who = person(cluster)
    policy, theirs = adopted(cluster, who)
    gets(cluster, who, "list", "pods")

    policy.delete("--timeout=20s")

    left = cluster.group(theirs)
    assert left is not None
    assert left["members"] == [who.id]
    assert (cluster.azure.assignments(theirs), made_for(cluster, policy.name)) == ([], [])
    loses(cluster, who, "list", "pods")
    told = kept(cluster, "AccessPolicy", policy.name)
    assert theirs in told
    assert AKS_USER not in told
    policy.apply(adoptionPolicy="Never")
    assert theirs in stalled(policy, "GroupExists")
    assert (cluster.group(theirs) or {})["members"] == [who.id]
    policy.update(adoptionPolicy="Always")
    assert (policy.group_id, origin(policy), group_lines(policy)[0]["origin"]) == (
        theirs,
        "Adopted",
        "Adopted",
    )
    policy.update(adoptionPolicy="Never")
    assert (policy.group_id, origin(policy)) == (theirs, "Adopted"), "it has it already"
    policy.delete("--timeout=20s")
    assert cluster.group(theirs) is not None


def test_identical_is_asked_again_of_one_that_was_let_go(cluster: Cluster) -> None:
    """What others did to it in the meantime stays: it is theirs until it is taken over again."""
    who, other = person(cluster), person(cluster)
    policy, theirs = adopted(cluster, who)
    policy.delete("--timeout=20s")
    cluster.azure.add_member(theirs, other.id)
    since = last_request(cluster)

    policy.apply(adoptionPolicy="IfIdentical")

    assert "members are not as given here" in stalled(policy, "NotIdentical")
    assert group_writes(cluster, since) == []
    assert gives_nothing(policy, theirs)
    cluster.azure.remove_member(theirs, other.id)
    policy.ready()
    assert (policy.group_id, origin(policy)) == (theirs, "Adopted")


def test_it_is_known_as_adopted_while_graph_is_down(cluster: Cluster) -> None:
    """What cannot be seen is as it was known, and an edit to Never changes nothing of the past."""
    policy, theirs = adopted(cluster, person(cluster))
    cluster.azure.fault(kind="graph", status=503, count=None)

    policy.apply(adoptionPolicy="Never", clusterRoles=["view", "edit"])

    cluster.waits_for("apol", policy.name, "Reconciling", "Unavailable")
    assert origin(policy) == "Adopted"
    assert [one["origin"] for one in group_lines(policy)] == ["Adopted"]
    cluster.azure.clear_faults()
    policy.ready()
    policy.delete("--timeout=20s")
    assert cluster.group(theirs) is not None


# The operator dies


@pytest.mark.parametrize("moment", ["done", "late"])
def test_a_group_survives_that_was_taken_over_when_the_operator_died(mortal: Cluster, moment: str) -> None:
    """The status tells nothing of it, and the policy is deleted before the next operator starts."""
    who = person(mortal)
    policy = adopting(mortal, "Always", who)
    theirs = foreign_group(mortal, policy.name, who)["id"]
    asleep(mortal)
    policy.apply()
    killed_at(mortal, ("PATCH", f"^/v1.0/groups/{theirs}$"), moment)
    assert group_lines(policy) == []
    policy.delete("--wait=false")
    mortal.start_operator()

    gone = ("wait", "--for=delete", f"apol/{policy.name}", "--timeout=40s")
    mortal.kubectl(*gone)

    eventually(lambda: (mortal.group(theirs) or {}).get("uniqueName"), "the write has arrived")
    left = mortal.group(theirs)
    assert left is not None
    assert left["uniqueName"].endswith(f"_{policy.name}_adopted")
    assert left["members"] == [who.id]
    asleep(mortal)


def test_the_next_operator_goes_on_where_the_last_one_died(mortal: Cluster) -> None:
    """The group is the adopted one, not one more of its name, and whoever must leave has left."""
    stays, leaves = person(mortal), person(mortal)
    policy = adopting(mortal, "Always", stays)
    theirs = foreign_group(mortal, policy.name, stays, leaves)["id"]
    asleep(mortal)
    policy.apply()
    for moment in ("never", "done"):
        killed_at(mortal, ("PATCH", f"^/v1.0/groups/{theirs}$"), moment)
    killed_at(mortal, ("DELETE", f"^/v1.0/groups/{theirs}/members/"), "done")
    mortal.start_operator()

    policy.ready()

    assert (policy.group_id, origin(policy)) == (theirs, "Adopted")
    assert policy.entra()["members"] == [stays.id]
    same = [one["id"] for one in mortal.azure.state()["groups"] if one["displayName"] == policy.name]
    assert same == [theirs]
    policy.delete("--timeout=20s")
    assert mortal.group(theirs) is not None


@pytest.mark.parametrize("kind", ["ClusterRoleBinding", "RoleBinding"])
def test_an_object_survives_that_was_taken_over_when_the_operator_died(mortal: Cluster, kind: str) -> None:
    """The inventory does not have it yet, and the resource is deleted before the next operator starts."""
    if mortal.operator is None or not mortal.operator.alive():
        mortal.start_operator()
    site = new_site(mortal, kind)
    mortal.apply(site.object())
    uid, wished = site.there()["metadata"]["uid"], site.wished()
    site.ask()
    site.ready()
    asleep(mortal)
    resource, name, namespace = site.resource
    where = ("-n", namespace) if namespace else ()
    status = mortal.get(resource, name, namespace)["status"]
    lines = [one for one in status["inventory"] if one["system"] != "Kubernetes"]
    change = {"status": {"inventory": lines}}
    patch(mortal, resource, name, change, *where, "--subresource=status")
    mortal.kubectl("delete", resource, name, *where, "--wait=false")
    mortal.start_operator()

    mortal.kubectl("wait", "--for=delete", f"{resource}/{name}", *where, "--timeout=40s")

    left = site.there()
    assert (left["metadata"]["uid"], site.content()) == (uid, wished)
    assert marks_of(left) == []
    full = {"apol": "AccessPolicy", "ngrant": "NamespaceGrant"}[resource]
    assert site.name in kept(mortal, full, name, namespace or "default")
    asleep(mortal)
