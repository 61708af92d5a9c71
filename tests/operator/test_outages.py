"""A whole service is gone for a while. What does not need it goes on, and the rest comes right after."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually, running
from support.trouble import Wish, clean_log, come_right, delete, go, history, objects, remove, wrong

RULE: Body = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AT_ONCE = 7.0
"""Seconds, for a busy machine; whoever waits for a service that is down or hangs waits longer."""
HANGING = 14.0
"""Seconds after which a service that does not answer breaks off."""


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which nobody else is hit."""
    with running(tmp_path_factory.mktemp("outage")) as cluster:
        yield cluster


@pytest.fixture
def calm(own_cluster: Cluster) -> Iterator[Cluster]:
    """That set-up, without faults in the end; the operator still runs, and its log is clean."""
    yield own_cluster
    own_cluster.azure.clear_faults()
    assert own_cluster.operator is not None
    assert own_cluster.operator.alive()
    clean_log(own_cluster)


class Team:
    """A policy that is Ready and a grant of it, whose Roles and bindings another hand will change."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.wish = Wish(cluster.unique("team"))
        self.namespace = cluster.namespace()
        body = self.wish.body()
        body["spec"]["grants"] = {"namespaces": {}, "clusterRoles": ["edit"], "rules": [RULE]}
        cluster.apply(body)
        cluster.grant("work", self.namespace, self.wish.name, rules=[RULE])
        come_right(cluster, self.wish)
        self.group = cluster.ready("ngrant", "work", self.namespace)["status"]["subject"]["objectId"]

    def break_bindings(self) -> None:
        """Take everybody out of the ClusterRoleBinding and the RoleBinding, and delete the Role."""
        nobody = json.dumps([{"op": "remove", "path": "/subjects"}])
        for kind, one in self.bindings():
            where = ("-n", self.namespace) if kind == "rolebinding" else ()
            self.cluster.kubectl("patch", kind, one["metadata"]["name"], *where, "--type=json", "-p", nobody)
        self.cluster.kubectl("delete", "role", "work-rules", "-n", self.namespace)

    def bindings(self) -> list[tuple[str, Body]]:
        """Both bindings."""
        selector = "?labelSelector=entra-access.dev/owner-name"
        everywhere = f"{RBAC}/clusterrolebindings{selector}={self.wish.name}"
        here = f"{self.rbac}/rolebindings{selector}=work"
        return [
            *(("clusterrolebinding", one) for one in objects(self.cluster, everywhere)),
            *(("rolebinding", one) for one in objects(self.cluster, here)),
        ]

    def status(self) -> Body:
        """The status of the policy."""
        found: Body = self.cluster.get("apol", self.wish.name)["status"]
        return found

    @property
    def rbac(self) -> str:
        """Where the API server has the Roles and RoleBindings of the namespace."""
        return f"{RBAC}/namespaces/{self.namespace}"

    def roles(self) -> list[str]:
        """The names of all Roles in the namespace."""
        return [role["metadata"]["name"] for role in objects(self.cluster, f"{self.rbac}/roles")]

    def whole(self) -> bool:
        """Whether both bindings are for the group, and the Role is there."""
        names = [s["name"] for _, one in self.bindings() for s in one.get("subjects", ())]
        return names == [self.group] * 2 and self.roles() == ["work-rules"]


@pytest.mark.parametrize("kind", ["graph", "arm"])
def test_a_whole_service_is_down(calm: Cluster, kind: str) -> None:
    """Bindings are put right at once all the same; a new policy waits and says so; nothing is taken away."""
    team, new = Team(calm), Wish(calm.unique("new"))
    with history(calm) as said:
        calm.azure.fault(kind=kind, drop=True, count=None)
        calm.quiet(1.0)  # until the last list of assignments is too old to be used again
        team.break_bindings()
        eventually(team.whole, "the bindings are right again", AT_ONCE)
        calm.apply(new.body())
        waiting = calm.waits_for("apol", new.name, "Reconciling", "Unavailable")
        named = {"graph": "Microsoft Graph", "arm": "Azure Resource Manager"}[kind]
        assert named in waiting["message"]
        assert calm.condition("apol", new.name, "Ready")["status"] != "True"
        assert wrong(calm, team.wish) == []
        eventually(lambda: team.status()["drift"]["state"] == "Unknown", "it says what it cannot see")
        assert team.status()["subject"]["objectId"] == team.group
        calm.azure.clear_faults()
        come_right(calm, team.wish, new, seconds=60)

    assert said.reasons("Stalled") == set()
    remove(calm, new)


def test_services_that_do_not_answer_hold_up_nobody_else(calm: Cluster) -> None:
    """Twenty policies wait for a Graph that takes requests and says nothing; grants are served at once."""
    team = Team(calm)
    calm.azure.fault(kind="graph", delay_seconds=HANGING, drop=True, count=None)
    hanging = [Wish(calm.unique("hang")) for _ in range(20)]
    calm.apply(*(wish.body() for wish in hanging))
    eventually(lambda: sum(fault["used"] for fault in calm.azure.faults()) >= 2, "calls hang", seconds=10)

    calm.grant("second", team.namespace, team.wish.name, clusterRoles=["edit"])
    calm.kubectl("delete", "role", "work-rules", "-n", team.namespace)

    eventually(
        lambda: [
            role["metadata"]["name"] for role in objects(calm, f"{RBAC}/namespaces/{team.namespace}/roles")
        ],
        "the Role is there again",
        AT_ONCE,
    )
    calm.ready("ngrant", "second", team.namespace, seconds=AT_ONCE)
    calm.azure.clear_faults()
    come_right(calm, *hanging, seconds=90)
    remove(calm, *hanging)


def test_a_binding_does_not_wait_for_a_graph_that_does_not_answer(calm: Cluster) -> None:
    """What another hand did to a ClusterRoleBinding is undone at once, with the group that is known."""
    team = Team(calm)
    calm.azure.fault(kind="graph", delay_seconds=HANGING, drop=True, count=None)

    team.break_bindings()

    eventually(team.whole, "the bindings are right again", AT_ONCE)


def test_the_sign_in_is_down_when_the_operator_starts(calm: Cluster) -> None:
    """It says so on the policy, keeps the bindings meanwhile, and needs no restart when it is back."""
    team, new = Team(calm), Wish(calm.unique("signed-in-later"))
    calm.kill_operator()
    calm.azure.fault(kind="signin", status=503, count=None)
    team.break_bindings()
    calm.apply(new.body())
    calm.start_operator()

    eventually(team.whole, "the bindings are right again", 15)
    waiting = calm.waits_for("apol", new.name, "Reconciling", "SignInFailed")
    assert "Entra" in waiting["message"]
    assert wrong(calm, team.wish) == []
    calm.azure.clear_faults()
    come_right(calm, team.wish, new, seconds=60)
    remove(calm, new)


def test_an_application_that_was_switched_off_takes_nothing_away(calm: Cluster) -> None:
    """All stays as it is, the policy says so, and it goes on by itself afterwards."""
    team = Team(calm)
    calm.kill_operator()
    calm.azure.change_app(seed.OPERATOR_CLIENT_ID, accountEnabled=False)
    calm.start_operator()

    calm.waits_for("apol", team.wish.name, "Reconciling", "SignInFailed")

    assert wrong(calm, team.wish) == []
    assert calm.condition("ngrant", "work", "Ready", team.namespace)["status"] == "True"
    calm.azure.change_app(seed.OPERATOR_CLIENT_ID, accountEnabled=True)
    come_right(calm, team.wish, seconds=60)


def test_everything_is_down_and_the_policy_is_deleted_meanwhile(calm: Cluster) -> None:
    """Access in the cluster ends at once; the rest is waited for, and nothing is forgotten."""
    team = Team(calm)
    for kind in ("graph", "arm", "signin"):
        calm.azure.fault(kind=kind, drop=True, count=None)
    delete(calm, team.wish)

    eventually(lambda: team.bindings() == [], "all bindings are gone", AT_ONCE)

    waiting = calm.waits_for("apol", team.wish.name, "Reconciling", "Unavailable")
    assert waiting["status"] == "True"
    calm.waits_for("ngrant", "work", "PolicyReady", "PolicyDeleting", team.namespace)
    calm.azure.clear_faults()
    go(calm, team.wish.name, seconds=60)


def test_the_api_server_is_gone_for_a_while(calm: Cluster) -> None:
    """The same process lives through it, and knows afterwards what happened right after the return."""
    team = Team(calm)
    assert calm.operator is not None
    before = calm.operator.identity
    calm.stack.plane.stop()
    ten_seconds()
    assert calm.operator.alive()
    calm.stack.plane.start()

    team.break_bindings()
    edited = replace(team.wish, members=(seed.AKSDEV,))
    body = edited.body()
    body["spec"]["grants"] = {"namespaces": {}, "clusterRoles": ["edit"], "rules": [RULE]}
    calm.apply(body)
    new = Wish(calm.unique("after"))
    calm.apply(new.body())

    come_right(calm, edited, new, seconds=60)
    eventually(team.whole, "the bindings are right again")
    calm.ready("ngrant", "work", team.namespace)
    assert calm.operator.identity == before
    assert calm.operator.alive()
    remove(calm, new)


def test_the_api_server_hangs_for_a_while(calm: Cluster) -> None:
    """Stopped and not ended: connections stay open and nothing is answered. Then all goes on."""
    team = Team(calm)
    assert calm.operator is not None
    before = calm.operator.identity
    server = next(p for p in calm.stack.plane._state.processes if p.name == "kube-apiserver")
    assert server.identity.send(signal.SIGSTOP)
    try:
        ten_seconds()
    finally:
        assert server.identity.send(signal.SIGCONT)
    edited = replace(team.wish, members=(seed.AKSDEV,), cluster_roles=("edit",))

    calm.apply(edited.body())

    come_right(calm, edited, seconds=60)
    assert calm.operator.identity == before


def ten_seconds() -> None:
    """Let so much time go by."""
    began = time.monotonic()
    eventually(lambda: time.monotonic() > began + 10, "the time is over")
