"""Groups that are there already: refused, taken over, and let go again as they are."""

import json
from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.adopting import (
    ADOPT,
    adopted,
    adopting,
    annotate,
    apply_annotated,
    foreign_group,
    gives_nothing,
    group_lines,
    group_writes,
    origin,
    stalled,
)
from support.cluster import Body, Cluster, eventually
from support.life import Policy, gets, last_request, may, person
from support.trouble import clean_log


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


# Never


def test_never_leaves_it_alone_and_says_what_to_do(cluster: Cluster) -> None:
    """All of that name are told with their object ids; with none of that name left, one is made."""
    policy = adopting(cluster, "Never", person(cluster))
    ids = sorted(foreign_group(cluster, policy.name)["id"] for _ in range(2))
    since = last_request(cluster)

    policy.apply()

    said = stalled(policy, "GroupExists")
    assert said.startswith("spec.subject.group.displayName: a group named ")
    assert f"(object id {', '.join(ids)})" in said
    for way in ("choose another name", "adoptionPolicy", "rename or delete"):
        assert way in said
    assert group_writes(cluster, since) == []
    assert all(gives_nothing(policy, one) for one in ids)
    for one in ids:
        cluster.azure.change_group(one, displayName=cluster.unique("renamed"))
    policy.ready()
    assert origin(policy) == "Created"
    assert policy.group_id not in ids


# IfIdentical


def whole_wish(cluster: Cluster) -> tuple[Policy, Body]:
    """A policy that takes over what is identical, and what that would be."""
    member, app = person(cluster), cluster.azure.add_group(cluster.unique("inner"))
    policy = adopting(
        cluster,
        "IfIdentical",
        group={
            "mailNickname": cluster.unique("nick"),
            "description": "as it always was",
            "members": [member.ref, {"group": app["id"]}],
            "owners": [{"user": seed.LEAD}],
        },
    )
    identical = {
        "mailNickname": policy.group["mailNickname"],
        "description": "as it always was",
        "members": [member.id, app["id"]],
        "owners": [seed.LEAD],
    }
    return policy, identical


def test_if_identical_takes_over_what_is_as_given(cluster: Cluster) -> None:
    """Nothing of it is written but the uniqueName by which it is found again."""
    policy, identical = whole_wish(cluster)
    theirs = cluster.azure.add_group(policy.name, **identical)
    since = last_request(cluster)

    policy.update()

    assert (policy.group_id, origin(policy)) == (theirs["id"], "Adopted")
    (write,) = group_writes(cluster, since)
    assert write[:2] == ("PATCH", f"/v1.0/groups/{theirs['id']}")
    assert list(write[2]) == ["uniqueName"]
    assert write[2]["uniqueName"].endswith(f"_{policy.name}_adopted")
    (line,) = group_lines(policy)
    assert (line["id"], line["origin"]) == (theirs["id"], "Adopted")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mailNickname": "another"}, "mailNickname is not as given here"),
        ({"description": "another"}, "description is not as given here"),
        ({"description": None}, "description is not as given here"),
        ({"members": []}, "members are not as given here"),
        ({"members": "one more"}, "members are not as given here"),
        ({"owners": [seed.LEAD, seed.ALICE]}, "owners are not as given here"),
    ],
    ids=["nickname", "description", "no description", "fewer members", "more members", "more owners"],
)
def test_if_identical_refuses_what_differs_and_says_in_what(
    cluster: Cluster, change: Body, says: str
) -> None:
    """Nothing is written to it; when it is made alike it is taken over by itself."""
    policy, identical = whole_wish(cluster)
    wrong = identical | change
    if wrong["members"] == "one more":
        wrong["members"] = [*identical["members"], person(cluster).id]
    theirs = cluster.azure.add_group(policy.name, **wrong)["id"]
    since = last_request(cluster)

    policy.apply()

    said = stalled(policy, "NotIdentical")
    assert f"({theirs})" in said
    assert says in said
    assert "adoptionPolicy: Always" in said
    assert group_writes(cluster, since) == []
    assert gives_nothing(policy, theirs)
    cluster.azure.change_group(
        theirs,
        mailNickname=identical["mailNickname"],
        description=identical["description"],
        addMembers=identical["members"],
        removeMembers=[one for one in wrong["members"] if one not in identical["members"]],
        removeOwners=[one for one in wrong["owners"] if one != seed.LEAD],
    )
    policy.ready()
    assert (policy.group_id, origin(policy)) == (theirs, "Adopted")


def test_identical_means_what_the_membership_looks_after(cluster: Cluster) -> None:
    """Whom a policy would never take out may be in the group already; whom it wishes for must be."""
    inside, other = person(cluster), person(cluster)
    unmanaged = adopting(cluster, "IfIdentical", group={"members": None, "membership": "Unmanaged"})
    unmanaged.group = {key: value for key, value in unmanaged.group.items() if value is not None}
    additive = adopting(cluster, "IfIdentical", inside, group={"membership": "Additive"})
    lacking = adopting(cluster, "IfIdentical", inside, group={"membership": "Additive"})
    groups = [foreign_group(cluster, one.name, inside, other) for one in (unmanaged, additive)]
    foreign_group(cluster, lacking.name, other)

    for policy, group in zip((unmanaged, additive), groups, strict=True):
        policy.update()
        assert policy.group_id == group["id"]
        assert sorted(policy.entra()["members"]) == sorted([inside.id, other.id])
    lacking.apply()
    assert "members are not" in stalled(lacking, "NotIdentical")


def test_the_group_of_another_policy_can_be_a_member_that_is_there(cluster: Cluster) -> None:
    """IfIdentical compares with the group that the other policy has."""
    inner = adopting(cluster, "Never", person(cluster))
    inner.update()
    policy = adopting(cluster, "IfIdentical", group={"members": [{"policy": inner.name}]})
    theirs = cluster.azure.add_group(policy.name, members=[inner.group_id])["id"]

    policy.update()

    assert (policy.group_id, policy.entra()["members"]) == (theirs, [inner.group_id])


# Always


def test_always_takes_it_over_and_makes_it_so(cluster: Cluster) -> None:
    """Attributes, members and owners become as given; whoever must leave goes before anything is given."""
    stays, comes, leaves, boss = (person(cluster) for _ in range(4))
    policy = adopting(
        cluster, "Always", stays, comes, group={"description": "ours now", "owners": [boss.ref]}
    )
    theirs = foreign_group(cluster, policy.name, stays, leaves, description="theirs", owners=[seed.ALICE])[
        "id"
    ]
    since = last_request(cluster)

    policy.update()

    entra = policy.entra()
    assert entra["id"] == theirs
    assert sorted(entra["members"]) == sorted([stays.id, comes.id])
    assert (entra["description"], entra["owners"]) == ("ours now", [boss.id])
    assert origin(policy) == "Adopted"
    paths = [
        f"{one['method']} {one['path']}"
        for one in cluster.azure.journal(since=since, write=True)
        if theirs in f"{one['path']} {json.dumps(one['body'])}"
    ]
    left = next(n for n, path in enumerate(paths) if path.startswith("DELETE") and leaves.id in path)
    given = next(n for n, path in enumerate(paths) if "roleAssignments" in path)
    assert left < given
    gets(cluster, stays, "list", "pods")
    assert not may(cluster, leaves, "list", "pods")


def test_nothing_is_given_while_somebody_who_must_leave_is_there(cluster: Cluster) -> None:
    """The removal fails for a while: no binding, no assignment, no subject that grants would follow."""
    stays, leaves = person(cluster), person(cluster)
    policy = adopting(cluster, "Always", stays)
    theirs = foreign_group(cluster, policy.name, stays, leaves)["id"]
    cluster.azure.fault(
        kind="graph", method="DELETE", path_regex=f"{theirs}/members/", status=503, count=None
    )

    policy.apply()

    refused = f"{theirs}/members/{leaves.id}"
    eventually(lambda: len(cluster.azure.journal(path_regex=refused, status=503)) > 1, "it was tried again")
    assert "503" in cluster.waits_for("apol", policy.name, "Reconciling", "Unavailable")["message"]
    assert gives_nothing(policy, theirs)
    cluster.azure.clear_faults()
    policy.ready()
    gets(cluster, stays, "list", "pods")
    assert not may(cluster, leaves, "list", "pods")
    assert policy.entra()["members"] == [stays.id]


# Which one


def test_of_several_one_is_named_by_annotation(cluster: Cluster) -> None:
    """Their ids are told; an id that is none is refused; the one that is named is taken over."""
    policy = adopting(cluster, "Always", person(cluster))
    groups = [foreign_group(cluster, policy.name, person(cluster)) for _ in range(2)]
    ids = sorted(one["id"] for one in groups)
    since = last_request(cluster)
    policy.apply()
    said = stalled(policy, "GroupsExist")
    assert f"(object ids {', '.join(ids)})" in said
    assert ADOPT in said

    for wrong in ("99999999-9999-4999-8999-999999999999", "no-id-at-all", seed.USER_IDS[seed.ALICE]):
        annotate(policy, ADOPT, wrong)
        said = stalled(policy, "GroupNotFound")
        eventually(lambda wrong=wrong: wrong in stalled(policy, "GroupNotFound"), f"{wrong} is refused")  # type: ignore[misc]
        assert said.startswith(f"annotation {ADOPT}: ")
    assert group_writes(cluster, since) == []
    annotate(policy, ADOPT, ids[1].upper())

    policy.ready()
    assert (policy.group_id, origin(policy)) == (ids[1], "Adopted")
    other = cluster.group(ids[0])
    assert other == next(one for one in groups if one["id"] == ids[0]), "the other one is as it was"


def test_the_annotation_asks_no_more_than_the_policy_says(cluster: Cluster) -> None:
    """A group of another name can become that of the policy; with IfIdentical it must be as given too."""
    who = person(cluster)
    strict, free = adopting(cluster, "IfIdentical", who), adopting(cluster, "Never", who)
    groups = [foreign_group(cluster, cluster.unique("elsewhere"), who)["id"] for _ in range(2)]

    apply_annotated(strict, ADOPT, groups[0])
    apply_annotated(free, ADOPT, groups[1])

    assert "displayName is not as given here" in stalled(strict, "NotIdentical")
    assert cluster.group(strict.name) is None, "none is made in its place"
    cluster.azure.change_group(groups[0], displayName=strict.name)
    strict.ready()
    free.ready()
    assert (strict.group_id, free.group_id) == (groups[0], groups[1])
    assert (origin(strict), origin(free)) == ("Adopted", "Adopted")
    assert free.entra()["displayName"] == free.name


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"groupTypes": ["Unified"], "mailEnabled": True, "securityEnabled": True}, "not a security group"),
        ({"securityEnabled": False, "mailEnabled": True}, "not a security group"),
        ({"groupTypes": ["DynamicMembership"]}, "dynamic membership"),
        ({"onPremisesSyncEnabled": True}, "synchronized from on-premises"),
        ({"uniqueName": "entra-access-another_policy"}, "of another owner"),
    ],
    ids=["microsoft 365", "distribution list", "dynamic", "on-premises", "another operator's"],
)
def test_an_unsuitable_group_is_refused_with_the_reason(cluster: Cluster, fields: Body, says: str) -> None:
    """Found by its name or named by annotation: it is not written to, and nothing is given to it."""
    policy = adopting(cluster, "Always", person(cluster))
    if "uniqueName" in fields:
        fields = {"uniqueName": f"{fields['uniqueName']}-{policy.name}"}
    theirs = foreign_group(cluster, policy.name, **fields)["id"]
    since = last_request(cluster)

    policy.apply()

    said = stalled(policy, "NotAdoptable")
    assert theirs in said
    assert says in said
    annotate(policy, ADOPT, theirs)
    eventually(lambda: "annotation" in stalled(policy, "NotAdoptable"), "so is the one that is named")
    assert group_writes(cluster, since) == []
    assert gives_nothing(policy, theirs)


def test_the_group_of_another_policy_is_not_taken_over(cluster: Cluster) -> None:
    """Neither one that it made nor one that it took over itself, whichever way it is named."""
    first, theirs = adopted(cluster, person(cluster))
    second = adopting(cluster, "Always", person(cluster), group={"displayName": first.name})

    second.apply()

    assert first.name in stalled(second, "GroupClaimed")
    third = adopting(cluster, "Always", person(cluster))
    third.update()
    for group in (theirs, third.group_id):
        fourth = adopting(cluster, "Always", person(cluster))
        apply_annotated(fourth, ADOPT, group)
        assert "another owner" in stalled(fourth, "NotAdoptable")
    first.ready()
    assert origin(first) == "Adopted"
