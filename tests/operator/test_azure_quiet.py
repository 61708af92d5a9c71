"""At rest nothing is written for Azure roles of any shape either, and reading does not grow with them."""

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from entra_sandbox import seed
from support.azure import AKS_READER
from support.cluster import Body, Cluster, eventually, running
from support.life import AKS_USER, ceiling
from support.scopes import (
    DEFINITIONS,
    PLAIN_READER,
    PODS,
    READER,
    VAULT,
    WRITER,
    administrator,
    at,
    last_entry,
    operator_may,
    personal,
)
from support.trouble import clean_log

FAR = seed.OTHER_RESOURCE_GROUP
CONNECT = at(AKS_USER)
ADMIN = "Azure Kubernetes Service RBAC Admin"
MANY = 12
CUSTOM: Body = {"name": "Quiet", "dataActions": [f"{PODS}/delete"]}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up with Azure roles of all shapes that has come to rest. All is looked at again and again."""
    with (
        running(tmp_path_factory.mktemp("azure-quiet"), ENTRA_ACCESS_RESYNC_SECONDS="2") as cluster,
        operator_may(cluster, FAR),
    ):
        fill(cluster)
        eventually(lambda: unrest(cluster, 3.0) == [], "it has come to rest", 40)
        yield cluster
        clean_log(cluster)


def fill(cluster: Cluster) -> None:
    """Policies and grants that are Ready, warned, Stalled for each reason, and wanted by more than one."""
    with administrator(cluster) as somebody:
        somebody.define(str(uuid.uuid4()), "Taken", f"{PODS}/read")
    namespace = cluster.namespace(quiet="yes")
    whole = personal(
        cluster,
        customRoles=[CUSTOM],
        azureRoles=[CONNECT, at("Quiet"), at(PLAIN_READER, FAR), at(PLAIN_READER, VAULT), at(AKS_READER)],
        namespaces=[{"selector": {"matchLabels": {"quiet": "yes"}}, "azureRoles": [READER]}],
        grants={**ceiling("view"), "azureRoles": ["Quiet", READER]},
    )
    whole.ready()
    for name, roles in (("same", [READER.upper()]), ("custom", ["Quiet"]), ("beyond", [WRITER])):
        cluster.grant(name, namespace, whole.name, azureRoles=roles, clusterRoles=["view"])
    shared = [personal(cluster, whole.who, azureRoles=[CONNECT, at(PLAIN_READER, FAR)]) for _ in range(2)]
    warned = personal(cluster, azureRoles=[at(ADMIN), at(AKS_USER, seed.RESOURCE_GROUP.upper())])
    for one in (*shared, warned):
        one.ready()
    wishes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("RoleNotFound", {"azureRoles": [CONNECT, at("No Such Role")]}),
        ("WrongClusterKind", {"azureRoles": [CONNECT, at("Azure Arc Kubernetes Viewer")]}),
        ("RoleExists", {"customRoles": [{**CUSTOM, "name": "Taken"}], "azureRoles": [CONNECT]}),
        ("Denied", {"azureRoles": [CONNECT, at(PLAIN_READER, seed.SUBSCRIPTION)]}),
    )
    for reason, wish in wishes:
        personal(cluster, **wish).says("Stalled", reason)
    cluster.ready("ngrant", "same", namespace)
    cluster.ready("ngrant", "custom", namespace)
    cluster.waits_for("ngrant", "beyond", "Stalled", "BeyondCeiling", namespace)


def unrest(cluster: Cluster, seconds: float) -> list[str]:
    """What was written in that time, but for the one write that is denied again and again."""
    written, moved = cluster.quiet(seconds)
    found = [f"{one['method']} {one['path']}" for one in written if one["status"] != 403]
    denied = {one["path"].partition("/providers/")[0] for one in written if one["status"] == 403}
    return [*found, *(denied - {seed.SUBSCRIPTION}), *(["an object moved"] if moved else [])]


def test_at_rest_nothing_is_written(full: Cluster) -> None:
    """No write to Azure but the one that is denied again and again, and no resourceVersion moved."""
    since = last_entry(full)

    assert unrest(full, 5.0) == []
    assert full.azure.journal(since=since, kind="arm", method="GET"), (
        "it was looked at, or this proves nothing"
    )


def test_a_restart_writes_nothing(full: Cluster) -> None:
    """All that was made is found again, by a process that knows nothing yet."""
    since = last_entry(full)
    full.kill_operator()
    full.start_operator()
    eventually(
        lambda: full.azure.journal(since=since, kind="arm", path_regex=f"{FAR}/"),
        "the new one looks at Azure",
    )

    assert unrest(full, 4.0) == []


def test_how_often_azure_is_asked_in_a_full_round(full: Cluster) -> None:
    """One list at the cluster and one at each far scope, for however many policies and grants there are; each
    role's name once; each custom role once for each look at its policy."""
    namespace = full.namespace()
    limits = {**ceiling(), "azureRoles": [READER, WRITER]}
    for _ in range(MANY):
        policy = personal(full, azureRoles=[CONNECT, at(PLAIN_READER, FAR)], grants=limits)
        full.grant(policy.name, namespace, policy.name, azureRoles=[READER])
    for body in full.list_all("ngrant", namespace):
        full.ready("ngrant", body["metadata"]["name"], namespace)
        full.ready("apol", body["metadata"]["name"])
    assert full.operator is not None
    full.operator.stop(10)
    since = last_entry(full)

    full.start_operator(
        ENTRA_ACCESS_RESYNC_SECONDS="3600",
        ENTRA_ACCESS_STALLED_SECONDS="3600",
        ENTRA_ACCESS_ASSIGNMENTS_SECONDS="3600",
    )

    def rested() -> bool:
        """Whether everybody was looked at, and then nothing is asked for a while."""
        people = {
            e["path"] for e in full.azure.journal(since=since, kind="graph", path_regex="/users/(?!delta)")
        }
        last = last_entry(full)
        full.quiet(1.5)
        return len(people) >= MANY and last_entry(full) == last

    eventually(rested, "the round is over")
    asked = Counter(kind_of(entry) for entry in full.azure.journal(since=since, kind="arm", method="GET"))
    lists = {what: number for what, number in asked.items() if what.startswith("list of assignments")}
    assert lists == {
        f"list of assignments at {full.stack.cluster_id}": 1,
        f"list of assignments at {FAR}": 1,
        f"list of assignments at {VAULT}": 1,
    }
    assert asked["the cluster"] == 1
    # Nine names (one of them in two spellings), one GUID, and two custom roles; a few more for second looks.
    names = asked["list of roles"] + asked["a role"]
    assert names <= 16, asked


def kind_of(entry: Body) -> str:
    """What a request asks for."""
    path = str(entry["path"])
    scope, _, rest = path.partition("/providers/Microsoft.Authorization/")
    if not rest:
        return "the cluster"
    if rest == "roleAssignments":
        return f"list of assignments at {scope}"
    if rest.startswith("roleAssignments/"):
        return "an assignment"
    return "list of roles" if re.search(f"{DEFINITIONS}$", path) else "a role"
