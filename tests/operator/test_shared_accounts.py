"""One service account as the subject of several policies: it stays for the last of them, with its tokens."""

from collections.abc import Iterator

import pytest

from support.adopting import kept, marks_of
from support.cluster import Body, Cluster, eventually, running
from support.deaths import asleep
from support.life import person
from support.subjects import Direct, answers, direct, exists, token_config
from support.trouble import clean_log


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def account(namespace: str, *, token: bool = False) -> Body:
    """The subject."""
    return {"serviceAccount": {"namespace": namespace, "name": "robot", "token": token}}


def uid(cluster: Cluster, kind: str, name: str, namespace: str) -> str:
    """The UID of an object, or nothing while it is not there."""
    return cluster.kubectl(
        "get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"
    )


def owners(cluster: Cluster, namespace: str) -> list[tuple[str, bool]]:
    """The policies that own the account, and whether each looks after it."""
    metadata = cluster.get("serviceaccount", "robot", namespace)["metadata"]
    return sorted((one["name"], one["controller"]) for one in metadata["ownerReferences"])


def shared(cluster: Cluster, **spec: str) -> tuple[Direct, Direct, str]:
    """Two policies for an account, the second with a token. Returns them and the namespace.

    `spec`: what else the first one says.
    """
    namespace = cluster.namespace()
    first = direct(cluster, account(namespace), clusterRoles=["view"], **spec)
    first.ready()
    second = direct(cluster, account(namespace, token=True), clusterRoles=["edit"])
    second.ready()
    return first, second, namespace


def is_of(cluster: Cluster, policy: Direct, namespace: str, before: str) -> None:
    """Wait until the account is this policy's alone, which looks after it; it is the same as before."""
    eventually(lambda: owners(cluster, namespace) == [(policy.name, True)], "it has one owner")
    assert uid(cluster, "serviceaccount", "robot", namespace) == before
    metadata = cluster.get("serviceaccount", "robot", namespace)["metadata"]
    assert metadata["labels"]["entra-access.dev/owner-name"] == policy.name
    status = policy.ready()["status"]
    assert status["drift"].get("corrected", 0) == 0, "nobody else had a hand in it"
    lines = {one["kind"]: one["id"] for one in status["inventory"]}
    assert lines["ServiceAccount"] == before


def test_both_own_it_and_come_to_rest(cluster: Cluster) -> None:
    """The first looks after it; the second is only among the owners. At rest nothing is written."""
    first, second, namespace = shared(cluster)

    assert owners(cluster, namespace) == sorted([(first.name, True), (second.name, False)])
    for policy in (first, second):
        assert policy.subject()["origin"] == "Created"
        assert "ServiceAccount" in {one["kind"] for one in policy.body()["status"]["inventory"]}
    eventually(lambda: not cluster.quiet(1.5)[1], "it has come to rest")
    version = cluster.get("serviceaccount", "robot", namespace)["metadata"]["resourceVersion"]
    first.update(clusterRoles=["view", "edit"])
    second.update(clusterRoles=["edit", "admin"])
    after = cluster.get("serviceaccount", "robot", namespace)["metadata"]["resourceVersion"]
    assert after == version, "and looking again writes nothing to it"


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_it_stays_when_the_first_is_deleted(cluster: Cluster, cascade: str) -> None:
    """The same account, and the second's token goes on signing in. When that goes too nothing is left."""
    first, second, namespace = shared(cluster)
    before = uid(cluster, "serviceaccount", "robot", namespace)
    config = token_config(cluster, namespace, "robot-token")
    eventually(lambda: answers(cluster, config, "get", "pods", "-A"), "it signs in")

    first.delete(f"--cascade={cascade}")

    assert first.bound() == []
    is_of(cluster, second, namespace, before)
    assert answers(cluster, config, "get", "pods", "-A")
    second.delete()
    for kind, name in (("serviceaccount", "robot"), ("secret", "robot-token")):
        eventually(lambda k=kind, n=name: not exists(cluster, k, n, namespace), f"no {kind} is left")  # type: ignore[misc]


def test_it_stays_when_the_second_is_deleted(cluster: Cluster) -> None:
    """Its token goes with it."""
    first, second, namespace = shared(cluster)
    before = uid(cluster, "serviceaccount", "robot", namespace)

    second.delete()

    is_of(cluster, first, namespace, before)
    eventually(lambda: not exists(cluster, "secret", "robot-token", namespace), "no token is left")


@pytest.mark.parametrize("goes", [0, 1], ids=["first", "second"])
def test_it_stays_when_one_gets_another_subject(cluster: Cluster, goes: int) -> None:
    """Whoever has no use for it any more is no owner of it."""
    *policies, namespace = shared(cluster)
    before = uid(cluster, "serviceaccount", "robot", namespace)

    status = policies[goes].update(subject={"user": {"userPrincipalName": person(cluster).upn}})["status"]

    is_of(cluster, policies[1 - goes], namespace, before)
    assert {one["kind"] for one in status["inventory"]} == {"ClusterRoleBinding"}
    policies[1 - goes].delete()
    eventually(lambda: not exists(cluster, "serviceaccount", "robot", namespace), "no account is left")
    policies[goes].ready()


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_one_that_keeps_lets_go_of_it_for_good(cluster: Cluster, cascade: str) -> None:
    """What stays bound is worth something only with the account. The other policy goes on using it."""
    first, second, namespace = shared(cluster, deletePolicy="Keep")
    before = uid(cluster, "serviceaccount", "robot", namespace)
    config = token_config(cluster, namespace, "robot-token")

    first.delete(f"--cascade={cascade}")

    eventually(lambda: second.subject().get("origin") == "Existing", "the other one learns of it")
    assert marks_of(cluster.get("serviceaccount", "robot", namespace)) == []
    status = second.ready()["status"]
    assert "ServiceAccount" not in {one["kind"] for one in status["inventory"]}
    assert status["drift"].get("corrected", 0) == 0
    assert answers(cluster, config, "get", "pods", "-A")
    told = kept(cluster, "AccessPolicy", first.name)
    # In the foreground Kubernetes may have taken it out of the owners before: it has nothing of it to keep.
    assert f"ServiceAccount {namespace}/robot" in told or cascade == "foreground"
    second.delete()
    eventually(lambda: not exists(cluster, "secret", "robot-token", namespace), "its token goes with it")
    assert uid(cluster, "serviceaccount", "robot", namespace) == before


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up whose operator may end."""
    with running(tmp_path_factory.mktemp("shared")) as cluster:
        yield cluster
        clean_log(cluster)


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "another subject"])
def test_a_policy_that_takes_the_place_of_another_gets_its_account(
    own_cluster: Cluster, *, deleted: bool
) -> None:
    """A policy was renamed: nobody has looked at the new one when the old one goes."""
    cluster, namespace = own_cluster, own_cluster.namespace()
    if cluster.operator is None or not cluster.operator.alive():
        cluster.start_operator()
    old = direct(cluster, account(namespace, token=True), clusterRoles=["view"])
    old.ready()
    before = uid(cluster, "serviceaccount", "robot", namespace)
    secret = uid(cluster, "secret", "robot-token", namespace)
    asleep(cluster)
    new = direct(cluster, account(namespace, token=True), clusterRoles=["view"])
    if deleted:
        old.delete("--wait=false")
    else:
        old.apply(subject={"user": {"userPrincipalName": person(cluster).upn}})

    cluster.start_operator()

    eventually(lambda: uid(cluster, "secret", "robot-token", namespace) not in {"", secret}, "a new token")
    is_of(cluster, new, namespace, before)
    config = token_config(cluster, namespace, "robot-token")
    eventually(lambda: answers(cluster, config, "get", "pods", "-A"), "it signs in")


def test_two_that_are_made_at_once_share_it(cluster: Cluster) -> None:
    """None of them is Stalled for the other's sake."""
    namespace = cluster.namespace()
    names = [cluster.unique("twin") for _ in range(2)]
    bodies = [
        {
            "apiVersion": "entra-access.dev/v1alpha1",
            "kind": "AccessPolicy",
            "metadata": {"name": name},
            "spec": {"subject": account(namespace), "clusterRoles": ["view"]},
        }
        for name in names
    ]
    cluster.apply(*bodies)
    for name in names:
        cluster.ready("apol", name)
    assert [name for name, _ in owners(cluster, namespace)] == names
    assert [looks for _, looks in owners(cluster, namespace)].count(True) == 1


def test_one_token_for_an_account(cluster: Cluster) -> None:
    """Whoever asks for it second says who has it, and gets one when that one is gone."""
    namespace = cluster.namespace()
    first, second = (direct(cluster, account(namespace, token=True)) for _ in range(2))
    eventually(lambda: exists(cluster, "secret", "robot-token", namespace), "there is a token")
    maker = cluster.get("secret", "robot-token", namespace)["metadata"]["ownerReferences"][0]["name"]
    has, waits = (first, second) if maker == first.name else (second, first)
    has.ready()
    assert f"was made for AccessPolicy {has.name}" in waits.stalled("NameTaken")

    has.delete()

    waits.ready()
    token_config(cluster, namespace, "robot-token")
