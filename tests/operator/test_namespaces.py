"""`namespaces` of an AccessPolicy: the same access in every namespace that matches, now and later."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import (
    READ_PODS,
    Person,
    ceiling,
    condition_of,
    events,
    gets,
    last_request,
    loses,
    made_for,
    may,
    patch,
    person,
)
from support.scopes import READER, WRITER, namespace_scope, roles_of
from support.subjects import Direct, direct, exists, held_namespace
from support.trouble import clean_log

SECRETS: Body = {**READ_PODS, "resources": ["secrets"]}
SLOW = 10.0
"""Seconds that Entra and Azure take to fail."""
EVENTS: Body = {**READ_PODS, "resources": ["events"]}


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


@dataclass(frozen=True)
class Team:
    """A policy for one person that gives access where a label is. Its namespaces have it from the start."""

    cluster: Cluster
    policy: Direct
    who: Person
    label: str

    def namespace(self, stem: str = "team") -> str:
        """Make another namespace with the label."""
        return self.cluster.namespace(stem, team=self.label)

    @property
    def selector(self) -> Body:
        """Those with the label."""
        return {"matchLabels": {"team": self.label}}

    def has(self, namespace: str, *roles: str, seconds: float = 30.0) -> None:
        """Wait until exactly these ClusterRoles are bound to the person there."""
        wanted = sorted((role, f"User {self.who.upn}") for role in roles)
        eventually(
            lambda: self.policy.bound(namespace) == wanted,
            f"{wanted} in {namespace}",
            seconds,
        )


def team(cluster: Cluster, **entry: Any) -> Team:
    """Such a policy with the access of one entry; by default the ClusterRole edit."""
    who, label = person(cluster), cluster.unique("label")
    wish = {"selector": {"matchLabels": {"team": label}}, **(entry or {"clusterRoles": ["edit"]})}
    policy = direct(cluster, {"user": {"userPrincipalName": who.upn}}, namespaces=[wish])
    return Team(cluster, policy, who, label)


def test_every_namespace_that_matches_has_it(cluster: Cluster) -> None:
    """Rules and ClusterRoles, in these namespaces and in no other; all of it goes with the policy."""
    one = team(cluster, clusterRoles=["edit"], rules=[READ_PODS])
    inside, beside = [one.namespace(), one.namespace()], cluster.namespace(team="other")

    for namespace in inside:
        gets(cluster, one.who, "delete", "deployments.apps", namespace)
    status = one.policy.ready()["status"]

    assert (status["counts"]["namespaces"], status["counts"]["roleBindings"]) == (2, 4)
    assert "access in 2 namespaces" in condition_of({"status": status}, "Ready")["message"]
    for namespace in inside:
        made = made_for(cluster, one.policy.name, namespace)
        (role,) = [each for each in made if each["kind"] == "Role"]
        assert role["rules"] == [READ_PODS]
        assert len(made) == 3
    assert made_for(cluster, one.policy.name, beside) == []
    assert not may(cluster, one.who, "list", "pods", beside)
    assert not may(cluster, one.who, "list", "pods")
    names = {item["name"] for item in status["inventory"]}
    assert {name.partition("/")[0] for name in names} == set(inside)

    one.policy.delete()

    for namespace in inside:
        assert made_for(cluster, one.policy.name, namespace) == []
    loses(cluster, one.who, "list", "pods", inside[0])


def test_a_namespace_that_comes_changes_and_goes_is_followed(cluster: Cluster) -> None:
    """New with the label, relabelled away and back, deleted and made again."""
    one = team(cluster)
    one.policy.ready()

    namespace = one.namespace()
    one.has(namespace, "edit")
    cluster.kubectl("label", "namespace", namespace, "team=other", "--overwrite")
    one.has(namespace)
    loses(cluster, one.who, "list", "pods", namespace)
    cluster.kubectl("label", "namespace", namespace, f"team={one.label}", "--overwrite")
    one.has(namespace, "edit")
    cluster.kubectl("delete", "namespace", namespace)
    eventually(lambda: one.policy.body()["status"]["counts"]["namespaces"] == 0, "it is counted no more")
    assert one.policy.ready()["status"]["inventory"] == []
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"team": one.label}},
        }
    )
    one.has(namespace, "edit")
    assert one.policy.ready()["status"]["drift"]["corrected"] == 0, "what goes with a namespace is no drift"


def test_a_binding_in_a_namespace_that_is_changed_by_hand_is_put_right(cluster: Cluster) -> None:
    """And told with its namespace."""
    one = team(cluster, rules=[READ_PODS])
    namespace = one.namespace()
    one.policy.ready()
    gets(cluster, one.who, "list", "pods", namespace)
    made = {each["kind"]: each["metadata"]["name"] for each in made_for(cluster, one.policy.name, namespace)}

    patch(cluster, "role", made["Role"], {"rules": [SECRETS]}, "-n", namespace)
    eventually(lambda: one.policy.body()["status"]["drift"]["corrected"] == 1, "the edit is told")
    cluster.kubectl("delete", "rolebinding", made["RoleBinding"], "-n", namespace)
    eventually(lambda: one.policy.body()["status"]["drift"]["corrected"] == 2, "the deletion is told")

    told = [item["object"] for item in one.policy.body()["status"]["drift"]["items"]]
    assert told == [f"{kind} {namespace}/{made[kind]}" for kind in ("RoleBinding", "Role")]
    gets(cluster, one.who, "list", "pods", namespace)
    assert not may(cluster, one.who, "list", "secrets", namespace)


def test_a_namespace_that_is_not_there_yet_is_told_and_stops_nothing(cluster: Cluster) -> None:
    """Ready with a Warning that names it; the others are served, and it has its access when it comes."""
    who, there, later = person(cluster), cluster.namespace(), cluster.unique("later")
    subject = {"user": {"userPrincipalName": who.upn}}
    policy = direct(cluster, subject, namespaces=[{"names": [later, there], "clusterRoles": ["view"]}])

    policy.ready()

    message = policy.says("Warning", "NamespaceNotFound")
    assert message == (
        f"spec.namespaces[0].names[0]: there is no namespace {later} yet; the access there follows when it "
        "is made"
    )
    assert ("Warning", "NamespaceNotFound", message) in events(cluster, "AccessPolicy", policy.name)
    gets(cluster, who, "list", "pods", there)
    cluster.kubectl("create", "namespace", later)
    gets(cluster, who, "list", "pods", later)
    eventually(lambda: not policy.condition("Warning"), "there is nothing to warn of")


def test_a_namespace_that_cannot_go_stops_nothing(cluster: Cluster) -> None:
    """It is left alone while it is going, others come and are served, edits and the end are as ever."""
    one = team(cluster)
    stays, goes = one.namespace(), one.namespace()
    one.has(goes, "edit")
    one.policy.ready()
    with held_namespace(cluster, goes):
        eventually(lambda: one.policy.body()["status"]["counts"]["namespaces"] == 1, "it is counted no more")
        one.policy.ready()
        comes = one.namespace()
        one.has(comes, "edit")
        wish = {"selector": one.selector, "clusterRoles": ["view"]}
        one.policy.update(namespaces=[wish])
        for namespace in (stays, comes):
            one.has(namespace, "view")
        other = team(cluster)
        other.policy.ready()
        writes, moved = cluster.quiet(1.0)
        assert (writes, moved) == ([], False), "waiting for it is quiet"
        one.policy.delete()
        assert made_for(cluster, one.policy.name, stays) == []
        assert exists(cluster, "namespace", goes)


def test_entries_for_the_same_namespace_are_merged(cluster: Cluster) -> None:
    """By selector and by name, with the same and with other access: each once, and each goes by itself."""
    one = team(cluster)
    namespace = one.namespace()
    one.policy.update(
        namespaces=[
            {"selector": one.selector, "clusterRoles": ["view", "edit"], "rules": [SECRETS]},
            {"names": [namespace], "clusterRoles": ["view"], "rules": [SECRETS, EVENTS]},
        ]
    )
    one.has(namespace, "edit", "view", role_of(one, namespace)["metadata"]["name"])
    assert role_of(one, namespace)["rules"] == [SECRETS, EVENTS]
    uid = role_of(one, namespace)["metadata"]["uid"]

    one.policy.update(namespaces=[{"names": [namespace], "clusterRoles": ["view"], "rules": [EVENTS]}])

    one.has(namespace, "view", role_of(one, namespace)["metadata"]["name"])
    role = role_of(one, namespace)
    assert (role["rules"], role["metadata"]["uid"]) == ([EVENTS], uid), "changed in place"
    drift = one.policy.body()["status"]["drift"]
    assert drift["corrected"] == 0


def role_of(one: Team, namespace: str) -> Body:
    """The Role that was made of the policy's rules there."""
    (role,) = [each for each in made_for(one.cluster, one.policy.name, namespace) if each["kind"] == "Role"]
    return role


def test_policies_and_grants_side_by_side(cluster: Cluster) -> None:
    """Two policies and a grant of the same name in one namespace: each has its own, and takes only that."""
    first = team(cluster, rules=[READ_PODS])
    namespace = first.namespace()
    wish = {"names": [namespace], "rules": [SECRETS]}
    second = direct(
        cluster,
        {"user": {"userPrincipalName": first.who.upn}},
        namespaces=[wish],
        grants=ceiling(rules=[EVENTS]),
    )
    cluster.grant(second.name, namespace, second.name, rules=[EVENTS])
    cluster.ready("ngrant", second.name, namespace)
    for policy in (first.policy, second):
        policy.ready()
    for resource in ("pods", "secrets", "events"):
        gets(cluster, first.who, "list", resource, namespace)

    second.delete()

    for resource in ("secrets", "events"):
        loses(cluster, first.who, "list", resource, namespace)
    assert may(cluster, first.who, "list", "pods", namespace)


@pytest.mark.parametrize("seconds", [0.0, SLOW], ids=["down", "slow"])
def test_a_new_namespace_does_not_wait_for_the_cloud(cluster: Cluster, seconds: float) -> None:
    """Entra and Azure fail, at once or after long: bindings come and go all the same, Azure roles follow."""
    one = team(cluster, clusterRoles=["edit"], azureRoles=[READER])
    old = one.namespace()
    one.has(old, "edit")
    one.policy.ready()
    cluster.quiet(1.0)
    for kind in ("graph", "arm"):
        cluster.azure.fault(kind=kind, status=503, delay_seconds=seconds, count=None)
    since = last_request(cluster)

    new = one.namespace()
    one.has(new, "edit", seconds=SLOW / 2)
    cluster.kubectl("label", "namespace", old, "team-")
    one.has(old, seconds=SLOW / 2)

    gets(cluster, one.who, "delete", "deployments.apps", new)
    assert not cluster.azure.journal(since=since, status=200, kind="arm")
    assert roles_of(cluster, one.who.id) == [(READER, namespace_scope(cluster, old))], "nothing is taken"
    assert one.policy.says("Reconciling", "Unavailable")
    cluster.azure.clear_faults()
    one.policy.ready()
    assert roles_of(cluster, one.who.id) == [(READER, namespace_scope(cluster, new))]


def test_azure_roles_follow_the_namespaces_and_go_with_the_policy(cluster: Cluster) -> None:
    """At the scope of each, also of those that come later, and of none that is gone."""
    one = team(cluster, azureRoles=[READER, WRITER])
    first, second = one.namespace(), one.namespace()

    def wait(*namespaces: str) -> None:
        wanted = sorted((r, namespace_scope(cluster, n)) for n in namespaces for r in (READER, WRITER))
        eventually(
            lambda: roles_of(cluster, one.who.id) == wanted,
            f"{wanted} and not {roles_of(cluster, one.who.id)}",
        )

    wait(first, second)
    cluster.kubectl("delete", "namespace", first, "--wait=false")
    wait(second)
    third = one.namespace()
    wait(second, third)
    one.policy.ready()
    one.policy.delete()
    assert roles_of(cluster, one.who.id) == []
