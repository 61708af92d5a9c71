"""What somebody must mend: Stalled, with the field's path and what to do, and it stops nothing else."""

from collections.abc import Iterator

import pytest
import yaml

from entra_sandbox import seed
from support.cluster import Cluster, eventually, running
from support.trouble import USER_ROLE, Wish, clean_log, come_right, go, groups_of, wrong

NOBODY = "99999999-9999-4999-8999-999999999999"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Whatever a person did wrong is no defect of the operator, and does not look like one in its log."""
    yield
    clean_log(shared_cluster)


def stalled(cluster: Cluster, name: str, reason: str) -> str:
    """Wait until the policy is Stalled for that reason, and so not Ready. Returns what Stalled says."""
    message = str(cluster.waits_for("apol", name, "Stalled", reason)["message"])
    ready = cluster.condition("apol", name, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    return message


def test_an_azure_role_that_does_not_exist(cluster: Cluster) -> None:
    """The field is named and the other role is assigned; with a right name all is well."""
    wish = Wish(cluster.unique("role"), azure_roles=("No Such Role", USER_ROLE))
    cluster.apply(wish.body())

    message = stalled(cluster, wish.name, "RoleNotFound")

    assert "spec.azureRoles[0].role" in message
    assert "No Such Role" in message
    served = Wish(wish.name)
    assert wrong(cluster, served) == []
    assert cluster.condition("apol", wish.name, "AzureRolesReady")["status"] == "False"
    for kind in ("SubjectReady", "MembersReady", "BindingsReady"):
        assert cluster.condition("apol", wish.name, kind)["status"] == "True"
    cluster.apply(served.body())
    come_right(cluster, served)


def test_an_azure_role_that_is_created_later_is_assigned_by_itself(cluster: Cluster) -> None:
    """Nobody has to touch the policy."""
    role = cluster.unique("Pod Restarter")
    wish = Wish(cluster.unique("later"), azure_roles=(USER_ROLE, role))
    cluster.apply(wish.body())
    assert "spec.azureRoles[1].role" in stalled(cluster, wish.name, "RoleNotFound")

    make_role(cluster, role)

    come_right(cluster, wish)


def make_role(cluster: Cluster, name: str) -> None:
    """Make an Azure role definition, as the operator's application may in the sandbox."""
    token = cluster.azure.app_token(seed.OPERATOR_CLIENT_ID, audience=cluster.azure.url)
    properties = {
        "roleName": name,
        "type": "CustomRole",
        "assignableScopes": [seed.RESOURCE_GROUP],
        "permissions": [{"actions": ["Microsoft.ContainerService/managedClusters/read"]}],
    }
    answer = cluster.azure._http.put(
        f"{seed.RESOURCE_GROUP}/providers/Microsoft.Authorization/roleDefinitions/{NOBODY}",
        json={"properties": properties},
        params={"api-version": "2022-04-01"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 201, answer.text


def test_members_and_owners_that_do_not_exist(cluster: Cluster) -> None:
    """Each is named by its path, the others are in, and it comes right by itself when they are created."""
    late, boss = f"{cluster.unique('late')}@contoso.com", f"{cluster.unique('boss')}@contoso.com"
    name = cluster.unique("members")
    group = {
        "displayName": name,
        "members": [{"user": seed.ALICE}, {"user": late}, {"group": NOBODY}],
        "owners": [{"user": seed.LEAD}, {"user": boss}],
    }
    cluster.policy(name, {"subject": {"group": group}, "clusterRoles": ["view"]})

    message = stalled(cluster, name, "MemberNotFound")

    assert f"spec.subject.group.members[1].user: there is no user {late}" in message
    assert f"spec.subject.group.members[2].group: there is no group {NOBODY}" in message
    assert f"spec.subject.group.owners[1].user: there is no user {boss}" in message
    made = cluster.group(name)
    assert made is not None
    assert (made["members"], made["owners"]) == ([seed.USER_IDS[seed.ALICE]], [seed.USER_IDS[seed.LEAD]])
    wanted = {upn: cluster.azure.add_user(upn)["id"] for upn in (late, boss)}
    cluster.azure.add_group("the nested one", id=NOBODY)

    cluster.ready("apol", name)

    made = cluster.group(name)
    assert made is not None
    assert set(made["members"]) == {seed.USER_IDS[seed.ALICE], NOBODY, wanted[late]}
    assert set(made["owners"]) == {seed.USER_IDS[seed.LEAD], wanted[boss]}


def test_a_foreign_group_of_that_name_is_left_alone(cluster: Cluster) -> None:
    """Named by its object id and not changed at all; renamed away, the policy gets a group of its own."""
    wish = Wish(cluster.unique("taken"))
    foreign = cluster.azure.add_group(wish.name, members=[seed.AKSSRE], description="ours since 2019")
    before = cluster.group(foreign["id"])
    cluster.apply(wish.body())

    message = stalled(cluster, wish.name, "GroupExists")

    assert "spec.subject.group.displayName" in message
    assert foreign["id"] in message
    assert cluster.group(foreign["id"]) == before
    assert groups_of(cluster.azure.state(), wish.name) == []
    assert cluster.azure.assignments(foreign["id"]) == []
    assert cluster.list_all("clusterrolebindings", selector=f"entra-access.dev/owner-name={wish.name}") == []
    cluster.azure.change_group(foreign["id"], displayName=f"{wish.name} of old")
    come_right(cluster, wish)
    assert cluster.group(foreign["id"])["members"] == before["members"]  # type: ignore[index]  # it is there


def test_a_foreign_group_of_that_name_stops_no_deletion(cluster: Cluster) -> None:
    """A policy that never got its group goes, and the foreign one stays as it is."""
    wish = Wish(cluster.unique("taken"))
    foreign = cluster.azure.add_group(wish.name)
    cluster.apply(wish.body())
    stalled(cluster, wish.name, "GroupExists")

    cluster.kubectl("delete", "apol", wish.name, "--wait=false")

    go(cluster, wish.name)
    assert cluster.group(foreign["id"]) is not None


def test_the_second_policy_with_one_group_waits_for_the_first(cluster: Cluster) -> None:
    """It names the first, gives nothing, and comes alive when the first is deleted."""
    first = Wish(cluster.unique("first"), display_name=cluster.unique("Shared Name"))
    second = Wish(cluster.unique("second"), display_name=first.display_name.upper(), members=(seed.AKSSRE,))
    cluster.apply(first.body())
    come_right(cluster, first)
    cluster.apply(second.body())

    message = stalled(cluster, second.name, "GroupClaimed")

    assert "spec.subject.group.displayName" in message
    assert f"AccessPolicy {first.name}" in message
    assert groups_of(cluster.azure.state(), second.name) == []
    assert wrong(cluster, first) == []
    cluster.kubectl("delete", "apol", first.name)
    come_right(cluster, second)


def test_of_policies_with_one_group_made_at_once_exactly_one_wins(cluster: Cluster) -> None:
    """However many, however quick: one group in Entra, one Ready policy, and the others name it."""
    shared = cluster.unique("Rush")
    wishes = [Wish(cluster.unique("rush"), display_name=shared) for _ in range(5)]

    cluster.apply(*(wish.body() for wish in wishes))

    def settled() -> list[str]:
        reasons = {w.name: cluster.condition("apol", w.name, "Ready").get("reason", "") for w in wishes}
        done = set(reasons.values()) == {"InPlace", "GroupClaimed"}
        return [name for name, reason in reasons.items() if reason == "InPlace"] if done else []

    winners = eventually(settled, "one is Ready and the others are Stalled")
    assert len(winners) == 1
    groups = [g for g in cluster.azure.state()["groups"] if g["displayName"] == shared]
    assert len(groups) == 1
    assert groups[0]["uniqueName"].endswith(winners[0])
    for wish in wishes:
        if wish.name != winners[0]:
            assert winners[0] in stalled(cluster, wish.name, "GroupClaimed")


def test_a_cluster_role_that_does_not_exist(cluster: Cluster) -> None:
    """The field is named, the other is bound, and it comes right as soon as the ClusterRole is there."""
    role = cluster.unique("missing-role")
    wish = Wish(cluster.unique("bind"), cluster_roles=(role, "view"))
    cluster.apply(wish.body())

    assert f"spec.clusterRoles[0]: there is no ClusterRole {role}" in stalled(
        cluster, wish.name, "ClusterRoleNotFound"
    )

    assert wrong(cluster, Wish(wish.name)) == []
    cluster.kubectl("create", "clusterrole", role, "--verb=get", "--resource=pods")
    come_right(cluster, wish)


def test_what_is_stalled_stops_nothing_else(cluster: Cluster) -> None:
    """Bad ones of all kinds and a good one in one file: the good one is Ready at once."""
    bad = [
        Wish(cluster.unique("bad"), azure_roles=("No Such Role",)),
        Wish(cluster.unique("bad"), members=("nobody-at-all@contoso.com",)),
        Wish(cluster.unique("bad"), cluster_roles=("no-such-role",)),
    ]
    good = Wish(cluster.unique("good"))

    cluster.apply(*(wish.body() for wish in (*bad, good)))

    come_right(cluster, good, seconds=10)


def test_an_operator_without_permissions_says_what_to_grant(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In Entra and in Azure; given them, it goes on by itself, without a restart."""
    with running(tmp_path_factory.mktemp("denied")) as cluster:
        roles = sorted(seed.OPERATOR_APP_ROLES)
        cluster.kill_operator()
        cluster.azure.settings(token_lifetime=2)  # so that a new token, with new permissions, is soon there
        cluster.azure.change_app(seed.OPERATOR_CLIENT_ID, appRoles=[])
        cluster.start_operator()
        wish = Wish("denied")
        cluster.apply(wish.body())

        message = cluster.waits_for("apol", "denied", "Stalled", "Denied")["message"]
        assert "grant it Group.ReadWrite.All in Entra" in message
        assert cluster.azure.state()["groups"] == []
        cluster.azure.change_app(seed.OPERATOR_CLIENT_ID, appRoles=roles)
        come_right(cluster, wish)

        assigned = cluster.azure.assignments(seed.OPERATOR_OBJECT_ID)
        for one in assigned:
            cluster.azure.unassign(one["name"])
        second = Wish("denied-2")
        cluster.apply(second.body())
        message = cluster.waits_for("apol", "denied-2", "Stalled", "Denied")["message"]
        assert "Role Based Access Control Administrator" in message
        for one in assigned:
            cluster.azure.assign(seed.OPERATOR_OBJECT_ID, one["role"], one["scope"])
        come_right(cluster, second)
        clean_log(cluster)


def test_a_spec_from_before_the_schema_is_stalled_and_keeps_what_was_given(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Where the API server let something in that cannot be used, nothing that was given is taken away."""
    with running(tmp_path_factory.mktemp("lax")) as cluster:
        wish = Wish("old")
        cluster.apply(wish.body())
        come_right(cluster, wish)
        crd = yaml.safe_load(cluster.kubectl("get", "crd", "accesspolicies.entra-access.dev", "-o", "yaml"))
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        cluster.kubectl("replace", "-f", "-", stdin=yaml.safe_dump(crd))
        change = '{"spec":{"subject":{"group":{"members":[{"device":"x"}]}}}}'
        eventually(
            lambda: "patched" in cluster.kubectl("patch", "apol", "old", "--type=merge", "-p", change),
            "the lax schema is in force",
        )

        said = stalled(cluster, "old", "InvalidSpec")

        assert "spec.subject.group.members[0]" in said
        assert wrong(cluster, wish) == []
        clean_log(cluster)
