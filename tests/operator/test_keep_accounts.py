"""Service accounts and their tokens by `deletePolicy: Keep`: they stay, however their policy is deleted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.adopting import kept, marks_of
from support.cluster import Body, Cluster, eventually
from support.drift import item, tells
from support.life import made_for, person
from support.subjects import Direct, answers, direct, exists, token_config
from support.trouble import clean_log

KEEP: dict[str, Any] = {"deletePolicy": "Keep"}
CASCADES = ["background", "foreground"]
BOTH = (("serviceaccount", "robot"), ("secret", "robot-token"))
HOLDER = "entra-access.dev/held-by-namespace"
KINDS = (("ServiceAccount", "robot"), ("Secret", "robot-token"))
Owners = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


def account(namespace: str, *, token: bool = True) -> Body:
    """The subject."""
    return {"serviceAccount": {"namespace": namespace, "name": "robot", "token": token}}


def with_account(cluster: Cluster, **spec: Any) -> tuple[Direct, str]:
    """A policy for an account with a token in a new namespace, in place. Returns both."""
    namespace = cluster.namespace()
    policy = direct(cluster, account(namespace), clusterRoles=["view"], **spec)
    policy.ready()
    return policy, namespace


def found(cluster: Cluster, namespace: str) -> list[Body]:
    """The account and its token."""
    return [cluster.get(kind, name, namespace) for kind, name in BOTH]


def values(bodies: list[Body], key: str) -> list[str]:
    """A value of the metadata of each."""
    return [str(one["metadata"].get(key)) for one in bodies]


def owners(body: Body) -> Owners:
    """Kind and name of each owner."""
    return sorted((one["kind"], one["name"]) for one in body["metadata"].get("ownerReferences", ()))


def owned_by(cluster: Cluster, namespace: str, *expected: tuple[str, str]) -> None:
    """Wait until these own both the account and the token."""
    eventually(
        lambda: [owners(one) for one in found(cluster, namespace)] == [sorted(expected)] * 2,
        f"account and token of {namespace} are owned by {expected}",
    )


def signs_in(cluster: Cluster, namespace: str) -> bool:
    """Whether the token is good for what is bound."""
    return answers(cluster, token_config(cluster, namespace, "robot-token"), "get", "pods", "-A")


def is_nobodys(cluster: Cluster, namespace: str, before: list[str]) -> None:
    """Account and token are those of before, and nothing that we or Kubernetes put on them is left."""
    left = found(cluster, namespace)
    assert values(left, "uid") == before
    assert [marks_of(one) for one in left] == [[], []]
    assert [owners(one) for one in left] == [[], []]


def nothing_is_left(cluster: Cluster, namespace: str) -> None:
    """Wait until neither account nor token is there."""
    for kind, name in BOTH:
        eventually(lambda k=kind, n=name: not exists(cluster, k, n, namespace), f"no {kind} is left")  # type: ignore[misc]


@pytest.mark.parametrize("cascade", CASCADES)
def test_a_service_account_and_its_token_are_kept(cluster: Cluster, cascade: str) -> None:
    """The token goes on signing in, with what is bound to it; however the policy is deleted."""
    policy, namespace = with_account(cluster, **KEEP)
    owned_by(cluster, namespace, ("AccessPolicy", policy.name), ("Namespace", namespace))
    before = values(found(cluster, namespace), "uid")
    eventually(lambda: signs_in(cluster, namespace), "it signs in")

    policy.delete(f"--cascade={cascade}")

    is_nobodys(cluster, namespace, before)
    told = kept(cluster, "AccessPolicy", policy.name)
    assert all(f"{namespace}/{name}" in told for _, name in BOTH)
    eventually(lambda: not cluster.quiet(1.0)[1], "it has come to rest")
    is_nobodys(cluster, namespace, before)
    assert signs_in(cluster, namespace)


def test_of_a_policy_that_deletes_nothing_is_left_in_the_foreground_either(cluster: Cluster) -> None:
    """Neither of one that has kept what it made until a moment ago."""
    plain, namespace = with_account(cluster)
    owned_by(cluster, namespace, ("AccessPolicy", plain.name))
    edited, other = with_account(cluster, **KEEP)

    plain.delete("--cascade=foreground")
    edited.apply(deletePolicy="Delete")
    edited.delete("--cascade=foreground")

    nothing_is_left(cluster, namespace)
    nothing_is_left(cluster, other)


def test_an_edit_puts_the_namespace_among_the_owners_and_takes_it_out(cluster: Cluster) -> None:
    """The same account and token all the time; it is no drift, and at rest nothing is written."""
    policy, namespace = with_account(cluster)
    before = values(found(cluster, namespace), "uid")
    own = ("AccessPolicy", policy.name)

    for wish, expected in (("Keep", [own, ("Namespace", namespace)]), ("Delete", [own])):
        policy.update(deletePolicy=wish)
        owned_by(cluster, namespace, *expected)
        left = found(cluster, namespace)
        assert values(left, "uid") == before
        assert [HOLDER in one["metadata"]["annotations"] for one in left] == [wish == "Keep"] * 2
        assert policy.ready()["status"]["drift"].get("corrected", 0) == 0
        eventually(lambda: not cluster.quiet(1.5)[1], "it has come to rest")
        versions = values(found(cluster, namespace), "resourceVersion")
        policy.update(clusterRoles=["view", "edit"])
        policy.update(clusterRoles=["view"])
        assert values(found(cluster, namespace), "resourceVersion") == versions, "it is looked at only"


def test_an_owner_that_another_hand_takes_out_comes_back(cluster: Cluster) -> None:
    """That is drift."""
    policy, namespace = with_account(cluster, **KEEP)
    body = cluster.get("serviceaccount", "robot", namespace)
    stays = [one for one in body["metadata"]["ownerReferences"] if one["kind"] != "Namespace"]
    change = json.dumps({"metadata": {"ownerReferences": stays}})

    cluster.kubectl("patch", "serviceaccount", "robot", "-n", namespace, "--type=merge", "-p", change)

    owned_by(cluster, namespace, ("AccessPolicy", policy.name), ("Namespace", namespace))
    robot = f"ServiceAccount {namespace}/robot"
    words = ("metadata.ownerReferences", f"Namespace {namespace}", "none of it", "Corrected")
    tells(cluster, policy.name, "InSync", item("Kubernetes", robot, *words))


def test_who_observes_tells_of_it_and_writes_nothing(cluster: Cluster) -> None:
    """What would be done is in the status; what there is goes on."""
    policy, namespace = with_account(cluster)
    versions = values(found(cluster, namespace), "resourceVersion")

    policy.apply(mode="Observe", **KEEP)

    field = "metadata.ownerReferences"
    words = (field, f"Namespace {namespace}", "none of it", "Reported")
    items = [item("Kubernetes", f"{kind} {namespace}/{name}", *words) for kind, name in KINDS]
    name = made_for(cluster, policy.name)[0]["metadata"]["name"]
    words = (field, "none", f"AccessPolicy {policy.name}", "Reported")
    tells(cluster, policy.name, "Drifted", *items, item("Kubernetes", f"ClusterRoleBinding {name}", *words))
    assert values(found(cluster, namespace), "resourceVersion") == versions
    policy.ready()


def test_an_abandoned_policy_that_keeps_lets_go_of_both(cluster: Cluster) -> None:
    """Also in the foreground; nothing asks Azure for it."""
    policy, namespace = with_account(cluster, **KEEP)
    before = values(found(cluster, namespace), "uid")
    cluster.kubectl("annotate", "apol", policy.name, "entra-access.dev/abandon=true")

    policy.delete("--cascade=foreground")

    eventually(lambda: not cluster.quiet(1.0)[1], "it has come to rest")
    is_nobodys(cluster, namespace, before)


def test_a_namespace_takes_them_along(cluster: Cluster) -> None:
    """However it is deleted: to be an owner of what is in it keeps nothing there, nor the namespace."""
    for cascade in CASCADES:
        policy, namespace = with_account(cluster, **KEEP)
        cluster.kubectl("delete", "namespace", namespace, "--timeout=60s", f"--cascade={cascade}")
        policy.stalled("NamespaceNotFound")
        policy.delete()


# Shared


def pair(cluster: Cluster, first: Body, second: Body) -> tuple[Direct, Direct, str]:
    """Two policies for an account, the first with a token. Returns them and the namespace."""
    one, namespace = with_account(cluster, **first)
    two = direct(cluster, account(namespace, token=False), clusterRoles=["edit"], **second)
    two.ready()
    return one, two, namespace


@pytest.mark.parametrize("keeps", [0, 1], ids=["first", "second"])
def test_an_account_that_one_of_two_keeps_stays_when_both_are_deleted_at_once(
    cluster: Cluster, keeps: int
) -> None:
    """As with an application of Argo CD that has both. Whichever of them is looked at first."""
    *policies, namespace = pair(cluster, *(KEEP if n == keeps else {} for n in (0, 1)))
    names = [policy.name for policy in policies]
    expected = sorted([*(("AccessPolicy", name) for name in names), ("Namespace", namespace)])
    before = cluster.get("serviceaccount", "robot", namespace)
    assert owners(before) == expected

    cluster.kubectl("delete", "apol", *names, "--timeout=30s", "--cascade=foreground")

    eventually(lambda: not cluster.quiet(1.0)[1], "it has come to rest")
    left = cluster.get("serviceaccount", "robot", namespace)
    assert left["metadata"]["uid"] == before["metadata"]["uid"]
    assert (marks_of(left), owners(left)) == ([], [])
    assert exists(cluster, "secret", "robot-token", namespace) == (keeps == 0), "a token is one policy's"


def test_whoever_of_two_keeps_no_more_takes_the_namespace_out(cluster: Cluster) -> None:
    """Be it edited, or have another subject; it is nobody's drift. A token is one policy's."""
    first, second, namespace = pair(cluster, {}, KEEP)

    def owned(*expected: tuple[str, str]) -> None:
        eventually(
            lambda: owners(cluster.get("serviceaccount", "robot", namespace)) == sorted(expected),
            f"the account is owned by {expected}",
        )
        assert owners(cluster.get("secret", "robot-token", namespace)) == [("AccessPolicy", first.name)]

    one, two, held = ("AccessPolicy", first.name), ("AccessPolicy", second.name), ("Namespace", namespace)
    owned(one, two, held)
    second.update(deletePolicy="Delete")
    owned(one, two)
    second.update(**KEEP)
    owned(one, two, held)
    second.update(subject={"user": {"userPrincipalName": person(cluster).upn}})
    owned(one)
    eventually(lambda: not cluster.quiet(1.5)[1], "it has come to rest")
    for policy in (first, second):
        assert policy.ready()["status"]["drift"].get("corrected", 0) == 0
