"""An operator that was started to observe: it writes nothing but statuses, whatever the policies say."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, eventually, running
from support.life import condition_of, gets, last_request, loses, may, patch, person
from support.scopes import READER, at, namespace_scope, personal
from support.trouble import RBAC, clean_log
from support.watching import (
    Team,
    drift_of,
    in_rbac,
    is_reported,
    is_still,
    new_team,
    write_requests,
    written_by_us,
)

FINALIZER = "entra-access.dev/cleanup"
EVE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve@contoso.com"}
START = "started with --observe"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up whose operator is started in other ways."""
    folder = tmp_path_factory.mktemp("observe-all")
    with running(folder, ENTRA_ACCESS_SWEEP_SECONDS="1", ENTRA_ACCESS_RESYNC_SECONDS="1") as cluster:
        yield cluster
        clean_log(cluster)


@pytest.fixture
def set_up(own: Cluster) -> Iterator[Cluster]:
    """That set-up with an operator that was started as usual, before and after."""
    yield own
    restart(own)


def restart(cluster: Cluster, *arguments: str, **settings: str) -> None:
    """Stop the operator, and start another one."""
    assert cluster.operator is not None
    cluster.operator.stop(10)
    cluster.start_operator(*arguments, **settings)


def enforced_team(cluster: Cluster) -> Team:
    """A policy that says Enforce itself, and a grant, in place."""
    team = new_team(cluster, mode="Enforce")
    team.both_ready()
    return team


def test_nothing_is_put_right_and_nothing_made_until_it_is_started_as_usual(set_up: Cluster) -> None:
    """What another hand did stays, what is new waits, and each says what to do; then all of it is done."""
    old = enforced_team(set_up)
    world = old.world()
    gets(set_up, old.who, "get", "secrets", old.namespace)
    restart(set_up, "--observe")
    old.comes_to("Observe")
    since, asked = last_request(set_up), write_requests(set_up, status=False)
    before = in_rbac(set_up)

    patch(
        set_up, "rolebinding", old.binding()["metadata"]["name"],
        [{"op": "replace", "path": "/subjects", "value": [EVE]}], "-n", old.namespace,
    )  # fmt: skip
    set_up.azure.add_member(old.policy.group_id, "lead@contoso.com")
    new = new_team(set_up, mode="Enforce")
    said = set_up.waits_for("apol", new.policy.name, "Stalled", "ObserveOnly")["message"]
    eventually(lambda: is_reported(old.ngrant()) and is_reported(old.apol()), "the drift is reported")

    assert f"create group {new.policy.name}" in said
    assert START in said
    assert "Enforce" not in said, "to set the mode would not help"
    assert START in condition_of(old.ngrant(), "Ready")["message"]
    assert condition_of(old.apol(), "Ready")["status"] == "True", "a member more takes nothing away"
    for body in (new.apol(), new.ngrant(), old.apol(), old.ngrant()):
        assert body["status"]["mode"] == "Observe"
    for body in (new.apol(), new.ngrant()):
        assert written_by_us(body) == {"status"}
        assert "finalizers" not in body["metadata"]
    is_still(set_up, 3.0)
    assert set_up.azure.journal(since=since, write=True) == []
    assert _by_others(asked, write_requests(set_up, status=False)) == []
    after = in_rbac(set_up)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    theirs = f"{RBAC}/rolebindings/{old.namespace}/{old.binding()['metadata']['name']}"
    assert changed == {theirs}, "only what the test itself wrote"
    assert not may(set_up, old.who, "get", "secrets", old.namespace)

    restart(set_up)

    new.both_ready()
    old.both_ready()
    eventually(lambda: old.world() == world, "it is as it was")
    assert [one["action"] for one in drift_of(old.ngrant())["items"]] == ["Corrected"]
    gets(set_up, old.who, "get", "secrets", old.namespace)
    gets(set_up, new.who, "get", "secrets", new.namespace)


def _by_others(before: list[str], after: list[str]) -> list[str]:
    """The kinds of writes that were asked for since, but for those of the test: kubectl's own."""
    ours = ('verb="APPLY"', 'verb="PUT"', 'verb="DELETE"')
    return [line for line in set(after) - set(before) if any(verb in line for verb in ours)]


def test_what_is_deleted_meanwhile_is_held_and_goes_later(set_up: Cluster) -> None:
    """The policy and a grant with Azure roles stay, with all that they made, and say why."""
    team = enforced_team(set_up)
    limits = {"namespaces": {}, "azureRoles": [READER]}
    other = personal(set_up, azureRoles=[at("Azure Kubernetes Service Cluster User Role")], grants=limits)
    set_up.grant("azure", team.namespace, other.name, azureRoles=[READER])
    set_up.ready("ngrant", "azure", team.namespace)
    counts = team.apol()["status"]["counts"]
    world, group = team.world(), team.policy.group_id
    restart(set_up, "--observe")
    team.comes_to("Observe")

    set_up.kubectl("delete", "apol", team.policy.name, "--wait=false")
    set_up.kubectl("delete", "ngrant", "azure", "-n", team.namespace, "--wait=false")

    said = set_up.waits_for("apol", team.policy.name, "Ready", "ReadOnly")
    assert said["status"] == "False"
    assert said["message"].startswith("to be deleted, but")
    assert START in said["message"]
    set_up.waits_for("ngrant", "azure", "Ready", "ReadOnly", team.namespace)
    is_still(set_up, 3.0, looked="")
    assert team.world() == world
    apol = team.apol()
    assert apol["metadata"]["finalizers"] == [FINALIZER]
    assert apol["status"]["counts"] == counts
    assert condition_of(apol, "BindingsReady")["message"] == "1 ClusterRoleBinding"
    assert condition_of(apol, "MembersReady")["message"] == "1 member"
    assert [one["kind"] for one in apol["status"]["inventory"]].count("RoleAssignment") == 1
    scope = namespace_scope(set_up, team.namespace)
    assert [one["roleName"] for one in set_up.azure.assignments(scope=scope)] == [READER]
    gets(set_up, team.who, "get", "secrets", team.namespace)

    restart(set_up)

    set_up.kubectl("wait", "--for=delete", f"apol/{team.policy.name}", "--timeout=30s")
    set_up.kubectl("wait", "--for=delete", "ngrant/azure", "-n", team.namespace, "--timeout=30s")
    assert set_up.group(group) is None
    assert set_up.azure.assignments(group) == []
    assert set_up.azure.assignments(scope=scope) == []
    assert team.cluster_binding() == {}
    eventually(lambda: (team.role(), team.binding()) == ({}, {}), "the grant gives nothing any more")
    loses(set_up, team.who, "get", "secrets", team.namespace)


def test_the_mode_that_policies_have_by_default_is_a_setting(set_up: Cluster) -> None:
    """A policy that says nothing is as the operator was started; what a policy says counts more."""
    restart(set_up, ENTRA_ACCESS_MODE="observe")
    quiet, loud = new_team(set_up), new_team(set_up, mode="Enforce")

    loud.both_ready()
    said = set_up.waits_for("apol", quiet.policy.name, "Stalled", "ObserveOnly")["message"]

    assert "set spec.mode of the policy to Enforce" in said
    quiet.comes_to("Observe")
    assert set_up.group(quiet.policy.name) is None
    assert loud.apol()["status"]["mode"] == "Enforce"
    head, line = set_up.kubectl("get", "apol", quiet.policy.name, "-o", "wide").splitlines()
    assert line[head.index("MODE") :].startswith("Observe ")

    restart(set_up)
    quiet.both_ready()
    assert quiet.apol()["status"]["mode"] == "Enforce"


def test_a_mode_that_is_none_is_refused_at_the_door(own: Cluster) -> None:
    """With the field and the values that it can have."""
    who = person(own)
    body = (
        '{"apiVersion": "entra-access.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "bad"},'
        f' "spec": {{"subject": {{"user": {{"userPrincipalName": "{who.upn}"}}}}, "mode": "observe"}}}}'
    )
    said = own.refused("create", "-f", "-", stdin=body)
    assert "spec.mode" in said
    assert '"Enforce", "Observe"' in said
