"""After all kinds of drift were put right or reported, looking again and again writes nothing any more."""

import json
from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from entra_sandbox.hands import Hands
from support.azure import AKS_WRITER
from support.cluster import Body, Cluster, eventually, running
from support.drift import drift_of, settles
from support.life import AKS_USER, READ_PODS, Policy, ceiling, events, made_for, patch, person
from support.scopes import PODS, READER, last_entry
from support.trouble import clean_log, policies

KINDS = ("put-right", "reported", "anew", "observing", "additive")


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which much has drifted, and everything is looked at every two seconds."""
    with running(
        tmp_path_factory.mktemp("drift-quiet"),
        ENTRA_ACCESS_SWEEP_SECONDS="1",
        ENTRA_ACCESS_REPLICATION_SECONDS="1",
        ENTRA_ACCESS_RESYNC_SECONDS="2",
    ) as cluster:
        meddle(cluster)
        settles(cluster)
        yield cluster
        clean_log(cluster)


def team(cluster: Cluster, name: str, **group: object) -> tuple[Policy, str]:
    """A policy with everything in it, and a grant. Returns it with the grant's namespace."""
    namespace = cluster.namespace()
    policy = Policy(
        cluster,
        name,
        {
            "displayName": name,
            "description": "as wished",
            "members": [person(cluster).ref, person(cluster).ref],
            "owners": [person(cluster, "lead").ref],
            **group,
        },
    )
    policy.apply(
        clusterRoles=["view"],
        customRoles=[{"name": f"custom of {name}", "dataActions": [f"{PODS}/delete"]}],
        azureRoles=[{"role": AKS_USER}, {"role": f"custom of {name}"}],
        grants={**ceiling("view", rules=[READ_PODS]), "azureRoles": [READER]},
    )
    policy.ready()
    cluster.grant("work", namespace, name, rules=[READ_PODS], clusterRoles=["view"], azureRoles=[READER])
    cluster.ready("ngrant", "work", namespace)
    return policy, namespace


def meddle(cluster: Cluster) -> None:
    """Do everything that another hand can do, to policies that put it right and to one that observes."""
    teams = {name: team(cluster, name) for name in KINDS if name != "additive"}
    teams["additive"] = team(cluster, "additive", membership="Additive")
    teams["observing"][0].update(mode="Observe")
    admin = Hands(cluster.azure)
    for name in ("put-right", "observing", "additive"):
        policy, namespace = teams[name]
        group = policy.entra()
        stranger = person(cluster, "stranger").id
        cluster.azure.change_group(
            group["id"],
            displayName=f"{name} renamed",
            mailNickname="other",
            description="by another hand",
            addMembers=[stranger],
            removeMembers=group["members"][:1],
            addOwners=[stranger],
            removeOwners=group["owners"],
        )
        there = {one["roleName"]: one for one in cluster.azure.assignments(group["id"])}
        admin.unassign(there[AKS_USER]["id"])
        admin.change_assignment(there[f"custom of {name}"]["id"], description="mine now")
        admin.change_role(f"custom of {name}", description="by another hand")
        for body in [*made_for(cluster, name), *made_for(cluster, "work", namespace)]:
            where = ("-n", namespace) if "namespace" in body["metadata"] else ()
            if body["kind"] in {"ClusterRoleBinding", "RoleBinding"}:
                patch(cluster, body["kind"].lower(), body["metadata"]["name"], {"subjects": []}, *where)
    policy, namespace = teams["reported"]
    admin.assign(policy.group_id, AKS_WRITER, seed.CLUSTER_ID)
    admin.assign(policy.group_id, AKS_WRITER, seed.RESOURCE_GROUP)
    bind = ("--clusterrole=edit", f"--group={policy.group_id}", "-n", namespace)
    cluster.kubectl("create", "rolebinding", "shadow", *bind)
    cluster.azure.purge_group(teams["anew"][0].group_id)

    for name, least in (("put-right", 11), ("additive", 9), ("anew", 1)):
        has_corrected(cluster, name, least)
    for name, least in (("reported", 3), ("observing", 11)):
        has_items(cluster, name, least)


def has_corrected(cluster: Cluster, name: str, number: int) -> None:
    """Wait until so many things were put right."""
    eventually(lambda: drift_of(cluster, name).get("corrected", 0) >= number, f"{name} is put right")


def has_items(cluster: Cluster, name: str, number: int) -> None:
    """Wait until so many things are told of."""
    eventually(lambda: len(drift_of(cluster, name).get("items", ())) >= number, f"{name} tells of all")


def becomes(cluster: Cluster, name: str, *states: str) -> None:
    """Wait until the drift has one of these states."""
    eventually(lambda: drift_of(cluster, name)["state"] in states, f"{name} is {states}")


def statuses(cluster: Cluster) -> dict[str, Body]:
    """All of what the statuses say."""
    found = [*policies(cluster).values(), *cluster.list_all("ngrant")]
    return {
        f"{one['kind']} {one['metadata'].get('namespace')}/{one['metadata']['name']}": one for one in found
    }


def looks(cluster: Cluster, since: int) -> set[str]:
    """The policies whose group was read since."""
    read = [str(one["path"]) for one in cluster.azure.journal(since=since, kind="graph", method="GET")]
    return {name for name in KINDS if any(path.endswith(f"_{name}')") for path in read)}


def test_the_drift_is_what_it_should_be(drifted: Cluster) -> None:
    """Or the quiet would prove little: much was put right, and much is left."""
    states = {name: drift_of(drifted, name)["state"] for name in KINDS}
    assert states == {
        "put-right": "InSync",
        "reported": "Drifted",
        "anew": "InSync",
        "observing": "Drifted",
        "additive": "InSync",
    }


def test_looking_again_writes_nothing(drifted: Cluster) -> None:
    """No status moves, nor anything in Azure, over some rounds in which all was looked at."""
    before, since = statuses(drifted), last_entry(drifted)

    assert drifted.quiet(6.0) == ([], False)

    assert looks(drifted, since) == set(KINDS), "all was looked at, or this proves nothing"
    assert statuses(drifted) == before


def test_a_restart_writes_nothing(drifted: Cluster) -> None:
    """What is known of drift is in the statuses, and a new process says neither less nor more."""
    before, told, since = statuses(drifted), number_of_events(drifted), last_entry(drifted)
    drifted.kill_operator()
    drifted.start_operator()
    eventually(lambda: looks(drifted, since) == set(KINDS), "the new one has looked at all")

    assert drifted.quiet(4.0)[0] == []

    assert drifted.azure.journal(since=since, write=True) == []
    assert statuses(drifted) == before
    assert number_of_events(drifted) == told


def number_of_events(cluster: Cluster) -> int:
    """How many events there are about the policies."""
    return sum(len(events(cluster, "AccessPolicy", name)) for name in KINDS)


def test_an_outage_leaves_nothing_behind(drifted: Cluster) -> None:
    """While nothing can be seen all of it is Unknown; then it is as it was, but for the time of the look."""
    before = statuses(drifted)
    for kind in ("arm", "graph"):
        drifted.azure.fault(kind=kind, status=503, count=None)
    for name in KINDS:
        becomes(drifted, name, "Unknown")
    settles(drifted)
    drifted.azure.clear_faults()
    for name in KINDS:
        becomes(drifted, name, "InSync", "Drifted")
    settles(drifted)

    wanted = {name: without_times(one) for name, one in before.items()}
    eventually(
        # Some of them are looked at later: each failure made the pause before the next look longer.
        lambda: {name: without_times(one) for name, one in statuses(drifted).items()} == wanted,
        "all of them say what they said before",
        90,
    )


def without_times(body: Body) -> Body:
    """What a status says, without when it was looked at and when conditions changed."""
    status: Body = json.loads(json.dumps(body["status"]))
    status["drift"].pop("lastCheckTime", None)
    for condition in status["conditions"]:
        condition.pop("lastTransitionTime")
    return status


def test_what_was_left_out_is_put_right_when_it_may_be(drifted: Cluster) -> None:
    """The one that observed, set to Enforce: then it is as quiet."""
    drifted.kubectl("patch", "apol", "observing", "--type=merge", "-p", '{"spec":{"mode":"Enforce"}}')
    becomes(drifted, "observing", "InSync")
    settles(drifted)
    before, since = statuses(drifted), last_entry(drifted)
    assert drifted.quiet(4.0) == ([], False)
    assert looks(drifted, since) == set(KINDS)
    assert statuses(drifted) == before
