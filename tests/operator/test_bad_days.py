"""Whatever Entra and Azure answer, or fail to answer: an honest status meanwhile, and the right end after."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from entra_sandbox import seed
from support.cluster import Cluster, running
from support.trouble import (
    READER_ROLE,
    History,
    Wish,
    clean_log,
    come_right,
    delete,
    go,
    groups_of,
    history,
    remove,
)

GUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
GROUP = f"^/v1.0/groups/{GUID}"
UNIQUE = r"^/v1.0/groups\(uniqueName='"
ASSIGNMENTS = "/providers/Microsoft.Authorization/roleAssignments"
BROKEN: dict[str, dict[str, Any]] = {
    "throttled": {"status": 429, "retry_after": 1},
    "500": {"status": 500},
    "503": {"status": 503},
    "504": {"status": 504},
    "504 and done": {"status": 504, "after": True},
    "dropped": {"drop": True},
    "answer lost": {"drop": True, "after": True},
}
HONEST = {"Throttled", "Unavailable"}
"""What a resource may give as the reason for waiting on such a day."""


@dataclass(frozen=True)
class Call:
    """A call to Graph or ARM, as faults match it."""

    method: str
    path: str
    kind: str

    def breaks(self, cluster: Cluster) -> int:
        """Have one such call fail in every way. Returns how many."""
        for broken in BROKEN.values():
            # A kept connection to ARM that breaks is tried once more by the HTTP library itself.
            count = 2 if broken.get("drop") and self.kind == "arm" else 1
            cluster.azure.fault(
                method=self.method, path_regex=self.path, kind=self.kind, count=count, **broken
            )
        return len(BROKEN)


FIND = Call("GET", UNIQUE, "graph")
DELETED = Call("GET", "^/v1.0/directory/deletedItems", "graph")
NAMESAKES = Call("GET", "^/v1.0/groups$", "graph")
USERS = Call("GET", "^/v1.0/users/(?!delta)", "graph")
MEMBERS = Call("GET", f"{GROUP}/members", "graph")
OWNERS = Call("GET", f"{GROUP}/owners", "graph")
CREATE = Call("PATCH", UNIQUE, "graph")
CHANGE = Call("PATCH", f"{GROUP}$", "graph")
ADD_OWNER = Call("POST", f"{GROUP}/owners/", "graph")
DROP_MEMBER = Call("DELETE", f"{GROUP}/members/", "graph")
DROP_OWNER = Call("DELETE", f"{GROUP}/owners/", "graph")
DELETE_GROUP = Call("DELETE", f"{GROUP}$", "graph")
RESTORE = Call("POST", "^/v1.0/directory/deletedItems/", "graph")
ROLES = Call("GET", "/providers/Microsoft.Authorization/roleDefinitions", "arm")
LIST = Call("GET", f"{ASSIGNMENTS}$", "arm")
ASSIGN = Call("PUT", ASSIGNMENTS, "arm")
UNASSIGN = Call("DELETE", ASSIGNMENTS, "arm")

CREATION = {
    "find": FIND,
    "deleted groups": DELETED,
    "namesakes": NAMESAKES,
    "users": USERS,
    "role definitions": ROLES,
    "assignments": LIST,
    "create": CREATE,
    "add members": CHANGE,
    "add owner": ADD_OWNER,
    "assign": ASSIGN,
}
UPDATE = {
    "find": FIND,
    "members": MEMBERS,
    "owners": OWNERS,
    "namesakes": NAMESAKES,
    "assignments": LIST,
    "rename and add members": CHANGE,
    "remove member": DROP_MEMBER,
    "add owner": ADD_OWNER,
    "remove owner": DROP_OWNER,
    "assign": ASSIGN,
    "unassign": UNASSIGN,
}
DELETION = {"find": FIND, "assignments": LIST, "unassign": UNASSIGN, "delete group": DELETE_GROUP}
RESTORING = {"find": FIND, "deleted groups": DELETED, "restore": RESTORE, "members": MEMBERS}


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which nobody else is hit."""
    with running(tmp_path_factory.mktemp("storm")) as cluster:
        yield cluster


@pytest.fixture
def storm(own_cluster: Cluster) -> Iterator[Cluster]:
    """That set-up; in the end the same process still runs, and its log is clean."""
    assert own_cluster.operator is not None
    identity = own_cluster.operator.identity
    yield own_cluster
    own_cluster.azure.clear_faults()
    own_cluster.azure.settings(replication_delay=0)
    assert own_cluster.operator.identity == identity
    assert own_cluster.operator.alive()
    clean_log(own_cluster)


def wishes(cluster: Cluster, stem: str) -> list[Wish]:
    """One policy for each way in which a call can fail."""
    return [Wish(cluster.unique(stem)) for _ in BROKEN]


def all_used(cluster: Cluster) -> None:
    """Every fault happened, or the test proves nothing."""
    left = [fault for fault in cluster.azure.faults() if fault["count"]]
    assert left == []


def used(cluster: Cluster) -> int:
    """How many faults have happened."""
    return sum(int(fault["used"]) for fault in cluster.azure.faults())


def more(cluster: Cluster, before: int) -> bool:
    """Whether more faults than that have happened."""
    return used(cluster) > before


def do(cluster: Cluster, call: Call, wanted: list[Wish], act: Callable[[list[Wish]], object]) -> None:
    """Do it to all policies at once; for a reading that they share, to one after the other."""
    if call not in {DELETED, LIST}:
        call.breaks(cluster)
        act(wanted)
        return
    cluster.quiet(2.1)  # until the last reading is too old to be used again
    call.breaks(cluster)
    for wish in wanted:
        before = used(cluster)
        act([wish])
        if any(fault["count"] for fault in cluster.azure.faults()):
            cluster.azure.wait(partial(more, cluster, before), what="a failed reading")


def honest(said: History) -> None:
    """Somebody waited and said why; nobody was Stalled; no reason was made up."""
    assert said.reasons("Reconciling") & HONEST
    assert said.reasons("Stalled") == set()
    assert said.reasons("Reconciling") <= HONEST | {"Creating", "Restoring", "Changed", "Replicating"}


@pytest.mark.parametrize("call", CREATION)
def test_any_call_of_a_creation_fails(storm: Cluster, call: str) -> None:
    """In every way, lost answers among them: then all is as wished, with one group each."""
    wanted = wishes(storm, "creation")
    # Names of roles are looked up once in an hour, so each policy has one that was not asked for before.
    if CREATION[call] is ROLES:
        names = unused_roles(len(wanted))
        wanted = [replace(w, azure_roles=(role,)) for w, role in zip(wanted, names, strict=True)]

    with history(storm) as said:
        do(storm, CREATION[call], wanted, lambda some: storm.apply(*(wish.body() for wish in some)))
        come_right(storm, *wanted)

    all_used(storm)
    honest(said)


@pytest.mark.parametrize("call", UPDATE)
def test_any_call_of_an_update_fails(storm: Cluster, call: str) -> None:
    """Name, members, owners and roles all change, in one edit, and in every way something goes wrong."""
    before = wishes(storm, "update")
    storm.apply(*(wish.body() for wish in before))
    come_right(storm, *before)
    after = [
        replace(
            wish,
            display_name=f"{wish.name} renamed",
            members=(seed.BOB, seed.AKSDEV),
            owners=(seed.OPS_LEAD,),
            azure_roles=(READER_ROLE,),
            cluster_roles=("edit",),
        )
        for wish in before
    ]

    with history(storm) as said:
        do(storm, UPDATE[call], after, lambda some: storm.apply(*(wish.body() for wish in some)))
        come_right(storm, *after)

    all_used(storm)
    honest(said)


@pytest.mark.parametrize("call", DELETION)
def test_any_call_of_a_deletion_fails(storm: Cluster, call: str) -> None:
    """Nothing is left behind, and no group goes before its assignments do, whatever fails on the way."""
    wanted = wishes(storm, "deletion")
    storm.apply(*(wish.body() for wish in wanted))
    come_right(storm, *wanted)

    groups = {g["id"] for wish in wanted for g in groups_of(storm.azure.state(), wish.name)}
    there = storm.azure.assignments(scope=seed.CLUSTER_ID)
    given = {a["id"]: a["principalId"] for a in there if a["principalId"] in groups}
    assert len(given) == len(wanted)

    with history(storm) as said:
        do(storm, DELETION[call], wanted, lambda some: delete(storm, *some))
        go(storm, *(wish.name for wish in wanted))

    all_used(storm)
    honest(said)
    for assignment, group in given.items():
        assert last_done(storm, assignment) < last_done(storm, f"/v1.0/groups/{group}")


def last_done(cluster: Cluster, path: str) -> int:
    """The number of the last request that deleted what is at that path, whatever became of the answer."""
    deleted = cluster.azure.journal(method="DELETE", path_regex=f"{path}$")
    done = [entry["n"] for entry in deleted if entry["status"] < 300 or entry["fault"]]
    assert done, path
    return int(max(done))


@pytest.mark.parametrize("call", RESTORING)
def test_any_call_of_a_restore_fails(storm: Cluster, call: str) -> None:
    """A group that another hand deleted comes back with its object id."""
    wanted = wishes(storm, "restore")
    storm.apply(*(wish.body() for wish in wanted))
    before = come_right(storm, *wanted)
    ids = {wish.name: before[wish.name]["status"]["subject"]["objectId"] for wish in wanted}
    edited = [replace(wish, cluster_roles=("edit",)) for wish in wanted]  # so that they are looked at

    def delete(some: list[Wish]) -> None:
        for wish in some:
            storm.azure.delete_group(ids[wish.name])
        storm.apply(*(wish.body() for wish in some))

    with history(storm) as said:
        do(storm, RESTORING[call], edited, delete)
        restored = come_right(storm, *edited)
    assert {n: restored[n]["status"]["subject"]["objectId"] for n in ids} == ids

    all_used(storm)
    honest(said)
    remove(storm, *edited)


def test_everything_at_once_while_groups_are_not_known_everywhere(storm: Cluster) -> None:
    """New groups stay unknown for 3 s: members, owners, roles and bindings come all the same, once."""
    storm.azure.settings(replication_delay=3)
    wanted = wishes(storm, "slow")

    with history(storm) as said:
        storm.apply(*(wish.body() for wish in wanted))
        come_right(storm, *wanted)

    assert "Replicating" in said.reasons("Reconciling")
    assert said.reasons("Stalled") == set()
    remove(storm, *wanted)


def test_faults_and_replication_together(storm: Cluster) -> None:
    """Writes fail in every way while groups are slow to be known."""
    storm.azure.settings(replication_delay=2)
    wanted = wishes(storm, "both")
    for call in (CREATE, ASSIGN):
        call.breaks(storm)

    storm.apply(*(wish.body() for wish in wanted))

    come_right(storm, *wanted, seconds=60)
    all_used(storm)
    remove(storm, *wanted)


def test_a_pause_of_no_seconds_is_no_invitation_to_rush(storm: Cluster) -> None:
    """``Retry-After: 0`` again and again: the calls become fewer all the same."""
    wish = Wish(storm.unique("rush"))
    storm.azure.fault(kind="graph", status=429, retry_after=0, count=None)
    last = max((entry["n"] for entry in storm.azure.journal()), default=0)
    storm.apply(wish.body())

    storm.waits_for("apol", wish.name, "Reconciling", "Throttled")
    storm.quiet(3)

    # A round that fails meanwhile has others looked at too, once.
    calls = [one for one in storm.azure.journal(since=last, kind="graph") if wish.name in one["path"]]
    assert 3 <= len(calls) <= 15
    storm.azure.clear_faults()
    come_right(storm, wish)
    remove(storm, wish)


def test_deleted_at_once_after_creation(storm: Cluster) -> None:
    """While the new group is not known everywhere, its absence proves nothing: it is waited for, and goes."""
    storm.azure.settings(replication_delay=3)
    wanted = wishes(storm, "brief")
    storm.apply(*(wish.body() for wish in wanted))
    storm.azure.wait(lambda: groups_of(storm.azure.state(), wanted[0].name), what="a group")

    remove(storm, *wanted)


def test_made_again_at_once_after_deletion(storm: Cluster) -> None:
    """The deleted group still holds the uniqueName; the policy of the same name takes it back."""
    wish = Wish(storm.unique("again"))
    for _ in range(3):
        storm.apply(wish.body())
        come_right(storm, wish)
        storm.kubectl("delete", "apol", wish.name)
    go(storm, wish.name)


_fresh: Iterator[str] = iter(
    (
        "Azure Kubernetes Service RBAC Writer",
        "Azure Kubernetes Service RBAC Admin",
        "Azure Kubernetes Service RBAC Cluster Admin",
        "Azure Kubernetes Service Cluster Admin Role",
        "Azure Kubernetes Service Cluster Monitoring User",
        "Azure Kubernetes Service Contributor Role",
        "Azure Kubernetes Service Policy Add-on Deployment",
    )
)


def unused_roles(count: int) -> list[str]:
    """Names of roles that no policy had yet."""
    return [next(_fresh) for _ in range(count)]
