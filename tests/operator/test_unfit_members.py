"""One member that cannot be had, now or ever, keeps nobody else out of a group, and nobody in it."""

from typing import Any

from support.cluster import Body, Cluster, eventually
from support.life import Policy, gets, loses, new_policy, person
from support.subjects import application, direct

MEMBERS = "spec.subject.group.members"


def with_members(cluster: Cluster, *members: Body) -> Policy:
    """Apply a policy with such members, without waiting."""
    return new_policy(cluster, group={"members": list(members)}, clusterRoles=["view"])


def has(policy: Policy, *ids: str) -> None:
    """Wait until these are the members of its group."""
    eventually(lambda: set(policy.entra()["members"]) == set(ids), "the group has these members")


def mail_group(cluster: Cluster, **fields: Any) -> str:
    """A group that Entra takes into no security group. Returns its object id."""
    values = {"securityEnabled": False, "mailEnabled": True, **fields}
    return str(cluster.azure.add_group(cluster.unique("mail"), **values)["id"])


def test_a_group_without_security_is_refused_by_its_field(cluster: Cluster) -> None:
    """A distribution list, and a Microsoft 365 group; the crowd goes in and out beside them."""
    one, two = person(cluster), person(cluster)
    unified = mail_group(cluster, securityEnabled=True, groupTypes=["Unified"])
    policy = with_members(cluster, one.ref, {"group": mail_group(cluster)}, {"group": unified}, two.ref)

    message = cluster.waits_for("apol", policy.name, "Stalled", "NotASecurityGroup")["message"]

    assert message.startswith(f"{MEMBERS}[1].group: the group mail-")
    assert f"{MEMBERS}[2].group: the group mail-" in message
    has(policy, one.id, two.id)
    policy.apply(group={"members": [one.ref, {"group": unified}]})
    has(policy, one.id)
    loses(cluster, two, "list", "pods")
    policy.update(group={"members": [one.ref]})


def test_one_that_entra_refuses_is_named_by_its_id_and_the_rest_goes_in(cluster: Cluster) -> None:
    """What the plan cannot know: another policy uses a Microsoft 365 group, which may be given access."""
    people = [person(cluster) for _ in range(21)]
    unified = mail_group(cluster, securityEnabled=True, groupTypes=["Unified"])
    other = direct(cluster, {"existingGroup": {"objectId": unified}})
    other.ready()
    policy = with_members(cluster, {"policy": other.name}, *(who.ref for who in people))

    message = cluster.waits_for("apol", policy.name, "Stalled", "Rejected")["message"]

    assert f"will not add members to the group: {unified};" in message
    has(policy, *(who.id for who in people))
    policy.update(group={"members": [who.ref for who in people]})


def test_people_leave_while_applications_may_not_be_added(cluster: Cluster) -> None:
    """The permission that is missing is for applications alone."""
    one, two, robot = person(cluster), person(cluster), application(cluster)
    policy = with_members(cluster, one.ref, two.ref, {"servicePrincipal": robot.upn})
    cluster.waits_for("apol", policy.name, "Stalled", "Denied")
    has(policy, one.id, two.id)
    gets(cluster, two, "list", "pods")

    policy.apply(group={"members": [one.ref, {"servicePrincipal": robot.upn}]})

    has(policy, one.id)
    loses(cluster, two, "list", "pods")
    cluster.waits_for("apol", policy.name, "Stalled", "Denied")
    policy.update(group={"members": [one.ref]})


def test_people_leave_while_the_group_of_a_policy_is_awaited(cluster: Cluster) -> None:
    """A group stays meanwhile: it may be the awaited one."""
    one, two = person(cluster), person(cluster)
    theirs = cluster.azure.add_group(cluster.unique("theirs"))["id"]
    policy = with_members(cluster, one.ref, two.ref, {"group": theirs})
    policy.ready()

    policy.apply(group={"members": [one.ref, {"policy": cluster.unique("nobody")}]})

    has(policy, one.id, theirs)
    loses(cluster, two, "list", "pods")
    cluster.waits_for("apol", policy.name, "Reconciling", "PolicyNotFound")
    policy.update(group={"members": [one.ref]})
    has(policy, one.id)
