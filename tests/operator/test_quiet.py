"""At rest nothing is written anywhere: not to Entra, not to Azure, not to Kubernetes; nor by a restart."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually, running
from support.trouble import Wish, clean_log, come_right, is_ready, objects, policies
from support.watching import versions, write_requests

RULE: Body = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list"]}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up with policies and grants of all shapes, also Stalled and waiting ones, that has come to rest.

    Stalled ones are looked at every second and all policies every two: with nothing changed, all in vain.
    """
    with running(tmp_path_factory.mktemp("quiet"), ENTRA_ACCESS_RESYNC_SECONDS="2") as cluster:
        fill(cluster)
        eventually(lambda: not unsettled(cluster), "everything has been looked at")
        # Longer than a round takes: what another hand added to a group is counted in the next one.
        eventually(lambda: cluster.quiet(4.0) == ([], False), "it has come to rest", 40)
        yield cluster
        clean_log(cluster)


def fill(cluster: Cluster) -> None:
    """Apply all shapes of policies and grants."""
    nested = str(cluster.azure.add_group("nested group")["id"])
    cluster.azure.add_group("taken")
    ceiling = {
        "namespaces": {"matchLabels": {"team": "a"}},
        "clusterRoles": ["view", "edit"],
        "rules": [RULE],
    }
    whole = Wish("whole").body()
    whole["spec"]["grants"] = ceiling
    group: Body = {"displayName": "Additive", "membership": "Additive", "members": [{"group": nested}]}
    cluster.apply(
        whole,
        Wish("no-role", azure_roles=("No Such Role",)).body(),
        Wish("no-member", members=("nobody@contoso.com", seed.ALICE)).body(),
        Wish("no-cluster-role", cluster_roles=("missing", "view")).body(),
        Wish("taken").body(),
        Wish("whole-2", display_name="whole").body(),
    )
    cluster.policy("bare", {})
    cluster.policy("additive", {"subject": {"group": {**group, "owners": [{"user": seed.GUEST}]}}})
    cluster.policy("unmanaged", {"subject": {"group": {"displayName": "Un", "membership": "Unmanaged"}}})
    inside, outside = cluster.namespace(team="a"), cluster.namespace(team="b")
    cluster.grant("rules", inside, "whole", rules=[RULE])
    cluster.grant("roles", inside, "whole", clusterRoles=["view", "edit"])
    cluster.grant("both", inside, "whole", rules=[RULE], clusterRoles=["view"])
    cluster.grant("too-much", inside, "whole", clusterRoles=["admin"])
    cluster.grant("outside", outside, "whole", rules=[RULE])
    cluster.grant("no-ceiling", inside, "bare", rules=[RULE])
    cluster.grant("no-policy", inside, "nobody", rules=[RULE])
    cluster.azure.wait(lambda: cluster.group("Un"), what="the group")
    cluster.azure.add_member(cluster.group("Un")["id"], seed.BOB)  # type: ignore[index]  # it is there
    cluster.azure.wait(lambda: cluster.group("Additive"), what="the group")
    cluster.azure.add_member(cluster.group("Additive")["id"], seed.BOB)  # type: ignore[index]  # likewise


def unsettled(cluster: Cluster) -> list[str]:
    """Who has not been looked at at the present generation."""
    grants = objects(cluster, "/apis/entra-access.dev/v1alpha1/namespacegrants")
    everybody = [*policies(cluster).values(), *grants]
    return [
        one["metadata"]["name"]
        for one in everybody
        if one["status"]["observedGeneration"] != one["metadata"]["generation"]
    ]


def states(cluster: Cluster) -> dict[str, str]:
    """The reason of Ready of each policy."""
    return {
        name: next(c["reason"] for c in body["status"]["conditions"] if c["type"] == "Ready")
        for name, body in policies(cluster).items()
    }


def test_the_shapes_are_what_they_should_be(full: Cluster) -> None:
    """Or the quiet would prove little: some are Ready, some Stalled for each reason."""
    assert states(full) == {
        "whole": "InPlace",
        "no-role": "RoleNotFound",
        "no-member": "MemberNotFound",
        "no-cluster-role": "ClusterRoleNotFound",
        "taken": "GroupExists",
        "whole-2": "GroupClaimed",
        "bare": "InPlace",
        "additive": "InPlace",
        "unmanaged": "InPlace",
    }


def test_at_rest_nothing_is_written(full: Cluster) -> None:
    """No write to Azure, no resourceVersion moves, events included, while all is looked at again."""
    last, requests, before = newest(full), write_requests(full), versions(full)

    assert full.quiet(5.0)[0] == []

    assert versions(full) == before
    assert write_requests(full) == requests

    assert full.azure.journal(since=last, kind="graph"), "it was looked at again, or this proves nothing"


def newest(cluster: Cluster) -> int:
    """The number of the last request to Azure."""
    return max(int(entry["n"]) for entry in cluster.azure.journal())


def test_a_restart_writes_nothing(full: Cluster) -> None:
    """Whatever was made before is found again, by a new process and after a sudden death."""
    for end in ("asked", "killed"):
        before, requests = versions(full), write_requests(full)
        last = newest(full)
        assert full.operator is not None
        if end == "asked":
            full.operator.stop(10)
        else:
            full.kill_operator()
        full.start_operator()

        eventually(lambda last=last: looked_at(full, last), "the new one has looked at all")  # type: ignore[misc]

        assert full.quiet(2.0) == ([], False)
        assert full.azure.journal(since=last, write=True) == []
        assert versions(full) == before
        assert write_requests(full) == requests


def looked_at(cluster: Cluster, since: int) -> bool:
    """Whether every group was read after that moment."""
    wanted = {group["uniqueName"] for group in cluster.azure.state()["groups"] if group["uniqueName"]}
    read = {entry["path"] for entry in cluster.azure.journal(since=since, kind="graph", method="GET")}
    return all(any(name in path for path in read) for name in wanted)


def test_an_edit_of_one_moves_no_other(full: Cluster) -> None:
    """What others have is not written anew because one of them changed."""
    before = versions(full)
    wish = Wish("no-role")

    full.apply(wish.body())
    come_right(full, wish)

    after = versions(full)
    moved = {name for name, version in before.items() if after.get(name) != version}
    assert moved == {"/apis/entra-access.dev/v1alpha1/accesspolicies/None/no-role"}
    assert is_ready(policies(full)["whole"])
