"""Observed: what is not as it should be is told, and only the status is written, until it is enforced."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from support.cluster import Body, Cluster, eventually, running
from support.life import (
    ALL_CORE,
    MANAGED_BY,
    READ_PODS,
    ceiling,
    condition_of,
    gets,
    last_request,
    loses,
    may,
    person,
)
from support.subjects import direct
from support.trouble import clean_log
from support.watching import (
    Team,
    drift_of,
    in_rbac,
    is_reported,
    is_still,
    new_team,
    written_by_us,
)

FINALIZER = "entra-access.dev/cleanup"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which everything is looked at again and again."""
    folder = tmp_path_factory.mktemp("observe")
    with running(folder, ENTRA_ACCESS_SWEEP_SECONDS="1", ENTRA_ACCESS_RESYNC_SECONDS="1") as cluster:
        yield cluster
        clean_log(cluster)


@pytest.fixture
def team(watched: Cluster) -> Team:
    """A policy and a grant that were made, and are observed now."""
    team = new_team(watched)
    team.both_ready()
    gets(watched, team.who, "get", "secrets", team.namespace)
    team.set_mode("Observe")
    return team


def test_what_is_observed_from_the_start_is_not_made_until_it_is_enforced(watched: Cluster) -> None:
    """Nothing is written but status and events: no finalizer, no group, no role, no binding."""
    since, before = last_request(watched), in_rbac(watched)
    team = new_team(watched, mode="Observe")
    stalled = watched.waits_for("apol", team.policy.name, "Stalled", "ObserveOnly")["message"]

    for missing in (
        f"create group {team.policy.name}",
        f"add members {team.who.upn}",
        "assign Azure role Azure Kubernetes Service Cluster User Role",
        f"create ClusterRoleBinding entra-access-{team.policy.name}",
    ):
        assert missing in stalled
    assert "set spec.mode of the policy to Enforce" in stalled
    ready = watched.condition("apol", team.policy.name, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ObserveOnly")
    waiting = watched.waits_for("ngrant", "work", "Ready", "SubjectNotReady", team.namespace)
    assert waiting["status"] == "False"
    is_still(watched, 3.0)

    apol, ngrant = team.apol(), team.ngrant()
    for one in (apol, ngrant):
        assert "finalizers" not in one["metadata"]
        assert written_by_us(one) == {"status"}
        assert one["status"]["mode"] == "Observe"
        assert one["status"]["inventory"] == []
    assert "subject" not in apol["status"]
    assert drift_of(apol)["state"] == "Drifted"
    assert {one["action"] for one in drift_of(apol)["items"]} == {"Reported"}
    assert is_reported(apol)
    assert len(team.told(apol, "Observed")) == 1
    assert watched.azure.journal(since=since, write=True) == []
    assert in_rbac(watched) == before
    assert (watched.group(team.policy.name), team.role(), team.binding()) == (None, {}, {})

    team.policy.apply(mode="Enforce")

    team.both_ready()
    gets(watched, team.who, "get", "secrets", team.namespace)
    apol = team.apol()
    assert apol["metadata"]["finalizers"] == [FINALIZER]
    assert apol["status"]["mode"] == "Enforce"
    drift = drift_of(apol)
    assert (drift["state"], drift["corrected"], drift.get("items")) == ("InSync", 0, None), "it was no drift"
    assert not condition_of(apol, "Drifted")


def test_a_grant_whose_subject_is_there_says_itself_what_is_missing(watched: Cluster) -> None:
    """The group is somebody's, so there is somebody to give to; without an edit it gives when enforced."""
    who, namespace = person(watched), watched.namespace()
    group = str(watched.azure.add_group(watched.unique("theirs"), members=[who.id])["id"])
    subject = {"existingGroup": {"objectId": group}}
    policy = direct(watched, subject, mode="Observe", grants=ceiling("view", rules=[READ_PODS]))
    watched.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])

    said = watched.waits_for("ngrant", "work", "Stalled", "ObserveOnly", namespace)["message"]

    policy.ready()
    for missing in (f"create Role {namespace}/work-rules", f"create RoleBinding {namespace}/work-"):
        assert missing in said
    ready = watched.condition("ngrant", "work", "Ready", namespace)
    assert (ready["status"], ready["reason"]) == ("False", "ObserveOnly")
    assert watched.condition("ngrant", "work", "BindingsReady", namespace)["status"] == "False"
    assert watched.get("ngrant", "work", namespace)["status"]["counts"] == {"roles": 0, "roleBindings": 0}
    is_still(watched, 2.0)
    assert not may(watched, who, "list", "pods", namespace)

    policy.apply(mode="Enforce")
    watched.ready("ngrant", "work", namespace)
    gets(watched, who, "list", "pods", namespace)
    assert watched.get("ngrant", "work", namespace)["metadata"]["generation"] == 1


# What other hands do, and what is said of it


@dataclass(frozen=True)
class Case:
    """An edit by another hand. `owner` is whose status tells of it; `keeps`: the access still works."""

    edit: Callable[[Team], object]
    owner: str
    system: str
    field: str
    found: str
    by: str = ""
    keeps: bool = False


def edited(kind: str, name: Callable[[Team], Body], *operations: Body) -> Callable[[Team], object]:
    """As `kubectl edit` does it."""

    def edit(team: Team) -> None:
        meta = name(team)["metadata"]
        where = ("-n", meta["namespace"]) if "namespace" in meta else ()
        change = ("--type=json", "-p", json.dumps(operations), "--field-manager=kubectl-edit")
        team.cluster.kubectl("patch", kind, meta["name"], *change, *where)

    return edit


def deleted(kind: str, name: Callable[[Team], Body]) -> Callable[[Team], object]:
    """As `kubectl delete` does it."""

    def delete(team: Team) -> None:
        meta = name(team)["metadata"]
        where = ("-n", meta["namespace"]) if "namespace" in meta else ()
        team.cluster.kubectl("delete", kind, meta["name"], *where)

    return delete


def unassigned(team: Team) -> None:
    """Take the policy's Azure role away."""
    (assigned,) = team.cluster.azure.assignments(team.policy.group_id)
    team.cluster.azure.unassign(assigned["name"])


def op(kind: str, path: str, value: Any = None) -> Body:
    """One operation of a JSON patch."""
    return {"op": kind, "path": path, "value": value}


EVE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve@contoso.com"}
MARK = f"/metadata/labels/{MANAGED_BY.replace('/', '~1')}"
FEWER = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
CASES = {
    "a member more": Case(
        lambda team: team.cluster.azure.add_member(team.policy.group_id, "lead@contoso.com"),
        "policy", "Entra", "members", "lead@contoso.com", keeps=True,
    ),
    "another name of the group": Case(
        lambda team: team.cluster.azure.change_group(team.policy.group_id, displayName="elsewhere"),
        "policy", "Entra", "displayName", "elsewhere", keeps=True,
    ),
    "another label": Case(
        edited("rolebinding", Team.binding, op("replace", MARK, "other")),
        "grant", "Kubernetes", f"metadata.labels[{MANAGED_BY}]", "other", "kubectl-edit", keeps=True,
    ),
    "a subject more": Case(
        edited("rolebinding", Team.binding, op("add", "/subjects/-", EVE)),
        "grant", "Kubernetes", "subjects", "User eve@contoso.com", "kubectl-edit", keeps=True,
    ),
    "a rule more": Case(
        edited("role", Team.role, op("add", "/rules/-", ALL_CORE)),
        "grant", "Kubernetes", "rules", '"verbs": ["*"]', "kubectl-edit", keeps=True,
    ),
    "another subject": Case(
        edited("rolebinding", Team.binding, op("replace", "/subjects", [EVE])),
        "grant", "Kubernetes", "subjects", "User eve@contoso.com", "kubectl-edit",
    ),
    "other rules": Case(
        edited("role", Team.role, op("replace", "/rules", FEWER)),
        "grant", "Kubernetes", "rules", "configmaps", "kubectl-edit",
    ),
    "the binding deleted": Case(
        deleted("rolebinding", Team.binding), "grant", "Kubernetes", "", "deleted",
    ),
    "the policy's binding deleted": Case(
        deleted("clusterrolebinding", Team.cluster_binding), "policy", "Kubernetes", "", "deleted",
    ),
    "a member less": Case(
        lambda team: team.cluster.azure.remove_member(team.policy.group_id, team.who.id),
        "policy", "Entra", "members", "not ",
    ),
    "the role assignment deleted": Case(unassigned, "policy", "Azure", "", "deleted"),
    "the group deleted": Case(
        lambda team: team.cluster.azure.delete_group(team.policy.group_id),
        "policy", "Entra", "", "deleted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_another_hand_does_is_told_and_left_until_it_is_enforced(team: Team, name: str) -> None:
    """What, how it was found, by whom and since when; Ready says whether the access works."""
    case, began = CASES[name], datetime.now(UTC).replace(microsecond=0)
    body = team.apol if case.owner == "policy" else team.ngrant
    before = team.world()
    case.edit(team)
    edited_world = team.world()

    eventually(lambda: is_reported(body()), "the drift is reported")

    (item,) = (one for one in drift_of(body()).get("items", ()) if case.found in one["found"])
    assert (item["system"], item.get("field", ""), item["action"]) == (case.system, case.field, "Reported")
    assert item["expected"] != item["found"]
    assert item.get("changedBy", "") == case.by
    assert datetime.fromisoformat(item["since"]) >= began
    assert drift_of(body())["state"] == "Drifted"
    assert item["object"] in condition_of(body(), "Drifted")["message"]
    ready = condition_of(body(), "Ready")
    assert (ready["status"], ready["reason"]) == (
        ("True", "InPlace") if case.keeps else ("False", "ObserveOnly")
    )
    assert bool(condition_of(body(), "Stalled")) is not case.keeps
    assert not condition_of(body(), "Reconciling"), "nothing passes by itself here"
    assert len(eventually(lambda: team.told(body(), "Observed"), "an event tells of it")) == 1
    is_still(team.cluster, 2.0, looked="" if case.keeps else "graph")
    assert team.world() == edited_world, "it was left as it is"

    team.policy.apply(mode="Enforce")

    eventually(lambda: team.world() == before, "it is as it was")
    team.both_ready()
    drift = drift_of(body())
    assert drift["state"] == "InSync"
    assert not condition_of(body(), "Drifted")
    assert drift["corrected"] >= 1
    assert {one["action"] for one in drift["items"]} == {"Corrected"}
    told = ("object", "field", "found")
    assert [item.get(key) for key in told] in [[one.get(key) for key in told] for one in drift["items"]]
    gets(team.cluster, team.who, "get", "secrets", team.namespace)


def test_a_wish_that_comes_while_it_is_observed_is_told_and_waits(team: Team) -> None:
    """What is asked for anew is missing; what is asked for no more is still there."""
    team.policy.apply(clusterRoles=["view", "edit"], azureRoles=None)
    name = team.policy.name

    stalled = team.cluster.waits_for("apol", name, "Stalled", "ObserveOnly")["message"]

    assert f"create ClusterRoleBinding entra-access-{name}" in stalled
    found = {(one["system"], one["expected"], one["found"]) for one in drift_of(team.apol())["items"]}
    assert found == {("Kubernetes", "present", "absent"), ("Azure", "absent", "present")}
    is_still(team.cluster, 2.0)
    assert len(team.cluster.azure.assignments(team.policy.group_id)) == 1
    team.policy.update(mode="Enforce")
    assert team.cluster.azure.assignments(team.policy.group_id) == []
    assert drift_of(team.apol())["corrected"] == 0, "a new wish is no drift"


def test_several_at_once_stay_told_and_still(team: Team) -> None:
    """Each has its own line and keeps its time; each that comes gives one more event, and then peace."""
    for name in ("a member more", "another name of the group", "the policy's binding deleted"):
        CASES[name].edit(team)
        eventually(lambda found=CASES[name].found: _told(team, found), f"{name} is told")  # type: ignore[misc]
    items = drift_of(team.apol())["items"]
    assert len(items) == 3
    assert 1 <= len(team.told(team.apol(), "Observed")) <= 3
    is_still(team.cluster, 8.0)
    assert drift_of(team.apol())["items"] == items


def _told(team: Team, found: str) -> list[Body]:
    """The policy's drift in which that was found."""
    return [one for one in drift_of(team.apol()).get("items", ()) if found in one["found"]]


def test_an_observed_policy_that_is_deleted_takes_all_that_it_made(team: Team) -> None:
    """To delete it is to say so: bindings, the grant's too, role assignments, and the group."""
    group = team.policy.group_id
    team.policy.delete("--timeout=20s")
    assert team.cluster.group(group) is None
    assert team.cluster.azure.assignments(group) == []
    assert team.cluster_binding() == {}
    eventually(lambda: (team.role(), team.binding()) == ({}, {}), "the grant gives nothing any more")
    loses(team.cluster, team.who, "get", "secrets", team.namespace)
