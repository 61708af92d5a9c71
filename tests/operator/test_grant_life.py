"""The life of a NamespaceGrant: changed in place, waiting for what is missing, coming alive, ending."""

import json

from support.cluster import Body, Cluster, eventually
from support.life import (
    ALL_CORE,
    READ_PODS,
    Person,
    Policy,
    all_bindings,
    ceiling,
    condition_of,
    events,
    gets,
    last_request,
    looks_old,
    loses,
    made_for,
    may,
    new_policy,
    person,
)

READ_SECRETS: Body = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


def open_policy(cluster: Cluster, *members: Person, **labels: str) -> Policy:
    """Apply a policy whose grants may give all that is in the core API group."""
    roles = ("view", "edit", "not-there-yet")
    return new_policy(cluster, *members, grants=ceiling(*roles, rules=[ALL_CORE], **labels))


def role_refs(cluster: Cluster, namespace: str) -> list[str]:
    """What the bindings in a namespace refer to, as "ClusterRole view"."""
    found = cluster.list_all("rolebindings", namespace)
    return sorted(f"{b['roleRef']['kind']} {b['roleRef']['name']}" for b in found)


def test_rules_and_cluster_roles_are_changed_in_place_alone_and_together(cluster: Cluster) -> None:
    """After each edit the subject has what the grant says now, nothing of what it said before, and the
    namespace holds no other Role or binding."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)

    def give(**spec: list[Body] | list[str]) -> Body:
        cluster.grant("work", namespace, policy.name, **spec)
        counts: Body = cluster.ready("ngrant", "work", namespace)["status"]["counts"]
        return counts

    assert give(rules=[READ_PODS]) == {"roles": 1, "roleBindings": 1}
    gets(cluster, who, "list", "pods", namespace)
    assert not may(cluster, who, "get", "secrets", namespace)
    role = cluster.list_all("roles", namespace)[0]["metadata"]["uid"]

    assert give(rules=[READ_SECRETS]) == {"roles": 1, "roleBindings": 1}
    gets(cluster, who, "get", "secrets", namespace)
    loses(cluster, who, "list", "pods", namespace)
    assert cluster.list_all("roles", namespace)[0]["metadata"]["uid"] == role

    assert give(rules=[READ_SECRETS], clusterRoles=["view"]) == {"roles": 1, "roleBindings": 2}
    assert role_refs(cluster, namespace) == ["ClusterRole view", "Role work-rules"]
    gets(cluster, who, "list", "pods", namespace)
    assert may(cluster, who, "get", "secrets", namespace)

    assert give(clusterRoles=["edit", "view"]) == {"roles": 0, "roleBindings": 2}
    assert role_refs(cluster, namespace) == ["ClusterRole edit", "ClusterRole view"]
    assert cluster.list_all("roles", namespace) == []
    gets(cluster, who, "create", "pods", namespace)

    assert give(rules=[READ_PODS], clusterRoles=["view"]) == {"roles": 1, "roleBindings": 2}
    loses(cluster, who, "create", "pods", namespace)
    assert give(rules=[READ_PODS]) == {"roles": 1, "roleBindings": 1}
    assert role_refs(cluster, namespace) == ["Role work-rules"]


def test_a_deleted_grant_leaves_nothing(cluster: Cluster) -> None:
    """Roles and bindings go with it, and so does the access; another grant beside it is not touched."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_SECRETS], clusterRoles=["edit"])
    cluster.grant("other", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    cluster.ready("ngrant", "other", namespace)
    gets(cluster, who, "create", "pods", namespace)

    cluster.kubectl("delete", "ngrant", "work", "-n", namespace)

    eventually(lambda: not made_for(cluster, "work", namespace), "nothing is left of the grant")
    loses(cluster, who, "create", "pods", namespace)
    assert not may(cluster, who, "get", "secrets", namespace)
    assert may(cluster, who, "list", "pods", namespace)
    assert len(all_bindings(cluster, namespace)) == 2


def test_a_grant_that_came_before_its_policy_waits_and_comes_alive_untouched(cluster: Cluster) -> None:
    """It says which policy it waits for, keeps its generation, and gives what it says when there is one."""
    who, namespace, name = person(cluster), cluster.namespace(), cluster.unique("late")
    cluster.grant("work", namespace, name, rules=[READ_PODS])
    said = cluster.waits_for("ngrant", "work", "Reconciling", "PolicyNotFound", namespace)
    assert name in said["message"]
    waiting = cluster.get("ngrant", "work", namespace)
    assert condition_of(waiting, "Ready")["status"] == "False"
    assert condition_of(waiting, "PolicyReady")["reason"] == "PolicyNotFound"
    assert not condition_of(waiting, "Stalled")

    policy = Policy(cluster, name, {"displayName": name, "members": [who.ref]})
    policy.apply(grants=ceiling(rules=[READ_PODS]))

    alive = cluster.ready("ngrant", "work", namespace)
    assert alive["metadata"]["generation"] == waiting["metadata"]["generation"] == 1
    gets(cluster, who, "list", "pods", namespace)


def test_a_grant_waits_for_the_group_of_its_policy(cluster: Cluster) -> None:
    """While Graph fails there is nobody to give anything to. When it answers again the grant comes alive."""
    who, namespace = person(cluster), cluster.namespace()
    cluster.azure.fault(kind="graph", status=503, count=None)
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    said = cluster.waits_for("ngrant", "work", "Reconciling", "SubjectNotReady", namespace)
    assert policy.name in said["message"]
    assert all_bindings(cluster, namespace) == []
    said = cluster.waits_for("apol", policy.name, "Reconciling", "Unavailable")
    assert "503" in said["message"]

    cluster.azure.clear_faults()

    policy.ready()
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)


def test_what_a_grant_gave_stays_while_graph_fails(cluster: Cluster) -> None:
    """Unknown is not absent: a policy that cannot see its group takes nothing away."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    policy.ready()
    gets(cluster, who, "list", "pods", namespace)
    before = [one["metadata"]["resourceVersion"] for one in all_bindings(cluster, namespace)]

    cluster.azure.fault(kind="graph", status=503, count=None)
    policy.apply(group={"description": "other"})
    cluster.waits_for("apol", policy.name, "Ready", "Unavailable")
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])

    cluster.ready("ngrant", "work", namespace)
    assert may(cluster, who, "list", "pods", namespace)
    after = [one["metadata"]["resourceVersion"] for one in all_bindings(cluster, namespace)]
    assert set(before) < set(after)


def test_a_policy_deleted_under_its_grant_takes_the_access_and_brings_it_back(cluster: Cluster) -> None:
    """The grant says PolicyDeleted and gives nothing; with the policy back it gives what it gave."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)

    policy.delete()

    said = cluster.waits_for("ngrant", "work", "Stalled", "PolicyDeleted", namespace)
    assert policy.name in said["message"]
    eventually(lambda: not all_bindings(cluster, namespace), "the grant gives nothing")
    assert not may(cluster, who, "list", "pods", namespace)
    status = cluster.get("ngrant", "work", namespace)["status"]
    assert "subject" not in status
    assert status["inventory"] == []
    assert status["counts"] == {"roles": 0, "roleBindings": 0}

    policy.apply()
    alive = cluster.ready("ngrant", "work", namespace)
    assert alive["metadata"]["generation"] == 1
    gets(cluster, who, "list", "pods", namespace)
    assert len(all_bindings(cluster, namespace)) == 3


def test_a_cluster_role_that_is_not_there_is_named_with_its_path(cluster: Cluster) -> None:
    """The rest of the grant is given; the missing one follows when somebody creates it."""
    who, namespace, role = person(cluster), cluster.namespace(), cluster.unique("reader")
    policy = new_policy(cluster, who, grants=ceiling("view", role))
    cluster.grant("work", namespace, policy.name, clusterRoles=["view", role])
    said = cluster.waits_for("ngrant", "work", "Stalled", "ClusterRoleNotFound", namespace)
    assert said["message"].startswith("spec.clusterRoles[1]: ")
    assert role in said["message"]
    assert role_refs(cluster, namespace) == ["ClusterRole view"]
    gets(cluster, who, "list", "pods", namespace)
    assert not may(cluster, who, "get", "secrets", namespace)

    cluster.kubectl("create", "clusterrole", role, "--verb=get", "--resource=secrets")

    cluster.ready("ngrant", "work", namespace)
    assert role_refs(cluster, namespace) == [f"ClusterRole {role}", "ClusterRole view"]
    gets(cluster, who, "get", "secrets", namespace)
    assert not condition_of(cluster.get("ngrant", "work", namespace), "Stalled")


def test_a_cluster_role_of_a_policy_that_is_not_there_is_named_with_its_path(cluster: Cluster) -> None:
    """As for a grant: Stalled with the path, and Ready when somebody creates it."""
    who, role = person(cluster), cluster.unique("reader")
    policy = new_policy(cluster, who, clusterRoles=[role])
    said = cluster.waits_for("apol", policy.name, "Stalled", "ClusterRoleNotFound")
    assert said["message"].startswith("spec.clusterRoles[0]: ")
    cluster.kubectl("create", "clusterrole", role, "--verb=get", "--resource=secrets")
    policy.ready()
    gets(cluster, who, "get", "secrets")


def test_a_namespace_relabelled_out_of_the_ceiling_takes_the_access_and_back_gives_it(
    cluster: Cluster,
) -> None:
    """The labels of the namespace decide, at any time, without an edit of grant or policy."""
    who, namespace = person(cluster), cluster.namespace(team="a")
    policy = open_policy(cluster, who, team="a")
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)

    cluster.kubectl("label", "namespace", namespace, "team=b", "--overwrite")
    said = cluster.waits_for("ngrant", "work", "Stalled", "NamespaceNotAllowed", namespace)
    assert namespace in said["message"]
    assert policy.name in said["message"]
    loses(cluster, who, "list", "pods", namespace)
    assert all_bindings(cluster, namespace) == []

    cluster.kubectl("label", "namespace", namespace, "team=a", "--overwrite")
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)


def test_a_grant_shows_the_subject_of_its_policy_as_it_is_now(cluster: Cluster) -> None:
    """Deleting the group for good by a foreign hand gives the policy another one: the grant follows it."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    old = cluster.ready("ngrant", "work", namespace)["status"]["subject"]["objectId"]
    looks_old(policy)
    cluster.azure.purge_group(old)

    policy.look_again()

    new = policy.group_id
    assert new != old
    eventually(
        lambda: cluster.get("ngrant", "work", namespace)["status"]["subject"]["objectId"] == new,
        "the grant is for the new group",
    )
    subjects = [b["subjects"][0]["name"] for b in cluster.list_all("rolebindings", namespace)]
    assert subjects == [new]
    gets(cluster, who, "list", "pods", namespace)


def test_a_namespace_deleted_with_a_grant_in_it_goes_without_errors(cluster: Cluster) -> None:
    """It goes at once, nothing keeps it, and the operator's log tells of no error about it."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view", "edit"])
    cluster.ready("ngrant", "work", namespace)

    cluster.kubectl("delete", "namespace", namespace, "--timeout=20s")

    left = [one for one in cluster.list_all("ngrant") if one["metadata"]["namespace"] == namespace]
    assert left == []
    log = [line for line in cluster.operator_log().splitlines() if f"{namespace}/" in line]
    assert log, "the operator logs what it makes"
    assert not [line for line in log if "ERROR" in line or "WARNING" in line]
    assert "Traceback" not in cluster.operator_log()
    policy.ready()


def test_an_edit_that_comes_while_the_operator_is_at_work_is_not_lost(cluster: Cluster) -> None:
    """The second of two edits lands while the first is worked on: the status reaches it all the same, and a
    ceiling that it narrowed takes the access."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    policy.ready()
    path = f"/apis/entra-access.dev/v1alpha1/accesspolicies/{policy.name}"
    headers = {"Content-Type": "application/merge-patch+json"}

    with cluster.stack.plane.client() as client:

        def edit(number: int, *rules: Body) -> None:
            group = {"description": f"edit {number}"}
            spec = {"subject": {"group": group}, "grants": {"rules": list(rules)}}
            client.patch(path, content=json.dumps({"spec": spec}), headers=headers).raise_for_status()

        for number in range(0, 24, 2):
            since = last_request(cluster)
            edit(number, READ_PODS)
            eventually(lambda since=since: cluster.azure.journal(since=since), "the operator is at work")  # type: ignore[misc]
            edit(number + 1, READ_SECRETS)
            policy.ready()
            assert policy.entra()["description"] == f"edit {number + 1}"
    cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)
    loses(cluster, who, "list", "pods", namespace)


def test_a_grant_tells_its_turns_in_events(cluster: Cluster) -> None:
    """Ready and what stalls it are events on the grant, in its namespace."""
    namespace = cluster.namespace()
    policy = new_policy(cluster, grants=ceiling("view"))
    cluster.grant("work", namespace, policy.name, clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    cluster.grant("work", namespace, policy.name, clusterRoles=["edit"])
    cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)

    def told() -> set[tuple[str, str]]:
        found = events(cluster, "NamespaceGrant", "work", namespace)
        return {(kind, reason) for kind, reason, _ in found}

    wanted = {("Normal", "Ready"), ("Warning", "BeyondCeiling")}
    eventually(lambda: told() >= wanted, "both events are there")
