"""A policy's subject that becomes another one, and subjects that cannot be looked up for a while."""

from collections.abc import Iterator

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    ceiling,
    gets,
    last_request,
    loses,
    made_for,
    may,
    patch,
    person,
)
from support.scopes import READER, at, inventory, namespace_scope, roles_of
from support.subjects import Direct, application, direct, whom
from support.trouble import clean_log
from support.watching import users_in_the_rounds


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def user(upn: str) -> Body:
    """A subject that is a user of this tenant."""
    return {"user": {"userPrincipalName": upn}}


def rbac_of(policy: Direct, namespace: str) -> set[str]:
    """For whom its bindings are, of the cluster and of the namespace."""
    made = [*made_for(policy.cluster, policy.name), *made_for(policy.cluster, policy.name, namespace)]
    return {whom(one) for one in made if "roleRef" in one}


def test_a_subject_can_become_one_of_another_kind(cluster: Cluster) -> None:
    """User, application, a group of its own, an existing group: bindings, assignments and grants move, and
    the group that was made goes last; nothing is left over."""
    labels = {"moves": cluster.unique("label")}
    namespace = cluster.namespace(**labels)
    first, app, member, other = person(cluster), application(cluster), person(cluster), person(cluster)
    theirs = cluster.azure.add_group(cluster.unique("theirs"), members=[other.upn])["id"]
    policy = direct(
        cluster,
        user(first.upn),
        clusterRoles=["view"],
        azureRoles=[at(AKS_USER)],
        namespaces=[
            {"selector": {"matchLabels": labels}, "clusterRoles": ["edit"], "azureRoles": [READER]},
        ],
        grants=ceiling(rules=[READ_PODS]),
    )
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    roles = sorted([(AKS_USER, cluster.stack.cluster_id), (READER, namespace_scope(cluster, namespace))])
    group: Body = {"displayName": policy.name, "members": [member.ref]}
    before: set[str] = set()

    for wish, who, kind, name in (
        (user(first.upn), first, "User", first.upn),
        ({"servicePrincipal": {"appId": app.upn}}, app, "User", app.id),
        ({"group": group}, member, "Group", ""),
        ({"existingGroup": {"objectId": theirs}}, other, "Group", theirs),
    ):
        since = last_request(cluster)
        body = policy.update(subject=wish)
        object_id = body["status"]["subject"]["objectId"]
        assert rbac_of(policy, namespace) == {f"{kind} {name or object_id}"}
        assert roles_of(cluster, object_id) == roles
        assert len(inventory(body)) == 2
        assert [roles_of(cluster, one) for one in before] == [[]] * len(before)
        gets(cluster, who, "list", "pods")
        granted = cluster.get("rolebinding", *granted_name(cluster, namespace))
        assert whom(granted) == f"{kind} {name or object_id}"
        before.add(object_id)

    made = [one["path"] for one in cluster.azure.journal(since=since, method="DELETE", write=True)]
    assert ["roleAssignments" in path for path in made] == [True, True, False]
    assert "/v1.0/groups/" in made[-1]
    assert [one["id"] for one in policy.body()["status"]["inventory"] if one["system"] == "Entra"] == []
    assert cluster.group(policy.name) is None, "the group that was made is deleted"
    assert cluster.group(theirs) is not None
    for one in (first, member):
        assert not may(cluster, one, "list", "pods")


def granted_name(cluster: Cluster, namespace: str) -> tuple[str, str]:
    """Name and namespace of the binding that the grant there made."""
    cluster.ready("ngrant", "work", namespace)
    (one,) = [each for each in made_for(cluster, "work", namespace) if "roleRef" in each]
    return one["metadata"]["name"], namespace


def test_the_group_that_was_made_may_be_used_as_an_existing_one(cluster: Cluster) -> None:
    """It is let go, not deleted: not by the change, and not when the policy is deleted."""
    who = person(cluster)
    policy = Direct(cluster, cluster.unique("letgo"))
    group: Body = {"displayName": policy.name, "members": [who.ref]}
    made = policy.update(subject={"group": group}, clusterRoles=["view"], azureRoles=[at(AKS_USER)])
    object_id = made["status"]["subject"]["objectId"]
    since = last_request(cluster)

    status = policy.update(subject={"existingGroup": {"objectId": object_id}})["status"]

    assert (status["subject"]["objectId"], status["subject"]["origin"]) == (object_id, "Existing")
    assert [one for one in status["inventory"] if one["system"] == "Entra"] == []
    assert policy.bound() == [("view", f"Group {object_id}")]
    policy.delete()
    assert (cluster.group(object_id) or {}).get("members") == [who.id]
    assert cluster.azure.journal(since=since, kind="graph", write=True) == []
    assert roles_of(cluster, object_id) == []
    loses(cluster, who, "list", "pods")


def test_the_former_group_stays_while_an_assignment_cannot_be_removed(cluster: Cluster) -> None:
    """The order holds also when Azure fails in between, and a deletion in the middle leaves nothing."""
    who = person(cluster)
    policy = Direct(cluster, cluster.unique("between"))
    group: Body = {"displayName": policy.name, "members": [person(cluster).ref]}
    made = policy.update(subject={"group": group}, azureRoles=[at(AKS_USER)], clusterRoles=["view"])
    object_id = made["status"]["subject"]["objectId"]
    cluster.azure.fault(kind="arm", method="DELETE", path_regex="roleAssignments", status=503, count=None)

    policy.apply(subject=user(who.upn))

    policy.says("Reconciling", "Unavailable")
    gets(cluster, who, "list", "pods")
    assert cluster.group(object_id), "its assignment is still there"
    policy.delete("--wait=false")
    eventually(lambda: policy.bound() == [], "the bindings are gone")
    assert cluster.group(object_id)
    cluster.azure.clear_faults()
    eventually(policy.gone, "the policy is gone")
    assert cluster.group(object_id) is None
    assert (roles_of(cluster, object_id), roles_of(cluster, who.id)) == ([], [])


@pytest.mark.parametrize("kind", ["user", "servicePrincipal", "existingGroup"])
def test_a_known_subject_keeps_its_access_while_graph_is_down(cluster: Cluster, kind: str) -> None:
    """Nothing is taken away, what another hand changes is put right, and the status says what is awaited."""
    who, app = person(cluster), application(cluster)
    theirs = cluster.azure.add_group(cluster.unique("theirs"), members=[who.upn])["id"]
    subject, name = {
        "user": (user(who.upn), f"User {who.upn}"),
        "servicePrincipal": ({"servicePrincipal": {"appId": app.upn}}, f"User {app.id}"),
        "existingGroup": ({"existingGroup": {"objectId": theirs}}, f"Group {theirs}"),
    }[kind]
    policy = direct(cluster, subject, clusterRoles=["view"], azureRoles=[at(AKS_USER)])
    before = policy.ready()["status"]
    principal = before["subject"]["objectId"]
    cluster.azure.fault(kind="graph", status=503, count=None)

    for change in ({"subjects": None}, "delete"):
        (binding,) = [one["metadata"]["name"] for one in made_for(cluster, policy.name)]
        if isinstance(change, dict):
            patch(cluster, "clusterrolebinding", binding, change)
        else:
            cluster.kubectl("delete", "clusterrolebinding", binding)
        eventually(lambda: policy.bound() == [("view", name)], "it is put right")

    assert "Microsoft Graph answered 503" in policy.says("Reconciling", "Unavailable")
    during = policy.body()["status"]
    assert (during["subject"], len(during["inventory"])) == (before["subject"], len(before["inventory"]))
    assert policy.condition("SubjectReady")["status"] == "Unknown"
    assert roles_of(cluster, principal) == [(AKS_USER, cluster.stack.cluster_id)]
    cluster.azure.clear_faults()
    assert policy.ready()["status"]["drift"]["corrected"] == 2


def test_an_unknown_new_subject_takes_nothing_from_the_old_one(cluster: Cluster) -> None:
    """While Graph does not say who the new one is, the old one keeps what it has."""
    old, new = person(cluster), person(cluster)
    policy = direct(cluster, user(old.upn), clusterRoles=["view"], azureRoles=[at(AKS_USER)])
    policy.ready()
    cluster.azure.fault(kind="graph", status=503, count=None)

    policy.apply(subject=user(new.upn))

    policy.says("Reconciling", "Unavailable")
    assert policy.bound() == [("view", f"User {old.upn}")]
    assert roles_of(cluster, old.id) == [(AKS_USER, cluster.stack.cluster_id)]
    cluster.azure.clear_faults()
    policy.ready()
    assert policy.bound() == [("view", f"User {new.upn}")]
    assert (len(roles_of(cluster, new.id)), roles_of(cluster, old.id)) == (1, [])
    loses(cluster, old, "list", "pods")


def test_a_new_ceiling_is_not_for_the_former_subject(cluster: Cluster) -> None:
    """Subject and ceiling change together while Graph is down: a grant of more gives nobody more."""
    old, new, namespace = person(cluster), person(cluster), cluster.namespace()
    policy = direct(cluster, user(old.upn), grants=ceiling("view"))
    cluster.grant("work", namespace, policy.name, clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    cluster.azure.fault(kind="graph", status=503, count=None)

    policy.apply(subject=user(new.upn), grants=ceiling("view", "edit"))
    cluster.grant("work", namespace, policy.name, clusterRoles=["view", "edit"])

    said = cluster.waits_for("ngrant", "work", "Reconciling", "SubjectNotReady", namespace)
    assert policy.name in said["message"]
    policy.says("Reconciling", "Unavailable")
    cluster.quiet(1.0)
    (one,) = [each for each in made_for(cluster, "work", namespace) if "roleRef" in each]
    assert (one["roleRef"]["name"], whom(one)) == ("view", f"User {old.upn}")
    assert cluster.get("ngrant", "work", namespace)["status"]["subject"]["displayName"] == old.upn
    cluster.azure.clear_faults()
    cluster.ready("ngrant", "work", namespace)
    bound = [each for each in made_for(cluster, "work", namespace) if "roleRef" in each]
    assert {(each["roleRef"]["name"], whom(each)) for each in bound} == {
        ("view", f"User {new.upn}"),
        ("edit", f"User {new.upn}"),
    }


def test_the_end_of_one_policy_is_no_news_for_others(cluster: Cluster) -> None:
    """Nobody is looked up again because somebody else's policy goes."""
    stays, goes = person(cluster), person(cluster)
    policies = [direct(cluster, user(one.upn), clusterRoles=["view"]) for one in (stays, goes)]
    for policy in policies:
        policy.ready()
    users_in_the_rounds(cluster)
    since = last_request(cluster)

    policies[1].delete()

    cluster.quiet(1.0)
    assert cluster.azure.journal(since=since, path_regex=stays.upn) == []
