"""Members who would leave although nobody asked for it: more than half of them wait for a person."""

import re
import shlex
from collections.abc import Iterator

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import AKS_USER, Person, Policy, gets, last_request, new_policy, person
from support.scopes import at, roles_of
from support.subjects import Direct, application, direct
from support.trouble import clean_log
from support.watching import in_the_rounds

APPROVE = "entra-access.dev/approve-removals"
WAITS = "RemovalsNeedApproval"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def look(policy: Policy | Direct) -> None:
    """Have the operator look now, without an edit of the spec."""
    nudge = f"example.com/nudge={policy.cluster.unique('nudge')}"
    policy.cluster.kubectl("annotate", "apol", policy.name, "--overwrite", nudge)


def members(policy: Policy) -> list[str]:
    """The object ids of those in the policy's group, in an order that tells nothing."""
    return sorted(policy.entra()["members"])


def ids(*people: Person) -> list[str]:
    """Their object ids, likewise."""
    return sorted(one.id for one in people)


def replaced(cluster: Cluster, who: Person) -> Person:
    """Rename a user, and give the name to a new one. Returns the new one."""
    cluster.azure.change_user(who.upn, userPrincipalName=f"{cluster.unique('was')}@contoso.com")
    return Person(who.upn, str(cluster.azure.add_user(who.upn)["id"]))


def waits(policy: Policy | Direct, *says: str) -> str:
    """Wait until the policy is Stalled for an approval, saying this too. Returns what it says."""

    def told() -> str:
        said: Body = policy.cluster.waits_for("apol", policy.name, "Stalled", WAITS)
        return str(said["message"]) if all(one in said["message"] for one in says) else ""

    return eventually(told, f"it waits for an approval and says {says}")


def approve(cluster: Cluster, said: str) -> None:
    """Run the command that a message prints, as it is printed."""
    found = re.search(r"if that is right: kubectl (annotate [^;]*)", said)
    assert found is not None, said
    cluster.kubectl(*shlex.split(found[1]))


def restarted(cluster: Cluster) -> None:
    """Another operator starts in the place of the one that runs."""
    assert cluster.operator is not None
    cluster.operator.stop(10)
    cluster.start_operator()


# What goes at once


def test_whom_others_added_leaves_at_once(cluster: Cluster) -> None:
    """However many: nobody but the operator puts anybody in."""
    stays, strangers = person(cluster), [person(cluster, "stranger") for _ in range(4)]
    policy = new_policy(cluster, stays)
    policy.ready()
    cluster.azure.add_member(policy.group_id, *(one.id for one in strangers))

    look(policy)

    eventually(lambda: members(policy) == [stays.id], "they leave")
    policy.ready()


def test_whom_an_edit_takes_out_leaves_at_once(cluster: Cluster) -> None:
    """All of them: that is what the edit says."""
    policy = new_policy(cluster, *(person(cluster) for _ in range(3)))
    policy.ready()

    policy.update(group={"members": []})

    assert members(policy) == []


def test_half_of_them_leave_at_once(cluster: Cluster) -> None:
    """One of two names stands for somebody else: that happens, and the other one is who it was."""
    stays, goes = person(cluster), person(cluster)
    policy = new_policy(cluster, stays, goes)
    policy.ready()
    new = replaced(cluster, goes)

    look(policy)

    eventually(lambda: members(policy) == ids(stays, new), "the new one comes, the old one goes")
    policy.ready()


def test_users_who_are_made_anew_are_members_at_once(cluster: Cluster) -> None:
    """Entra itself has taken the deleted ones out, so nobody is left who could wait."""
    old = [person(cluster) for _ in range(3)]
    policy = new_policy(cluster, *old)
    policy.ready()
    for one in old:
        cluster.azure.delete_user(one.upn)
    new = [Person(one.upn, str(cluster.azure.add_user(one.upn)["id"])) for one in old]

    look(policy)

    eventually(lambda: members(policy) == ids(*new), "the new ones are in")
    policy.ready()


# What waits


def test_more_than_half_wait_until_the_printed_command_is_run(cluster: Cluster) -> None:
    """Also over a restart. The approval is for these alone: others wait for one of their own."""
    old = [person(cluster) for _ in range(3)]
    policy = new_policy(cluster, *old, clusterRoles=["view"])
    policy.ready()
    in_the_rounds(cluster, policy.group_id)  # or it is looked at between two of them
    new = [replaced(cluster, one) for one in old[:2]]

    look(policy)

    said = waits(policy, "2 of 3 members would leave, although the spec has not changed: ")
    assert said.startswith("spec.subject.group.members: ")
    eventually(lambda: members(policy) == ids(*old, *new), "nobody leaves, whoever is wished for comes")
    restarted(cluster)
    look(policy)
    since = last_request(cluster)
    eventually(lambda: cluster.azure.journal(since=since, path_regex=f"{policy.group_id}/members"), "looked")
    assert waits(policy) == said
    assert members(policy) == ids(*old, *new)
    assert cluster.quiet(2.5)[0] == []

    approve(cluster, said)

    eventually(lambda: members(policy) == ids(old[2], *new), "they leave")
    policy.ready()
    more = [replaced(cluster, one) for one in (*new, old[2])]
    look(policy)
    assert waits(policy, "3 of ") != said
    assert set(ids(old[2], *new, *more)) == set(members(policy))
    approve(cluster, waits(policy))
    eventually(lambda: members(policy) == ids(*more), "they leave too")
    policy.ready()


def test_an_approval_of_a_generation_is_for_that_spec(cluster: Cluster) -> None:
    """Whatever it is that is to go; with the next edit of the spec it is over."""
    old = [person(cluster) for _ in range(2)]
    policy = new_policy(cluster, *old)
    generation = policy.ready()["metadata"]["generation"]
    in_the_rounds(cluster, policy.group_id)  # or it is looked at between two of them
    new = [replaced(cluster, one) for one in old]
    look(policy)
    waits(policy)

    cluster.kubectl("annotate", "apol", policy.name, f"{APPROVE}={generation}")

    eventually(lambda: members(policy) == ids(*new), "they leave")
    policy.ready()
    policy.update(clusterRoles=["view"])
    newest = [replaced(cluster, one) for one in new]
    look(policy)
    waits(policy)
    assert members(policy) == ids(*new, *newest)


def test_a_new_spec_is_no_approval(cluster: Cluster) -> None:
    """An edit of something else lets nobody leave; one that takes the wish for them back does."""
    old = [person(cluster) for _ in range(3)]
    policy = new_policy(cluster, *old)
    policy.ready()
    in_the_rounds(cluster, policy.group_id)  # or it is looked at between two of them
    new = [replaced(cluster, one) for one in old]
    look(policy)
    waits(policy)

    policy.apply(clusterRoles=["view"])

    waits(policy)
    assert set(ids(*old)) <= set(members(policy))
    policy.update(group={"members": [new[0].ref]})
    assert members(policy) == ids(new[0])


def test_owners_wait_too(cluster: Cluster) -> None:
    """They are told by their own field."""
    old = [person(cluster) for _ in range(2)]
    policy = new_policy(cluster, person(cluster), group={"owners": [one.ref for one in old]})
    policy.ready()
    in_the_rounds(cluster, policy.group_id)  # or it is looked at between two of them
    new = [replaced(cluster, one) for one in old]

    look(policy)

    said = waits(policy, "2 of 2 owners would leave")
    assert said.startswith("spec.subject.group.owners: ")
    assert sorted(policy.entra()["owners"]) == ids(*old, *new)
    approve(cluster, said)
    eventually(lambda: sorted(policy.entra()["owners"]) == ids(*new), "they leave")


def test_another_group_of_another_policy_waits(cluster: Cluster) -> None:
    """The policy that is a member has another subject: its former group does not leave unasked."""
    groups = [cluster.azure.add_group(cluster.unique("theirs"))["id"] for _ in range(2)]
    inner = direct(cluster, {"existingGroup": {"objectId": groups[0]}})
    inner.ready()
    policy = new_policy(cluster, group={"members": [{"policy": inner.name}]})
    policy.ready()
    assert members(policy) == [groups[0]]

    inner.update(subject={"existingGroup": {"objectId": groups[1]}})

    said = waits(policy, "1 of 1 members would leave")
    assert members(policy) == sorted(groups)
    approve(cluster, said)
    eventually(lambda: members(policy) == [groups[1]], "the former one leaves")
    policy.ready()


def test_nobody_leaves_while_names_cannot_be_looked_up(cluster: Cluster) -> None:
    """Approved or not: a look-up that fails tells nothing of who somebody is now."""
    old = [person(cluster) for _ in range(3)]
    policy = new_policy(cluster, *old)
    generation = policy.ready()["metadata"]["generation"]
    for one in old:
        cluster.azure.change_user(one.upn, userPrincipalName=f"{cluster.unique('was')}@contoso.com")
    users = "^/v1.0/users/(?!delta)"
    cluster.azure.fault(kind="graph", path_regex=users, status=503, count=None)

    cluster.kubectl("annotate", "apol", policy.name, f"{APPROVE}={generation}")

    assert "503" in cluster.waits_for("apol", policy.name, "Reconciling", "Unavailable")["message"]
    since = last_request(cluster)
    eventually(lambda: cluster.azure.journal(since=since, path_regex=users), "it was tried again")
    assert members(policy) == ids(*old)


# The subject itself


@pytest.mark.parametrize("seen", [False, True], ids=["at once", "after it was missed"])
@pytest.mark.parametrize("kind", ["user", "application"])
def test_a_subject_that_is_another_object_gets_nothing_unasked(
    cluster: Cluster, kind: str, *, seen: bool
) -> None:
    """Azure roles stay with the old one, over a restart, until somebody says that it is right.

    A binding by name gives the new one access, so it goes; by object id it gives nobody anything.
    """
    if kind == "user":
        old = person(cluster)
        subject: Body = {"user": {"userPrincipalName": old.upn}}
    else:
        old = application(cluster)
        subject = {"servicePrincipal": {"appId": old.upn}}
    policy = direct(cluster, subject, azureRoles=[at(AKS_USER)], clusterRoles=["view"])
    policy.ready()
    bound, here = policy.bound(), [(AKS_USER, cluster.stack.cluster_id)]
    delete = cluster.azure.delete_user if kind == "user" else cluster.azure.delete_app
    delete(old.upn)
    if seen:
        look(policy)
        policy.stalled("SubjectNotFound")

    made = (
        cluster.azure.add_user(old.upn)
        if kind == "user"
        else cluster.azure.add_app(cluster.unique("app"), appId=old.upn)
    )
    look(policy)

    said = waits(policy, f"({made['id']}")
    assert said.startswith("spec.subject.")
    restarted(cluster)
    look(policy)
    assert waits(policy) == said
    assert (roles_of(cluster, old.id), roles_of(cluster, made["id"])) == (here, [])
    assert policy.bound() == ([] if kind == "user" else bound)
    approve(cluster, said)
    policy.ready()
    assert (roles_of(cluster, old.id), roles_of(cluster, made["id"])) == ([], here)
    assert policy.subject()["objectId"] == made["id"]
    if kind == "user":
        gets(cluster, Person(old.upn, made["id"]), "list", "pods")
    else:
        assert policy.bound() == [("view", f"User {made['id']}")]


def test_a_subject_that_an_edit_changes_moves_at_once(cluster: Cluster) -> None:
    """Another name is another wish, also while the one before waited for an approval."""
    old, other = person(cluster), person(cluster)
    policy = direct(cluster, {"user": {"userPrincipalName": old.upn}}, azureRoles=[at(AKS_USER)])
    policy.ready()
    replaced(cluster, old)
    look(policy)
    waits(policy)

    policy.update(subject={"user": {"userPrincipalName": other.upn}})

    assert roles_of(cluster, old.id) == []
    assert len(roles_of(cluster, other.id)) == 1
