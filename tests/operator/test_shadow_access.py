"""Bindings of a policy's subject that somebody made with kubectl: told of, and by whom, and left alone."""

import pytest

from support.cluster import Body, Cluster, eventually
from support.drift import item, states, tells, told
from support.life import Policy, condition_of, new_policy, person
from support.subjects import RBAC_API, exists


def shadow(policy: Policy, namespace: str | None, *more: Body) -> tuple[str, Body]:
    """A binding of the policy's group that nobody declared. Returns its kind for kubectl, and itself."""
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    meta = {"name": policy.cluster.unique("shadow"), **({"namespace": namespace} if namespace else {})}
    subject = {"apiGroup": RBAC_API, "kind": "Group", "name": policy.group_id}
    body: Body = {
        "apiVersion": f"{RBAC_API}/v1",
        "kind": kind,
        "metadata": meta,
        "roleRef": {"apiGroup": RBAC_API, "kind": "ClusterRole", "name": "edit"},
        "subjects": [subject, *more],
    }
    return kind, body


def seen(policy: Policy, kind: str, body: Body) -> Body:
    """What is told of it."""
    meta = body["metadata"]
    path = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
    whom = f"Group {policy.group['displayName']}"
    return item(
        "Kubernetes", f"{kind} {path}", "subjects", f"not {whom}", f"{whom} has ClusterRole edit", "Reported"
    )


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
@pytest.mark.parametrize("where", ["RoleBinding", "ClusterRoleBinding"])
def test_it_is_told_of_while_it_is_there(cluster: Cluster, where: str, mode: str) -> None:
    """Nothing of it is touched, Ready stays True, and with it goes what was said of it."""
    policy = new_policy(cluster, person(cluster), mode=mode if mode == "Enforce" else None)
    policy.ready()
    policy.update(mode=mode)
    namespace = cluster.namespace() if where == "RoleBinding" else None
    kind, body = shadow(policy, namespace)

    cluster.apply(body)

    found = tells(cluster, policy.name, "Drifted", seen(policy, kind, body))
    drift = found["status"]["drift"]
    assert drift["items"][0]["changedBy"] == "kubectl-client-side-apply"
    reason = "ForeignAccess" if mode == "Enforce" else "Observed"
    assert states(found, "Ready", "Drifted") == [("True", "InPlace"), ("True", reason)]
    one = drift["items"][0]
    said = f"{one['object']}, written by kubectl-client-side-apply: {one['found']}, which nobody declared"
    assert condition_of(found, "Drifted")["message"] == said
    eventually(lambda: told(cluster, policy.name, reason), "an event tells of it")
    before = cluster.get(kind.lower(), body["metadata"]["name"], namespace)
    assert cluster.quiet(2.0) == ([], False)
    assert cluster.get(kind.lower(), body["metadata"]["name"], namespace) == before

    where_ = ("-n", namespace) if namespace else ()
    cluster.kubectl("delete", kind.lower(), body["metadata"]["name"], *where_)
    found = tells(cluster, policy.name, "InSync")
    assert states(found, "Ready", "Drifted") == [("True", "InPlace"), ("", "")]


def test_one_that_comes_to_name_the_subject_and_ceases_to(cluster: Cluster) -> None:
    """By an edit of the subjects: told of from then on, and until then."""
    policy = new_policy(cluster, person(cluster))
    policy.ready()
    namespace = cluster.namespace()
    other = {"apiGroup": RBAC_API, "kind": "User", "name": "somebody@example.com"}
    kind, with_us = shadow(policy, namespace, other)
    without = {**with_us, "subjects": [other]}
    cluster.apply(without)
    assert cluster.quiet(1.5) == ([], False)
    assert "items" not in cluster.get("apol", policy.name)["status"]["drift"]

    cluster.apply(with_us)
    tells(cluster, policy.name, "Drifted", seen(policy, kind, with_us))
    cluster.apply(without)
    tells(cluster, policy.name, "InSync")
    assert exists(cluster, "rolebinding", with_us["metadata"]["name"], namespace)


def test_two_policies_with_one_subject_are_both_told(cluster: Cluster) -> None:
    """And one who leaves is not told any more."""
    policy = new_policy(cluster, person(cluster))
    policy.ready()
    other = cluster.unique("same")
    cluster.policy(other, {"subject": {"existingGroup": {"objectId": policy.group_id}}})
    cluster.ready("apol", other)
    kind, body = shadow(policy, None)
    cluster.apply(body)
    tells(cluster, policy.name, "Drifted", seen(policy, kind, body))
    tells(cluster, other, "Drifted", seen(policy, kind, body))

    somebody = person(cluster)
    cluster.policy(other, {"subject": {"user": {"userPrincipalName": somebody.upn}}})
    cluster.ready("apol", other)
    tells(cluster, other, "InSync")
    cluster.kubectl("delete", "clusterrolebinding", body["metadata"]["name"])
    tells(cluster, policy.name, "InSync")
