"""What people see of a resource: conditions that tools understand, columns, inventory, counts, events."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    Policy,
    ceiling,
    condition_of,
    events,
    everything,
    made_for,
    new_policy,
    person,
)

CHAIN: Final = {
    "AccessPolicy": {"SubjectReady", "MembersReady", "AzureRolesReady", "BindingsReady"},
    "NamespaceGrant": {"PolicyReady", "WithinCeiling", "BindingsReady"},
}
LINKS: Final = CHAIN["AccessPolicy"] | CHAIN["NamespaceGrant"]
ABNORMAL: Final = {"Reconciling", "Stalled", "Warning", "Drifted", "Expired"}
REASON = re.compile(r"[A-Z][A-Za-z0-9]*")


def chain(body: Body) -> set[str]:
    """The links that a resource has: members of a group of ours, Azure roles of whom Azure knows."""
    spec, links = body["spec"], set(CHAIN[body["kind"]])
    if body["kind"] == "NamespaceGrant":
        return links | ({"AzureRolesReady"} if spec.get("azureRoles") else set())
    links -= set() if "group" in spec["subject"] else {"MembersReady"}
    return links - ({"AzureRolesReady"} if "serviceAccount" in spec["subject"] else set())


def check_invariants(body: Body) -> None:
    """What kstatus, `kubectl wait` and people rely on, in every version of every object."""
    status, meta = body["status"], body["metadata"]
    what = f"{body['kind']} {meta['name']} at {meta['resourceVersion']}: {status}"
    observed = status["observedGeneration"]
    if observed == -1:
        assert status == {"observedGeneration": -1}, what
        return
    assert 1 <= observed <= meta["generation"], what
    conditions = {one["type"]: one for one in status["conditions"]}
    # Of an earlier wish it speaks with the links of then, which the spec does not tell any more.
    links = chain(body) if observed == meta["generation"] else LINKS & conditions.keys()
    assert links | {"Ready"} <= conditions.keys(), what
    assert conditions.keys() <= CHAIN[body["kind"]] | {"Ready", "AzureRolesReady"} | ABNORMAL, what
    for one in conditions.values():
        assert one["status"] in {"True", "False", "Unknown"}, what
        assert REASON.fullmatch(one["reason"]), what
        assert one["message"], what
        assert one["observedGeneration"] == observed, what
        assert datetime.fromisoformat(one["lastTransitionTime"]) <= datetime.now(UTC), what
    for abnormal in ABNORMAL:
        assert conditions.get(abnormal, {"status": "True"})["status"] == "True", what
    well = not conditions.keys() & {"Reconciling", "Stalled"}
    assert (conditions["Ready"]["status"] == "True") is well, what
    assert ({conditions[link]["status"] for link in links} == {"True"}) is well, what
    assert status["drift"]["state"] in {"InSync", "Drifted", "Unknown"}, what
    assert len({(i["kind"], i["name"], i.get("id")) for i in status["inventory"]}) == len(
        status["inventory"]
    ), what


def versions(cluster: Cluster, plural: str, since: str) -> list[Body]:
    """Every version of every object of a kind since a resourceVersion, as a watch tells them."""
    path = f"/apis/entra-access.dev/v1alpha1/{plural}?watch=1&timeoutSeconds=1&resourceVersion={since}"
    with cluster.stack.plane.client() as client:
        lines = client.get(path).raise_for_status().text.splitlines()
    seen = [line_event(line) for line in lines]
    return [body for kind, body in seen if kind in {"ADDED", "MODIFIED", "DELETED"}]


def line_event(line: str) -> tuple[str, Body]:
    """One line of a watch."""
    event: Body = json.loads(line)
    return event["type"], event["object"]


def version(cluster: Cluster) -> str:
    """The newest resourceVersion."""
    listed: Body = json.loads(
        cluster.kubectl("get", "--raw", "/apis/entra-access.dev/v1alpha1/accesspolicies")
    )
    return str(listed["metadata"]["resourceVersion"])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up without an operator."""
    cluster = Cluster(tmp_path_factory.mktemp("fresh"))
    cluster.start()
    yield cluster
    cluster.stop()


def test_before_the_operator_looks_a_resource_says_so_and_columns_fill_when_it_does(fresh: Cluster) -> None:
    """observedGeneration -1 until then; the table has the words and values that people look for."""
    who, namespace = person(fresh), fresh.namespace("blue")
    policy = Policy(fresh, "appdev", {"displayName": "Application developers", "members": [who.ref]})
    policy.apply(grants=ceiling(rules=[READ_PODS]))
    fresh.grant("work", namespace, "appdev", rules=[READ_PODS])
    for body in (fresh.get("apol", "appdev"), fresh.get("ngrant", "work", namespace)):
        assert body["status"] == {"observedGeneration": -1}
        assert "finalizers" not in body["metadata"]

    fresh.start_operator()
    policy.ready()
    grant = fresh.ready("ngrant", "work", namespace)

    table = fresh.kubectl("get", "apol,ngrant", "-A")
    assert headers(table) == [
        ["NAME", "SUBJECT", "READY", "DRIFT", "MEMBERS", "AGE"],
        ["NAMESPACE", "NAME", "POLICY", "SUBJECT", "READY", "DRIFT", "EXPIRES", "AGE"],
    ]
    rows = rows_of(table)
    assert rows[0][:5] == [
        "accesspolicy.entra-access.dev/appdev",
        "Application developers",
        "True",
        "InSync",
        "1",
    ]
    assert rows[1][:6] == [
        namespace,
        "namespacegrant.entra-access.dev/work",
        "appdev",
        "Application developers",
        "True",
        "InSync",
    ]
    wide = fresh.kubectl("get", "apol,ngrant", "-A", "-o", "wide")
    assert headers(wide) == [
        ["NAME", "SUBJECT", "READY", "DRIFT", "MEMBERS", "AGE", "KIND", "OBJECT ID", "MODE", "STATUS"],
        [
            "NAMESPACE",
            "NAME",
            "POLICY",
            "SUBJECT",
            "READY",
            "DRIFT",
            "EXPIRES",
            "AGE",
            "OBJECT ID",
            "MODE",
            "STATUS",
        ],
    ]
    for row in rows_of(wide):
        assert row[-3:-1] == [policy.group_id, "Enforce"]
    assert rows_of(wide)[0][-1] == condition_of(policy.ready(), "Ready")["message"]
    assert rows_of(wide)[1][-1] == condition_of(grant, "Ready")["message"]
    assert fresh.kubectl("get", "access", "-A", "-o", "name").split() == [
        "accesspolicy.entra-access.dev/appdev",
        "namespacegrant.entra-access.dev/work",
    ]


def headers(table: str) -> list[list[str]]:
    """The words of each header line; columns are at least two spaces apart."""
    return [cells(line) for line in table.splitlines() if line.startswith(("NAME ", "NAMESPACE "))]


def rows_of(table: str) -> list[list[str]]:
    """The cells of each line that is not a header."""
    return [
        cells(line) for line in table.splitlines() if line and not line.startswith(("NAME ", "NAMESPACE "))
    ]


def cells(line: str) -> list[str]:
    """The cells of a line."""
    return re.split(r" {2,}", line.strip())


def test_every_version_of_every_object_is_one_that_tools_understand(cluster: Cluster) -> None:
    """From creation over waiting, stalling, being mended and changed to deletion, and so for all that other
    tests left in this cluster."""
    since = version(cluster)
    who, namespace = person(cluster), cluster.namespace()
    late = cluster.unique("late")
    cluster.grant("waits", namespace, late, rules=[READ_PODS])
    cluster.azure.fault(kind="graph", status=503, count=2)
    cluster.azure.fault(kind="arm", status=503, count=2)
    policy = new_policy(
        cluster,
        who,
        clusterRoles=["view"],
        azureRoles=[{"role": AKS_USER}],
        grants=ceiling("view", rules=[READ_PODS]),
    )
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.grant("beyond", namespace, policy.name, clusterRoles=["edit"])
    policy.ready()
    cluster.ready("ngrant", "work", namespace)
    cluster.waits_for("ngrant", "beyond", "Stalled", "BeyondCeiling", namespace)
    policy.apply(group={"members": [{"user": "nobody@contoso.com"}]}, azureRoles=[{"role": "No Such Role"}])
    cluster.waits_for("apol", policy.name, "AzureRolesReady", "RoleNotFound")
    policy.update(group={"members": [who.ref]}, azureRoles=None, grants=ceiling("edit"))
    cluster.ready("ngrant", "beyond", namespace)
    Policy(cluster, late, {"displayName": late}).apply(grants=ceiling(rules=[READ_PODS]))
    cluster.ready("ngrant", "waits", namespace)
    cluster.azure.fault(kind="arm", method="GET", status=503, count=1)
    policy.delete("--timeout=20s")
    cluster.waits_for("ngrant", "work", "Ready", "PolicyDeleted", namespace)

    for plural in ("accesspolicies", "namespacegrants"):
        seen = versions(cluster, plural, since)
        assert len(seen) > 8, "the watch tells what happened"
        for body in seen:
            check_invariants(body)
        for body in cluster.list_all(plural):
            check_invariants({**body, "status": without_foreign(body["status"])})


def without_foreign(status: Body) -> Body:
    """A status without the conditions that another test put there in the name of somebody else."""
    conditions = [one for one in status.get("conditions", []) if "/" not in one["type"]]
    return status | ({"conditions": conditions} if conditions else {})


def test_the_inventory_lists_each_object_with_its_real_id_and_nothing_else(cluster: Cluster) -> None:
    """Checked against the cluster and the sandbox, before and after things were taken away."""
    policy, namespace, _ = everything(cluster)

    def check(azure: int, cluster_bindings: int) -> None:
        body = policy.ready()
        group = policy.entra()
        kubernetes = {
            ("Kubernetes", one["kind"], one["metadata"]["name"], one["metadata"]["uid"])
            for one in made_for(cluster, policy.name)
        }
        assigned = {("Azure", "RoleAssignment", a["id"]) for a in cluster.azure.assignments(group["id"])}
        assert (len(assigned), len(kubernetes)) == (azure, cluster_bindings)
        lines = body["status"]["inventory"]
        assert {
            tuple(i[k] for k in ("system", "kind", "name", "id"))
            for i in lines
            if i["system"] == "Kubernetes"
        } == kubernetes
        assert {(i["system"], i["kind"], i["id"]) for i in lines if i["system"] == "Azure"} == assigned
        assert [(i["kind"], i["name"], i["id"]) for i in lines if i["system"] == "Entra"] == [
            ("Group", group["uniqueName"], group["id"])
        ]
        assert len(lines) == 1 + azure + cluster_bindings

    check(1, 2)
    policy.update(azureRoles=None, clusterRoles=["view"])
    check(0, 1)
    status = cluster.get("ngrant", "work", namespace)["status"]
    made = {
        ("Kubernetes", one["kind"], f"{namespace}/{one['metadata']['name']}", one["metadata"]["uid"])
        for one in made_for(cluster, "work", namespace)
    }
    assert len(made) == 3
    assert {tuple(i[k] for k in ("system", "kind", "name", "id")) for i in status["inventory"]} == made


def test_subject_counts_and_effective_by(cluster: Cluster) -> None:
    """Numbers of what there is, and when caches and tokens can last have caught up with each change."""
    policy, namespace, who = everything(cluster)
    status = policy.ready()["status"]
    assert status["subject"] == {
        "kind": "Group",
        "name": policy.entra()["id"],
        "principalType": "Group",
        "objectId": policy.entra()["id"],
        "displayName": policy.name,
        "origin": "Created",
    }
    assert status["counts"] == {"members": 2, "azureRoles": 1, "clusterRoleBindings": 2}
    grant = cluster.get("ngrant", "work", namespace)["status"]
    assert grant["subject"] == status["subject"]
    assert grant["counts"] == {"roles": 1, "roleBindings": 2}

    def until(found: Body) -> timedelta:
        return datetime.fromisoformat(found["effectiveBy"]) - datetime.now(UTC)

    assert timedelta(minutes=85) < until(status) <= timedelta(minutes=90), "a token keeps its groups so long"
    assert until(grant) <= timedelta(seconds=5), "RBAC is watched by the API server itself"
    before = status["effectiveBy"]
    again = policy.update(clusterRoles=["view"])["status"]
    assert again["effectiveBy"] == before, "a shorter wait does not shorten a longer one"
    assert who.id in policy.entra()["members"]


def test_events_tell_what_was_done_to_entra_and_azure(cluster: Cluster) -> None:
    """`kubectl describe` of a policy shows them, in words that people understand."""
    policy, _, who = everything(cluster)
    policy.update(group={"members": [], "description": "new"}, azureRoles=None)
    wanted = {
        "GroupCreated": policy.name,
        "GroupUpdated": "description",
        "MembershipAdded": who.upn,
        "MembershipRemoved": who.upn,
        "RoleAssigned": AKS_USER,
        "RoleUnassigned": AKS_USER,
        "Ready": policy.name,
    }

    def told() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for kind, reason, message in events(cluster, "AccessPolicy", policy.name):
            assert kind == "Normal"
            found.setdefault(reason, []).append(message)
        return found

    eventually(lambda: told().keys() >= wanted.keys(), f"all of {sorted(wanted)}")
    for reason, word in wanted.items():
        assert any(word in message for message in told()[reason]), (reason, told())
    shown = cluster.kubectl("describe", "apol", policy.name)
    assert "GroupCreated" in shown.partition("Events:")[2]
