"""Role assignments and custom roles that are there already: they count, are taken over, and survive."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from entra_sandbox import seed
from entra_sandbox.hands import Hands
from support.adopting import kept
from support.cluster import Body, Cluster, eventually
from support.drift import item, tells
from support.life import AKS_USER, ceiling, gets, last_request, loses, may, person
from support.scopes import (
    PLAIN_READER,
    PODS,
    READER,
    WRITER,
    Administrator,
    Personal,
    administrator,
    arm_writes,
    at,
    custom_role,
    has,
    namespace_scope,
    operator_may,
    personal,
    roles_of,
)
from support.trouble import clean_log

CONNECT = at(AKS_USER)
FAR = seed.OTHER_RESOURCE_GROUP
CONDITION = "((!(ActionMatches{'Microsoft.ContainerService/managedClusters/pods/read'})))"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def lines(body: Body, kind: str = "RoleAssignment") -> dict[str, str]:
    """The inventory's lines of a kind: the last part of the id, with the origin."""
    found = [one for one in body["status"]["inventory"] if one["kind"] == kind]
    return {one["id"].rpartition("/")[2]: one.get("origin", "") for one in found}


def names(cluster: Cluster, principal: str) -> list[str]:
    """The names of somebody's role assignments."""
    return [one["name"] for one in cluster.azure.assignments(principal)]


def entry(cluster: Cluster, name: str) -> Body:
    """The role assignment of that name, as the sandbox has it."""
    (found,) = [one for one in cluster.azure.assignments() if one["name"] == name]
    return found


def with_theirs(cluster: Cluster, role: str = READER, scope: str = "", **fields: Any) -> tuple[Personal, str]:
    """A policy that may adopt and does not ask for a role yet, which its person has by another hand.

    Returns it with the name of that assignment.
    """
    policy = personal(cluster, azureRoles=[CONNECT], adoptionPolicy="Always")
    policy.ready()
    where = scope or cluster.stack.cluster_id
    name = cluster.azure.assign(policy.who.upn, role, where, **fields)["name"]
    cluster.quiet(0.7)  # until the last list is too old to be used again
    return policy, name


# Role assignments


@pytest.mark.parametrize(
    ("adoption", "origin"), [("Never", None), ("IfIdentical", "Adopted"), ("Always", "Adopted")]
)
def test_an_assignment_by_another_name_counts_and_survives(
    cluster: Cluster, adoption: str, origin: str | None
) -> None:
    """Nothing is written to Azure; with the policy only its own goes."""
    policy, theirs = with_theirs(cluster)
    since = last_request(cluster)

    found = policy.update(azureRoles=[CONNECT, at(READER)], adoptionPolicy=adoption)

    assert lines(found).get(theirs) == origin
    assert found["status"]["counts"]["azureRoles"] == 2
    assert found["status"]["drift"]["state"] == "InSync"
    assert arm_writes(cluster, since) == []
    gets(cluster, policy.who, "list", "pods")
    policy.delete()
    assert names(cluster, policy.who.id) == [theirs]
    assert may(cluster, policy.who, "list", "pods")
    if origin:
        told = kept(cluster, "AccessPolicy", policy.name)
        assert theirs in told
        assert AKS_USER not in told


def test_a_role_that_is_no_longer_wished_for_is_taken_away_though_adopted(cluster: Cluster) -> None:
    """What a policy looks after follows its spec; with Never, the other hand's assignment stays."""
    policy, theirs = with_theirs(cluster)
    other, foreign = with_theirs(cluster)
    other.update(azureRoles=[CONNECT, at(READER)], adoptionPolicy="Never")
    policy.update(azureRoles=[CONNECT, at(READER)])

    found = policy.update(azureRoles=[CONNECT])
    other.update(azureRoles=[CONNECT])

    assert theirs not in names(cluster, policy.who.id)
    assert theirs not in lines(found)
    loses(cluster, policy.who, "list", "pods")
    assert foreign in names(cluster, other.who.id)


def test_what_was_adopted_once_stays_so_when_the_policy_adopts_no_more(cluster: Cluster) -> None:
    """The edit takes nothing away and gives nothing anew, and the assignment survives the policy."""
    policy, theirs = with_theirs(cluster)
    policy.update(azureRoles=[CONNECT, at(READER)])
    since = last_request(cluster)

    found = policy.update(adoptionPolicy="Never")
    policy.look_again()

    policy.ready()
    assert arm_writes(cluster, since) == []
    assert lines(found)[theirs] == "Adopted"
    policy.delete()
    assert names(cluster, policy.who.id) == [theirs]


@pytest.mark.parametrize("adoption", ["Never", "IfIdentical"])
def test_an_assignment_under_a_condition_is_warned_of(cluster: Cluster, adoption: str) -> None:
    """It may give less than is asked for, so it is not taken over; when the condition goes, all is well."""
    policy, theirs = with_theirs(cluster, condition=CONDITION)
    since = last_request(cluster)

    policy.apply(azureRoles=[CONNECT, at(READER)], adoptionPolicy=adoption)

    said = policy.says("Warning", "ConditionalAssignment")["message"]
    assert f"{READER} at" in said
    assert "remove that assignment or its condition, or have it taken over by adoptionPolicy: Always" in said
    assert theirs not in lines(policy.ready())
    assert arm_writes(cluster, since) == []
    cluster.azure.unassign(theirs)
    again = cluster.azure.assign(policy.who.upn, READER, cluster.stack.cluster_id)["name"]
    cluster.quiet(0.7)
    policy.look_again()
    found = policy.ready()
    assert not cluster.condition("apol", policy.name, "Warning")
    assert (again in lines(found)) == (adoption == "IfIdentical")
    policy.delete()
    assert names(cluster, policy.who.id) == [again]


def test_an_assignment_under_a_condition_is_made_whole_by_always(cluster: Cluster) -> None:
    """It keeps its name and what another hand says of it, and stays when the policy goes."""
    policy, theirs = with_theirs(cluster, condition=CONDITION, description="by hand")

    found = policy.update(azureRoles=[CONNECT, at(READER)], adoptionPolicy="Always")

    assert lines(found)[theirs] == "Adopted"
    assert found["status"]["drift"]["state"] == "InSync"
    assert "items" not in found["status"]["drift"]
    assert not cluster.condition("apol", policy.name, "Warning")
    assert (entry(cluster, theirs)["condition"], entry(cluster, theirs)["description"]) == (None, "by hand")
    gets(cluster, policy.who, "list", "pods")
    policy.delete()
    assert names(cluster, policy.who.id) == [theirs]


def test_a_condition_on_an_adopted_assignment_is_put_right(cluster: Cluster) -> None:
    """Another hand narrows it down: that is told of with who it was, and by an observer left as it is."""
    policy, theirs = with_theirs(cluster)
    policy.update(azureRoles=[CONNECT, at(READER)])
    words = f"RoleAssignment {READER} at {cluster.stack.cluster_id.rpartition('/')[2]}"
    policy.apply(mode="Observe")
    policy.ready()
    Hands(cluster.azure).change_assignment(entry(cluster, theirs)["id"], condition=CONDITION)
    cluster.quiet(0.7)

    policy.look_again()

    narrowed = item("Azure", words, "condition", "none", CONDITION, "Reported")
    tells(cluster, policy.name, "Drifted", narrowed)
    said = policy.says("Stalled", "ObserveOnly")["message"]
    assert f"correct assignment of Azure role {READER}" in said
    assert cluster.condition("apol", policy.name, "Ready")["status"] == "False"
    assert entry(cluster, theirs)["condition"] == CONDITION
    policy.apply(mode="Enforce")
    tells(cluster, policy.name, "InSync", {**narrowed, "action": "Corrected"})
    assert entry(cluster, theirs)["condition"] is None
    assert lines(policy.ready())[theirs] == "Adopted"
    policy.delete()
    assert names(cluster, policy.who.id) == [theirs]


def test_an_adopted_assignment_that_is_deleted_comes_back_as_one_of_ours(cluster: Cluster) -> None:
    """The access is as wished for again, and what was made here goes with the policy."""
    policy, theirs = with_theirs(cluster)
    policy.update(azureRoles=[CONNECT, at(READER)])
    cluster.azure.unassign(theirs)
    cluster.quiet(0.7)

    policy.look_again()

    here = cluster.stack.cluster_id
    has(cluster, policy.who.id, (AKS_USER, here), (READER, here))
    found = policy.ready()
    assert list(lines(found).values()) == ["", ""]
    policy.delete()
    assert names(cluster, policy.who.id) == []


def test_far_from_the_cluster_too(cluster: Cluster) -> None:
    """At a scope with a list of its own: adopted, and survives."""
    with operator_may(cluster, FAR):
        policy, theirs = with_theirs(cluster, PLAIN_READER, FAR)
        since = last_request(cluster)

        found = policy.update(azureRoles=[CONNECT, at(PLAIN_READER, FAR)])

        assert lines(found)[theirs] == "Adopted"
        assert arm_writes(cluster, since) == []
        policy.delete()
        assert names(cluster, policy.who.id) == [theirs]


def test_grants_adopt_as_their_policy_says(cluster: Cluster) -> None:
    """The assignment in the namespace is the grant's, survives it, and goes when it wants it no more."""
    namespace = cluster.namespace()
    grants = {**ceiling(), "azureRoles": [READER, WRITER]}
    policy = personal(cluster, azureRoles=[CONNECT], adoptionPolicy="Always", grants=grants)
    policy.ready()
    where = namespace_scope(cluster, namespace)
    theirs = {one: cluster.azure.assign(policy.who.upn, one, where)["name"] for one in (READER, WRITER)}
    cluster.quiet(0.7)

    cluster.grant("work", namespace, policy.name, azureRoles=[READER, WRITER])

    found = cluster.ready("ngrant", "work", namespace)
    assert lines(found) == dict.fromkeys(theirs.values(), "Adopted")
    cluster.grant("work", namespace, policy.name, azureRoles=[READER])
    cluster.ready("ngrant", "work", namespace)
    eventually(lambda: theirs[WRITER] not in names(cluster, policy.who.id), "the other one is taken away")
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")
    assert theirs[READER] in names(cluster, policy.who.id)
    assert theirs[READER] in kept(cluster, "NamespaceGrant", "work", namespace)


def test_two_that_adopt_the_same_assignment(cluster: Cluster) -> None:
    """Whichever wants it no more leaves it to the other."""
    first, theirs = with_theirs(cluster)
    second = personal(cluster, first.who, azureRoles=[CONNECT, at(READER)], adoptionPolicy="Always")
    second.ready()
    first.update(azureRoles=[CONNECT, at(READER)])

    first.update(azureRoles=[CONNECT])

    assert theirs in names(cluster, first.who.id)
    assert lines(second.ready())[theirs] == "Adopted"
    second.update(azureRoles=[CONNECT])
    assert theirs not in names(cluster, first.who.id)


# Custom roles


@pytest.fixture
def somebody(cluster: Cluster) -> Iterator[Administrator]:
    """Another hand in Azure."""
    with administrator(cluster) as other:
        yield other


def wish(name: str, *verbs: str) -> Body:
    """The custom role that a policy asks for."""
    return {"name": name, "description": "by another hand", "dataActions": [f"{PODS}/{v}" for v in verbs]}


def content(role: Body | None) -> tuple[str, list[str]]:
    """The GUID of a custom role, and what its holders may do."""
    assert role is not None
    return role["name"], [one for block in role["permissions"] for one in block["dataActions"]]


def test_a_custom_role_is_taken_over_keeps_its_guid_and_survives(
    cluster: Cluster, somebody: Administrator
) -> None:
    """Its content becomes as wished for and is kept so; who had it by another hand keeps it in the end."""
    name, guid, namespace = cluster.unique("Theirs"), str(uuid.uuid4()), cluster.namespace()
    somebody.define(guid, name, f"{PODS}/read")

    policy = personal(
        cluster, customRoles=[wish(name, "delete")], azureRoles=[CONNECT, at(name)], adoptionPolicy="Always"
    )

    found = policy.ready()
    assert content(custom_role(cluster, name)) == (guid, [f"{PODS}/delete"])
    assert lines(found, "RoleDefinition") == {guid: "Adopted"}
    gets(cluster, policy.who, "delete", "pods", namespace)
    somebody.define(guid, name, f"{PODS}/read")
    cluster.quiet(0.7)
    policy.look_again()
    right = (guid, [f"{PODS}/delete"])
    eventually(lambda: content(custom_role(cluster, name)) == right, "what it is for is put right")
    # Only the name tells that it is the role that was taken over, so one of another name is not touched.
    renamed = cluster.unique("Renamed")
    somebody.define(guid, renamed, f"{PODS}/read")
    cluster.quiet(0.7)
    policy.look_again()
    assert "rename it back" in policy.says("Stalled", "RoleRenamed")["message"]
    assert content(custom_role(cluster, renamed)) == (guid, [f"{PODS}/read"])
    somebody.define(guid, name, f"{PODS}/read")
    policy.ready()
    assert content(custom_role(cluster, name)) == right
    policy.update(adoptionPolicy="Never")
    policy.delete()
    assert content(custom_role(cluster, name)) == (guid, [f"{PODS}/delete"])
    assert roles_of(cluster, policy.who.id) == []
    assert guid in kept(cluster, "AccessPolicy", policy.name)
    second = personal(cluster, customRoles=[wish(name, "delete")], azureRoles=[CONNECT])
    assert guid in second.says("Stalled", "RoleExists")["message"]
    somebody.undefine(guid)


def test_if_identical_takes_over_an_equal_role_and_no_other(
    cluster: Cluster, somebody: Administrator
) -> None:
    """What differs is named; nothing is written, neither to the one nor to the other."""
    name, guid = cluster.unique("Theirs"), str(uuid.uuid4())
    somebody.define(guid, name, f"{PODS}/read")
    since = last_request(cluster)
    policy = personal(
        cluster,
        customRoles=[wish(name, "delete")],
        azureRoles=[CONNECT, at(name)],
        adoptionPolicy="IfIdentical",
    )

    said = policy.says("Stalled", "NotIdentical")["message"]

    assert said.startswith("spec.customRoles[0].name: ")
    assert guid in said
    assert "dataActions" in said
    assert content(custom_role(cluster, name)) == (guid, [f"{PODS}/read"])
    found = policy.update(customRoles=[wish(name, "READ")])
    assert lines(found, "RoleDefinition") == {guid: "Adopted"}
    assert [one for one in arm_writes(cluster, since, guid) if "roleDefinitions" in one] == []
    policy.delete()
    assert content(custom_role(cluster, name)) == (guid, [f"{PODS}/read"])
    somebody.undefine(guid)


def test_the_custom_role_of_another_policy_is_not_taken_over(
    cluster: Cluster, somebody: Administrator
) -> None:
    """Neither one that it made nor one that it took over: it is named, and both are left as they are."""
    made, theirs, guid = cluster.unique("Made"), cluster.unique("Theirs"), str(uuid.uuid4())
    somebody.define(guid, theirs, f"{PODS}/read")
    roles = [wish(made, "read"), wish(theirs, "read")]
    first = personal(cluster, customRoles=roles, azureRoles=[CONNECT], adoptionPolicy="Always")
    first.ready()
    before = [custom_role(cluster, name) for name in (made, theirs)]

    for name in (made, theirs):
        second = personal(
            cluster, customRoles=[wish(name, "delete")], azureRoles=[CONNECT], adoptionPolicy="Always"
        )
        said = second.says("Stalled", "RoleExists")["message"]
        assert f"AccessPolicy {first.name}" in said
        second.delete()

    assert [custom_role(cluster, name) for name in (made, theirs)] == before
    first.ready()
    first.delete()
    assert (custom_role(cluster, made), content(custom_role(cluster, theirs))[0]) == (None, guid)
    somebody.undefine(guid)


def test_of_two_that_take_over_a_role_at_once_one_has_it(cluster: Cluster, somebody: Administrator) -> None:
    """They do not fight over it: one is Ready, and the other says which one has it."""
    for _ in range(2):
        name, guid = cluster.unique("Both"), str(uuid.uuid4())
        somebody.define(guid, name, f"{PODS}/read")
        verbs = ("delete", "write")
        spec: Body = {"azureRoles": [CONNECT], "adoptionPolicy": "Always"}
        policies = [Personal(cluster, person(cluster), cluster.unique("both")) for _ in verbs]
        cluster.apply(
            *(
                one.body(customRoles=[wish(name, verb)], **spec)
                for one, verb in zip(policies, verbs, strict=True)
            )
        )

        def settled() -> list[str]:
            reasons = [cluster.condition("apol", one.name, "Ready").get("reason", "") for one in policies]  # noqa: B023 - at once
            return reasons if sorted(reasons) == ["InPlace", "RoleExists"] else []

        winner = eventually(settled, "one has it, and the other one says so").index("InPlace")
        assert (
            f"AccessPolicy {policies[winner].name}"
            in policies[1 - winner].says("Stalled", "RoleExists")["message"]
        )
        cluster.quiet(1.5)
        assert content(custom_role(cluster, name)) == (guid, [f"{PODS}/{verbs[winner]}"])
        policies[1 - winner].delete()
        assert content(custom_role(cluster, name))[0] == guid
