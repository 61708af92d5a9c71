"""What people see of a resource: conditions that tools understand, columns, inventory, counts, events."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually
from support.life import (
    READ_PODS,
    Person,
    Policy,
    ceiling,
    condition_of,
    events,
    made_for,
    new_policy,
    patch,
    person,
)

CLUSTER_USER = "Azure Kubernetes Service Cluster User Role"
CHAIN: Final = {
    "AccessPolicy": {"SubjectReady", "MembersReady", "AzureRolesReady", "BindingsReady"},
    "NamespaceGrant": {"PolicyReady", "WithinCeiling", "BindingsReady"},
}
REASON = re.compile(r"[A-Z][A-Za-z0-9]*")


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
    assert CHAIN[body["kind"]] | {"Ready"} <= conditions.keys(), what
    assert conditions.keys() <= CHAIN[body["kind"]] | {"Ready", "Reconciling", "Stalled"}, what
    for one in conditions.values():
        assert one["status"] in {"True", "False", "Unknown"}, what
        assert REASON.fullmatch(one["reason"]), what
        assert one["message"], what
        assert one["observedGeneration"] == observed, what
        assert datetime.fromisoformat(one["lastTransitionTime"]), what
    for abnormal in ("Reconciling", "Stalled"):
        assert conditions.get(abnormal, {"status": "True"})["status"] == "True", what
    well = not conditions.keys() & {"Reconciling", "Stalled"}
    assert (conditions["Ready"]["status"] == "True") is well, what
    links = {conditions[link]["status"] for link in CHAIN[body["kind"]]}
    assert (links == {"True"}) is well, what
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
        ["NAMESPACE", "NAME", "POLICY", "SUBJECT", "READY", "DRIFT", "AGE"],
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
        ["NAME", "SUBJECT", "READY", "DRIFT", "MEMBERS", "AGE", "OBJECT ID", "STATUS"],
        ["NAMESPACE", "NAME", "POLICY", "SUBJECT", "READY", "DRIFT", "AGE", "OBJECT ID", "STATUS"],
    ]
    for row in rows_of(wide):
        assert row[-2] == policy.group_id
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
        azureRoles=[{"role": CLUSTER_USER}],
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
    cluster.waits_for("ngrant", "work", "Ready", "PolicyNotFound", namespace)

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


def everything(cluster: Cluster) -> tuple[Policy, str, Person]:
    """A policy and a grant that make one or two of each kind of thing. Returns them and a member."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(
        cluster,
        who,
        person(cluster),
        clusterRoles=["view", "edit"],
        azureRoles=[{"role": CLUSTER_USER}],
        grants=ceiling("view", rules=[READ_PODS]),
    )
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    policy.ready()
    return policy, namespace, who


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
    """Numbers of what there is; and when caches and tokens can last have caught up, for each kind of change."""
    policy, namespace, who = everything(cluster)
    status = policy.ready()["status"]
    assert status["subject"] == {
        "kind": "Group",
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
        "RoleAssigned": CLUSTER_USER,
        "RoleUnassigned": CLUSTER_USER,
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


def settled(body: Body) -> Body:
    """A status without what may differ when it is written anew: times, and the history of drift."""
    status = dict(body["status"])
    for key, time in (("conditions", "lastTransitionTime"), ("inventory", "since")):
        lines = ({k: v for k, v in one.items() if k != time} for one in status.get(key, ()))
        status[key] = sorted(lines, key=str)
    state = status.pop("drift", {}).get("state")
    return {k: v for k, v in status.items() if k != "effectiveBy"} | {"state": state}


LIES: Final[dict[str, list[Body]]] = {
    "all of it removed": [{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}],
    "conditions removed": [{"op": "remove", "path": "/status/conditions"}],
    "a condition turned": [{"op": "replace", "path": "/status/conditions/0/status", "value": "False"}],
    "a subject that is another": [
        {"op": "replace", "path": "/status/subject/objectId", "value": seed.USER_IDS[seed.ALICE]}
    ],
    "an inventory without anything": [{"op": "replace", "path": "/status/inventory", "value": []}],
    "other counts": [
        {"op": "add", "path": "/status/counts/azureRoles", "value": 7},
        {"op": "add", "path": "/status/counts/madeUp", "value": 7},
    ],
    "a made-up Stalled": [
        {
            "op": "add",
            "path": "/status/conditions/-",
            "value": {
                "type": "Stalled",
                "status": "True",
                "reason": "MadeUp",
                "message": "not true",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            },
        }
    ],
    "another drift state": [{"op": "replace", "path": "/status/drift/state", "value": "Drifted"}],
}


@pytest.mark.parametrize("kind", ["apol", "ngrant"])
def test_a_status_edited_by_hand_is_written_anew(cluster: Cluster, kind: str) -> None:
    """Whatever was removed from it or falsely put there: it says what is so, and nothing was done to what it
    speaks of."""
    policy, namespace, _ = everything(cluster)
    name, where = (policy.name, ()) if kind == "apol" else ("work", ("-n", namespace))
    group = policy.entra()

    def now() -> Body:
        return settled(cluster.get(kind, name, namespace if where else None))

    true = now()
    wrong = []
    for lie, change in LIES.items():
        if kind == "ngrant" and lie == "other counts":
            change = [{"op": "add", "path": "/status/counts/madeUp", "value": 7}]  # noqa: PLW2901
        patch(cluster, kind, name, change, "--subresource=status", *where)
        try:
            eventually(lambda: now() == true, f"the status says what is so after: {lie}", seconds=5)
        except AssertionError:
            wrong.append(lie)
            mend(cluster, kind, name, where)
            eventually(lambda: now() == true, "the status is as it was", seconds=10)
    assert wrong == []
    assert policy.entra() == group
    assert len(cluster.azure.assignments(group["id"])) == 1


def mend(cluster: Cluster, kind: str, name: str, where: tuple[str, ...]) -> None:
    """Begin with an empty status again, as if the operator had never looked."""
    empty = [{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}]
    patch(cluster, kind, name, empty, "--subresource=status", *where)


def test_conditions_of_others_are_left_alone(cluster: Cluster) -> None:
    """A condition that another controller put on our object stays through later writes of the status."""
    policy, _, _ = everything(cluster)
    theirs = {
        "type": "example.com/Reviewed",
        "status": "True",
        "reason": "Approved",
        "message": "by the security team",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    change = [{"op": "add", "path": "/status/conditions/-", "value": theirs}]
    patch(cluster, "apol", policy.name, change, "--subresource=status")
    _, moved = cluster.quiet(1.0)
    assert not moved
    body = policy.update(clusterRoles=["view"])
    assert condition_of(body, "example.com/Reviewed") == theirs
    assert condition_of(body, "Ready")["status"] == "True"


def test_the_time_of_a_condition_moves_only_with_its_status(cluster: Cluster) -> None:
    """An edit that changes nothing about a condition leaves its lastTransitionTime as it was."""
    policy, _, _ = everything(cluster)
    before = {one["type"]: one for one in policy.ready()["status"]["conditions"]}
    aged = [{**one, "lastTransitionTime": "2026-01-01T00:00:00Z"} for one in before.values()]
    change = [{"op": "replace", "path": "/status/conditions", "value": aged}]
    patch(cluster, "apol", policy.name, change, "--subresource=status")

    after = policy.update(clusterRoles=["view"])["status"]["conditions"]
    assert {one["lastTransitionTime"] for one in after} == {"2026-01-01T00:00:00Z"}
    policy.apply(azureRoles=[{"role": "No Such Role"}])
    cluster.waits_for("apol", policy.name, "Stalled", "RoleNotFound")
    found = cluster.get("apol", policy.name)
    for moved in ("Ready", "AzureRolesReady"):
        assert condition_of(found, moved)["lastTransitionTime"] > "2026-01-01T00:00:00Z"
    assert condition_of(found, "SubjectReady")["lastTransitionTime"] == "2026-01-01T00:00:00Z"
