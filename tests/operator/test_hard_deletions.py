"""Deletions with something in the way: what is gone is done, and nothing waits for what never comes."""

import re
from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Cluster, eventually
from support.life import (
    AKS_USER,
    READ_PODS,
    Person,
    Policy,
    all_bindings,
    ceiling,
    gets,
    loses,
    made_for,
    new_policy,
    person,
)
from support.scopes import PLAIN_READER, PODS, READER, WRITER, at, custom_role, namespace_scope, roles_of
from support.subjects import held_namespace
from support.trouble import clean_log

CONNECT = at(AKS_USER)
RIGHTS = "Role Based Access Control Administrator"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


class Whole:
    """A policy with everything in it, and its grant."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.who = cluster, person(cluster)
        self.namespace, self.role = cluster.namespace(), cluster.unique("Pod Worker")
        grants = {**ceiling("view", rules=[READ_PODS]), "azureRoles": [WRITER]}
        roles = [CONNECT, at(PLAIN_READER, seed.RESOURCE_GROUP), at(self.role)]
        self.policy: Policy = new_policy(
            cluster,
            self.who,
            azureRoles=roles,
            customRoles=[{"name": self.role, "dataActions": [f"{PODS}/delete"]}],
            clusterRoles=["view"],
            namespaces=[{"names": [self.namespace], "azureRoles": [READER], "clusterRoles": ["edit"]}],
            grants=grants,
        )
        spec = {"rules": [READ_PODS], "clusterRoles": ["view"], "azureRoles": [WRITER]}
        cluster.grant("work", self.namespace, self.policy.name, **spec)
        self.policy.ready()
        cluster.ready("ngrant", "work", self.namespace)
        self.group = self.policy.group_id
        assert len(roles_of(cluster, self.group)) == 5
        cluster.quiet(0.7)  # until the last list is too old to be used again

    def delete(self, *, grant: bool = True) -> None:
        """Delete both, or the policy alone, and wait until they are gone."""
        if grant:
            self.cluster.kubectl("delete", "ngrant", "work", "-n", self.namespace, "--timeout=30s")
        self.policy.delete("--timeout=30s")

    def nothing_is_left(self) -> None:
        """In the cluster, and of group and custom role; of assignments see each test."""
        cluster = self.cluster
        assert cluster.group(self.group) is None
        assert custom_role(cluster, self.role) is None
        assert made_for(cluster, self.policy.name) == []
        assert made_for(cluster, self.policy.name, self.namespace) == []


@pytest.fixture
def whole(cluster: Cluster) -> Whole:
    """One, in place."""
    return Whole(cluster)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("cluster", "ResourceNotFound"),
        ("resource group", "ResourceGroupNotFound"),
        ("subscription", "SubscriptionNotFound"),
    ],
)
def test_the_cluster_is_gone_from_azure(whole: Whole, place: str, code: str) -> None:
    """What was assigned in it went with it; what was assigned above it is removed, if that is still there."""
    cluster = whole.cluster
    scope = {
        "cluster": cluster.stack.cluster_id,
        "resource group": seed.RESOURCE_GROUP,
        "subscription": seed.SUBSCRIPTION,
    }[place]
    for one in cluster.azure.assignments(whole.group):
        if one["scope"].startswith(scope):
            cluster.azure.unassign(one["name"])
    cluster.azure.fault(kind="arm", path_regex=f"^{re.escape(scope)}/", status=404, code=code, count=None)

    whole.delete()

    cluster.azure.clear_faults()
    assert cluster.group(whole.group) is None
    assert made_for(cluster, whole.policy.name) == []
    assert roles_of(cluster, whole.group) == []
    if place == "cluster":
        whole.nothing_is_left()


def test_the_cluster_is_gone_and_above_it_nothing_may_be_seen(cluster: Cluster) -> None:
    """Who had rights on the cluster alone has assigned nothing above it: no person has to say so."""
    policy = new_policy(cluster, person(cluster), azureRoles=[CONNECT])
    policy.ready()
    group = policy.group_id
    cluster.quiet(0.7)
    here, above = cluster.stack.cluster_id, seed.RESOURCE_GROUP
    gone = {"status": 404, "code": "ResourceNotFound"}
    denied = {"status": 403, "code": "AuthorizationFailed"}
    cluster.azure.fault(kind="arm", path_regex=f"^{re.escape(here)}/", count=None, **gone)  # type: ignore[arg-type]
    cluster.azure.fault(kind="arm", path_regex=f"^{re.escape(above)}/", count=None, **denied)  # type: ignore[arg-type]

    policy.delete("--timeout=30s")

    assert cluster.group(group) is None


def test_everything_was_taken_away_by_another_hand(whole: Whole) -> None:
    """Assignments, custom role, group, Roles and bindings: what is gone is done."""
    cluster = whole.cluster
    for one in cluster.azure.assignments(whole.group):
        cluster.azure.unassign(one["name"])
    cluster.azure.delete_group(whole.group)
    cluster.kubectl("delete", "clusterrolebinding", "-l", f"entra-access.dev/owner-name={whole.policy.name}")

    whole.delete()

    whole.nothing_is_left()
    deleted = [one["id"] for one in cluster.azure.state()["deletedGroups"]]
    assert whole.group in deleted, "it stays where the other hand has put it"
    assert roles_of(cluster, whole.group) == []


def test_what_is_left_of_a_deleted_group_goes(whole: Whole) -> None:
    """The group lies among the deleted items: its assignments and bindings go all the same."""
    cluster = whole.cluster
    whole.cluster.azure.delete_group(whole.group)

    whole.delete()

    whole.nothing_is_left()
    assert roles_of(cluster, whole.group) == []
    assert cluster.group(whole.group) is None


def test_a_namespace_that_does_not_end_holds_up_nothing(whole: Whole) -> None:
    """The policy goes, and the grant in it; the namespace waits for whoever holds it."""
    cluster = whole.cluster
    with held_namespace(cluster, whole.namespace):
        cluster.kubectl("wait", "--for=delete", "ngrant/work", "-n", whole.namespace, "--timeout=30s")
        assert (WRITER, namespace_scope(cluster, whole.namespace)) not in roles_of(cluster, whole.group)
        assert (AKS_USER, cluster.stack.cluster_id) in roles_of(cluster, whole.group)
        whole.delete(grant=False)
        whole.nothing_is_left()
        assert roles_of(cluster, whole.group) == []
        assert all_bindings(cluster, whole.namespace) == []


def test_a_policy_waits_for_none_of_its_grants(cluster: Cluster) -> None:
    """It is gone while none of theirs can be removed from Azure; they say so, and have no access any more."""
    who = person(cluster)
    grants = {**ceiling("view"), "azureRoles": [WRITER]}
    policy = new_policy(cluster, who, azureRoles=[CONNECT], grants=grants)
    namespaces = [cluster.namespace() for _ in range(4)]
    for namespace in namespaces:
        cluster.grant("work", namespace, policy.name, clusterRoles=["view"], azureRoles=[WRITER])
        cluster.ready("ngrant", "work", namespace)
    group = policy.group_id
    gets(cluster, who, "create", "secrets", namespaces[0])
    cluster.azure.fault(kind="arm", method="DELETE", path_regex="/namespaces/", status=503, count=None)

    policy.delete("--timeout=20s")

    assert cluster.group(group) is None
    for namespace in namespaces:
        said = cluster.waits_for("ngrant", "work", "Stalled", "PolicyDeleted", namespace)["message"]
        assert policy.name in said
        assert cluster.condition("ngrant", "work", "Ready", namespace)["status"] == "False"
        eventually(lambda namespace=namespace: not all_bindings(cluster, namespace), "no binding is left")  # type: ignore[misc]
        loses(cluster, who, "create", "secrets", namespace)
    assert len(roles_of(cluster, group)) == len(namespaces)
    cluster.azure.clear_faults()
    eventually(lambda: roles_of(cluster, group) == [], "what was left in Azure goes when it can")
    for namespace in namespaces:
        cluster.kubectl("delete", "ngrant", "work", "-n", namespace, "--timeout=20s")


def test_a_right_that_was_withdrawn_is_named_with_the_way_out(whole: Whole) -> None:
    """Stalled, for the grant and for the policy; given back, both end by themselves."""
    cluster = whole.cluster
    rights = [one for one in cluster.azure.assignments(seed.OPERATOR_OBJECT_ID) if one["roleName"] == RIGHTS]
    for one in rights:
        cluster.azure.unassign(one["name"])
    try:
        cluster.kubectl("delete", "ngrant", "work", "-n", whole.namespace, "--wait=false")
        whole.policy.delete("--wait=false")
        of_grant = cluster.waits_for("ngrant", "work", "Stalled", "Denied", whole.namespace)["message"]
        of_policy = cluster.waits_for("apol", whole.policy.name, "Stalled", "Denied")["message"]
    finally:
        for one in rights:
            cluster.azure.assign(seed.OPERATOR_CLIENT_ID, RIGHTS, one["scope"], name=one["name"])
    for said, what in (
        (of_grant, f"namespacegrants work -n {whole.namespace}"),
        (of_policy, f"accesspolicies {whole.policy.name}"),
    ):
        assert RIGHTS in said
        assert f"kubectl annotate {what} --overwrite entra-access.dev/abandon=true" in said
    assert cluster.group(whole.group) is not None, "the group goes last"
    for kind, name, where in (
        ("ngrant", "work", ("-n", whole.namespace)),
        ("apol", whole.policy.name, ()),
    ):
        cluster.kubectl("wait", "--for=delete", f"{kind}/{name}", *where, "--timeout=40s")
    whole.nothing_is_left()
    assert roles_of(cluster, whole.group) == []


def test_a_person_who_is_gone_is_no_hindrance(cluster: Cluster) -> None:
    """Azure lists assignments of principals that there are no more: they go with the policy."""
    gone = Person(f"{cluster.unique('gone')}@contoso.com", "")
    made = cluster.azure.add_user(gone.upn)
    name = cluster.unique("direct")
    cluster.policy(
        name,
        {
            "subject": {"user": {"userPrincipalName": gone.upn}},
            "azureRoles": [CONNECT],
            "clusterRoles": ["view"],
        },
    )
    cluster.ready("apol", name)
    cluster.azure.delete_user(gone.upn)
    assert roles_of(cluster, made["id"]) != []

    cluster.kubectl("delete", "apol", name, "--timeout=20s")

    assert roles_of(cluster, made["id"]) == []
    assert made_for(cluster, name) == []
