"""What the cluster asks: TokenReview and SubjectAccessReview."""

from typing import Any

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.authorize import question
from support.sandbox import RunningSandbox


def _review(http: httpx.Client, token: str) -> dict[str, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = http.post("/webhooks/token", json=body)
    assert answer.status_code == 200
    assert (answer.json()["apiVersion"], answer.json()["kind"]) == (body["apiVersion"], "TokenReview")
    return dict(answer.json()["status"])


def test_a_user_goes_by_name_and_brings_all_groups(sandbox: RunningSandbox, http: httpx.Client) -> None:
    inner = sandbox.client.add_group("inner", members=[seed.AKSDEV])["id"]
    outer = sandbox.client.add_group("outer", members=[inner])["id"]
    sandbox.client.add_group("foreign", members=[seed.LEAD])
    oid = seed.USER_IDS[seed.AKSDEV]
    assert _review(http, sandbox.client.user_token(seed.AKSDEV)) == {
        "authenticated": True,
        "user": {
            "username": seed.AKSDEV,
            "uid": oid,
            "groups": sorted([inner, outer]),
            "extra": {"oid": [oid]},
        },
    }


def test_guests_and_applications_go_by_object_id(sandbox: RunningSandbox, http: httpx.Client) -> None:
    guest = _review(http, sandbox.client.user_token(seed.GUEST))
    assert guest["user"]["username"] == seed.USER_IDS[seed.GUEST]
    app = _review(http, sandbox.client.app_token(seed.PIPELINE_CLIENT_ID))
    assert app["user"]["username"] == app["user"]["uid"] == seed.PIPELINE_OBJECT_ID


def test_bad_tokens_are_nobody(sandbox: RunningSandbox, http: httpx.Client) -> None:
    client = sandbox.client
    for token in (
        "nonsense",
        client.user_token(seed.AKSDEV, lifetime=-1),
        client.user_token(seed.AKSDEV, audience="https://graph.microsoft.com"),
    ):
        status = _review(http, token)
        assert status["authenticated"] is False
        assert status["error"]


def test_the_deleted_are_nobody_and_the_disabled_get_no_new_token(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    token = sandbox.client.user_token(seed.AKSDEV)
    sandbox.client.disable_user(seed.AKSDEV)
    assert _review(http, token)["authenticated"] is True
    with pytest.raises(Exception, match="AADSTS50057"):
        sandbox.client.user_token(seed.AKSDEV)
    sandbox.client.delete_user(seed.AKSDEV)
    assert _review(http, token)["authenticated"] is False


def test_a_service_principal_in_too_many_groups_is_refused(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    for n in range(201):
        sandbox.client.add_group(f"g{n}", members=[seed.PIPELINE_CLIENT_ID, seed.AKSDEV])
    assert "exceeding 200" in _review(http, sandbox.client.app_token(seed.PIPELINE_CLIENT_ID))["error"]
    assert len(_review(http, sandbox.client.user_token(seed.AKSDEV))["user"]["groups"]) == 201


def test_other_bodies_are_refused(http: httpx.Client) -> None:
    old = {"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "spec": {"token": "x"}}
    assert http.post("/webhooks/token", json=old).status_code == 400
    assert http.post("/webhooks/token", content=b"x").status_code == 400
    assert http.get("/webhooks/token").status_code == 405
    assert http.get("/webhooks/other").status_code == 404


def _access(http: httpx.Client, oid: str | None, **attributes: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"resourceAttributes": attributes, "user": "x"}
    if oid:
        spec["extra"] = {"oid": [oid]}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = http.post("/webhooks/authorize", json=body)
    assert answer.status_code == 200
    return dict(answer.json()["status"])


def test_azure_roles_decide_in_the_cluster(sandbox: RunningSandbox, http: httpx.Client) -> None:
    group = sandbox.client.add_group("appdev", members=[seed.AKSDEV])["id"]
    scope = f"{seed.CLUSTER_ID}/namespaces/dev"
    sandbox.client.assign(group, "Azure Kubernetes Service RBAC Writer", scope)
    oid = seed.USER_IDS[seed.AKSDEV]
    for verb, resource, api, namespace, expected in (
        ("create", "deployments", "apps", "dev", True),
        ("list", "pods", "", "dev", True),
        ("get", "secrets", "", "dev", True),
        ("list", "pods", "", "prod", False),
        ("create", "rolebindings", "rbac.authorization.k8s.io", "dev", False),
    ):
        status = _access(http, oid, verb=verb, resource=resource, group=api, namespace=namespace)
        assert status["allowed"] is expected, (verb, resource, namespace)
    refused = _access(http, oid, verb="list", resource="pods", namespace="prod")
    assert refused["reason"].startswith("User does not have access to the resource in Azure.")
    assert "denied" not in refused  # what RBAC allows stays allowed


def test_azure_has_no_opinion_about_others(http: httpx.Client) -> None:
    status = _access(http, None, verb="list", resource="pods")
    assert status == {"allowed": False, "reason": "Azure does not have opinion for this user."}


@pytest.mark.parametrize(
    ("attributes", "action", "below"),
    [
        ({"verb": "watch", "resource": "pods", "namespace": "dev"}, "pods/read", "/namespaces/dev"),
        ({"verb": "deletecollection", "resource": "jobs", "group": "batch"}, "batch/jobs/delete", ""),
        ({"verb": "update", "resource": "deployments", "group": "apps", "subresource": "scale"},
         "apps/deployments/write", ""),
        ({"verb": "create", "resource": "pods", "subresource": "exec"}, "pods/exec/action", ""),
        ({"verb": "bind", "resource": "roles", "group": "rbac.authorization.k8s.io"},
         "rbac.authorization.k8s.io/roles/bind/action", ""),
    ],
)  # fmt: skip
def test_verbs_become_data_actions(attributes: dict[str, str], action: str, below: str) -> None:
    expected = (f"Microsoft.ContainerService/managedClusters/{action}", seed.CLUSTER_ID + below)
    assert question({"resourceAttributes": attributes}, seed.CLUSTER_ID) == expected
    arc = question({"nonResourceAttributes": {"path": "/healthz", "verb": "get"}}, seed.ARC_CLUSTER_ID)
    assert arc[0] == "Microsoft.Kubernetes/connectedClusters/healthz/read"
