"""The way out of a deletion that cannot end: it is told, and works as it is printed."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from support.adopting import marks_of
from support.cluster import Body, Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    Policy,
    ceiling,
    events,
    last_request,
    made_for,
    new_policy,
    person,
)
from support.scopes import WRITER, Personal, at, namespace_scope, personal, roles_of
from support.sites import new_site
from support.subjects import exists
from support.trouble import clean_log

ABANDON = "entra-access.dev/abandon"
CONNECT = at(AKS_USER)
DOWN = {"Reconciling": "Unavailable", "Stalled": "Denied"}


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def way_out(said: str) -> list[str]:
    """The arguments of the kubectl command that a message prints."""
    found = re.search(r"to let it go as it is: kubectl ([^;]*true)(?:;|$)", said)
    assert found is not None, said
    return shlex.split(found[1])


def stays_behind(cluster: Cluster, resource: str) -> list[str]:
    """What the log tells of what stays behind of a resource."""
    lines = [line for line in cluster.operator_log().splitlines() if f"{resource}: stays behind: " in line]
    return [line.rpartition(": stays behind: ")[2] for line in lines]


@pytest.mark.parametrize("kind", ["graph", "arm"])
@pytest.mark.parametrize(("status", "condition"), [(503, "Reconciling"), (403, "Stalled")])
def test_a_policy_that_cannot_go_is_let_go_by_the_printed_command(
    cluster: Cluster, kind: str, status: int, condition: str
) -> None:
    """At once, with no more writes to Entra and Azure; event and log list what stays behind, no more."""
    policy = new_policy(cluster, person(cluster), azureRoles=[CONNECT], clusterRoles=["view"])
    policy.ready()
    group = policy.group_id
    (assignment,) = cluster.azure.assignments(group)
    code: dict[str, Any] = {"code": "AuthorizationFailed"} if (kind, status) == ("arm", 403) else {}
    cluster.azure.fault(kind=kind, status=status, count=None, **code)
    policy.delete("--wait=false")
    said = cluster.waits_for("apol", policy.name, condition, DOWN[condition])["message"]
    assert made_for(cluster, policy.name) == [], "the access in the cluster ends without Azure"
    eventually(lambda: kind == "arm" or not cluster.azure.assignments(group), "what can go has gone")
    eventually(lambda: len(lines_of(policy)) == (2 if kind == "arm" else 1), "the status tells of it")
    since = last_request(cluster)

    cluster.kubectl(*way_out(said))

    cluster.kubectl("wait", "--for=delete", f"apol/{policy.name}", "--timeout=10s")
    assert cluster.azure.journal(since=since, method="DELETE") == []
    cluster.azure.clear_faults()
    assert (cluster.group(group) or {})["id"] == group
    assert cluster.azure.assignments(group) == ([assignment] if kind == "arm" else [])
    names = [group, assignment["name"]] if kind == "arm" else [group]
    logged = stays_behind(cluster, f"AccessPolicy {policy.name}")
    assert len(logged) == len(names)

    def told() -> list[str]:
        found = events(cluster, "AccessPolicy", policy.name)
        return [text for type_, why, text in found if (type_, why) == ("Warning", "Abandoned")]

    (message,) = eventually(told, "an event tells of it")
    for name in names:
        assert name in message
        assert any(name in line for line in logged)


def lines_of(policy: Policy) -> list[Body]:
    """What there is in the policy's inventory outside the cluster."""
    lines = policy.cluster.get("apol", policy.name)["status"]["inventory"]
    return [one for one in lines if one["system"] != "Kubernetes"]


def granted(cluster: Cluster) -> tuple[Personal, str]:
    """A policy, and a namespace where its grant has given an Azure role and a binding."""
    namespace = cluster.namespace()
    policy = personal(cluster, azureRoles=[CONNECT], grants={**ceiling("view"), "azureRoles": [WRITER]})
    cluster.grant("work", namespace, policy.name, azureRoles=[WRITER], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    return policy, namespace


def test_a_namespace_that_waits_for_azure_is_let_go_by_the_printed_command(cluster: Cluster) -> None:
    """The grant in it says what it waits for and how to go on without."""
    policy, namespace = granted(cluster)
    cluster.azure.fault(kind="arm", status=503, count=None)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    said = cluster.waits_for("ngrant", "work", "Reconciling", "Unavailable", namespace)["message"]
    assert exists(cluster, "namespace", namespace)

    cluster.kubectl(*way_out(said))

    cluster.kubectl("wait", "--for=delete", f"namespace/{namespace}", "--timeout=30s")
    cluster.azure.clear_faults()
    assert (WRITER, namespace_scope(cluster, namespace)) in roles_of(cluster, policy.who.id)
    (line,) = stays_behind(cluster, f"NamespaceGrant {namespace}/work")
    assert WRITER in line


def test_the_annotation_says_nothing_of_what_is_not_deleted(cluster: Cluster) -> None:
    """A resource that lives is looked after, and no other value lets one go."""
    policy, namespace = granted(cluster)
    cluster.kubectl("annotate", "ngrant", "work", "-n", namespace, f"{ABANDON}=true")
    policy.look_again()
    policy.ready()
    cluster.ready("ngrant", "work", namespace)
    assert stays_behind(cluster, f"NamespaceGrant {namespace}/work") == []
    cluster.kubectl("annotate", "ngrant", "work", "-n", namespace, "--overwrite", f"{ABANDON}=false")

    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")

    assert roles_of(cluster, policy.who.id) == [(AKS_USER, cluster.stack.cluster_id)]


def test_what_was_adopted_is_let_go_without_marks(cluster: Cluster) -> None:
    """Also on this way: what was there before is as nobody's afterwards, and what was made here is gone."""
    site = new_site(cluster, "ClusterRoleBinding")
    cluster.apply(site.object())
    site.policy.apply(rules=[READ_PODS])
    site.ask()
    site.ready()
    cluster.azure.fault(kind="graph", status=503, count=None)
    site.policy.delete("--wait=false")
    said = cluster.waits_for("apol", site.policy.name, "Reconciling", "Unavailable")["message"]

    cluster.kubectl(*way_out(said))

    cluster.kubectl("wait", "--for=delete", f"apol/{site.policy.name}", "--timeout=10s")
    eventually(lambda: marks_of(site.there()) == [], "it is nobody's")
    eventually(lambda: not made_for(cluster, site.policy.name), "nothing else is left")
