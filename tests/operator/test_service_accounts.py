"""Service accounts as subjects: made where there is none, with a token, and gone with the policy."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import READ_PODS, ceiling, condition_of, made_for
from support.subjects import Direct, answers, direct, exists, held_namespace, token_config
from support.trouble import clean_log

TOKEN_TYPE = "kubernetes.io/service-account-token"
PATH = "spec.subject.serviceAccount"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log, and no token is in it."""
    yield
    clean_log(shared_cluster)


def account(namespace: str, name: str = "robot", *, token: bool = True) -> Body:
    """A subject that is a service account."""
    return {"serviceAccount": {"namespace": namespace, "name": name, "token": token}}


def uid(cluster: Cluster, kind: str, name: str, namespace: str) -> str:
    """The UID of an object, or nothing while it is not there."""
    return cluster.kubectl(
        "get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"
    )


def may(cluster: Cluster, namespace: str, *question: str) -> bool:
    """Whether kubectl that signs in with the Secret's token really does it."""
    return answers(cluster, token_config(cluster, namespace, "robot-token"), *question)


def gets(cluster: Cluster, namespace: str, *question: str) -> None:
    """Wait until it does it."""
    eventually(lambda: may(cluster, namespace, *question), f"the account of {namespace} may {question}")


def with_account(cluster: Cluster, *, token: bool = True, **spec: Any) -> tuple[Direct, str]:
    """A policy for a service account in a new namespace, in place. Returns both."""
    namespace = cluster.namespace()
    policy = direct(cluster, account(namespace, token=token), **{"clusterRoles": ["view"], **spec})
    policy.ready()
    return policy, namespace


def test_an_account_is_made_signs_in_and_goes_with_its_policy(cluster: Cluster) -> None:
    """Its token opens what is bound and nothing else; afterwards neither account nor Secret is left."""
    policy, namespace = with_account(cluster)

    body = policy.body()
    assert policy.bound() == [("view", f"ServiceAccount {namespace} robot")]
    made = cluster.get("serviceaccount", "robot", namespace)
    assert [one["uid"] for one in made["metadata"]["ownerReferences"]] == [body["metadata"]["uid"]]
    assert cluster.get("secret", "robot-token", namespace)["type"] == TOKEN_TYPE
    subject = body["status"]["subject"]
    assert (subject["kind"], subject["namespace"], subject["name"]) == ("ServiceAccount", namespace, "robot")
    assert subject["origin"] == "Created"
    assert body["status"]["counts"] == {"clusterRoleBindings": 1}
    kinds = {one["kind"] for one in body["status"]["inventory"]}
    assert kinds == {"ServiceAccount", "Secret", "ClusterRoleBinding"}
    for link in ("MembersReady", "AzureRolesReady"):
        assert not condition_of(body, link), "a service account has none of these"
    gets(cluster, namespace, "get", "pods", "-A")
    assert not may(cluster, namespace, "get", "secrets", "-n", namespace)
    config = token_config(cluster, namespace, "robot-token")
    who = cluster.stack.plane.run_kubectl("auth", "whoami", "-o", "json", config=config)
    assert json.loads(who)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"

    policy.delete()

    for kind, name in (("serviceaccount", "robot"), ("secret", "robot-token")):
        eventually(lambda k=kind, n=name: not exists(cluster, k, n, namespace), f"no {kind} is left")  # type: ignore[misc]
    eventually(lambda: not answers(cluster, config, "get", "pods", "-A"), "the token is good for nothing")


def test_no_token_is_made_unless_asked_for_and_it_goes_when_no_longer_asked_for(cluster: Cluster) -> None:
    """The account itself stays the same all the time."""
    policy, namespace = with_account(cluster, token=False)
    before = uid(cluster, "serviceaccount", "robot", namespace)
    assert not exists(cluster, "secret", "robot-token", namespace)

    policy.update(subject=account(namespace))
    gets(cluster, namespace, "get", "pods", "-A")
    policy.update(subject=account(namespace, token=False))

    eventually(lambda: not exists(cluster, "secret", "robot-token", namespace), "the Secret is gone")
    assert uid(cluster, "serviceaccount", "robot", namespace) == before


def test_an_account_that_was_there_is_used_and_left_as_it_was(cluster: Cluster) -> None:
    """It gets the access and a token; it is never changed, and stays when the policy goes."""
    namespace = cluster.namespace()
    cluster.kubectl("create", "serviceaccount", "robot", "-n", namespace)
    cluster.kubectl("label", "serviceaccount", "robot", "team=a", "-n", namespace)
    before = cluster.get("serviceaccount", "robot", namespace)

    policy = direct(cluster, account(namespace), clusterRoles=["view"])

    assert policy.ready()["status"]["subject"]["origin"] == "Existing"
    gets(cluster, namespace, "get", "pods", "-A")
    assert "ServiceAccount" not in {one["kind"] for one in policy.body()["status"]["inventory"]}
    policy.delete()
    eventually(lambda: not exists(cluster, "secret", "robot-token", namespace), "our Secret is gone")
    assert cluster.get("serviceaccount", "robot", namespace) == before


def test_another_account_is_another_subject(cluster: Cluster) -> None:
    """The new one gets all, and of the old one nothing is left: account, token, access."""
    policy, namespace = with_account(cluster)
    old, other = token_config(cluster, namespace, "robot-token"), cluster.namespace()

    policy.update(subject=account(other, "worker"))

    assert policy.bound() == [("view", f"ServiceAccount {other} worker")]
    config = token_config(cluster, other, "worker-token")
    eventually(lambda: answers(cluster, config, "get", "pods", "-A"), "the new one may")
    for kind, name in (("serviceaccount", "robot"), ("secret", "robot-token")):
        eventually(lambda k=kind, n=name: not exists(cluster, k, n, namespace), f"no {kind} is left")  # type: ignore[misc]
    assert not answers(cluster, old, "get", "pods", "-A")


def test_an_account_deleted_by_hand_comes_back_with_a_new_token(cluster: Cluster) -> None:
    """Kubernetes throws the old token away; the new one signs in. It is told as drift."""
    policy, namespace = with_account(cluster)
    before = uid(cluster, "serviceaccount", "robot", namespace)
    secret = uid(cluster, "secret", "robot-token", namespace)
    old = token_config(cluster, namespace, "robot-token")
    old = old.rename(old.with_name(f"old-{old.name}"))

    cluster.kubectl("delete", "serviceaccount", "robot", "-n", namespace)

    def anew() -> bool:
        found = uid(cluster, "serviceaccount", "robot", namespace)
        other = uid(cluster, "secret", "robot-token", namespace)
        return found not in {"", before} and other not in {"", secret}

    eventually(anew, "there is a new account and a new Secret")
    policy.ready()
    gets(cluster, namespace, "get", "pods", "-A")
    assert not answers(cluster, old, "get", "pods", "-A")
    told = [one["object"] for one in policy.body()["status"]["drift"]["items"]]
    assert f"ServiceAccount {namespace}/robot" in told
    names = [one["name"] for one in policy.body()["status"]["inventory"] if one["kind"] == "Secret"]
    assert names == [f"{namespace}/robot-token"]


def test_a_token_deleted_by_hand_comes_back_at_the_next_look(cluster: Cluster) -> None:
    """No watch shows Secrets to the operator, so the next pass puts it right."""
    policy, namespace = with_account(cluster)
    before = uid(cluster, "secret", "robot-token", namespace)
    cluster.kubectl("delete", "secret", "robot-token", "-n", namespace)

    policy.update(clusterRoles=["view", "edit"])

    assert uid(cluster, "secret", "robot-token", namespace) not in {"", before}
    gets(cluster, namespace, "get", "pods", "-A")
    told = [one["object"] for one in policy.body()["status"]["drift"]["items"]]
    assert told == [f"Secret {namespace}/robot-token"]


def test_a_foreign_secret_of_that_name_is_left_and_named(cluster: Cluster) -> None:
    """It may hold anything; when it is removed the token is made."""
    namespace = cluster.namespace()
    cluster.kubectl("create", "secret", "generic", "robot-token", "--from-literal=k=v", "-n", namespace)
    before = cluster.get("secret", "robot-token", namespace)

    policy = direct(cluster, account(namespace), clusterRoles=["view"])

    message = policy.stalled("NameTaken")
    assert f"Secret {namespace}/robot-token is already there and was not made here" in message
    assert policy.bound() == [("view", f"ServiceAccount {namespace} robot")], "the account has its access"
    assert cluster.get("secret", "robot-token", namespace) == before
    assert "Secret" not in {one["kind"] for one in policy.body()["status"]["inventory"]}
    cluster.kubectl("delete", "secret", "robot-token", "-n", namespace)
    policy.ready()
    gets(cluster, namespace, "get", "pods", "-A")


def test_a_foreign_secret_survives_the_policy(cluster: Cluster) -> None:
    """What was not made here is not deleted with the policy."""
    namespace = cluster.namespace()
    cluster.kubectl("create", "secret", "generic", "robot-token", "--from-literal=k=v", "-n", namespace)
    before = cluster.get("secret", "robot-token", namespace)
    policy = direct(cluster, account(namespace))
    policy.stalled("NameTaken")

    policy.delete()

    eventually(lambda: not exists(cluster, "serviceaccount", "robot", namespace), "the account is gone")
    assert cluster.get("secret", "robot-token", namespace) == before


def test_a_namespace_that_is_not_there_is_waited_for(cluster: Cluster) -> None:
    """Stalled with the field's path; all is made when the namespace is."""
    namespace = cluster.unique("later")
    policy = direct(cluster, account(namespace), clusterRoles=["view"])

    message = policy.stalled("NamespaceNotFound")

    assert message == f"{PATH}.namespace: there is no namespace {namespace}; create it, or correct the name"
    assert (policy.bound(), policy.subject()) == ([], {})
    cluster.kubectl("create", "namespace", namespace)
    policy.ready()
    gets(cluster, namespace, "get", "pods", "-A")


def test_a_namespace_that_is_going_takes_nobody_with_it(cluster: Cluster) -> None:
    """What it waits for is said, others are served, one of its policies can go, and in a new namespace of
    that name all is made again."""
    policy, namespace = with_account(cluster)
    goes = direct(cluster, account(namespace, "other"), clusterRoles=["view"])
    goes.ready()
    with held_namespace(cluster, namespace):
        message = policy.says("Reconciling", "NamespaceEnding")
        assert f"namespace {namespace} is being deleted" in message
        with_account(cluster)
        goes.delete()
        assert goes.bound() == []
    assert PATH in policy.stalled("NamespaceNotFound")

    cluster.kubectl("create", "namespace", namespace)

    policy.ready()
    gets(cluster, namespace, "get", "pods", "-A")


def test_grants_and_namespaces_work_for_an_account(cluster: Cluster) -> None:
    """A grant of a team and the policy's own namespaces, for an account that lives elsewhere."""
    labels = {"robots": cluster.unique("label")}
    granted, selected = cluster.namespace(), cluster.namespace(**labels)
    secrets = {**READ_PODS, "resources": ["secrets"]}
    policy, namespace = with_account(
        cluster,
        clusterRoles=None,
        namespaces=[{"selector": {"matchLabels": labels}, "rules": [secrets]}],
        grants=ceiling(rules=[READ_PODS]),
    )
    cluster.grant("work", granted, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "work", granted)

    gets(cluster, namespace, "get", "pods", "-n", granted)
    gets(cluster, namespace, "get", "secrets", "-n", selected)
    assert not may(cluster, namespace, "get", "secrets", "-n", granted)
    assert not may(cluster, namespace, "get", "pods", "-n", selected)
    status = cluster.get("ngrant", "work", granted)["status"]
    assert (status["subject"]["kind"], status["subject"]["namespace"]) == ("ServiceAccount", namespace)
    policy.delete()
    eventually(lambda: not made_for(cluster, "work", granted), "the grant gives nothing any more")


def test_what_a_secret_holds_is_nowhere(cluster: Cluster) -> None:
    """Not in the operator's log, not in the status, not in an event."""
    policy, namespace = with_account(cluster)
    gets(cluster, namespace, "get", "pods", "-A")
    data = cluster.get("secret", "robot-token", namespace)["data"]
    token = base64.b64decode(data["token"]).decode()

    policy.update(clusterRoles=["view", "edit"])

    events = cluster.kubectl("get", "events", "-A", "-o", "json")
    status = json.dumps(policy.body()["status"])
    for text in (cluster.operator_log(), status, events):
        for secret in (token, data["token"], token.rpartition(".")[2]):
            assert secret not in text
    assert not cluster.azure.journal(path_regex=namespace), "and nobody in the cloud hears of it"


def test_a_token_is_taken_for_nothing_else(cluster: Cluster) -> None:
    """A grant that happens to have the Secret's name goes on following its policy."""
    policy, namespace = with_account(cluster, token=False, grants=ceiling(rules=[READ_PODS]))
    cluster.grant("robot-token", namespace, policy.name, rules=[READ_PODS])
    cluster.ready("ngrant", "robot-token", namespace)

    policy.update(subject=account(namespace))
    policy.update(grants=ceiling())

    eventually(lambda: not made_for(cluster, "robot-token", namespace), "it gives nothing any more")


def test_what_is_made_is_made_and_told_once(cluster: Cluster) -> None:
    """One line in the log for each object."""
    policy, namespace = with_account(cluster)
    policy.update(clusterRoles=["view", "edit"])
    lines = cluster.operator_log().splitlines()
    for made in (f"create ServiceAccount {namespace}/robot", f"create Secret {namespace}/robot-token"):
        assert sum(line.endswith(made) for line in lines) == 1, made


def test_without_the_right_to_secrets_it_is_said(cluster: Cluster) -> None:
    """Where the manifest for tokens is left out: Stalled names it, what there is stays, and it heals."""
    policy, namespace = with_account(cluster)
    right = "entra-access-operator-tokens"
    manifest = cluster.kubectl("get", "clusterrolebinding", right, "-o", "json")
    cluster.kubectl("delete", "clusterrolebinding", right)
    try:
        plain, elsewhere = with_account(cluster, token=False)
        policy.apply(clusterRoles=["view", "edit"])
        message = policy.stalled("Denied")
        assert "the operator's service account may not read Secret robot-token" in message
        assert "manifests/" in message
        assert policy.bound() == [("view", f"ServiceAccount {namespace} robot")]
        assert plain.bound() == [("view", f"ServiceAccount {elsewhere} robot")]
    finally:
        cluster.kubectl("create", "-f", "-", stdin=manifest)
    policy.ready()
    assert [role for role, _ in policy.bound()] == ["edit", "view"]
    plain.delete()
