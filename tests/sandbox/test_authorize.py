"""What the cluster asks about access: SubjectAccessReview, for AKS and for Arc."""

from typing import Any

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.authorize import question
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]
AKS, ARC = seed.CLUSTER_ID, seed.ARC_CLUSTER_ID
RBAC = "rbac.authorization.k8s.io"


def _ask(http: httpx.Client, cluster: str = "", **spec: Any) -> dict[str, Any]:
    spec = {"user": "x", **spec}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = http.post(f"/webhooks/authorize{cluster}", json=body)
    assert answer.status_code == 200
    return dict(answer.json()["status"])


def _may(http: httpx.Client, oid: str, cluster: str, **attributes: str) -> bool:
    status = _ask(http, cluster, extra={"oid": [oid]}, resourceAttributes=attributes)
    assert status.get("denied", False) is not status["allowed"]
    return bool(status["allowed"])


def test_azure_roles_decide_in_the_cluster(sandbox: RunningSandbox, http: httpx.Client) -> None:
    inner = sandbox.client.add_group("inner", members=[seed.AKSDEV])["id"]
    group = sandbox.client.add_group("appdev", members=[inner])["id"]
    assigned = sandbox.client.assign(
        group, "Azure Kubernetes Service RBAC Writer", f"{AKS.upper()}/namespaces/dev"
    )
    for verb, resource, api, namespace, expected in (
        ("create", "deployments", "apps", "dev", True),
        ("list", "pods", "", "dev", True),
        ("get", "secrets", "", "dev", True),
        ("list", "pods", "", "prod", False),
        ("list", "pods", "", "", False),
        ("create", "rolebindings", RBAC, "dev", False),
    ):
        for cluster in ("", AKS):
            allowed = _may(
                http, AKSDEV, cluster, verb=verb, resource=resource, group=api, namespace=namespace
            )
            assert allowed is expected, (verb, resource, namespace)
    assert not _may(http, AKSDEV, ARC, verb="list", resource="pods", namespace="dev")
    pods = {"verb": "list", "resource": "pods", "namespace": "dev"}
    allowed = _ask(http, user="dev", extra={"oid": [AKSDEV]}, resourceAttributes=pods)["reason"]
    assert allowed.startswith(f"Access allowed by Azure RBAC Role Assignment {assigned['name']} of Role ")
    assert allowed.endswith(" to user dev")
    refused = _ask(http, extra={"oid": [AKSDEV]}, resourceAttributes={**pods, "namespace": "prod"})["reason"]
    assert refused.startswith("User does not have access to the resource in Azure.")


def test_arc_roles_decide_on_arc_clusters(sandbox: RunningSandbox, http: httpx.Client) -> None:
    sandbox.client.assign(seed.PIPELINE_CLIENT_ID, "Azure Arc Kubernetes Viewer", ARC)
    sandbox.client.assign(seed.ALICE, "Azure Arc Kubernetes Cluster Admin", seed.RESOURCE_GROUP)
    app, alice = seed.PIPELINE_OBJECT_ID, seed.USER_IDS[seed.ALICE]
    assert _may(http, app, ARC, verb="list", resource="pods", namespace="anywhere")
    assert not _may(http, app, ARC, verb="list", resource="secrets", namespace="anywhere")
    assert not _may(http, app, ARC, verb="list", resource="nodes")
    assert _may(http, alice, ARC, verb="delete", resource="nodes")
    assert _may(http, alice, ARC, verb="list", resource="lamps", group="example.com")
    assert not _may(http, alice, AKS, verb="list", resource="pods")


def test_what_a_role_takes_out_stays_out(sandbox: RunningSandbox, http: httpx.Client) -> None:
    sandbox.client.assign(seed.AKSDEV, "Azure Kubernetes Service RBAC Admin", AKS)
    assert _may(http, AKSDEV, AKS, verb="create", resource="rolebindings", group=RBAC, namespace="dev")
    assert _may(http, AKSDEV, AKS, verb="list", resource="lamps", group="example.com", namespace="dev")
    assert not _may(http, AKSDEV, AKS, verb="create", resource="resourcequotas", namespace="dev")
    assert not _may(http, AKSDEV, AKS, verb="delete", resource="namespaces", namespace="dev")
    # Everything is more than all but something.
    everything = {"verb": "*", "resource": "*", "group": "*"}
    assert not _may(http, AKSDEV, AKS, **everything)
    sandbox.client.assign(seed.AKSDEV, "Azure Kubernetes Service RBAC Cluster Admin", AKS)
    assert _may(http, AKSDEV, AKS, **everything)


def test_a_custom_role_gives_what_it_says(
    sandbox: RunningSandbox, http: httpx.Client, custom_role: str
) -> None:
    sandbox.client.assign(seed.AKSDEV, custom_role, f"{AKS}/namespaces/dev")
    assert _may(http, AKSDEV, AKS, verb="delete", resource="pods", namespace="dev")
    assert _may(http, AKSDEV, AKS, verb="deletecollection", resource="pods", namespace="dev")
    for verb, resource in (("get", "pods"), ("create", "pods"), ("delete", "services"), ("*", "pods")):
        assert not _may(http, AKSDEV, AKS, verb=verb, resource=resource, namespace="dev")


@pytest.fixture
def custom_role(sandbox: RunningSandbox, http: httpx.Client) -> str:
    """A role that may delete pods and nothing else; its id."""
    role = "d0000000-0000-4000-8000-00000000000f"
    permissions = {
        "actions": [],
        "dataActions": ["Microsoft.ContainerService/managedClusters/pods/delete"],
    }
    properties = {
        "roleName": "Pod Restarter",
        "type": "CustomRole",
        "assignableScopes": [seed.RESOURCE_GROUP],
        "permissions": [permissions],
    }
    token = sandbox.client.app_token(seed.OPERATOR_CLIENT_ID, audience=sandbox.url)
    answer = http.put(
        f"{seed.RESOURCE_GROUP}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        json={"properties": properties},
        params={"api-version": "2022-04-01"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 201
    return role


def test_actions_of_the_control_plane_give_nothing_inside(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    sandbox.client.assign(seed.AKSDEV, "Owner", seed.SUBSCRIPTION)
    assert not _may(http, AKSDEV, AKS, verb="list", resource="pods", namespace="dev")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"user": "system:serviceaccount:dev:robot", "extra": {"oid": [AKSDEV]}}, "opinion for this user"),
        ({"user": "SYSTEM:node:one"}, "opinion for this user"),
        ({"user": "certificate-holder"}, "opinion for this non AAD user"),
    ],
)
def test_azure_has_no_opinion_about_others(http: httpx.Client, spec: dict[str, Any], reason: str) -> None:
    for asked in (
        {"resourceAttributes": {"verb": "list", "resource": "pods"}},
        {"nonResourceAttributes": {"verb": "get", "path": "/api"}},
    ):
        status = _ask(http, AKS, **spec, **asked)
        assert (status["allowed"], "denied" in status) == (False, False)
        assert reason in status["reason"]


def test_who_is_unknown_or_makes_no_sense_is_denied(http: httpx.Client) -> None:
    unknown = "99999999-9999-4999-8999-999999999999"
    assert not _may(http, unknown, AKS, verb="list", resource="pods")
    for oid in (["nonsense"], [], [AKSDEV, AKSDEV]):
        assert _ask(http, AKS, extra={"oid": oid}, resourceAttributes={})["denied"] is True


def test_everybody_from_entra_may_look_what_there_is(http: httpx.Client) -> None:
    extra = {"oid": [seed.USER_IDS[seed.BOB]]}
    for path, verb, expected in (
        ("/api", "get", True),
        ("/apis/apps/v1", "get", True),
        ("/openapi/v3", "get", True),
        ("/version", "get", True),
        ("/healthz", "get", True),
        ("/metrics", "get", False),
        ("/livez", "get", False),
        ("/api", "post", False),
    ):
        status = _ask(http, AKS, extra=extra, nonResourceAttributes={"path": path, "verb": verb})
        assert status["allowed"] is expected, path


def test_a_cluster_without_azure_rbac_does_not_ask_azure(sandbox: RunningSandbox, http: httpx.Client) -> None:
    sandbox.client.assign(seed.AKSDEV, "Azure Kubernetes Service RBAC Cluster Admin", AKS)
    assert _may(http, AKSDEV, AKS, verb="list", resource="pods")
    for profile in (
        {"managed": True, "enableAzureRBAC": False},
        {"clientAppID": "c", "serverAppID": "s"},
        None,
    ):
        sandbox.client.set_aad_profile(AKS, profile)
        asked = {"extra": {"oid": [AKSDEV]}, "resourceAttributes": {"verb": "list", "resource": "pods"}}
        status = _ask(http, AKS, **asked)
        assert status == {
            "allowed": False,
            "reason": "Azure RBAC for Kubernetes is not enabled on this cluster.",
        }


@pytest.mark.parametrize(
    ("attributes", "action", "below"),
    [
        ({"verb": "watch", "resource": "pods", "namespace": "dev"}, "pods/read", "/namespaces/dev"),
        ({"verb": "deletecollection", "resource": "jobs", "group": "batch"}, "batch/jobs/delete", ""),
        ({"verb": "update", "resource": "deployments", "group": "apps", "subresource": "scale"},
         "apps/deployments/write", ""),
        ({"verb": "create", "resource": "pods", "subresource": "exec"}, "pods/exec/action", ""),
        ({"verb": "get", "resource": "pods", "subresource": "exec"}, "pods/exec/action", ""),
        ({"verb": "get", "resource": "pods", "subresource": "log"}, "pods/read", ""),
        ({"verb": "create", "resource": "pods", "subresource": "portforward"}, "pods/write", ""),
        ({"verb": "create", "resource": "serviceaccounts", "subresource": "token"},
         "serviceaccounts/write", ""),
        ({"verb": "bind", "resource": "roles", "group": RBAC}, f"{RBAC}/roles/bind/action", ""),
        ({"verb": "escalate", "resource": "roles", "group": RBAC}, f"{RBAC}/roles/escalate/action", ""),
        ({"verb": "impersonate", "resource": "users"}, "users/impersonate/action", ""),
        ({"verb": "use", "resource": "accesspolicies", "group": "entra-access.dev", "name": "x"},
         "entra-access.dev/accesspolicies/use/action", ""),
        ({"verb": "approve", "resource": "signers", "group": "certificates.k8s.io"},
         "certificates.k8s.io/signers", ""),
        ({"verb": "*", "resource": "*", "group": "*"}, "*", ""),
        ({"verb": "get", "resource": "*", "group": "apps"}, "apps/*/read", ""),
    ],
)  # fmt: skip
def test_verbs_become_data_actions(attributes: dict[str, str], action: str, below: str) -> None:
    expected = (f"Microsoft.ContainerService/managedClusters/{action}", AKS + below)
    assert question({"resourceAttributes": attributes}, AKS) == expected
    arc = (f"Microsoft.Kubernetes/connectedClusters/{action}", ARC + below)
    assert question({"resourceAttributes": attributes}, ARC) == arc


def test_paths_become_data_actions() -> None:
    for verb, action in (("get", "logs/kubelet/read"), ("post", "logs/kubelet")):
        asked = {"nonResourceAttributes": {"path": "/logs//kubelet/", "verb": verb}}
        assert question(asked, ARC)[0] == f"Microsoft.Kubernetes/connectedClusters/{action}"
