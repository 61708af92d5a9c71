"""Every field of an AccessPolicy can be changed in place, and what is no longer asked for is taken away."""

import pytest

from entra_sandbox import seed
from support.cluster import Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    ceiling,
    condition_of,
    gets,
    last_request,
    loses,
    made_for,
    may,
    new_policy,
    person,
    writes,
)

RBAC_READER = "Azure Kubernetes Service RBAC Reader"
AKS_USER_ID = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f"
RBAC_READER_ID = "7f6c6a51-bcf8-42ba-9220-52d62157d7db"
DEFINITIONS = f"{seed.SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"


def test_a_new_display_name_renames_the_group_and_keeps_its_object_id_and_access(cluster: Cluster) -> None:
    """A rename is one update of the group; policy and grant show the new name, and nobody loses access."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(cluster, who, grants=ceiling(rules=[READ_PODS]))
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    before, since = policy.entra(), last_request(cluster)

    new = f"{policy.name} (renamed)"
    status = policy.update(group={"displayName": new})["status"]

    after = policy.entra()
    assert (after["id"], after["uniqueName"]) == (before["id"], before["uniqueName"])
    assert (after["displayName"], after["mailNickname"]) == (new, f"{policy.name}-renamed")
    assert after["members"] == [who.id]
    assert status["subject"]["displayName"] == new
    assert writes(cluster, since, before["id"]) == [f"PATCH /v1.0/groups/{before['id']}"]
    eventually(
        lambda: cluster.get("ngrant", "work", namespace)["status"]["subject"]["displayName"] == new,
        "the grant shows the group's new name",
    )
    assert may(cluster, who, "list", "pods", namespace)


def test_a_rename_to_the_name_of_another_policys_group_changes_nothing(cluster: Cluster) -> None:
    """The policy is Stalled and names the other one, and goes on showing the name that its group has."""
    first, second = new_policy(cluster), new_policy(cluster)
    first.ready()
    second.ready()

    second.apply(group={"displayName": first.name})

    said = cluster.waits_for("apol", second.name, "Stalled", "GroupClaimed")
    assert first.name in said["message"]
    nothing, moved = cluster.quiet(1.5)
    assert (nothing, moved) == ([], False)
    body = cluster.get("apol", second.name)
    assert condition_of(body, "Stalled")["reason"] == "GroupClaimed"
    assert body["status"]["subject"]["displayName"] == second.name
    assert second.entra()["displayName"] == second.name


def test_the_mail_nickname_is_set_changed_and_made_of_the_display_name_again(cluster: Cluster) -> None:
    """Without mailNickname the group has its display name as nickname."""
    policy = new_policy(cluster)
    policy.ready()
    assert policy.entra()["mailNickname"] == policy.name
    for wished, expected in (
        ("nick", "nick"),
        ("other.nick".replace(".", "_"), "other_nick"),
        (None, policy.name),
    ):
        policy.update(group={"mailNickname": wished})
        assert policy.entra()["mailNickname"] == expected


def test_the_description_is_set_changed_and_removed(cluster: Cluster) -> None:
    """A description that is no longer in the spec is emptied in Entra."""
    policy = new_policy(cluster, group={"description": "first"})
    policy.ready()
    assert policy.entra()["description"] == "first"
    for wished in ("second", None, "third"):
        policy.update(group={"description": wished})
        assert policy.entra()["description"] == wished


def test_members_come_and_go_by_name_and_by_object_id(cluster: Cluster) -> None:
    """Whoever is named may, whoever is no longer named may not; how they are named makes no difference."""
    one, two, three = person(cluster), person(cluster), person(cluster)
    namespace = cluster.namespace()
    policy = new_policy(cluster, one, two, grants=ceiling(rules=[READ_PODS]))
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, one, "list", "pods", namespace)
    assert not may(cluster, three, "list", "pods", namespace)
    since = last_request(cluster)

    status = policy.update(group={"members": [{"user": one.id.upper()}, {"user": three.id}]})["status"]

    assert sorted(policy.entra()["members"]) == sorted([one.id, three.id])
    assert status["counts"]["members"] == 2
    group = f"/v1.0/groups/{policy.group_id}"
    assert writes(cluster, since, policy.group_id) == [
        f"PATCH {group}",
        f"DELETE {group}/members/{two.id}/$ref",
    ]
    assert may(cluster, one, "list", "pods", namespace)
    assert may(cluster, three, "list", "pods", namespace)
    assert not may(cluster, two, "list", "pods", namespace)

    policy.update(group={"members": [two.ref]})
    assert policy.entra()["members"] == [two.id]
    assert may(cluster, two, "list", "pods", namespace)
    assert not may(cluster, one, "list", "pods", namespace)

    assert policy.update(group={"members": None})["status"]["counts"]["members"] == 0
    assert policy.entra()["members"] == []
    assert not may(cluster, two, "list", "pods", namespace)


def test_a_group_as_a_member_gives_access_to_those_in_it(cluster: Cluster) -> None:
    """Access goes through the nested group as long as it is named, and ends with it."""
    who, other, namespace = person(cluster), person(cluster), cluster.namespace()
    nested = cluster.azure.add_group(cluster.unique("nested"), members=[who.upn])
    policy = new_policy(cluster, other, grants=ceiling(rules=[READ_PODS]))
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, other, "list", "pods", namespace)
    assert not may(cluster, who, "list", "pods", namespace)

    policy.update(group={"members": [other.ref, {"group": nested["id"]}]})
    assert sorted(policy.entra()["members"]) == sorted([other.id, nested["id"]])
    assert may(cluster, who, "list", "pods", namespace)

    policy.update(group={"members": [other.ref]})
    assert policy.entra()["members"] == [other.id]
    assert not may(cluster, who, "list", "pods", namespace)
    survivor = cluster.group(nested["id"])
    assert survivor is not None
    assert survivor["members"] == [who.id]


def test_owners_are_added_and_replaced_and_the_last_one_stays_with_a_note(cluster: Cluster) -> None:
    """Entra keeps a group's last owner: the policy is Ready all the same, and says who stayed and why."""
    one, two, three = person(cluster, "lead"), person(cluster, "lead"), person(cluster, "lead")
    policy = new_policy(cluster, group={"owners": [one.ref]})
    policy.ready()
    assert policy.entra()["owners"] == [one.id]

    policy.update(group={"owners": [one.ref, two.ref]})
    assert sorted(policy.entra()["owners"]) == sorted([one.id, two.id])

    policy.update(group={"owners": [{"user": three.id}]})
    assert policy.entra()["owners"] == [three.id]

    body = policy.update(group={"owners": None})
    assert policy.entra()["owners"] == [three.id]
    members = condition_of(body, "MembersReady")
    assert members["status"] == "True"
    assert three.upn in members["message"]
    assert "stays" in members["message"]
    assert not condition_of(body, "Stalled")

    policy.update(group={"owners": [one.ref]})
    assert policy.entra()["owners"] == [one.id]


@pytest.mark.parametrize(
    ("membership", "stays", "missing_one_returns"),
    [("Exact", False, True), ("Additive", True, True), ("Unmanaged", True, False)],
)
def test_what_a_foreign_hand_did_to_the_members_is_undone_as_far_as_membership_says(
    cluster: Cluster, membership: str, *, stays: bool, missing_one_returns: bool
) -> None:
    """Exact takes a foreign member out, Additive and Unmanaged keep it; Unmanaged adds nobody either."""
    ours, foreign = person(cluster), person(cluster, "foreign")
    owner, foreign_owner = person(cluster, "lead"), person(cluster, "lead")
    group = {"membership": membership, "owners": [owner.ref]}
    if membership == "Unmanaged":
        policy = new_policy(cluster, group=group)
    else:
        policy = new_policy(cluster, ours, group=group)
    policy.ready()
    cluster.azure.change_group(
        policy.group_id, addMembers=[foreign.upn], removeMembers=[], addOwners=[foreign_owner.upn]
    )
    if membership != "Unmanaged":
        cluster.azure.remove_member(policy.group_id, ours.upn)

    status = policy.look_again()["status"]

    found = policy.entra()
    assert (foreign.id in found["members"]) is stays
    assert (ours.id in found["members"]) is missing_one_returns
    assert (foreign_owner.id in found["owners"]) is stays
    assert owner.id in found["owners"]
    assert status["counts"]["members"] == len(found["members"])


def test_a_change_of_membership_takes_effect_at_once(cluster: Cluster) -> None:
    """From Unmanaged over Additive to Exact and back: each does what it says with the same foreign member."""
    ours, foreign = person(cluster), person(cluster, "foreign")
    policy = new_policy(cluster, group={"membership": "Unmanaged"})
    policy.ready()
    cluster.azure.add_member(policy.group_id, foreign.upn)

    policy.update(group={"membership": "Additive", "members": [ours.ref]})
    assert sorted(policy.entra()["members"]) == sorted([ours.id, foreign.id])
    policy.update(group={"membership": "Additive", "members": None})
    assert sorted(policy.entra()["members"]) == sorted([ours.id, foreign.id])

    policy.update(group={"membership": None, "members": [ours.ref]})
    assert policy.entra()["members"] == [ours.id]

    policy.update(group={"membership": "Unmanaged", "members": None})
    assert policy.entra()["members"] == [ours.id]


def test_azure_roles_are_given_and_taken_by_name_guid_and_full_id(cluster: Cluster) -> None:
    """Each spelling gives the role at the cluster; another spelling of the same one changes nothing there."""
    policy = new_policy(cluster, azureRoles=[{"role": AKS_USER}])
    policy.ready()

    def roles() -> list[str]:
        found = cluster.azure.assignments(policy.group_id)
        assert {a["scope"] for a in found} <= {seed.CLUSTER_ID}
        return sorted(a["roleName"] for a in found)

    assert roles() == [AKS_USER]
    names = {a["name"] for a in cluster.azure.assignments(policy.group_id)}
    since = last_request(cluster)
    for spelling in (AKS_USER_ID, f"{DEFINITIONS}/{AKS_USER_ID.upper()}", AKS_USER.lower()):
        status = policy.update(azureRoles=[{"role": spelling}])["status"]
        assert {a["name"] for a in cluster.azure.assignments(policy.group_id)} == names
        assert [i["name"] for i in status["inventory"] if i["system"] == "Azure"] == [spelling]
    assert writes(cluster, since, policy.group_id) == []

    status = policy.update(azureRoles=[{"role": RBAC_READER_ID}, {"role": f"{DEFINITIONS}/{AKS_USER_ID}"}])
    assert roles() == [AKS_USER, RBAC_READER]
    assert status["status"]["counts"]["azureRoles"] == 2
    policy.update(azureRoles=[{"role": f"{DEFINITIONS}/{RBAC_READER_ID}"}])
    assert roles() == [RBAC_READER]
    done = writes(cluster, since, "roleAssignments")
    assert len([one for one in done if one.startswith("DELETE") and names & set(one.split("/"))]) == 1
    status = policy.update(azureRoles=None)
    assert roles() == []
    assert [i for i in status["status"]["inventory"] if i["system"] == "Azure"] == []


def test_cluster_roles_are_bound_and_unbound(cluster: Cluster) -> None:
    """A ClusterRoleBinding for each ClusterRole that is asked for, and for no other."""
    who = person(cluster)
    policy = new_policy(cluster, who, clusterRoles=["view"])
    policy.ready()

    def bound() -> list[str]:
        return sorted(b["roleRef"]["name"] for b in made_for(cluster, policy.name))

    assert bound() == ["view"]
    gets(cluster, who, "list", "pods")
    assert not may(cluster, who, "delete", "pods")

    assert policy.update(clusterRoles=["view", "edit"])["status"]["counts"]["clusterRoleBindings"] == 2
    assert bound() == ["edit", "view"]
    gets(cluster, who, "delete", "pods")

    policy.update(clusterRoles=["view"])
    assert bound() == ["view"]
    loses(cluster, who, "delete", "pods")
    assert may(cluster, who, "list", "pods")

    policy.update(clusterRoles=None)
    assert bound() == []
    loses(cluster, who, "list", "pods")


def test_more_members_at_once_than_entra_takes_in_one_request(cluster: Cluster) -> None:
    """Entra takes twenty in one request: forty-five come in three, and all but one leave again."""
    people = [person(cluster, "many") for _ in range(45)]
    since = last_request(cluster)
    policy = new_policy(cluster, *people)
    assert policy.ready()["status"]["counts"]["members"] == 45
    assert sorted(policy.entra()["members"]) == sorted(one.id for one in people)
    added = [one for one in writes(cluster, since, "members@odata.bind") if policy.group_id in one]
    assert len(added) == 3

    status = policy.update(group={"members": [people[7].ref]})["status"]
    assert status["counts"]["members"] == 1
    assert policy.entra()["members"] == [people[7].id]
