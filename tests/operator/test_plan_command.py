"""`entra-access plan`: what the operator would do for some files. It writes nothing; then that is done."""

from pathlib import Path

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually
from support.life import AKS_USER, READ_PODS, ceiling, patch, person
from support.plans import (
    Said,
    Team,
    as_logged,
    command,
    findings,
    in_place,
    logged,
    namespace,
    plan,
    settle,
    team,
    working,
    write,
)
from support.scopes import at, operator_may

RBAC_API = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def teams(still: Cluster) -> list[Team]:
    """Two more teams, which tests change."""
    return settle(still, 2)


# What the plan says is done


def then_done(cluster: Cluster, said: Said, team: Team, *bodies: Body) -> None:
    """Apply the files, let the operator run, and compare what it did with what was said."""
    told = {name: as_logged(value) for name, value in said.values.items() if value["changes"]}
    cluster.apply(*bodies)
    with working(cluster) as log:
        eventually(lambda: logged(log.read_text()) == told, "it has done what was said")
        in_place(cluster, team)
        eventually(lambda: cluster.quiet(1.0) == ([], False), "it has come to rest")
    assert logged(log.read_text()) == told, "and nothing else"
    again = plan(cluster, *bodies)
    assert ([one["changes"] for one in again.values.values()], again.code) == ([[]] * len(again.values), 0)


def test_what_is_new_is_told_and_then_made(still: Cluster) -> None:
    """A policy, its grant and their namespace in one pull request; the group's id is not known yet."""
    new, far = team(still), seed.OTHER_RESOURCE_GROUP
    roles = [{"role": AKS_USER}, at("Reader", far)]
    files = (namespace(new.namespace), new.policy(azureRoles=roles, rules=[READ_PODS]), new.grant())

    with operator_may(still, far):
        said = command(still, *files)

        assert_new(said, new, far)
        then_done(still, said, new, *files)


def assert_new(said: Said, new: Team, far: str) -> None:
    """All that both ask for is to be made, in order."""
    assert said.code == 2
    policy, grant = (said.values[name] for name in new.names)
    texts = [one["text"] for one in policy["changes"]]
    assert texts[:4] == [
        f"create group {new.name}",
        f"add {new.who.upn} to the members of group {new.name}",
        f"add {new.lead.upn} to the owners of group {new.name}",
        f"assign Azure role {AKS_USER} at aks-demo",
    ]
    assert texts[-1] == f"assign Azure role Reader at resourceGroup {far.rpartition('/')[2]}"
    assert findings(policy) == ["CreatingGroup"]
    assert {one["action"] for one in (*policy["changes"], *grant["changes"])} == {"create"}
    assert len(policy["changes"]) == 8, "two bindings and a ClusterRole more"
    assert [one["object"].partition(" ")[0] for one in grant["changes"]] == [
        "Role", "RoleBinding", "RoleBinding", "RoleAssignment",
    ]  # fmt: skip
    assert findings(grant) == ["SubjectNotReady"]
    assert "objectId" not in grant["subject"]


def test_an_edited_file_is_told_and_then_done(still: Cluster, teams: list[Team]) -> None:
    """Members, roles, bindings and names, each way."""
    edited, newcomer = teams[0], person(still)
    files = (
        edited.policy(newcomer, azureRoles=[{"role": "Reader"}], clusterRoles=["edit"]),
        edited.grant(rules=[{**READ_PODS, "verbs": ["get"]}], azureRoles=[], clusterRoles=["edit", "view"]),
    )

    said = plan(still, *files)

    assert said.code == 2
    policy, grant = (said.values[name] for name in edited.names)
    assert {(one["action"], one["text"].partition("entra-access")[0]) for one in policy["changes"]} == {
        ("create", "assign Azure role Reader at aks-demo"),
        ("create", f"add {newcomer.upn} to the members of group {edited.name}"),
        ("create", "create ClusterRoleBinding "),
        ("delete", "delete ClusterRoleBinding "),
        ("delete", f"remove {edited.who.upn} from the members of group {edited.name}"),
        ("delete", f"remove assignment of Azure role {AKS_USER} at aks-demo"),
    }
    told = [one for one in grant["changes"] if one["field"] == "rules"]
    assert [(one["action"], one["object"]) for one in told] == [
        ("update", f"Role {edited.namespace}/work-rules")
    ]
    assert told[0]["text"].startswith(f"Role {edited.namespace}/work-rules: rules is ")
    assert len(grant["changes"]) == 3
    then_done(still, said, edited, *files)


def test_a_policy_that_comes_back_is_told_with_what_follows_its_group(still: Cluster) -> None:
    """The deleted group is restored and given all. Who is in it nobody can know before."""
    back = settle(still, 1)[0]
    group = still.group(back.name)
    assert group is not None
    with working(still):
        still.kubectl("delete", "ngrant", "work", "-n", back.namespace)
        still.kubectl("delete", "apol", back.name)
    assert still.group(back.name) is None
    files = (back.policy(), back.grant())

    said = plan(still, *files)

    assert said.code == 2
    policy, grant = (said.values[name] for name in back.names)
    texts = said.texts(back.names[0])
    assert texts[0] == f"restore deleted group {back.name} ({group['id']})"
    assert f"assign Azure role {AKS_USER} at aks-demo" in texts
    assert not [text for text in texts if "members" in text or "owners" in text]
    assert policy["subject"]["objectId"] == group["id"]
    then = (
        "members and owners that the policy does not name leave it then, "
        "and whoever the policy names and is missing is added then"
    )
    assert [one["message"] for one in policy["findings"]] == [
        f"who is in group {back.name} is known when it is restored: {then}"
    ]
    assert findings(grant) == ["SubjectNotReady"]
    assert {one["action"] for one in grant["changes"]} == {"create"}
    assert len(grant["changes"]) == 4
    renamed = {**files[0]["spec"]["subject"]["group"], "displayName": f"{back.name}-again"}
    texts = plan(still, back.policy(subject={"group": renamed})).texts(back.names[0])
    assert f"Group {back.name}-again: displayName is {back.name}, and will be {back.name}-again" in texts
    then_done(still, said, back, *files)


def test_drift_is_told_with_who_did_it_and_then_put_right(still: Cluster, teams: list[Team]) -> None:
    """In all three systems, while no operator runs."""
    drifted = teams[1]
    where, files = ("-n", drifted.namespace), (drifted.policy(), drifted.grant())
    group = still.group(drifted.name)
    assert group is not None
    binding = next(
        one["metadata"]["name"]
        for one in still.list_all("rolebindings", drifted.namespace)
        if one["roleRef"]["name"] == "edit"
    )
    intruder = person(still, "intruder")
    subject = {"apiGroup": RBAC_API, "kind": "User", "name": intruder.upn}
    patch(still, "rolebinding", binding, [{"op": "add", "path": "/subjects/-", "value": subject}], *where)
    still.kubectl("delete", "role", "work-rules", *where)
    still.azure.add_member(group["id"], intruder.id)
    [assigned] = still.azure.assignments(group["id"], seed.CLUSTER_ID)
    still.azure.unassign(assigned["name"])

    said = plan(still, *files)

    assert said.code == 2
    policy, grant = (said.values[name] for name in drifted.names)
    assert sorted(one["text"] for one in policy["changes"]) == [
        f"assign Azure role {AKS_USER} at aks-demo, which was deleted",
        f"remove {intruder.upn} from the members of group {drifted.name}",
    ]
    [deleted, changed] = sorted(grant["changes"], key=lambda one: str(one["action"]))
    assert deleted["text"] == f"create Role {drifted.namespace}/work-rules, which was deleted"
    assert (changed["field"], changed["changedBy"]) == ("subjects", "kubectl-patch")
    assert changed["found"] == f"Group {group['id']}, User {intruder.upn}"
    assert changed["expected"] == f"Group {group['id']}"
    then_done(still, said, drifted, *files)


# What there is to read


def test_in_words(still: Cluster, settled: Team) -> None:
    """A headline for each resource, a line for each change with its sign."""
    files = (settled.policy(clusterRoles=["view", "none"]), settled.grant(clusterRoles=[]))
    said = plan(still, *files, as_json=False)
    policy, grant = said.out.rstrip("\n").split("\n\n")
    assert policy == (
        f"AccessPolicy {settled.name}: nothing can be done\n"
        "  stalled: spec.clusterRoles[1]: there is no ClusterRole none; create it or correct the name"
    )
    headline, change = grant.splitlines()
    assert headline == f"NamespaceGrant {settled.namespace}/work: 1 change"
    assert change.startswith(f"  - delete RoleBinding {settled.namespace}/work-")
    assert (said.code, said.err) == (1, "")


def test_nothing_to_do_is_exit_code_0(still: Cluster, settled: Team) -> None:
    """As a program: nothing is on stderr either."""
    said = command(still, settled.policy(), settled.grant(), as_json=False)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [f"{settled.names[0]}: no changes", "", f"{settled.names[1]}: no changes"]


def test_several_files_and_other_kinds_in_them(still: Cluster, settled: Team, tmp_path: Path) -> None:
    """A repository holds more than ours: that is said on stderr, and is no error."""
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    policy = write(tmp_path, "policy.yaml", namespace(settled.namespace), web, settled.policy())
    grant = write(tmp_path, "grant.yaml", settled.grant())
    said = plan(still, files=(policy, grant))
    assert (said.code, list(said.values)) == (0, list(settled.names))
    assert said.err.splitlines() == [f"entra-access: {policy}: of no concern here: Deployment"]


def test_grants_that_are_not_in_the_files_and_would_change_are_told_of(still: Cluster, settled: Team) -> None:
    """A ceiling that comes down changes nothing of the policy, and takes access from its teams."""
    said = plan(still, settled.policy(grants=ceiling("view")))
    policy, grant = (said.values[name] for name in settled.names)
    assert (policy["changes"], policy["inFiles"], grant["inFiles"]) == ([], True, False)
    assert {one["action"] for one in grant["changes"]} == {"delete"}
    assert findings(grant) == ["BeyondCeiling"]
    assert said.code == 2


def test_in_mode_observe_it_is_said_that_nothing_is_done(still: Cluster, settled: Team) -> None:
    files = (settled.policy(mode="Observe", clusterRoles=["edit"]), settled.grant(clusterRoles=[]))
    said = plan(still, *files, as_json=False)
    headlines = [line for line in said.out.splitlines() if line and not line.startswith(" ")]
    assert headlines == [
        f"{settled.names[0]}: 2 changes; none is made, because mode is Observe",
        f"{settled.names[1]}: 1 change; none is made, because mode is Observe",
    ]
    assert said.code == 2
    # That of the operator, where the policy gives none.
    environment = {"ENTRA_ACCESS_MODE": "observe"}
    by_default = plan(still, settled.policy(), environment=environment)
    assert by_default.values[settled.names[0]]["mode"] == "Observe"


def test_without_anything_of_ours_there_is_nothing_to_do(still: Cluster) -> None:
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    said = plan(still, web)
    assert (said.code, said.out) == (0, "[]\n")
