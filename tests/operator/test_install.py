"""The installation: what the manifests make, what the operator may do, how it starts and ends."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from entra_access.cli import main
from entra_sandbox import seed
from entra_sandbox.local.controlplane import ControlPlane
from entra_sandbox.local.stack import ROOT
from support.cluster import Body, Cluster, eventually
from support.trouble import Wish, come_right

OPERATOR = "system:serviceaccount:entra-access-system:entra-access-operator"
OURS = "entra-access.dev"
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up without an operator; each test starts one as it needs it."""
    cluster = Cluster(tmp_path_factory.mktemp("install"))
    cluster.start()
    yield cluster
    cluster.stop()


# What is installed


@pytest.mark.parametrize(
    "arguments",
    [
        ("apply", "-k", str(ROOT / "manifests"), "--dry-run=server", "--validate=strict"),
        ("apply", "-k", str(ROOT / "manifests"), "--server-side", "--validate=strict", "--force-conflicts"),
        ("apply", "-k", str(ROOT / "manifests"), "--validate=strict"),
    ],
    ids=["dry run", "server side", "client side"],
)
def test_the_manifests_are_accepted(own_cluster: Cluster, arguments: tuple[str, ...]) -> None:
    """Strictly validated and repeated: everything is there, and nobody is warned of anything."""
    said = own_cluster.kubectl(*arguments)

    for line in (
        "namespace/entra-access-system",
        "customresourcedefinition.apiextensions.k8s.io/accesspolicies.entra-access.dev",
        "customresourcedefinition.apiextensions.k8s.io/namespacegrants.entra-access.dev",
        "serviceaccount/entra-access-operator",
        "deployment.apps/entra-access-operator",
        "configmap/entra-access-config",
    ):
        assert line in said


def test_a_fresh_cluster_takes_the_manifests_in_one_go(tmp_path: Path) -> None:
    """Namespace and definitions come before what needs them; all are established at once."""
    with ControlPlane(tmp_path / "fresh") as plane:
        plane.run_kubectl("apply", "-k", str(ROOT / "manifests"), "--validate=strict")
        plane.run_kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=20s")
        said = plane.run_kubectl("diff", "-k", str(ROOT / "manifests"))
        assert said == ""


def test_the_deployment_runs_with_the_least_rights(own_cluster: Cluster) -> None:
    """The namespace enforces Kubernetes' restricted profile, and a pod like the Deployment's is let in."""
    namespace = own_cluster.get("namespace", "entra-access-system")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    deployment = own_cluster.get("deployment", "entra-access-operator", "entra-access-system")
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    own_cluster.kubectl(
        "create", "--dry-run=server", "-n", "entra-access-system", "-f", "-", stdin=yaml.safe_dump(pod)
    )
    container = template["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert deployment["spec"]["strategy"]["type"] == "Recreate"


# What the operator and people may do

MAY = [
    *(
        (verb, f"{kind}.{OURS}")
        for kind in ("accesspolicies", "namespacegrants")
        for verb in ("get", "list", "watch")
    ),
    ("patch", f"accesspolicies.{OURS}"),
    ("patch", f"namespacegrants.{OURS}"),
    ("patch", f"accesspolicies.{OURS}/status"),
    ("patch", f"namespacegrants.{OURS}/status"),
    *(
        (verb, f"{kind}.{RBAC}")
        for kind in ("roles", "clusterroles")
        for verb in ("get", "list", "watch", "create", "patch", "delete", "escalate", "bind")
    ),
    *(
        (verb, f"{kind}.{RBAC}")
        for kind in ("rolebindings", "clusterrolebindings")
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ),
    *((verb, "serviceaccounts") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "secrets") for verb in ("get", "create", "delete")),
    *((verb, "namespaces") for verb in ("get", "list", "watch")),
    ("create", "events"),
]
MAY_NOT = [
    *((verb, "secrets") for verb in ("list", "watch", "update", "deletecollection")),
    *((verb, "configmaps") for verb in ("get", "list", "create", "patch")),
    *((verb, "pods") for verb in ("get", "list", "create", "delete", "patch")),
    *((verb, f"clusterroles.{RBAC}") for verb in ("update", "deletecollection")),
    *((verb, kind) for kind in ("users", "groups", "serviceaccounts") for verb in ("impersonate",)),
    *((verb, "namespaces") for verb in ("create", "update", "patch", "delete")),
    *((verb, f"accesspolicies.{OURS}") for verb in ("create", "update", "delete")),
    *((verb, f"namespacegrants.{OURS}") for verb in ("create", "update", "delete")),
    ("create", "pods/exec"),
    ("create", "serviceaccounts/token"),
    ("get", "nodes"),
    ("create", "customresourcedefinitions.apiextensions.k8s.io"),
    ("patch", "deployments.apps"),
    ("create", "validatingwebhookconfigurations.admissionregistration.k8s.io"),
    ("approve", "certificatesigningrequests.certificates.k8s.io"),
]


@pytest.mark.parametrize(("verb", "resource"), MAY, ids=[f"{verb} {what}" for verb, what in MAY])
def test_the_operator_may(review: "Review", verb: str, resource: str) -> None:
    """What it needs, everywhere."""
    assert review(OPERATOR, verb, resource)


@pytest.mark.parametrize(("verb", "resource"), MAY_NOT, ids=[f"{verb} {what}" for verb, what in MAY_NOT])
def test_the_operator_may_not(review: "Review", verb: str, resource: str) -> None:
    """What it does not need, anywhere, not in its own namespace either."""
    assert not review(OPERATOR, verb, resource)
    assert not review(OPERATOR, verb, resource, namespace="entra-access-system")


class Review:
    """Asks the API server who may do what."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(self, user: str, verb: str, resource: str, namespace: str = "") -> bool:
        """Whether the user may, by RBAC. `resource` is as kubectl writes it: kind.group/subresource."""
        what, _, subresource = resource.partition("/")
        kind, _, group = what.partition(".")
        attributes = {
            "verb": verb,
            "resource": kind,
            "group": group,
            "subresource": subresource,
            "namespace": namespace,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": attributes},
        }
        answer = self._client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body)
        return bool(answer.raise_for_status().json()["status"]["allowed"])


@pytest.fixture(scope="module")
def review(own_cluster: Cluster) -> Iterator[Review]:
    """Such questions to the set-up's API server."""
    with own_cluster.stack.plane.client() as client:
        yield Review(client)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("view", {"get", "list", "watch"}),
        ("edit", {"get", "list", "watch"}),
        ("admin", {"get", "list", "watch", "create", "update", "patch", "delete"}),
    ],
)
def test_who_has_a_namespace_has_its_grants(
    own_cluster: Cluster, review: Review, role: str, may: set[str]
) -> None:
    """By aggregation into Kubernetes' own roles; nobody gets the status, nor anything of policies."""
    namespace, user = own_cluster.namespace(), own_cluster.unique(role)
    own_cluster.kubectl(
        "create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", namespace
    )
    every = {"get", "list", "watch", "create", "update", "patch", "delete"}
    grants = f"namespacegrants.{OURS}"

    def allowed(resource: str, where: str) -> set[str]:
        return {verb for verb in every if review(user, verb, resource, where)}

    eventually(lambda: allowed(grants, namespace) == may, f"{role} may {may}", 15)
    assert allowed(f"{grants}/status", namespace) - {"get"} == set()
    assert allowed(f"accesspolicies.{OURS}", "") == set()
    assert allowed(grants, "default") == set()


# How it starts and ends


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_answers_probes_works_and_ends_when_asked(own_cluster: Cluster) -> None:
    """The probe answers while it runs; SIGTERM ends it within seconds, in order, with exit code 0."""
    port = free_port()
    process = own_cluster.start_operator(ENTRA_ACCESS_PROBE_PORT=str(port))

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    eventually(answers, "the probe answers")
    wish = Wish(own_cluster.unique("probed"))
    own_cluster.apply(wish.body())
    come_right(own_cluster, wish)
    assert answers()

    assert ended(own_cluster) == 0
    assert not answers()
    log = process.log.read_text()
    assert "Traceback" not in log
    assert "never retrieved" not in log
    assert "Unclosed" not in log


def ended(cluster: Cluster) -> int:
    """Ask the operator to end. Returns its exit code, which must come within seconds."""
    assert cluster.operator is not None
    process = cluster.operator.popen
    assert process is not None
    process.terminate()
    began = time.monotonic()
    code = process.wait(15)
    assert time.monotonic() - began < 8
    return code


def test_it_ends_when_asked_in_the_middle_of_a_call(own_cluster: Cluster) -> None:
    """A Graph that does not answer keeps nobody from going home."""
    own_cluster.start_operator()
    own_cluster.azure.fault(kind="graph", delay_seconds=10, drop=True, count=None)
    own_cluster.policy(own_cluster.unique("hangs"), {})
    own_cluster.azure.wait(lambda: own_cluster.azure.faults()[0]["used"], what="a call")

    code = ended(own_cluster)

    own_cluster.azure.clear_faults()
    assert code == 0
    assert "Traceback" not in own_cluster.operator_log()


GOOD = {
    "AZURE_TENANT_ID": seed.TENANT_ID,
    "AZURE_CLIENT_ID": seed.OPERATOR_CLIENT_ID,
    "AZURE_CLIENT_SECRET": "x",
    "ENTRA_ACCESS_CLUSTER_ID": seed.CLUSTER_ID,
}
WRONG: dict[str, tuple[dict[str, str | None], str]] = {
    "no cluster": ({"ENTRA_ACCESS_CLUSTER_ID": None}, "ENTRA_ACCESS_CLUSTER_ID"),
    "blank cluster": ({"ENTRA_ACCESS_CLUSTER_ID": "  "}, "ENTRA_ACCESS_CLUSTER_ID"),
    "cluster by name": ({"ENTRA_ACCESS_CLUSTER_ID": "my-aks"}, "ENTRA_ACCESS_CLUSTER_ID"),
    "cluster of the template": ({"ENTRA_ACCESS_CLUSTER_ID": f"{seed.RESOURCE_GROUP}/x"}, "CLUSTER_ID"),
    "no tenant": ({"AZURE_TENANT_ID": None}, "AZURE_TENANT_ID"),
    "tenant with a space": ({"AZURE_TENANT_ID": "my tenant"}, "AZURE_TENANT_ID"),
    "no client": ({"AZURE_CLIENT_ID": None}, "AZURE_CLIENT_ID"),
    "no identity": ({"AZURE_CLIENT_SECRET": None}, "AZURE_FEDERATED_TOKEN_FILE"),
    "authority without TLS": ({"AZURE_AUTHORITY_HOST": "http://login.example"}, "AZURE_AUTHORITY_HOST"),
    "Graph without TLS": ({"ENTRA_ACCESS_GRAPH_URL": "http://graph.example"}, "ENTRA_ACCESS_GRAPH_URL"),
    "ARM without scheme": ({"ENTRA_ACCESS_ARM_URL": "management.azure.com"}, "ENTRA_ACCESS_ARM_URL"),
    "no workers": ({"ENTRA_ACCESS_WORKERS": "0"}, "ENTRA_ACCESS_WORKERS"),
    "endless workers": ({"ENTRA_ACCESS_WORKERS": "inf"}, "ENTRA_ACCESS_WORKERS"),
    "resync in words": ({"ENTRA_ACCESS_RESYNC_SECONDS": "often"}, "ENTRA_ACCESS_RESYNC_SECONDS"),
    "resync of no number": ({"ENTRA_ACCESS_RESYNC_SECONDS": "nan"}, "ENTRA_ACCESS_RESYNC_SECONDS"),
    "negative window": ({"ENTRA_ACCESS_REPLICATION_SECONDS": "-1"}, "ENTRA_ACCESS_REPLICATION_SECONDS"),
    "port in words": ({"ENTRA_ACCESS_PROBE_PORT": "http"}, "ENTRA_ACCESS_PROBE_PORT"),
    "port too high": ({"ENTRA_ACCESS_PROBE_PORT": "70000"}, "ENTRA_ACCESS_PROBE_PORT"),
    "unknown log format": ({"ENTRA_ACCESS_LOG_FORMAT": "xml"}, "ENTRA_ACCESS_LOG_FORMAT"),
    "unknown log level": ({"ENTRA_ACCESS_LOG_LEVEL": "loud"}, "ENTRA_ACCESS_LOG_LEVEL"),
    "neither true nor false": (
        {"ENTRA_ACCESS_INSTANCE_DISCOVERY": "maybe"},
        "ENTRA_ACCESS_INSTANCE_DISCOVERY",
    ),
    "CA that is not there": ({"ENTRA_ACCESS_CA_FILE": "/no/such/ca.crt"}, "ENTRA_ACCESS_CA_FILE"),
    "CA that is none": ({"ENTRA_ACCESS_CA_FILE": str(ROOT / "README.md")}, "ENTRA_ACCESS_CA_FILE"),
    "owner id with a quote": ({"ENTRA_ACCESS_OWNER_ID": "o'brien"}, "ENTRA_ACCESS_OWNER_ID"),
    "no way to the cluster": ({"KUBECONFIG": "/no/such/file"}, "kube-config"),
}


LATE = {"tenant with a space", "CA that is not there", "CA that is none", "no way to the cluster"}
"""Found only when the services are made: by a process of their own, because logs are set up by then."""


@pytest.mark.parametrize("case", sorted(WRONG.keys() - LATE))
def test_a_wrong_setting_is_named(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line with the variable's name."""
    changes, name = WRONG[case]
    for key, value in (GOOD | changes).items():
        monkeypatch.delenv(key, raising=False)
        if value is not None:
            monkeypatch.setenv(key, value)
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)

    assert main(["run"]) == 2

    said = capsys.readouterr().err
    assert name in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("case", sorted(LATE))
def test_a_setting_that_is_wrong_for_a_library_is_named_too(own_cluster: Cluster, case: str) -> None:
    """Likewise, and no traceback of the library that does not like it."""
    changes, name = WRONG[case]
    kubeconfig = {"KUBECONFIG": str(own_cluster.stack.folder / "operator" / "kubeconfig")}
    settings = {"PATH": "", "ENTRA_ACCESS_PROBE_PORT": "0"} | GOOD | kubeconfig | changes
    environment = {key: value for key, value in settings.items() if value is not None}
    command = [str(Path(sys.executable).with_name("entra-access")), "run"]

    done = subprocess.run(  # noqa: S603 - our own command
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("entra-access: ")
    assert name in last


def test_the_template_of_settings_names_every_setting() -> None:
    """What is read from the environment is in manifests/config.env, and the other way round."""
    settings = (ROOT / "operator" / "entra_access" / "settings.py").read_text()
    template = (ROOT / "manifests" / "config.env").read_text()
    known = {word for word in settings.replace('"', " ").split() if word.startswith("ENTRA_ACCESS_")}
    told = {
        line.lstrip("# ").partition("=")[0]
        for line in template.splitlines()
        if line.lstrip("# ").startswith("ENTRA_ACCESS_")
    }
    assert known == told


# The image and the kind cluster


def test_the_image_runs_as_nobody_and_needs_no_network() -> None:
    """The last stage only copies, and runs the command under a numeric user that is not root."""
    text = (ROOT / "Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]
    steps = [line.split(None, 1) for line in final.splitlines() if line and not line.startswith(("#", " "))]
    words = {step[0]: step[1] for step in steps}

    user, group = words["USER"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert json.loads(words["ENTRYPOINT"]) == ["python", "-m", "entra_access.cli"]
    assert json.loads(words["CMD"]) == ["run"]
    assert not {"RUN", "ADD"} & words.keys()
    assert "--require-hashes" in text
    assert "http" not in final
    deployment = yaml.safe_load((ROOT / "manifests" / "deployment.yaml").read_text())
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["run"]


def test_the_kind_cluster_is_of_the_control_planes_version(own_cluster: Cluster) -> None:
    """Tried here and tried there are the same Kubernetes."""
    config: Body = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    version = json.loads(own_cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    assert (config["kind"], config["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert {node["image"] for node in config["nodes"]} == {f"kindest/node:{version}"}
