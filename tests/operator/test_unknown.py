"""What could not be looked at is Unknown, with why and the time of the last good look, and is left alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from entra_sandbox import seed
from entra_sandbox.hands import Hands
from support.cluster import Body, Cluster, eventually
from support.drift import at_rest, drift_of, item, quickly, settles, states, tells
from support.life import AKS_USER, Person, Policy, ceiling, made_for, new_policy, person
from support.scopes import PLAIN_READER, PODS, READER, namespace_scope, operator_may, roles_of
from support.trouble import clean_log

FAR = seed.OTHER_RESOURCE_GROUP
HERE = seed.CLUSTER_ID
ARM, GRAPH = "Azure Resource Manager", "Microsoft Graph"
LIST = "/roleAssignments$"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which it is asked every second what has changed."""
    with (
        quickly(tmp_path_factory.mktemp("unknown")) as cluster,
        operator_may(cluster, FAR),
    ):
        yield cluster
        cluster.azure.clear_faults()
        clean_log(cluster)


@pytest.fixture(scope="module")
def admin(quick: Cluster) -> Hands:
    """Somebody else, who may do everything."""
    return Hands(quick.azure)


@dataclass
class Team:
    """A policy with a group and Azure roles here and far away, and a grant with an Azure role."""

    cluster: Cluster
    policy: Policy
    namespace: str
    member: Person
    stranger: Person

    def drift(self, kind: str = "apol") -> Body:
        """The drift of the policy, or of the grant."""
        if kind == "apol":
            return drift_of(self.cluster, self.policy.name)
        return drift_of(self.cluster, "work", "ngrant", self.namespace)

    def world(self) -> list[object]:
        """All that was made, as it is now."""
        found = [*made_for(self.cluster, self.policy.name), *made_for(self.cluster, "work", self.namespace)]
        versions = sorted(one["metadata"]["resourceVersion"] for one in found)
        return [versions, roles_of(self.cluster, self.policy.group_id), self.policy.entra()]

    def unknown(self, kind: str = "apol") -> Body:
        """Wait until the state is Unknown."""
        eventually(lambda: self.drift(kind)["state"] == "Unknown", "it is Unknown")
        return self.drift(kind)


@pytest.fixture
def team(quick: Cluster) -> Team:
    """One that is in place, at rest."""
    quick.azure.clear_faults()
    member, namespace = person(quick), quick.namespace()
    policy = new_policy(
        quick,
        member,
        group={"owners": [person(quick, "lead").ref]},
        clusterRoles=["view"],
        customRoles=[{"name": quick.unique("custom"), "dataActions": [f"{PODS}/delete"]}],
        azureRoles=[{"role": AKS_USER}, {"role": PLAIN_READER, "scope": FAR}],
        grants={**ceiling("view"), "azureRoles": [READER]},
    )
    policy.ready()
    quick.grant("work", namespace, policy.name, azureRoles=[READER], clusterRoles=["view"])
    quick.ready("ngrant", "work", namespace)
    settles(quick)
    return Team(quick, policy, namespace, member, person(quick, "stranger"))


def now() -> str:
    """The time as statuses have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


LISTS: dict[str, tuple[dict[str, Any], str]] = {
    "503 on the list at the cluster": (
        {"kind": "arm", "path_regex": f"{HERE}.*{LIST}", "status": 503},
        f"{ARM} answered 503 when asked to list role assignments",
    ),
    "no answer to it": (
        {"kind": "arm", "path_regex": f"{HERE}.*{LIST}", "drop": True},
        f"cannot reach {ARM} to list role assignments",
    ),
    "503 on its second page": (
        {"kind": "arm", "path_regex": f"{HERE}.*{LIST}", "query_regex": "skipToken", "status": 503},
        f"{ARM} answered 503 when asked to list role assignments",
    ),
    "403 on it": (
        {"kind": "arm", "path_regex": f"{HERE}.*{LIST}", "status": 403, "code": "AuthorizationFailed"},
        "the operator's identity may not list role assignments (AuthorizationFailed): give it the role",
    ),
    "503 on the list far away": (
        {"kind": "arm", "path_regex": f"{FAR}/.*{LIST}", "status": 503},
        f"{ARM} answered 503 when asked to list role assignments",
    ),
    "503 on the list of custom roles": (
        {"kind": "arm", "path_regex": "/roleDefinitions$", "status": 503},
        f"{ARM} answered 503 when asked to",
    ),
    "503 on the changes of groups": (
        {"kind": "graph", "path_regex": r"/groups/.*delta", "status": 503},
        f"{GRAPH} answered 503 when asked to look for changed groups",
    ),
    "403 on the changes of groups": (
        {"kind": "graph", "path_regex": r"/groups/.*delta", "status": 403},
        "the operator's application may not look for changed groups: grant it",
    ),
}
"""What every round asks: so it is noticed without anything having changed."""


@pytest.mark.parametrize("case", LISTS)
def test_a_round_that_fails_makes_it_unknown_and_nothing_else(team: Team, case: str) -> None:
    """Nothing is written but the status, as long as it lasts; then it is InSync again."""
    fault, reason = LISTS[case]
    team.cluster.azure.settings(arm_page_size=1 if "page" in case else 500)
    before, last_good = team.world(), team.drift()["lastCheckTime"]
    number = max(int(one["n"]) for one in team.cluster.azure.journal())

    began = now()
    team.cluster.azure.fault(**fault, count=None)

    team.unknown()
    settles(team.cluster)
    drift = team.drift()
    assert reason in drift["reason"]
    assert last_good <= drift["lastCheckTime"] <= now()
    assert "items" not in drift
    if "at the cluster" in case or "page" in case:
        assert reason in team.unknown("ngrant")["reason"]
    if "changes" in case:
        body = team.policy.ready()
        assert states(body, "Stalled", "Reconciling", "Drifted") == [("", ""), ("", ""), ("", "")]
    _, moved = team.cluster.quiet(3.0)
    assert not moved, "to wait is quiet"
    assert team.drift() == drift, "the time of the last good look stays"
    assert team.world() == before
    assert team.cluster.azure.journal(since=number, write=True) == []

    team.cluster.azure.clear_faults()
    body = tells(team.cluster, team.policy.name, "InSync")
    drift = body["status"]["drift"]
    assert "reason" not in drift
    assert drift["lastCheckTime"] >= began
    assert states(team.policy.ready(), "Stalled", "Reconciling") == [("", ""), ("", "")]
    eventually(lambda: team.drift("ngrant")["state"] == "InSync", "the grant too")
    settles(team.cluster)
    assert team.world() == before
    assert team.cluster.azure.journal(since=number, write=True) == []


READS: dict[str, tuple[str, int, str]] = {
    "503 on the members": ("/members$", 503, f"{GRAPH} answered 503 when asked to list the group's members"),
    "503 on the owners": ("/owners$", 503, f"{GRAPH} answered 503 when asked to list the group's owners"),
    "403 on the members": ("/members$", 403, "may not list the group's members"),
    "503 on the group itself": (
        r"/groups\(uniqueName",
        503,
        f"{GRAPH} answered 503 when asked to read a group",
    ),
}


@pytest.mark.parametrize("case", READS)
def test_a_look_that_fails_makes_it_unknown_and_removes_nobody(team: Team, case: str) -> None:
    """Somebody was put into the group, and it cannot be seen who is in it: they leave when it can be seen."""
    path, status, reason = READS[case]
    group_id, last_good = team.policy.group_id, team.drift()["lastCheckTime"]
    where = path if "uniqueName" in path else f"/groups/{group_id}{path}"
    team.cluster.azure.fault(kind="graph", method="GET", path_regex=where, status=status, count=None)
    number = max(int(one["n"]) for one in team.cluster.azure.journal())

    team.cluster.azure.change_group(group_id, addMembers=[team.stranger.id], addOwners=[team.stranger.id])
    roles = team.world()[1]
    began = now()

    drift = team.unknown()
    assert reason in drift["reason"]
    assert last_good <= drift["lastCheckTime"] <= now()
    ready = ("False", "Denied") if status == 403 else ("Unknown", "Unavailable")
    assert states(team.cluster.get("apol", team.policy.name), "Ready") == [ready]
    removed = [one["path"] for one in team.cluster.azure.journal(since=number, method="DELETE")]
    if "itself" in case:
        assert removed == []
    unseen = "owners" if "owners" in case else "members"
    assert not any(f"/{unseen}/" in one for one in removed)
    assert team.stranger.id in team.policy.entra()[unseen]
    assert team.world()[1] == roles

    team.cluster.azure.clear_faults()
    words, upn = f"Group {team.policy.name}", team.stranger.upn
    gone = [item("Entra", words, one, f"not {upn}", upn, "Corrected") for one in ("members", "owners")]
    body = tells(team.cluster, team.policy.name, "InSync", *gone)
    assert body["status"]["drift"]["lastCheckTime"] >= began
    assert team.policy.entra()["members"] == [team.member.id]
    at_rest(team.cluster)


def test_what_was_changed_while_nothing_could_be_seen_is_put_right_after(team: Team) -> None:
    """No round that failed has lost anything: neither of Entra nor of Azure."""
    for kind in ("arm", "graph"):
        team.cluster.azure.fault(kind=kind, status=503, count=None)
    team.unknown()
    assignment = team.cluster.azure.assignments(team.policy.group_id, HERE)[0]

    team.cluster.azure.change_group(team.policy.group_id, addMembers=[team.stranger.id])
    team.cluster.azure.unassign(assignment["name"])
    at_rest(team.cluster)

    team.cluster.azure.clear_faults()
    upn, place = team.stranger.upn, f"at {HERE.rpartition('/')[2]}"
    tells(
        team.cluster,
        team.policy.name,
        "InSync",
        item("Entra", f"Group {team.policy.name}", "members", f"not {upn}", upn, "Corrected"),
        item("Azure", f"RoleAssignment {AKS_USER} {place}", "", "present", "deleted", "Corrected"),
    )
    at_rest(team.cluster)


def test_what_was_reported_stays_reported_while_it_cannot_be_seen(team: Team, admin: Hands) -> None:
    """What nobody declared is neither forgotten nor told anew, with the time since when it is so."""
    theirs = admin.assign(
        team.policy.group_id, seed.RBAC_ADMINISTRATOR, namespace_scope(team.cluster, team.namespace)
    )["id"]
    role = "Role Based Access Control Administrator"
    foreign = item(
        "Azure", f"RoleAssignment {role} at namespace {team.namespace}", "", "absent", "present", "Reported"
    )
    body = tells(team.cluster, team.policy.name, "Drifted", foreign)
    items = body["status"]["drift"]["items"]

    team.cluster.azure.fault(kind="arm", path_regex=f"{HERE}.*{LIST}", status=503, count=None)
    assert team.unknown()["items"] == items
    team.cluster.azure.clear_faults()

    body = tells(team.cluster, team.policy.name, "Drifted", foreign)
    assert body["status"]["drift"]["items"] == items
    admin.unassign(theirs)
    tells(team.cluster, team.policy.name, "InSync")


def test_an_expired_link_leads_to_a_full_read(team: Team) -> None:
    """That is no failure: what has changed meanwhile is seen, and the state never is Unknown."""
    number = max(int(one["n"]) for one in team.cluster.azure.journal())
    team.cluster.azure.settings(delta_token_lifetime=0)
    try:
        eventually(lambda: deltas(team.cluster, number, "syncStateNotFound"), "a link is too old")
        team.cluster.azure.change_group(team.policy.group_id, addMembers=[team.stranger.id])
        upn = team.stranger.upn
        gone = item("Entra", f"Group {team.policy.name}", "members", f"not {upn}", upn, "Corrected")
        tells(team.cluster, team.policy.name, "InSync", gone)
    finally:
        team.cluster.azure.settings(delta_token_lifetime=7 * 24 * 3600)
    began = [one for one in deltas(team.cluster, number) if "$filter" in one["query"]]
    assert began, "it was asked for everything"
    number = max(int(one["n"]) for one in team.cluster.azure.journal())
    eventually(lambda: len(deltas(team.cluster, number)) > 3, "it is asked on")
    asked = deltas(team.cluster, number)[2:]
    assert all("$deltatoken" in one["query"] and one["status"] == 200 for one in asked)
    at_rest(team.cluster)


def deltas(cluster: Cluster, since: int, code: str = "") -> list[Body]:
    """The questions for changed groups."""
    found = cluster.azure.journal(since=since, kind="graph", path_regex=r"/groups/.*delta")
    return [one for one in found if code in one["code"]]
