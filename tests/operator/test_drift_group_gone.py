"""A group or a user that another hand deletes: what can be restored is, what is gone for good is said so."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.cluster import Body, Cluster, eventually
from support.drift import at_rest, drift_of, item, quickly, states, tells, told
from support.life import (
    AKS_USER,
    READ_PODS,
    Person,
    Policy,
    ceiling,
    condition_of,
    gets,
    last_request,
    made_for,
    new_policy,
    person,
)
from support.scopes import READER, inventory, namespace_scope, personal, roles_of
from support.subjects import whom
from support.trouble import clean_log, orphans


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which it is asked every second what has changed."""
    with quickly(tmp_path_factory.mktemp("group-gone")) as cluster:
        yield cluster
        clean_log(cluster)


@dataclass
class Access:
    """A policy with a group, and a grant: all that the two give to the group."""

    cluster: Cluster
    policy: Policy
    namespace: str
    who: Person

    def bindings(self) -> list[Body]:
        """The bindings of both."""
        name, where = self.policy.name, self.namespace
        found = [*made_for(self.cluster, name), *made_for(self.cluster, "work", where)]
        return [one for one in found if "roleRef" in one]

    def uids(self) -> list[str]:
        """The identities of the bindings."""
        return sorted(one["metadata"]["uid"] for one in self.bindings())

    def bound(self) -> set[str]:
        """Whom the bindings are for."""
        return {whom(one) for one in self.bindings()}

    def roles(self, principal: str) -> list[tuple[str, str]]:
        """The Azure roles of a group."""
        return roles_of(self.cluster, principal)

    @property
    def wished_roles(self) -> list[tuple[str, str]]:
        """The Azure roles that the two give."""
        scope = self.cluster.stack.cluster_id
        return [(AKS_USER, scope), (READER, namespace_scope(self.cluster, self.namespace))]

    @property
    def group(self) -> str:
        """How drift calls the group."""
        return f"Group {self.policy.group['displayName']}"

    def is_whole(self, group_id: str) -> None:
        """All of it is there, for that group and nobody else, and works."""
        self.policy.ready()
        self.cluster.ready("ngrant", "work", self.namespace)
        eventually(lambda: self.bound() == {f"Group {group_id}"}, "the bindings are for the group")
        assert len(self.bindings()) == 3
        assert self.roles(group_id) == self.wished_roles
        group = self.policy.entra()
        assert (group["id"], group["members"]) == (group_id, [self.who.id])
        # Additions come first, so what the old group had may be taken away a moment later.
        eventually(lambda: orphans(self.cluster) == [], "nothing is left of another")
        gets(self.cluster, self.who, "list", "configmaps")
        gets(self.cluster, self.who, "list", "pods", self.namespace)


@pytest.fixture
def access(quick: Cluster) -> Access:
    """One that is in place."""
    who, namespace = person(quick), quick.namespace()
    limits = {**ceiling("edit", rules=[READ_PODS]), "azureRoles": [READER]}
    policy = new_policy(quick, who, clusterRoles=["view"], azureRoles=[{"role": AKS_USER}], grants=limits)
    quick.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["edit"], azureRoles=[READER])
    found = Access(quick, policy, namespace, who)
    policy.ready()
    found.is_whole(policy.group_id)
    return found


def test_a_deleted_group_is_restored_with_its_id(access: Access) -> None:
    """So every binding and assignment stays as it is, and works again."""
    group_id, uids = access.policy.group_id, access.uids()
    names = sorted(one["name"] for one in access.cluster.azure.assignments(group_id))

    access.cluster.azure.delete_group(group_id)

    back = item("Entra", access.group, "", "present", "deleted", "Corrected")
    body = tells(access.cluster, access.policy.name, "InSync", back)
    access.is_whole(group_id)
    assert access.uids() == uids
    assert sorted(one["name"] for one in access.cluster.azure.assignments(group_id)) == names
    assert body["status"]["drift"]["corrected"] == 1
    messages = eventually(lambda: told(access.cluster, access.policy.name), "an event")
    assert messages == [f"{access.group} was deleted; it is present again"]
    at_rest(access.cluster)


def test_a_group_that_is_gone_for_good_is_made_anew_and_all_moves_to_it(access: Access) -> None:
    """What the policy and the grant give is given to the new group, nothing stays behind, and it is said."""
    before = access.policy.group_id

    access.cluster.azure.purge_group(before)

    back = item("Entra", access.group, "", "present", "deleted for good", "Corrected")
    body = tells(access.cluster, access.policy.name, "InSync", back)
    after = access.policy.group_id
    assert after != before
    access.is_whole(after)
    assert access.roles(before) == []
    messages = eventually(lambda: told(access.cluster, access.policy.name), "an event")
    moved = "there is a new one, and all bindings and assignments move to it"
    assert messages == [f"{access.group} was deleted for good; {moved}"]
    body = access.policy.ready()
    assert before not in str(body["status"]["inventory"])
    assert len(inventory(body)) == 1
    grant = access.cluster.get("ngrant", "work", access.namespace)
    assert grant["status"]["subject"]["objectId"] == after
    assert len(inventory(grant)) == 1
    assert grant["status"]["drift"].get("items", []) == [], "its own things are as they were made"
    at_rest(access.cluster)


def moves(access: Access) -> list[Body]:
    """What there is to do besides making the group anew."""
    role = f"RoleAssignment {AKS_USER} at {access.cluster.stack.cluster_id.rpartition('/')[2]}"
    binding = next(one for one in access.bindings() if "namespace" not in one["metadata"])
    words = f"ClusterRoleBinding {binding['metadata']['name']}"
    subject = f"Group {access.cluster.get('apol', access.policy.name)['status']['subject']['objectId']}"
    return [
        item("Entra", access.group, "members", access.who.upn, f"not {access.who.upn}", "Reported"),
        item("Azure", role, "", "present", "absent", "Reported"),
        item("Azure", role, "", "absent", "present", "Reported"),
        item("Kubernetes", words, "subjects", "Group not made yet", subject, "Reported"),
    ]


@pytest.mark.parametrize("purge", [False, True], ids=["deleted", "gone for good"])
def test_who_observes_lets_a_deleted_group_be(access: Access, *, purge: bool) -> None:
    """It is told of, nothing is made or taken away, and the access is said to be missing."""
    group_id, uids = access.policy.group_id, access.uids()
    access.policy.update(mode="Observe")
    since = last_request(access.cluster)

    access.cluster.azure.delete_group(group_id, purge=purge)

    found = "deleted for good" if purge else "deleted"
    gone = item("Entra", access.group, "", "present", found, "Reported")
    body = tells(access.cluster, access.policy.name, "Drifted", gone, *(moves(access) if purge else ()))
    assert states(body, "Ready", "Drifted") == [("False", "ObserveOnly"), ("True", "Observed")]
    at_rest(access.cluster)
    assert access.cluster.azure.journal(since=since, write=True) == []
    assert access.uids() == uids

    access.policy.apply(mode="Enforce")
    tells(access.cluster, access.policy.name, "InSync", {**gone, "action": "Corrected"})
    access.is_whole(access.policy.group_id)
    assert (access.policy.group_id == group_id) is not purge


def ready_group(policy: Policy) -> str:
    """The object id of its group."""
    policy.ready()
    return policy.group_id


def test_several_groups_in_one_round(quick: Cluster) -> None:
    """Each of them is put right and told of where it belongs; the others are left alone."""
    policies = [new_policy(quick, person(quick)) for _ in range(5)]
    ids = {one.name: ready_group(one) for one in policies}
    one, two, three, four, five = policies
    stranger = person(quick, "stranger")

    quick.azure.delete_group(ids[one.name])
    quick.azure.purge_group(ids[two.name])
    quick.azure.add_member(ids[three.name], stranger.id)
    quick.azure.change_group(ids[four.name], displayName="renamed")

    def words(policy: Policy) -> str:
        return f"Group {policy.name}"

    tells(quick, one.name, "InSync", item("Entra", words(one), "", "present", "deleted", "Corrected"))
    tells(
        quick, two.name, "InSync", item("Entra", words(two), "", "present", "deleted for good", "Corrected")
    )
    gone = item("Entra", words(three), "members", f"not {stranger.upn}", stranger.upn, "Corrected")
    tells(quick, three.name, "InSync", gone)
    tells(
        quick,
        four.name,
        "InSync",
        item("Entra", words(four), "displayName", four.name, "renamed", "Corrected"),
    )
    assert drift_of(quick, five.name).get("items") is None
    assert {p.name: p.group_id for p in policies if p is not two} == {
        name: one for name, one in ids.items() if name != two.name
    }


def test_a_subject_who_is_disabled_is_warned_of(quick: Cluster) -> None:
    """The access stays as it is asked for, and is Ready; enabled again, nothing is said any more."""
    policy = personal(quick, clusterRoles=["view"])
    policy.ready()

    quick.azure.disable_user(policy.who.id)

    said = policy.says("Warning", "UserDisabled")
    assert policy.who.upn in said["message"]
    body = policy.ready()
    assert states(body, "Stalled", "Drifted") == [("", ""), ("", "")]
    assert condition_of(body, "Ready")["message"].endswith("see condition Warning")
    eventually(lambda: told(quick, policy.name, "UserDisabled"), "an event tells of it")
    at_rest(quick)

    quick.azure.disable_user(policy.who.id, disabled=False)
    eventually(lambda: not condition_of(policy.ready(), "Warning"), "it is not warned of any more")


def test_a_subject_who_is_deleted_is_said_to_be_missing(quick: Cluster) -> None:
    """Somebody must say who it is then; what was given to them stays as it was."""
    policy = personal(quick, clusterRoles=["view"], azureRoles=[{"role": AKS_USER}])
    policy.ready()
    roles = policy.roles()

    quick.azure.delete_user(policy.who.id)

    said = policy.says("Stalled", "SubjectNotFound")
    assert said["message"].startswith("spec.subject.user.userPrincipalName: ")
    assert policy.roles() == roles
    assert len([one for one in made_for(quick, policy.name) if "roleRef" in one]) == 1
    at_rest(quick)


def test_a_subject_who_becomes_a_guest_is_refused(quick: Cluster) -> None:
    """Kubernetes knows guests by object id, so the name stands for nobody there."""
    policy = personal(quick, clusterRoles=["view"])
    policy.ready()

    quick.azure.change_user(policy.who.id, userType="Guest")

    said = policy.says("Stalled", "GuestUser")
    assert f"use user: {{objectId: {policy.who.id}}}" in said["message"]
    at_rest(quick)


def test_a_member_who_is_disabled_is_warned_of(quick: Cluster) -> None:
    """By the rounds, although nothing about the group has changed; and no more when that is over."""
    policy = new_policy(quick, who := person(quick), person(quick))
    policy.ready()

    quick.azure.disable_user(who.id)

    said = quick.waits_for("apol", policy.name, "Warning", "UserDisabled")
    assert said["message"].startswith("spec.subject.group.members[0].user: ")
    assert who.upn in said["message"]
    policy.ready()
    at_rest(quick)

    quick.azure.disable_user(who.id, disabled=False)
    eventually(lambda: not condition_of(policy.ready(), "Warning"), "it is not warned of any more")


@pytest.mark.parametrize("purge", [False, True], ids=["can be restored", "for good"])
def test_a_member_who_is_deleted_is_said_to_be_missing(quick: Cluster, *, purge: bool) -> None:
    """The others stay, and the field is named, by the rounds: Entra tells of no change of the group.

    As soon as somebody of that name is there again, all is well.
    """
    gone, stays = person(quick), person(quick)
    policy = new_policy(quick, gone, stays)
    policy.ready()

    quick.azure.delete_user(gone.id, purge=purge)

    said = quick.waits_for("apol", policy.name, "Stalled", "MemberNotFound")
    assert said["message"].startswith("spec.subject.group.members[0].user: ")
    at_rest(quick)
    assert policy.entra()["members"] == [stays.id]

    new = str(quick.azure.add_user(gone.upn)["id"])
    policy.ready()
    assert sorted(policy.entra()["members"]) == sorted([stays.id, new])


@pytest.mark.parametrize("membership", ["Additive", "Unmanaged"])
def test_members_of_others_are_no_drift_where_they_may_be_there(quick: Cluster, membership: str) -> None:
    """Whom another hand has put in stays and is not told of, and nothing is written but their number."""
    who, stranger = person(quick), person(quick, "stranger")
    members: Body = {"members": [who.ref]} if membership == "Additive" else {}
    policy = new_policy(quick, group={"membership": membership, **members})
    policy.ready()
    since = last_request(quick)

    quick.azure.change_group(policy.group_id, addMembers=[stranger.id])

    number = 2 if membership == "Additive" else 1
    eventually(
        lambda: quick.get("apol", policy.name)["status"]["counts"]["members"] == number, "it is counted"
    )
    assert quick.azure.journal(since=since, write=True) == []
    assert stranger.id in policy.entra()["members"]
    body = policy.ready()
    assert body["status"]["drift"]["state"] == "InSync"
    assert "items" not in body["status"]["drift"]
    at_rest(quick)


def test_in_additive_who_was_taken_out_comes_back(quick: Cluster) -> None:
    """Nobody is removed, but whoever is wished for is a member."""
    who, other = person(quick), person(quick)
    policy = new_policy(quick, who, other, group={"membership": "Additive"})
    policy.ready()
    stranger = person(quick, "stranger")

    quick.azure.change_group(policy.group_id, addMembers=[stranger.id], removeMembers=[who.id])

    back = item("Entra", f"Group {policy.name}", "members", who.upn, f"not {who.upn}", "Corrected")
    tells(quick, policy.name, "InSync", back)
    assert sorted(policy.entra()["members"]) == sorted([who.id, other.id, stranger.id])
