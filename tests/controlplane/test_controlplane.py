"""What a cluster does that the operator counts on: this one is real, and does it."""

import json
import ssl
import uuid

import httpx
import pytest
import yaml

from entra_sandbox.local.controlplane import ControlPlane, ControlPlaneError
from entra_sandbox.local.programs import KUBERNETES_VERSION
from support.controlplane import eventually


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """Give a namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    plane.run_kubectl("create", "namespace", name)
    return name


def role(name: str, verbs: list[str], **metadata: object) -> str:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    return json.dumps(kind | {"metadata": {"name": name, **metadata}, "rules": rules})


def exists(plane: ControlPlane, *what: str) -> bool:
    return bool(plane.run_kubectl("get", *what, "--ignore-not-found", "-o=name"))


def test_it_is_the_version_that_it_is_said_to_be(plane: ControlPlane) -> None:
    versions = json.loads(plane.run_kubectl("version", "-o=json"))

    assert versions["serverVersion"]["gitVersion"] == KUBERNETES_VERSION
    assert versions["clientVersion"]["gitVersion"] == KUBERNETES_VERSION


def test_it_has_what_every_cluster_has(plane: ControlPlane) -> None:
    assert exists(plane, "namespace/default", "namespace/kube-system")
    assert exists(plane, "serviceaccount/default", "--namespace=default")
    assert str(uuid.UUID(plane.system_uid())) == plane.system_uid()


def test_only_its_owner_can_read_its_files(plane: ControlPlane) -> None:
    for file in (plane.kubeconfig, plane.folder / "certs" / "ca.key", plane.folder / "certs" / "admin.key"):
        assert file.stat().st_mode & 0o077 == 0
    assert plane.etcd_socket.is_socket()


def test_its_certificates_pass_a_strict_verifier(plane: ControlPlane) -> None:
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python does by itself from 3.13 on

    answer = httpx.get(f"{plane.url}/livez", verify=context, trust_env=False)

    assert answer.text == "ok"


def test_server_side_apply_knows_who_owns_a_field(plane: ControlPlane, namespace: str) -> None:
    where = ["--server-side", f"--namespace={namespace}", "--filename=-"]
    plane.run_kubectl("apply", *where, "--field-manager=one", stdin=role("reader", ["get"]))

    with pytest.raises(ControlPlaneError, match=r'conflict with "one"'):
        plane.run_kubectl("apply", *where, "--field-manager=two", stdin=role("reader", ["list"]))


def test_what_has_no_owner_left_is_collected(plane: ControlPlane, namespace: str) -> None:
    where = f"--namespace={namespace}"
    plane.run_kubectl("create", "configmap", "owner", where)
    uid = plane.run_kubectl("get", "configmap", "owner", where, "-o=jsonpath={.metadata.uid}")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    plane.run_kubectl("create", where, "-f=-", stdin=role("owned", ["get"], ownerReferences=[owner]))

    plane.run_kubectl("delete", "configmap", "owner", where)

    eventually(lambda: not exists(plane, "role/owned", where), "the collection of what was owned")


def test_a_deleted_namespace_goes_with_all_that_is_in_it(plane: ControlPlane, namespace: str) -> None:
    plane.run_kubectl("create", f"--namespace={namespace}", "-f=-", stdin=role("inside", ["get"]))

    plane.run_kubectl("delete", "namespace", namespace, "--wait=false")

    eventually(lambda: not exists(plane, f"namespace/{namespace}"), "the end of the namespace")


def test_cluster_roles_are_aggregated(plane: ControlPlane) -> None:
    name = f"part-{uuid.uuid4().hex[:8]}"
    part = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["example.com"], "resources": [name], "verbs": ["get"]}],
    }
    plane.run_kubectl("create", "-f=-", stdin=json.dumps(part))

    def aggregated() -> bool:
        return name in plane.run_kubectl("get", "clusterrole", "view", "-o=jsonpath={.rules[*].resources}")

    eventually(aggregated, "the rule in the role view")


def test_a_service_account_signs_in_and_may_do_what_rbac_says(plane: ControlPlane, namespace: str) -> None:
    where = f"--namespace={namespace}"
    eventually(lambda: exists(plane, "serviceaccount/default", where), "the default service account")
    config = plane.service_account_kubeconfig(namespace, "default")
    who = json.loads(plane.run_kubectl("auth", "whoami", "-o=json", config=config))
    assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    with pytest.raises(ControlPlaneError, match="cannot list resource"):
        plane.run_kubectl("get", "configmaps", config=config)

    binding = [f"--serviceaccount={namespace}:default", "--clusterrole=view", where]
    plane.run_kubectl("create", "rolebinding", "viewer", *binding)

    def allowed() -> bool:
        answer = plane.run_kubectl("auth", "can-i", "--list", config=config)
        return "configmaps" in answer

    eventually(allowed, "the binding to count")
    assert "kube-root-ca.crt" in plane.run_kubectl("get", "configmaps", "-o=name", config=config)


def test_a_token_secret_is_filled(plane: ControlPlane, namespace: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
    }
    where = f"--namespace={namespace}"
    plane.run_kubectl("create", "serviceaccount", "robot", where)
    plane.run_kubectl("create", where, "-f=-", stdin=json.dumps(secret))

    def filled() -> bool:
        return bool(plane.run_kubectl("get", "secret", "token", where, "-o=jsonpath={.data.token}"))

    eventually(filled, "the token in the secret")


def test_an_unknown_service_account_has_no_token(plane: ControlPlane) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        plane.service_account_token("default", "nobody")


def test_a_stranger_is_turned_away(plane: ControlPlane) -> None:
    config = plane.token_kubeconfig("stranger", "no-such-token", namespace="default")

    assert yaml.safe_load(config.read_text())["contexts"][0]["context"]["namespace"] == "default"
    with pytest.raises(ControlPlaneError, match="Unauthorized"):
        plane.run_kubectl("auth", "whoami", config=config)
