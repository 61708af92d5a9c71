"""`entra-access plan` where there can be no plan: files that are wrong, and what cannot be read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import API, Body, Cluster
from support.plans import WRITER, Team, findings, pipeline, plan, write
from support.subjects import application


@pytest.fixture(autouse=True)
def _no_faults(still: Cluster) -> Iterator[None]:
    yield
    still.azure.clear_faults()


WRONG_VALUE: Body = {"subject": {"group": {"displayName": "a"}}, "mode": "Sometimes"}
UNKNOWN_FIELD: Body = {
    "subject": {"group": {"displayName": "a", "member": [], "owners": []}},
    "clusterRole": [],
}
KNOWN = f"this knows AccessPolicy and NamespaceGrant of {API}"
BROKEN: dict[str, tuple[str | Body, list[str]]] = {
    "no YAML": (
        "a: [1\nb: 2",
        ["is no valid YAML: expected ',' or ']', but got ':', at line 2, column 2"],
    ),
    "a field with a wrong value": (
        {"apiVersion": API, "spec": WRONG_VALUE},
        ["AccessPolicy bad: spec.mode: must be Enforce or Observe"],
    ),
    "fields that are unknown": (
        {"apiVersion": API, "spec": UNKNOWN_FIELD},
        [
            f"AccessPolicy bad: spec.{field}: is no field of AccessPolicy here; correct it, or take it out"
            for field in ("subject.group.member", "clusterRole")
        ],
    ),
    "another version": (
        {"apiVersion": "entra-access.dev/v2"},
        [f"there is no AccessPolicy of entra-access.dev/v2 here; {KNOWN}"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_file_is_told_and_nothing_else(
    still: Cluster, settled: Team, tmp_path: Path, case: str
) -> None:
    """A line on stderr with the file; no plan that would leave out what cannot be read; exit code 1."""
    content, errors = BROKEN[case]
    good = write(tmp_path, "good.yaml", settled.policy(), settled.grant(clusterRoles=[]))
    if isinstance(content, str):
        (bad := tmp_path / "bad.yaml").write_text(content)
    else:
        bad = write(tmp_path, "bad.yaml", {"kind": "AccessPolicy", "metadata": {"name": "bad"}, **content})
    said = plan(still, files=(good, bad))
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines() == [f"entra-access: {bad}: {error}" for error in errors]


def test_a_file_that_is_not_there_is_named(still: Cluster) -> None:
    said = plan(still, files=(Path("/no/such.yaml"), Path("/no")))
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines() == [
        "entra-access: /no/such.yaml: cannot be read: No such file or directory",
        "entra-access: /no: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("-f", "-", "--colour"), "--colour"), ((), "-f/--filename"), (("-f", "-", "-o", "yaml"), "yaml")],
)
def test_wrong_usage_is_exit_code_1(still: Cluster, arguments: tuple[str, ...], word: str) -> None:
    """Not 2, which would say that there are changes."""
    said = plan(still, as_json=False, arguments=arguments)
    assert (said.code, said.out) == (1, "")
    assert word in said.err.splitlines()[-1]


WAYS: dict[str, tuple[dict[str, str], str]] = {
    "no setting": ({"ENTRA_ACCESS_CLUSTER_ID": ""}, "ENTRA_ACCESS_CLUSTER_ID must be set"),
    "no way to the cluster": ({"KUBECONFIG": "/no/such/file"}, "kube-config"),
    "no API server": ({"ENTRA_ACCESS_OWNER_ID": "a"}, "cannot reach the Kubernetes API server"),
}


@pytest.mark.parametrize("case", WAYS)
def test_without_a_way_to_look_there_is_no_plan(
    still: Cluster, settled: Team, tmp_path: Path, case: str
) -> None:
    changes, word = WAYS[case]
    if case == "no API server":
        config = Path(still.stack.operator_environment()["KUBECONFIG"]).read_text()
        nowhere = tmp_path / "kubeconfig"
        nowhere.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", config))
        changes = changes | {"KUBECONFIG": str(nowhere)}
    said = plan(still, settled.policy(), environment=changes)
    assert (said.code, said.out) == (1, "")
    assert word in said.err.splitlines()[-1]


def test_who_may_not_look_is_told_so(still: Cluster, settled: Team) -> None:
    """A user of the cluster without the rights that it needs there."""
    config = still.stack.kubeconfig_of(settled.who.upn)
    said = plan(still, settled.policy(), environment={"KUBECONFIG": str(config)})
    assert (said.code, said.out) == (1, "")
    assert "may not" in said.err


def test_it_needs_to_read_and_nothing_more(still: Cluster, settled: Team) -> None:
    """The identity of a pipeline: no permission in Graph, Azure or Kubernetes lets it write anything.

    So it may not ask the API server whether it would take the files. It says so, once.
    """
    _, environment = pipeline(still)
    newcomer = application(still, "robot")
    members = [settled.who.ref, settled.lead.ref, {"servicePrincipal": newcomer.upn}]
    group = {"displayName": settled.name, "members": members, "owners": [settled.lead.ref]}
    files = (settled.policy(subject={"group": group}), settled.grant(azureRoles=[]))

    said = plan(still, *files, environment=environment)

    assert said.code == 2
    rights = "patch accesspolicies.entra-access.dev and to patch namespacegrants.entra-access.dev"
    what = f"takes what is in the files: that needs the right to {rights}"
    assert said.err == f"entra-access: it is not asked whether the API server {what}\n"
    assert said.texts(settled.names[0]) == [
        f"add {settled.lead.upn} to the members of group {settled.name}",
        f"add {newcomer.upn} to the members of group {settled.name}",
    ]
    assert said.texts(settled.names[1]) == [
        f"remove assignment of Azure role {WRITER} at namespace {settled.namespace}"
    ]
    assert said.out == plan(still, *files).out, "it sees what the operator sees"


FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "Graph refuses": ({"kind": "graph", "status": 403, "code": "Authorization_RequestDenied"}, "stalled"),
    "Graph is down": ({"kind": "graph", "status": 503}, "not known"),
    "ARM is down": ({"kind": "arm", "status": 503}, "not known"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_read_is_an_error(still: Cluster, settled: Team, case: str) -> None:
    """An incomplete plan says so: in the headline, in a finding, and by exit code 1."""
    fault, word = FAULTS[case]
    still.azure.fault(count=None, **fault)  # type: ignore[arg-type]  # the table's values are of many types
    said = plan(still, settled.policy(), as_json=False)
    assert said.code == 1
    headline, *found = said.out.splitlines()
    assert headline == f"{settled.names[0]}: no plan: not all could be looked at"
    assert word in {line.partition(":")[0].strip() for line in found}
    assert "A fault was asked for" not in said.out + said.err


def test_a_pause_that_graph_asks_for_is_waited_for(still: Cluster, settled: Team) -> None:
    still.azure.fault(kind="graph", status=429, retry_after=1, count=1)
    said = plan(still, settled.policy(), as_json=False)
    assert still.azure.faults()[0]["used"]
    assert (said.code, said.out) == (0, f"{settled.names[0]}: no changes\n")


def test_what_the_api_server_would_refuse_is_told_as_far_as_that_is_known(
    still: Cluster, settled: Team
) -> None:
    """By whoever may not ask it: no namespace, and another policy for a grant."""
    _, environment = pipeline(still)
    nowhere = settled.grant()
    nowhere["metadata"]["namespace"] = "nowhere"
    said = plan(still, nowhere, settled.grant(policyRef={"name": "other"}), environment=environment)
    assert said.code == 1
    assert findings(said.values["NamespaceGrant nowhere/work"]) == ["NamespaceNotFound"]
    assert findings(said.values[settled.names[1]]) == ["Unchangeable"]


def test_a_policy_that_is_not_there_is_awaited(still: Cluster, settled: Team) -> None:
    """Somebody else may have it in another repository: something is to come, and it is not known what."""
    body = settled.grant(policyRef={"name": "later"})
    body["metadata"]["name"] = "later"
    said = plan(still, body, as_json=False)
    assert said.out.splitlines() == [
        f"NamespaceGrant {settled.namespace}/later: no changes yet",
        "  waiting: spec.policyRef.name: waiting for AccessPolicy later, which does not exist",
    ]
    assert said.code == 2
