"""Access that ends: when its grant says so, or so long after the grant was made as the policy allows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually, running
from support.ends import columns, grant, has_ended, in_seconds, is_over, later, told_of_the_end
from support.life import (
    AKS_USER,
    READ_PODS,
    Person,
    Policy,
    all_bindings,
    ceiling,
    condition_of,
    gets,
    last_request,
    loses,
    may,
    new_policy,
    person,
)
from support.scopes import READER, at, namespace_scope
from support.trouble import clean_log
from support.watching import comes_to_rest, in_the_rounds

SOON = 7
"""Seconds: long enough to see that the access is there, before it ends."""


def open_policy(cluster: Cluster, *members: Person, **limits: object) -> Policy:
    """Apply a policy whose grants may read pods, and wait until it is Ready."""
    grants = {**ceiling("view", rules=[READ_PODS]), "azureRoles": [READER], **limits}
    policy = new_policy(cluster, *members, azureRoles=[at(AKS_USER)], grants=grants)
    policy.ready()
    return policy


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which only passes ask Azure anything."""
    with running(tmp_path_factory.mktemp("expiry"), ENTRA_ACCESS_SWEEP_SECONDS="600") as cluster:
        yield cluster
        clean_log(cluster)


@pytest.fixture
def mortal(own_cluster: Cluster) -> Iterator[Cluster]:
    """That set-up, whose operator may be stopped, and whose Azure may be down."""
    yield own_cluster
    own_cluster.azure.clear_faults()


def test_access_ends_at_its_time_and_the_grant_stays_and_says_so(cluster: Cluster) -> None:
    """Not before, and without an edit of anything; then all is at rest."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    end = in_seconds(SOON)
    grant(cluster, namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"], expiresAt=end)
    alive = cluster.ready("ngrant", "work", namespace)
    assert alive["status"]["expiresAt"] == end
    assert not condition_of(alive, "Expired")
    gets(cluster, who, "list", "pods", namespace)

    over = has_ended(cluster, namespace, end=end)

    loses(cluster, who, "list", "pods", namespace)
    assert all_bindings(cluster, namespace) == []
    assert over["metadata"]["generation"] == 1
    assert over["status"]["counts"] == {"roles": 0, "roleBindings": 0}
    assert over["status"]["inventory"] == []
    assert over["status"]["drift"]["state"] == "InSync"
    assert not condition_of(over, "Drifted"), "that it ended is no drift"
    assert told_of_the_end(cluster, namespace) == 1
    assert columns(cluster, None, "ngrant", "-n", namespace)["EXPIRES"] == end
    comes_to_rest(cluster, 2.5)


def test_a_time_with_a_fraction_of_a_second_ends_the_access_too(cluster: Cluster) -> None:
    """Kubernetes writes whole seconds; people, and what they use, may write more."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    moment = datetime.now(UTC) + timedelta(seconds=SOON)
    written = moment.strftime("%Y-%m-%dT%H:%M:%S.9Z")
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=written)
    gets(cluster, who, "list", "pods", namespace)
    has_ended(cluster, namespace, end=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
    loses(cluster, who, "list", "pods", namespace)


def test_another_zone_s_time_and_small_letters_mean_the_same_moment(cluster: Cluster) -> None:
    """As RFC 3339 has it; the status says it in UTC."""
    namespace = cluster.namespace()
    policy = open_policy(cluster)
    for name, written in (("east", "2031-05-01T02:00:00+02:00"), ("small", "2031-05-01t00:00:00z")):
        grant(cluster, namespace, policy.name, name, rules=[READ_PODS], expiresAt=written)
        found = cluster.ready("ngrant", name, namespace)
        assert found["status"]["expiresAt"] == "2031-05-01T00:00:00Z"


def test_the_same_yaml_does_not_give_it_back_and_a_later_time_does(cluster: Cluster) -> None:
    """Whoever applies again what is over gets nothing; who wants it for longer says until when."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    end = in_seconds(1)
    wish: Body = {"rules": [READ_PODS], "expiresAt": end}
    grant(cluster, namespace, policy.name, **wish)
    over = has_ended(cluster, namespace, end=end)

    again = grant(cluster, namespace, policy.name, **wish)

    assert again["metadata"]["generation"] == over["metadata"]["generation"]
    comes_to_rest(cluster, 1.0)
    assert not may(cluster, who, "list", "pods", namespace)
    grant(cluster, namespace, policy.name, **{**wish, "rules": [{**READ_PODS, "verbs": ["get"]}]})
    has_ended(cluster, namespace, end=end)
    assert all_bindings(cluster, namespace) == []

    end = in_seconds(SOON)
    grant(cluster, namespace, policy.name, **{**wish, "expiresAt": end})
    alive = cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)
    assert not condition_of(alive, "Expired")
    has_ended(cluster, namespace, end=end)
    loses(cluster, who, "list", "pods", namespace)

    grant(cluster, namespace, policy.name, rules=[READ_PODS])
    alive = cluster.ready("ngrant", "work", namespace)
    assert "expiresAt" not in alive["status"]
    gets(cluster, who, "list", "pods", namespace)


def test_a_time_that_is_brought_forward_ends_the_access_then(cluster: Cluster) -> None:
    """What was to last for years ends in seconds."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt="2031-05-01T00:00:00Z")
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)
    end = in_seconds(2)
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=end)
    has_ended(cluster, namespace, end=end)
    loses(cluster, who, "list", "pods", namespace)


# What the policy lets grants last


def test_a_grant_lasts_as_long_as_its_policy_lets_it(cluster: Cluster) -> None:
    """Counted from when it was made: neither the same YAML nor an edit begins that anew."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who, maxDuration=f"0h0m{SOON}s")
    made = grant(cluster, namespace, policy.name, rules=[READ_PODS])
    end = later(made["metadata"]["creationTimestamp"], seconds=SOON)
    assert cluster.ready("ngrant", "work", namespace)["status"]["expiresAt"] == end
    gets(cluster, who, "list", "pods", namespace)

    over = has_ended(cluster, namespace, end=end)

    loses(cluster, who, "list", "pods", namespace)
    assert "spec.grants.maxDuration" in condition_of(over, "Ready")["message"]
    grant(cluster, namespace, policy.name, rules=[READ_PODS])
    grant(cluster, namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    has_ended(cluster, namespace, end=end)
    assert all_bindings(cluster, namespace) == []

    longer = in_seconds(SOON - 1)
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=longer)
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)
    has_ended(cluster, namespace, end=longer)


def test_a_time_that_the_policy_does_not_allow_gives_nothing(cluster: Cluster) -> None:
    """The field is named, with how long is allowed and until when; a time within that gives the access."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who, maxDuration="1h30m")
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=in_seconds(3 * 3600))

    said = cluster.waits_for("ngrant", "work", "Stalled", "BeyondCeiling", namespace)["message"]

    assert said.startswith(f"spec.expiresAt: AccessPolicy {policy.name} lets a grant last 1h30m at most; ")
    limit = said.rpartition(" ")[2]
    assert is_over(later(limit, hours=-1.5)), "counted from when the field was written"
    assert not is_over(later(limit, hours=-1.5, seconds=60))
    assert cluster.condition("ngrant", "work", "WithinCeiling", namespace)["status"] == "False"
    assert cluster.condition("ngrant", "work", "Ready", namespace)["status"] == "False"
    assert all_bindings(cluster, namespace) == []
    assert not may(cluster, who, "list", "pods", namespace)

    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=limit)
    assert cluster.ready("ngrant", "work", namespace)["status"]["expiresAt"] == limit
    gets(cluster, who, "list", "pods", namespace)


def test_a_policy_that_begins_to_limit_how_long_grants_last_ends_those_that_have_lasted(
    cluster: Cluster,
) -> None:
    """Nobody edits the grants; when the limit goes again they give again."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    made = grant(cluster, namespace, policy.name, rules=[READ_PODS])["metadata"]["creationTimestamp"]
    far = in_seconds(86400)
    grant(cluster, namespace, policy.name, "until", rules=[READ_PODS], expiresAt=far)
    cluster.ready("ngrant", "work", namespace)
    gets(cluster, who, "list", "pods", namespace)

    policy.apply(grants={**policy.spec["grants"], "maxDuration": "1s"})

    has_ended(cluster, namespace, end=later(made, seconds=1))
    said = cluster.waits_for("ngrant", "until", "Ready", "BeyondCeiling", namespace)
    assert said["message"].startswith("spec.expiresAt: ")
    loses(cluster, who, "list", "pods", namespace)
    assert all_bindings(cluster, namespace) == []

    policy.apply(grants={key: v for key, v in policy.spec["grants"].items() if key != "maxDuration"})
    cluster.ready("ngrant", "work", namespace)
    assert cluster.ready("ngrant", "until", namespace)["status"]["expiresAt"] == far
    gets(cluster, who, "list", "pods", namespace)


# Azure, and an operator that is not there


def test_azure_roles_go_when_the_time_is_over(cluster: Cluster) -> None:
    """They are assigned no more, and the inventory is empty; the finalizer lets the grant go later."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    scope, end = namespace_scope(cluster, namespace), in_seconds(SOON)
    grant(cluster, namespace, policy.name, azureRoles=[READER], expiresAt=end)
    cluster.ready("ngrant", "work", namespace)
    assert [one["roleName"] for one in cluster.azure.assignments(scope=scope)] == [READER]
    gets(cluster, who, "list", "pods", namespace)

    has_ended(cluster, namespace, end=end)

    eventually(lambda: cluster.azure.assignments(scope=scope) == [], "the role is taken away")
    loses(cluster, who, "list", "pods", namespace)
    over = cluster.get("ngrant", "work", namespace)["status"]
    assert (over["inventory"], over["counts"]["azureRoles"]) == ([], 0)
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")


def test_bindings_go_at_once_while_azure_is_down_and_the_roles_when_it_is_back(mortal: Cluster) -> None:
    """The status says honestly what is still to go."""
    who, namespace = person(mortal), mortal.namespace()
    policy = open_policy(mortal, who)
    scope, end = namespace_scope(mortal, namespace), in_seconds(SOON)
    spec: Body = {"rules": [READ_PODS], "azureRoles": [READER], "expiresAt": end}
    grant(mortal, namespace, policy.name, **spec)
    mortal.ready("ngrant", "work", namespace)
    mortal.azure.fault(kind="arm", status=503, count=None)

    eventually(lambda: all_bindings(mortal, namespace) == [], "nothing is bound any more")

    assert is_over(end)
    mortal.waits_for("ngrant", "work", "Expired", "Expired", namespace)
    mortal.waits_for("ngrant", "work", "AzureRolesReady", "Unavailable", namespace)
    over = mortal.get("ngrant", "work", namespace)
    assert condition_of(over, "Expired")["status"] == "True"
    assert [one["kind"] for one in over["status"]["inventory"]] == ["RoleAssignment"]
    assert [one["roleName"] for one in mortal.azure.assignments(scope=scope)] == [READER]

    mortal.azure.clear_faults()
    eventually(lambda: mortal.azure.assignments(scope=scope) == [], "the role is taken away", 60)
    has_ended(mortal, namespace, end=end)


@pytest.mark.parametrize("status", [503, None], ids=["fails", "answers"])
def test_a_pass_that_waits_for_azure_over_the_end_does_not_keep_the_bindings(
    mortal: Cluster, status: int | None
) -> None:
    """It began before the end, and Azure answers long after it."""
    who, namespace = person(mortal), mortal.namespace()
    policy = open_policy(mortal, who)
    spec: Body = {"rules": [READ_PODS], "azureRoles": [READER]}
    grant(mortal, namespace, policy.name, **spec)
    mortal.ready("ngrant", "work", namespace)
    gets(mortal, who, "list", "pods", namespace)
    mortal.quiet(0.7)  # until the last list is too old to be used again
    mortal.azure.fault(kind="arm", delay_seconds=25, status=status)
    end = in_seconds(8)

    grant(mortal, namespace, policy.name, **spec, expiresAt=end)

    eventually(lambda: mortal.azure.faults()[-1]["used"], "a pass waits for Azure")
    assert not is_over(end), "it began to wait before the end, or this proves nothing"
    assert all_bindings(mortal, namespace) != []
    eventually(lambda: all_bindings(mortal, namespace) == [], "nothing is bound any more", 15)
    assert is_over(end)
    mortal.azure.clear_faults()
    has_ended(mortal, namespace, end=end)
    scope = namespace_scope(mortal, namespace)
    eventually(lambda: mortal.azure.assignments(scope=scope) == [], "the role is taken away")


def test_what_ended_while_the_operator_was_down_ends_when_it_is_back(mortal: Cluster) -> None:
    """Killed before the end and started after it: the first thing it does with the grant is to take."""
    who, namespace = person(mortal), mortal.namespace()
    policy = open_policy(mortal, who)
    end = in_seconds(3)
    grant(mortal, namespace, policy.name, rules=[READ_PODS], azureRoles=[READER], expiresAt=end)
    mortal.ready("ngrant", "work", namespace)
    mortal.kill_operator()
    gets(mortal, who, "list", "pods", namespace)
    eventually(lambda: is_over(end), "the time is over")
    assert may(mortal, who, "list", "pods", namespace), "nobody was there to take it"

    mortal.start_operator()

    has_ended(mortal, namespace, end=end)
    loses(mortal, who, "list", "pods", namespace)
    eventually(
        lambda: mortal.azure.assignments(scope=namespace_scope(mortal, namespace)) == [], "likewise in Azure"
    )


def test_the_end_of_one_grant_moves_no_other(cluster: Cluster) -> None:
    """One that lasts longer keeps its bindings, untouched, and nothing is asked of Entra for it."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    grant(cluster, namespace, policy.name, "lasting", rules=[READ_PODS])
    cluster.ready("ngrant", "lasting", namespace)
    before = {one["metadata"]["name"]: one for one in all_bindings(cluster, namespace)}
    in_the_rounds(cluster, policy.group_id)
    since, end = last_request(cluster), in_seconds(2)
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=end)

    has_ended(cluster, namespace, end=end)

    eventually(
        lambda: {one["metadata"]["name"]: one for one in all_bindings(cluster, namespace)} == before,
        "only what the other one had is left",
    )
    assert may(cluster, who, "list", "pods", namespace)
    asked = cluster.azure.journal(since=since, kind="graph")
    assert [one["path"] for one in asked if policy.group_id in one["path"]] == []


def test_an_observed_policy_takes_nothing_at_the_end_and_says_what_is_left(cluster: Cluster) -> None:
    """Expired, and drifted: what should be gone is there. Enforced again it goes."""
    who, namespace = person(cluster), cluster.namespace()
    policy = open_policy(cluster, who)
    grant(cluster, namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", namespace)
    policy.update(mode="Observe")
    end = in_seconds(1)
    grant(cluster, namespace, policy.name, rules=[READ_PODS], expiresAt=end)

    over = has_ended(cluster, namespace, end=end)

    said = (
        f"the access was to end at {end}, and nothing takes it away, because mode is Observe; to end it set"
    )
    assert condition_of(over, "Expired")["message"].startswith(said)
    assert may(cluster, who, "list", "pods", namespace)
    items = over["status"]["drift"]["items"]
    assert [(one["object"].split()[0], one["found"], one["action"]) for one in items] == [
        ("RoleBinding", "present", "Reported"),
        ("Role", "present", "Reported"),
    ]
    assert condition_of(over, "Drifted")["reason"] == "Observed"
    policy.apply(mode="Enforce")
    loses(cluster, who, "list", "pods", namespace)
    over = has_ended(cluster, namespace, end=end)
    assert condition_of(over, "Expired")["message"].startswith(f"the access ended at {end}")


# At the door


BAD_TIMES = (
    "tomorrow", "2026-12-01", "2026-12-01T00:00:00", "2026-12-01 00:00:00Z", "2026-02-30T00:00:00Z",
    "2026-12-01T23:59:60Z", "2026-12-01T00:00:00+99:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z",
    "", 1764547200,
)  # fmt: skip
BAD_DURATIONS = ("", "8", "8d", "1.5h", "-1h", "0h", "h", "30m1h", "1H", "1h ", "100ms", 8)


@pytest.mark.parametrize("written", BAD_TIMES, ids=repr)
def test_a_time_that_is_none_is_refused_at_the_door(cluster: Cluster, written: object) -> None:
    """With the field."""
    spec = {"policyRef": {"name": "nobody"}, "rules": [READ_PODS], "expiresAt": written}
    said = cluster.refused("create", "-f", "-", stdin=json.dumps(_body("NamespaceGrant", spec)))
    assert "spec.expiresAt" in said


@pytest.mark.parametrize("written", BAD_DURATIONS, ids=repr)
def test_a_duration_that_is_none_is_refused_at_the_door(cluster: Cluster, written: object) -> None:
    """With the field."""
    group = {"user": {"userPrincipalName": seed.ALICE}}
    spec = {"subject": group, "grants": {"namespaces": {}, "maxDuration": written}}
    said = cluster.refused("create", "-f", "-", stdin=json.dumps(_body("AccessPolicy", spec)))
    assert "spec.grants.maxDuration" in said


def _body(kind: str, spec: Body) -> Body:
    where = {"namespace": "default"} if kind == "NamespaceGrant" else {}
    return {
        "apiVersion": "entra-access.dev/v1alpha1", "kind": kind, "metadata": {"name": "bad", **where},
        "spec": spec,
    }  # fmt: skip
