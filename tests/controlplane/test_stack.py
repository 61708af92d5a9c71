"""The whole set-up without an operator: RBAC and Azure RBAC together, and everybody's way in."""

import json
from collections.abc import Iterator

import pytest
import yaml

from entra_sandbox import seed
from entra_sandbox.client import SandboxError
from entra_sandbox.local.controlplane import ControlPlaneError
from entra_sandbox.local.stack import Stack, StackError
from support.controlplane import eventually

READERS = {"aks": "Azure Kubernetes Service RBAC Reader", "arc": "Azure Arc Kubernetes Viewer"}
ADMINS = {"aks": "Azure Kubernetes Service RBAC Cluster Admin", "arc": "Azure Arc Kubernetes Cluster Admin"}


@pytest.fixture(scope="module", params=["aks", "arc"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One set-up for each kind of cluster, with two namespaces."""
    with Stack(tmp_path_factory.mktemp(request.param), cluster=request.param) as running:
        for namespace in ("dev", "prod"):
            running.kubectl("create", "namespace", namespace)
        yield running


@pytest.fixture
def clean(stack: Stack) -> Stack:
    """The same, without what another test assigned."""
    for assignment in stack.azure.assignments():
        if assignment["principalId"] != seed.OPERATOR_OBJECT_ID:
            stack.azure.unassign(assignment["name"])
    stack.azure.clear_faults()
    return stack


def may(stack: Stack, who: str, *arguments: str) -> bool:
    """Whether kubectl does it; it may only fail because it is forbidden."""
    try:
        stack.kubectl(*arguments, user=who)
    except ControlPlaneError as error:
        if "forbidden" in str(error).lower():
            return False
        raise
    return True


def test_rbac_and_azure_decide_together(clean: Stack) -> None:
    """Each gives what it gives: neither takes away what the other allows."""
    clean.azure.assign(seed.ALICE, READERS[clean.cluster], f"{clean.cluster_id}/namespaces/dev")
    assert may(clean, seed.ALICE, "get", "pods", "-n", "dev")
    assert may(clean, seed.ALICE, "get", "namespace", "dev")
    assert not may(clean, seed.ALICE, "get", "secrets", "-n", "dev")
    assert not may(clean, seed.ALICE, "get", "pods", "-n", "prod")
    assert not may(clean, seed.ALICE, "get", "pods", "--all-namespaces")
    assert not may(clean, seed.ALICE, "create", "configmap", "made", "-n", "dev")
    assert not may(clean, seed.BOB, "get", "pods", "-n", "dev")

    clean.kubectl("create", "role", "secrets", "-n", "dev", "--verb=list", "--resource=secrets")
    clean.kubectl("create", "rolebinding", "secrets", "-n", "dev", "--role=secrets", f"--user={seed.ALICE}")
    eventually(lambda: may(clean, seed.ALICE, "get", "secrets", "-n", "dev"), "the binding")
    assert may(clean, seed.ALICE, "get", "pods", "-n", "dev")
    assert not may(clean, seed.ALICE, "get", "secrets", "-n", "prod")
    clean.kubectl("delete", "rolebinding,role", "secrets", "-n", "dev")


def test_the_roles_of_the_other_kind_of_cluster_give_nothing(clean: Stack) -> None:
    own, other = ADMINS[clean.cluster], ADMINS[{"aks": "arc", "arc": "aks"}[clean.cluster]]
    group = clean.azure.add_group("admins", members=[seed.BOB])["id"]
    clean.azure.assign(group, other, seed.RESOURCE_GROUP)
    assert not may(clean, seed.BOB, "get", "pods", "-n", "dev")
    clean.azure.assign(group, own, seed.RESOURCE_GROUP)
    assert may(clean, seed.BOB, "get", "secrets", "--all-namespaces")
    assert may(clean, seed.BOB, "get", "accesspolicies")
    clean.azure.purge_group(group)


def test_everybody_can_sign_in(clean: Stack) -> None:
    def name(who: str) -> str:
        said = clean.kubectl("auth", "whoami", "-o", "json", user=who)
        return str(json.loads(said)["status"]["userInfo"]["username"])

    assert name(seed.ALICE) == seed.ALICE
    assert name(seed.GUEST) == seed.USER_IDS[seed.GUEST]
    for pipeline in ("pipeline", seed.PIPELINE_CLIENT_ID, seed.PIPELINE_OBJECT_ID):
        assert name(pipeline) == seed.PIPELINE_OBJECT_ID
    with pytest.raises(SandboxError, match="there is no service principal 'nobody'"):
        clean.kubeconfig_of("nobody")


def test_a_service_account_signs_in_with_its_secret(clean: Stack) -> None:
    """It is the cluster's, not Entra's: Azure has no opinion about it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
    }
    with pytest.raises(ControlPlaneError, match="not found"):
        clean.kubeconfig_of_secret("dev", "robot-token")
    clean.kubectl("create", "serviceaccount", "robot", "-n", "dev")
    clean.kubectl("apply", "-n", "dev", "-f", "-", stdin=yaml.safe_dump(secret))

    def config() -> str:
        try:
            return str(clean.kubeconfig_of_secret("dev", "robot-token"))
        except StackError:
            return ""

    eventually(lambda: bool(config()), "the token")
    plane, own = clean.plane, clean.kubeconfig_of_secret("dev", "robot-token")
    who = json.loads(plane.run_kubectl("auth", "whoami", "-o", "json", config=own))
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:dev:robot"
    with pytest.raises(ControlPlaneError, match="Forbidden"):
        plane.run_kubectl("get", "pods", "-n", "dev", config=own)
    clean.kubectl("create", "rolebinding", "robot", "-n", "dev", "--clusterrole=view",
                  "--serviceaccount=dev:robot")  # fmt: skip
    eventually(lambda: plane.run_kubectl("get", "pods", "-n", "dev", config=own) == "", "the binding")


def test_what_rbac_allows_is_allowed_when_azure_does_not_answer(clean: Stack) -> None:
    clean.kubectl("create", "rolebinding", "bob", "-n", "dev", "--clusterrole=view", f"--user={seed.BOB}")
    eventually(lambda: may(clean, seed.BOB, "get", "pods", "-n", "dev"), "the binding")
    clean.azure.fault(kind="webhook", path_regex="/authorize", status=503, count=None)
    assert may(clean, seed.BOB, "get", "pods", "-n", "dev")
    assert "default" in clean.kubectl("get", "namespaces")
    with pytest.raises(ControlPlaneError, match="InternalError"):
        clean.kubectl("get", "pods", "-n", "prod", user=seed.BOB)
    clean.azure.clear_faults()
    assert not may(clean, seed.BOB, "get", "pods", "-n", "prod")
    clean.kubectl("delete", "rolebinding", "bob", "-n", "dev")


def test_azure_rbac_can_be_switched_off(clean: Stack) -> None:
    clean.azure.assign(seed.AKSSRE, ADMINS[clean.cluster], clean.cluster_id)
    assert may(clean, seed.AKSSRE, "get", "pods", "-n", "dev")
    clean.azure.set_azure_rbac(clean.cluster_id, enabled=False)
    assert not may(clean, seed.AKSSRE, "get", "pods", "-n", "dev")
    clean.azure.set_azure_rbac(clean.cluster_id, enabled=True)
    assert may(clean, seed.AKSSRE, "get", "pods", "-n", "dev")


def test_it_is_the_cluster_that_was_asked_for(stack: Stack) -> None:
    assert stack.operator_environment()["ENTRA_ACCESS_CLUSTER_ID"] == stack.cluster_id
    assert stack.user_environment()["CLUSTER_ID"] == stack.cluster_id
    kind = {"aks": "managedClusters/aks-demo", "arc": "connectedClusters/arc-demo"}[stack.cluster]
    assert stack.cluster_id.endswith(kind)
    paths = {entry["path"] for entry in stack.azure.journal(kind="webhook")}
    assert paths == {f"/webhooks/{kind}{stack.cluster_id}" for kind in ("token", "authorize")}
    with pytest.raises(StackError, match="there is no cluster 'gke': it is aks or arc"):
        Stack(stack.folder, cluster="gke")
