"""`rules` of an AccessPolicy: a ClusterRole of its own with its binding, kept as the policy says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import Person, events, gets, last_request, loses, made_for, may, patch, person
from support.subjects import RBAC, Direct, answers, direct, exists
from support.trouble import clean_log

NODES: Body = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}
DEPLOYMENTS: Body = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "create"]}
METRICS: Body = {"nonResourceURLs": ["/metrics", "/debug/*"], "verbs": ["get"]}
ALL: Body = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


@dataclass(frozen=True)
class Ruled:
    """A policy with rules for one person, in place."""

    cluster: Cluster
    policy: Direct
    who: Person

    def role(self) -> Body:
        """The ClusterRole that was made, or an empty one while there is none."""
        made = made_for(self.cluster, self.policy.name)
        return next((one for one in made if one["kind"] == "ClusterRole"), {})

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.role()["metadata"]["name"])

    def corrected(self, number: int) -> Body:
        """Wait until so many edits were put right. Returns the newest item of drift."""

        def told() -> list[Body]:
            drift = self.policy.body()["status"]["drift"]
            return list(drift["items"]) if drift["corrected"] == number else []

        return eventually(told, f"{number} corrections are told")[0]


def ruled(cluster: Cluster, *rules: Body) -> Ruled:
    """Apply such a policy and wait until it is Ready."""
    who = person(cluster)
    policy = direct(cluster, {"user": {"userPrincipalName": who.upn}}, rules=list(rules))
    policy.ready()
    return Ruled(cluster, policy, who)


def test_rules_are_what_the_person_may(cluster: Cluster) -> None:
    """A ClusterRole and its binding, owned by the policy and gone with it; exactly these rules."""
    one = ruled(cluster, NODES, DEPLOYMENTS)

    role = one.role()
    assert role["rules"] == [NODES, DEPLOYMENTS]
    assert [o["uid"] for o in role["metadata"]["ownerReferences"]] == [one.policy.body()["metadata"]["uid"]]
    assert one.policy.bound() == [(one.name, f"User {one.who.upn}")]
    gets(cluster, one.who, "list", "nodes")
    assert may(cluster, one.who, "create", "deployments.apps", "default")
    assert not may(cluster, one.who, "delete", "nodes")
    assert not may(cluster, one.who, "list", "secrets")
    kinds = sorted(item["kind"] for item in one.policy.body()["status"]["inventory"])
    assert kinds == ["ClusterRole", "ClusterRoleBinding"]
    name = one.name

    one.policy.delete()

    assert made_for(cluster, one.policy.name) == []
    assert not exists(cluster, "clusterrole", name)
    loses(cluster, one.who, "list", "nodes")


def test_rules_for_urls(cluster: Cluster) -> None:
    """`nonResourceURLs`, also below a path, beside rules for resources."""
    one = ruled(cluster, METRICS, NODES)

    assert one.role()["rules"] == [METRICS, NODES]
    config = cluster.stack.kubeconfig_of(one.who.upn)
    eventually(lambda: answers(cluster, config, "get", "--raw", "/metrics"), "it reads the metrics")
    assert answers(cluster, config, "auth", "can-i", "get", "/debug/pprof")
    assert not answers(cluster, config, "auth", "can-i", "get", "/logs")


def test_changed_rules_change_the_role_in_place(cluster: Cluster) -> None:
    """Same ClusterRole, same binding, and no drift; without rules both go."""
    one = ruled(cluster, NODES)
    before = {each["kind"]: each["metadata"]["uid"] for each in made_for(cluster, one.policy.name)}
    gets(cluster, one.who, "list", "nodes")

    one.policy.update(rules=[DEPLOYMENTS])

    after = {each["kind"]: each["metadata"]["uid"] for each in made_for(cluster, one.policy.name)}
    assert after == before
    assert one.role()["rules"] == [DEPLOYMENTS]
    loses(cluster, one.who, "list", "nodes")
    assert may(cluster, one.who, "list", "deployments.apps")
    drift = one.policy.update(rules=None)["status"]["drift"]
    assert (drift["corrected"], drift["state"]) == (0, "InSync")
    eventually(lambda: made_for(cluster, one.policy.name) == [], "both are gone")


AGGREGATION = {"clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]}


@pytest.mark.parametrize(
    ("edit", "field", "by"),
    [
        ({"op": "add", "path": "/rules/-", "value": ALL}, "rules", " by kubectl-patch"),
        ({"op": "remove", "path": "/rules"}, "rules", ""),
        ({"op": "add", "path": "/aggregationRule", "value": AGGREGATION}, "aggregationRule", ""),
    ],
    ids=["rule added", "rules removed", "aggregation added"],
)
def test_a_role_edited_by_hand_is_put_right_and_told(
    cluster: Cluster, edit: Body, field: str, by: str
) -> None:
    """Also where Kubernetes would gather rules from elsewhere: who did it, what, and that it was undone."""
    one = ruled(cluster, NODES)
    name = one.name

    patch(cluster, "clusterrole", name, [edit])

    eventually(lambda: one.policy.body()["status"]["drift"]["corrected"], "it is told")
    eventually(lambda: one.role().get("rules") == [NODES], "the rules are right")
    assert "aggregationRule" not in one.role()
    told = one.policy.body()["status"]["drift"]["items"]
    assert {item["object"] for item in told} == {f"ClusterRole {name}"}
    assert field in {item["field"] for item in told}
    gets(cluster, one.who, "list", "nodes")
    assert not may(cluster, one.who, "list", "secrets")
    said = f"ClusterRole {name}: {field} was changed{by}"
    eventually(
        lambda: any(said in text for _, _, text in events(cluster, "AccessPolicy", one.policy.name)),
        f"an event says: {said}",
    )


def test_a_role_deleted_by_hand_comes_back(cluster: Cluster) -> None:
    """With its binding the access is there again."""
    one = ruled(cluster, NODES)
    name, before = one.name, one.role()["metadata"]["uid"]

    cluster.kubectl("delete", "clusterrole", name)

    item = one.corrected(1)
    assert one.role()["metadata"]["uid"] != before
    assert (item["object"], item["found"]) == (f"ClusterRole {name}", "deleted")
    gets(cluster, one.who, "list", "nodes")


def test_another_order_is_no_drift(cluster: Cluster) -> None:
    """Of rules and of what is in them, by hand or in the policy: nothing is written for it."""
    one = ruled(cluster, NODES, DEPLOYMENTS)
    mixed = [{key: values[::-1] for key, values in rule.items()} for rule in (DEPLOYMENTS, NODES)]

    patch(cluster, "clusterrole", one.name, [{"op": "replace", "path": "/rules", "value": mixed}])
    version = one.role()["metadata"]["resourceVersion"]
    one.policy.update(rules=[{key: values[::-1] for key, values in NODES.items()}, DEPLOYMENTS])

    writes, moved = cluster.quiet(1.0)
    assert (writes, moved) == ([], False)
    assert one.role()["metadata"]["resourceVersion"] == version
    assert one.role()["rules"] == mixed
    assert one.policy.body()["status"]["drift"]["corrected"] == 0


def test_a_foreign_role_of_that_name_is_left_and_named(cluster: Cluster) -> None:
    """It is not changed and nobody is bound to it; when it goes ours is made."""
    one = ruled(cluster, NODES)
    name = one.name
    foreign = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [ALL],
    }
    one.policy.delete()
    cluster.apply(foreign)
    before = cluster.get("clusterrole", name)

    one.policy.apply()

    message = one.policy.stalled("NameTaken")
    assert f"ClusterRole {name} is already there and was not made here" in message
    assert one.policy.bound() == []
    assert cluster.get("clusterrole", name) == before
    assert not may(cluster, one.who, "list", "secrets")
    cluster.kubectl("delete", "clusterrole", name)
    one.policy.ready()
    gets(cluster, one.who, "list", "nodes")


def test_a_foreign_role_in_the_place_of_ours_gives_nobody_anything(cluster: Cluster) -> None:
    """Put there while ours is deleted: it is not taken over, and the status says so."""
    one = ruled(cluster, NODES)
    name = one.name
    body = {"metadata": {"name": name}, "rules": [ALL]}
    with cluster.stack.plane.client() as client:

        def replaced() -> bool:
            client.delete(f"{RBAC}/clusterroles/{name}")
            return client.post(f"{RBAC}/clusterroles", json=body).is_success

        eventually(replaced, "the foreign one is there before ours is back")

    assert name in one.policy.stalled("NameTaken")
    assert cluster.get("clusterrole", name)["rules"] == [ALL]
    assert not may(cluster, one.who, "list", "secrets"), "nobody is bound to rules that were never asked for"


def test_rules_are_corrected_while_the_cloud_is_down(cluster: Cluster) -> None:
    """What is in the cluster is put right without asking Entra or Azure."""
    one = ruled(cluster, NODES)
    cluster.azure.fault(kind="graph", status=503, count=None)
    cluster.azure.fault(kind="arm", status=503, count=None)
    name, since = one.name, last_request(cluster)

    patch(cluster, "clusterrole", name, {"rules": [ALL]})

    eventually(lambda: one.role().get("rules") == [NODES], "the rules are right")
    assert not cluster.azure.journal(since=since, status=200, kind="graph")
    cluster.azure.clear_faults()
    item = one.corrected(1)
    assert item["found"] == json.dumps(ALL, sort_keys=True)
