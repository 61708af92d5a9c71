"""Members and owners of all kinds: applications, foreign groups, and the groups of other policies.

At the end, in the same set-up: with every kind of subject and member there is quiet.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from entra_sandbox.local.stack import APP_ROLES
from support.cluster import Body, Cluster, eventually, running
from support.life import Person, Policy, gets, last_request, looks_old, loses, may, new_policy, person
from support.subjects import RBAC, application, direct, lists
from support.trouble import READER_ROLE, clean_log, objects, policies

MEMBERS = "spec.subject.group.members"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Whatever a person did wrong is no defect of the operator, and does not look like one in its log."""
    yield
    clean_log(shared_cluster)


@pytest.fixture(scope="module")
def own_trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An operator that may make applications members of groups. Everything is looked at often."""
    roles = (*APP_ROLES, "Application.ReadWrite.All")
    folder = tmp_path_factory.mktemp("members")
    with running(folder, app_roles=roles, ENTRA_ACCESS_RESYNC_SECONDS="2") as cluster:
        yield cluster
        clean_log(cluster)


@pytest.fixture(params=[0, 1], ids=["lists show applications", "lists hide applications"])
def trusted(request: pytest.FixtureRequest, own_trusted: Cluster) -> Iterator[Cluster]:
    """That set-up, where Graph's lists of members show applications, and where they leave them out."""
    own_trusted.azure.settings(hide_service_principals=request.param)
    yield own_trusted
    own_trusted.azure.settings(hide_service_principals=0)


def app(who: Person, *, by: str = "appId") -> Body:
    """An application as a member or owner."""
    return {"servicePrincipal": who.upn if by == "appId" else who.id}


def members_of(policy: Policy) -> set[str]:
    """The object ids of the members that its group has in Entra."""
    return set(policy.entra()["members"])


def with_members(cluster: Cluster, *members: Body, **group: Any) -> Policy:
    """Apply a policy with such members, without waiting."""
    return new_policy(cluster, group={"members": list(members), **group}, clusterRoles=["view"])


# Applications


def test_applications_are_members_as_long_as_they_are_wished_for(trusted: Cluster) -> None:
    """By app id and by object id; at rest nothing is written, and they leave when they are wished no more."""
    one, two, who = application(trusted), application(trusted), person(trusted)
    policy = with_members(trusted, who.ref, app(one), app(two, by="objectId"))

    status = policy.ready()["status"]

    assert members_of(policy) == {one.id, two.id, who.id}
    assert status["counts"]["members"] == 3
    for each in (one, two):
        lists(trusted, each, "pods")
    assert trusted.quiet(4.0) == ([], False), "looked at again, and left as it is"

    policy.update(group={"members": [who.ref, app(two)]})

    assert members_of(policy) == {two.id, who.id}
    assert policy.ready()["status"]["counts"]["members"] == 2
    loses(trusted, one, "list", "pods")
    assert may(trusted, two, "list", "pods")
    policy.update(group={"members": [who.ref]})
    assert members_of(policy) == {who.id}


def test_an_application_taken_out_by_another_hand_comes_back(trusted: Cluster) -> None:
    """At the next look, whether Graph's list shows it or not."""
    one = application(trusted)
    policy = with_members(trusted, app(one))
    policy.ready()
    trusted.azure.remove_member(policy.group_id, one.id)
    eventually(lambda: members_of(policy) == {one.id}, "it is a member again", 15)


def test_applications_are_owners(own_trusted: Cluster) -> None:
    """Beside a person; another one takes its place."""
    one, two, lead = application(own_trusted), application(own_trusted), person(own_trusted)
    policy = with_members(own_trusted, owners=[lead.ref, app(one)])
    policy.ready()
    assert set(policy.entra()["owners"]) == {lead.id, one.id}

    policy.update(group={"owners": [lead.ref, app(two, by="objectId")]})

    assert set(policy.entra()["owners"]) == {lead.id, two.id}


def test_without_the_permission_only_applications_are_left_out(cluster: Cluster) -> None:
    """Denied names what to grant; people are members all the same, and a crowd in one call is not refused."""
    one, people = application(cluster), [person(cluster) for _ in range(3)]

    policy = with_members(cluster, *(who.ref for who in people), app(one))

    message = cluster.waits_for("apol", policy.name, "Stalled", "Denied")["message"]
    assert "Application.ReadWrite.All" in message
    assert "may not add members to the group" in message
    assert members_of(policy) == {who.id for who in people}
    gets(cluster, people[0], "list", "pods")
    assert cluster.condition("apol", policy.name, "MembersReady")["status"] == "False"
    for link in ("SubjectReady", "BindingsReady"):
        assert cluster.condition("apol", policy.name, link)["status"] == "True"
    policy.update(group={"members": [who.ref for who in people]})


def test_an_application_that_is_not_there_is_told_by_its_field(cluster: Cluster) -> None:
    """Others are members all the same."""
    who, nobody = person(cluster), "99999999-9999-4999-8999-999999999997"
    policy = with_members(cluster, who.ref, {"servicePrincipal": nobody})

    message = cluster.waits_for("apol", policy.name, "Stalled", "MemberNotFound")["message"]

    assert message.startswith(f"{MEMBERS}[1].servicePrincipal: there is no servicePrincipal {nobody}")
    assert members_of(policy) == {who.id}


def test_a_member_in_too_many_groups_is_warned_of(own_trusted: Cluster) -> None:
    """An application with more than 200 groups cannot sign in: the field that makes it a member says so."""
    one = application(own_trusted)
    for _ in range(201):
        own_trusted.azure.add_group(own_trusted.unique("crowd"), members=[one.id])

    policy = with_members(own_trusted, person(own_trusted).ref, app(one))

    policy.ready()
    message = own_trusted.waits_for("apol", policy.name, "Warning", "TooManyGroups")["message"]
    assert message.startswith(f"{MEMBERS}[1].servicePrincipal: ")
    assert "is in 201 groups" in message
    policy.delete("--timeout=20s")


# Groups


def test_an_existing_group_is_a_member_and_is_not_changed(cluster: Cluster) -> None:
    """Its members have the access, and lose it when the group is no member any more."""
    who = person(cluster)
    theirs = cluster.azure.add_group(cluster.unique("theirs"), members=[who.upn])
    before, since = cluster.group(theirs["id"]), last_request(cluster)
    policy = with_members(cluster, {"group": theirs["id"].upper()})
    policy.ready()
    gets(cluster, who, "list", "pods")

    policy.update(group={"members": []})

    loses(cluster, who, "list", "pods")
    assert cluster.group(theirs["id"]) == before
    written = [one["path"] for one in cluster.azure.journal(since=since, kind="graph", write=True)]
    assert not [path for path in written if path.startswith(f"/v1.0/groups/{theirs['id']}")]


def test_the_group_of_another_policy_is_awaited_and_followed(cluster: Cluster) -> None:
    """Nobody is held up while it is not there; its group comes in, with another object id too, and leaves."""
    mine, theirs = person(cluster), person(cluster)
    other = Policy(cluster, cluster.unique("other"), {"displayName": cluster.unique("other group")})
    policy = with_members(cluster, mine.ref, {"policy": other.name})

    message = cluster.waits_for("apol", policy.name, "Reconciling", "PolicyNotFound")["message"]
    assert message == f"{MEMBERS}[1].policy: waiting for AccessPolicy {other.name}, which does not exist"
    gets(cluster, mine, "list", "pods")

    other.update(group={"members": [theirs.ref]})
    policy.ready()
    assert members_of(policy) == {mine.id, other.group_id}
    gets(cluster, theirs, "list", "pods")

    first = other.group_id
    looks_old(other)
    cluster.azure.purge_group(first)
    other.look_again()
    eventually(lambda: other.group_id != first, "it has another group")
    eventually(lambda: members_of(policy) == {mine.id, other.group_id}, "the new group is a member")
    gets(cluster, theirs, "list", "pods")

    other.delete("--timeout=20s")
    cluster.waits_for("apol", policy.name, "Reconciling", "PolicyNotFound")
    assert members_of(policy) == {mine.id}
    loses(cluster, theirs, "list", "pods")
    policy.update(group={"members": [mine.ref]})


def test_a_policy_without_a_group_is_no_member(cluster: Cluster) -> None:
    """A person's policy cannot be a member: say so, and take in the rest. An existing group's can."""
    one, two = person(cluster), person(cluster)
    theirs = cluster.azure.add_group(cluster.unique("theirs"), members=[two.upn])["id"]
    other = direct(cluster, {"user": {"userPrincipalName": one.upn}})
    policy = with_members(cluster, one.ref, {"policy": other.name})

    message = cluster.waits_for("apol", policy.name, "Stalled", "PolicyHasNoGroup")["message"]

    assert message.startswith(f"{MEMBERS}[1].policy: AccessPolicy {other.name} has no group")
    assert members_of(policy) == {one.id}
    other.update(subject={"existingGroup": {"objectId": theirs}})
    policy.ready()
    assert members_of(policy) == {one.id, theirs}
    gets(cluster, two, "list", "pods")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_policies_that_are_members_of_one_another_are_refused_by_name(cluster: Cluster, length: int) -> None:
    """Each in the circle says the way round; nobody else is held up, and one edit mends all."""
    who, names = person(cluster), [cluster.unique("ring") for _ in range(length)]
    ring = [
        Policy(
            cluster, name, {"displayName": name, "members": [who.ref, {"policy": names[(i + 1) % length]}]}
        )
        for i, name in enumerate(names)
    ]
    for policy in ring:
        policy.apply(clusterRoles=["view"])

    for index, policy in enumerate(ring):
        way = " → ".join([*names[index:], *names[:index], names[index]])
        message = cluster.waits_for("apol", policy.name, "Stalled", "MembershipCycle")["message"]
        assert message.startswith(f"{MEMBERS}[1].policy: its group would be a member of itself: {way};")
        assert who.id in members_of(policy)
    gets(cluster, who, "list", "pods")

    ring[-1].update(group={"members": [who.ref]})

    for policy, following in pairwise(ring):
        policy.ready()
        assert members_of(policy) == {who.id, following.group_id}
    assert members_of(ring[-1]) == {who.id}


def test_a_circle_by_object_id_is_found_too(cluster: Cluster) -> None:
    """One names the other by its policy, the other the first by its group."""
    first = with_members(cluster, person(cluster).ref)
    first.ready()
    second = with_members(cluster, {"group": first.group_id})
    second.ready()

    first.apply(group={"members": [{"policy": second.name}]})

    for policy, other in ((first, second), (second, first)):
        message = cluster.waits_for("apol", policy.name, "Stalled", "MembershipCycle")["message"]
        assert f"{policy.name} → {other.name} → {policy.name}" in message
    first.update(group={"members": []})
    second.ready()
    assert members_of(second) == {first.group_id}


# At rest


def fill(cluster: Cluster) -> dict[str, str]:
    """Apply a policy for each kind of subject and member. Returns the reason of Ready that each must have."""
    who, one = person(cluster), application(cluster)
    theirs = cluster.azure.add_group(cluster.unique("theirs"), members=[who.upn])["id"]
    inside = cluster.namespace(quiet="yes")
    with_account = {"namespace": inside, "name": "robot", "token": True}
    nodes: Body = {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "get"]}
    access: Body = {
        "clusterRoles": ["view"],
        "rules": [nodes, {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
        "namespaces": [
            {"selector": {"matchLabels": {"quiet": "yes"}}, "clusterRoles": ["edit"], "rules": [nodes]},
            {"names": [inside, "not-there"], "clusterRoles": ["edit", "view"]},
        ],
    }
    in_azure: Body = {**access, "azureRoles": [{"role": READER_ROLE}]}
    in_azure["namespaces"] = [{**entry, "azureRoles": [READER_ROLE]} for entry in access["namespaces"]]
    every = [who.ref, app(one), {"group": theirs}, {"policy": "quiet-plain"}]
    for name, subject, more in (
        ("quiet-user", {"user": {"userPrincipalName": who.upn.upper()}}, in_azure),
        ("quiet-by-id", {"user": {"objectId": who.id}}, access),
        ("quiet-app", {"servicePrincipal": {"appId": one.upn}}, in_azure),
        ("quiet-existing", {"existingGroup": {"objectId": theirs}}, in_azure),
        ("quiet-account", {"serviceAccount": with_account}, access),
        ("quiet-second", {"serviceAccount": {**with_account, "token": False}}, access),
        ("quiet-nobody", {"user": {"userPrincipalName": "nobody@contoso.com"}}, access),
        ("quiet-no-namespace", {"serviceAccount": {**with_account, "namespace": "not-there"}}, access),
        ("quiet-plain", {"group": {"displayName": "quiet plain"}}, in_azure),
        ("quiet-every", {"group": {"displayName": "quiet every", "members": every}}, in_azure),
        ("quiet-ring", {"group": {"displayName": "ring", "members": [{"policy": "quiet-ring"}]}}, access),
        ("quiet-waits", {"group": {"displayName": "waits", "members": [{"policy": "no-such"}]}}, access),
    ):
        direct(cluster, subject, name, **more)
    wrong = {
        "quiet-nobody": "SubjectNotFound",
        "quiet-no-namespace": "NamespaceNotFound",
        "quiet-ring": "MembershipCycle",
        "quiet-waits": "PolicyNotFound",
    }
    return {one: wrong.get(one, "InPlace") for one in policies(cluster) if one.startswith("quiet-")}


def reasons(cluster: Cluster) -> dict[str, str]:
    """The reason of Ready of each of them."""
    return {
        name: next((c["reason"] for c in body["status"].get("conditions", ()) if c["type"] == "Ready"), "")
        for name, body in policies(cluster).items()
        if name.startswith("quiet-")
    }


def versions(cluster: Cluster) -> dict[str, str]:
    """The resourceVersion of everything that the operator writes."""
    policies_path = "/apis/entra-access.dev/v1alpha1/accesspolicies"
    core = [f"/api/v1/{kind}" for kind in ("events", "serviceaccounts", "secrets", "namespaces")]
    rbac = [f"{RBAC}/{k}" for k in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")]
    found = [
        (kind, one["metadata"]) for kind in (policies_path, *core, *rbac) for one in objects(cluster, kind)
    ]
    return {f"{kind}/{m.get('namespace')}/{m['name']}": m["resourceVersion"] for kind, m in found}


def not_asked(cluster: Cluster, since: int, wanted: Iterable[str]) -> list[str]:
    """For whom Entra has not been asked since then."""
    read = [str(one["path"]) for one in cluster.azure.journal(since=since, kind="graph", method="GET")]
    return [name for name in wanted if not any(name in path for path in read)]


def test_at_rest_nothing_is_written_whatever_the_subject(own_trusted: Cluster) -> None:
    """Not to Entra, Azure or Kubernetes, while all is looked at again, where lists hide applications too;
    nor by a new operator."""
    cluster, wanted = own_trusted, fill(own_trusted)
    assert len(wanted) == 12
    eventually(lambda: reasons(cluster) == wanted, f"{wanted}", 40)
    subjects = [one["status"].get("subject", {}) for one in policies(cluster).values()]
    groups = ["quiet-plain", "quiet-every", "quiet-ring", "quiet-waits"]
    asked = [
        *groups,
        "nobody@contoso.com",
        *(one["reference"].split()[-1] for one in subjects if "reference" in one),
    ]
    cluster.azure.settings(hide_service_principals=1)
    # As long as a round takes: what is Stalled or waits is looked at all the time.
    eventually(lambda: cluster.quiet(3.5) == ([], False), "it has come to rest", 40)
    before, since = versions(cluster), last_request(cluster)

    for again in (False, True):
        if again:
            assert cluster.operator is not None
            cluster.operator.stop(10)
            since = last_request(cluster)
            cluster.start_operator()
        eventually(lambda: not_asked(cluster, since, asked) == [], "all is looked at again")  # noqa: B023 - at once
        cluster.quiet(1.5)
        assert cluster.azure.journal(since=since, write=True) == []
        assert versions(cluster) == before
    clean_log(cluster)
