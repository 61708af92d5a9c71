"""The operator is killed before, during and after each of its writes; the next one brings the same end."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from entra_sandbox import seed
from support.cluster import Cluster, eventually, running
from support.deaths import HELD, Write, asleep, killed_at
from support.life import person
from support.subjects import direct, exists
from support.trouble import (
    READER_ROLE,
    Wish,
    clean_log,
    come_right,
    delete,
    go,
    groups_of,
    policies,
    remove,
)

GUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
GROUP = f"^/v1.0/groups/{GUID}"
UNIQUE = r"^/v1.0/groups\(uniqueName='"
ASSIGNMENTS = "/providers/Microsoft.Authorization/roleAssignments/"
CREATE: Write = ("PATCH", UNIQUE)
CHANGE: Write = ("PATCH", f"{GROUP}$")
ADD_OWNER: Write = ("POST", f"{GROUP}/owners/")
DROP_MEMBER: Write = ("DELETE", f"{GROUP}/members/")
DROP_OWNER: Write = ("DELETE", f"{GROUP}/owners/")
ASSIGN: Write = ("PUT", ASSIGNMENTS)
UNASSIGN: Write = ("DELETE", ASSIGNMENTS)
DELETE_GROUP: Write = ("DELETE", f"{GROUP}$")
RESTORE: Write = ("POST", "^/v1.0/directory/deletedItems/")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which the operator may die at any time."""
    # So long a deletion waits for a group that may have been made: longer than the tests' replication.
    with running(tmp_path_factory.mktemp("kill"), ENTRA_ACCESS_REPLICATION_SECONDS="6") as cluster:
        yield cluster


@pytest.fixture
def mortal(own_cluster: Cluster) -> Iterator[Cluster]:
    """That set-up; in the end an operator runs, and no log has a defect in it."""
    yield own_cluster
    own_cluster.azure.clear_faults()
    own_cluster.azure.settings(replication_delay=0)
    clean_log(own_cluster)


def killed_at_each(cluster: Cluster, *writes: Write) -> None:
    """Kill it at each of these writes in turn, first before it is done and then after it was."""
    for write in writes:
        for moment in ("never", "done"):
            killed_at(cluster, write, moment)
    cluster.start_operator()


def new(cluster: Cluster, stem: str) -> Wish:
    """A policy that is there and Ready."""
    wish = Wish(cluster.unique(stem))
    cluster.apply(wish.body())
    come_right(cluster, wish)
    return wish


def changed(wish: Wish) -> Wish:
    """The same policy with everything else in it."""
    return replace(
        wish,
        display_name=f"{wish.name} renamed",
        members=(seed.BOB, seed.AKSDEV),
        owners=(seed.OPS_LEAD,),
        azure_roles=(READER_ROLE,),
        cluster_roles=("edit",),
    )


def test_killed_at_each_write_of_a_creation(mortal: Cluster) -> None:
    """One group, its members and owners, one assignment of each role."""
    wish = Wish(mortal.unique("creation"))
    asleep(mortal)
    mortal.apply(wish.body())

    killed_at_each(mortal, CREATE, CHANGE, ADD_OWNER, ASSIGN)

    come_right(mortal, wish)
    remove(mortal, wish)


def test_killed_at_each_write_of_an_update(mortal: Cluster) -> None:
    """A rename, people who come and go, and a role for another: nothing is left half way."""
    wish = changed(new(mortal, "update"))
    asleep(mortal)
    mortal.apply(wish.body())

    killed_at(mortal, CHANGE, "never")  # the new name
    killed_at(mortal, CHANGE, "done")
    killed_at_each(mortal, CHANGE, ADD_OWNER, ASSIGN, UNASSIGN, DROP_MEMBER, DROP_OWNER)

    come_right(mortal, wish)
    remove(mortal, wish)


def test_killed_at_each_write_of_a_deletion(mortal: Cluster) -> None:
    """Nothing is left behind."""
    wish = new(mortal, "deletion")
    asleep(mortal)
    delete(mortal, wish)

    killed_at_each(mortal, UNASSIGN, DELETE_GROUP)

    go(mortal, wish.name)


def test_killed_at_the_restore_of_a_group(mortal: Cluster) -> None:
    """It comes back with its object id."""
    wish = new(mortal, "restore")
    group = policies(mortal)[wish.name]["status"]["subject"]["objectId"]
    mortal.kill_operator()
    mortal.azure.delete_group(group)

    killed_at_each(mortal, RESTORE)

    assert come_right(mortal, wish)[wish.name]["status"]["subject"]["objectId"] == group
    remove(mortal, wish)


@pytest.mark.parametrize(
    "write", [CREATE, CHANGE, ADD_OWNER, ASSIGN], ids=["create", "members", "owner", "role"]
)
def test_a_write_of_the_dead_arrives_late(mortal: Cluster, write: Write) -> None:
    """It was still under way when its sender died, and is done while the next operator works."""
    wish = Wish(mortal.unique("late"))
    asleep(mortal)
    mortal.apply(wish.body())

    killed_at(mortal, write, "late")
    last = max(entry["n"] for entry in mortal.azure.journal())
    mortal.start_operator()

    come_right(mortal, wish)
    mortal.azure.wait(lambda: mortal.azure.journal(since=last, fault=True), what="the late write")
    # The dead may have more than one under way; all of theirs are marked as faults.
    assert [write for write in mortal.quiet(1.0)[0] if not write["fault"]] == []
    come_right(mortal, wish)
    remove(mortal, wish)


@pytest.mark.parametrize("moment", ["never", "done", "late"])
def test_deleted_right_after_a_creation_that_was_killed(mortal: Cluster, moment: str) -> None:
    """The new group is not known everywhere yet, and the dead wrote down no id: still nothing is left."""
    mortal.azure.settings(replication_delay=3)
    wish = Wish(mortal.unique("brief"))
    asleep(mortal)
    mortal.apply(wish.body())
    killed_at(mortal, CREATE, moment)

    delete(mortal, wish)
    mortal.start_operator()

    go(mortal, wish.name)
    if moment != "never":
        deleted = groups_of(mortal.azure.state(), wish.name, "deletedGroups")
        assert len(deleted) == 1


@pytest.mark.parametrize("write", [CHANGE, ADD_OWNER, ASSIGN], ids=["members", "owner", "role"])
def test_deleted_after_a_death_in_the_middle_of_creation(mortal: Cluster, write: Write) -> None:
    """Whatever of it was there, all of it goes."""
    wish = Wish(mortal.unique("middle"))
    asleep(mortal)
    mortal.apply(wish.body())
    killed_at(mortal, write, "done")

    delete(mortal, wish)
    mortal.start_operator()

    go(mortal, wish.name)


@pytest.mark.parametrize("deleted", [False, True], ids=["edited", "deleted"])
def test_killed_between_a_token_and_its_status(mortal: Cluster, *, deleted: bool) -> None:
    """The Secret is there, no watch shows it, and the status has no id of it: yet it goes with the wish."""
    namespace, who = mortal.namespace(), person(mortal)
    asleep(mortal)
    account = {"serviceAccount": {"namespace": namespace, "name": "robot", "token": True}}
    policy = direct(mortal, account, clusterRoles=["view"])
    mortal.azure.fault(kind="arm", delay_seconds=HELD, count=None)  # until then nothing else is written
    mortal.start_operator()
    eventually(lambda: exists(mortal, "secret", "robot-token", namespace), "the token is made")
    mortal.kill_operator()
    told = {one["kind"]: one.get("id") for one in policy.body()["status"]["inventory"]}
    assert told == {"ServiceAccount": None, "Secret": None}

    if deleted:
        policy.delete("--wait=false")
    else:
        policy.apply(subject={"user": {"userPrincipalName": who.upn}})
    mortal.azure.clear_faults()
    mortal.start_operator()

    for kind, name in (("secret", "robot-token"), ("serviceaccount", "robot")):
        eventually(lambda k=kind, n=name: not exists(mortal, k, n, namespace), f"no {kind} is left")  # type: ignore[misc]
    if not deleted:
        assert policy.ready()["status"]["subject"]["displayName"] == who.upn
        policy.delete()


def test_killed_again_and_again_while_much_is_going_on(mortal: Cluster) -> None:
    """Policies and grants come, change and go while the operator dies at random moments: also at writes to
    Kubernetes, between a write and its status, and while it starts."""
    chance = random.Random(20261123)  # noqa: S311 - the same moments in every run
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    wishes = [Wish(mortal.unique("random")) for _ in range(4)]
    namespace = mortal.namespace()
    doomed = [Wish(mortal.unique("doomed")) for _ in range(2)]
    for round_ in range(6):
        some = [changed(w) if chance.random() < 0.5 else w for w in wishes]
        bodies = [wish.body() for wish in (*some, *doomed)]
        for body in bodies:
            body["spec"]["grants"] = {"namespaces": {}, "clusterRoles": ["view", "edit"], "rules": [rule]}
        mortal.apply(*bodies)
        for wish in wishes:
            role = chance.choice(["view", "edit"])
            mortal.grant(wish.name, namespace, wish.name, rules=[rule], clusterRoles=[role])
        if round_ % 2:
            delete(mortal, *doomed)
        pause = chance.uniform(0.3, 2.5)
        if mortal.operator is None or not mortal.operator.alive():
            mortal.start_operator()
        mortal.quiet(pause)
        mortal.kill_operator()
    mortal.start_operator()
    gone = [wish.name for wish in doomed]

    come_right(mortal, *some, seconds=60)
    go(mortal, *gone, seconds=60)
    for wish, said in zip(wishes, some, strict=True):
        grant = mortal.ready("ngrant", wish.name, namespace)
        assert grant["status"]["subject"]["displayName"] == (said.display_name or said.name)
    names = {b["metadata"]["name"] for b in mortal.list_all("roles,rolebindings", namespace)}
    assert len(names) == 3 * len(wishes)
    remove(mortal, *wishes)
