"""The watch cache: policies and namespaces, what policies own in the cluster, and who needs Azure."""

from typing import Any

import pytest

from entra_access.api.names import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    GRANT,
    NAMESPACE,
    POLICY,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
)
from entra_access.domain.children import Child, ChildRef, RbacSubject
from entra_access.domain.naming import policy_binding_name, policy_role_name
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import GROUP_ID, a_meta, a_rule, body_of
from unit.worlds import READER, line

APPDEV, OPS, DEV = Key("AccessPolicy", None, "appdev"), Key("AccessPolicy", None, "ops"), None
GRANT_KEY = Key("NamespaceGrant", "dev", "dev-access")
UID = "uid-of-{}"


def body(name: str, version: int, namespace: str | None = None, **meta: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": UID.format(name), "resourceVersion": str(version)} | meta
    return {"metadata": metadata | ({"namespace": namespace} if namespace else {})}


def policy(version: int, name: str = "appdev", *, status: Any = None, **spec: Any) -> dict[str, Any]:
    subject = {"subject": {"group": {"displayName": name}}}
    return body(name, version) | {"spec": subject | spec, "status": status or {}}


def grant(version: int, *, status: Any = None, **spec: Any) -> dict[str, Any]:
    wish = {"policyRef": {"name": "appdev"}} | spec
    return body("dev-access", version, "dev") | {"spec": wish, "status": status or {}}


def namespace(name: str, version: int, **labels: str) -> dict[str, Any]:
    return body(name, version, labels=labels)


SELECTING = [{"selector": {"matchLabels": {"team": "dev"}}, "clusterRoles": ["view"]}]
NAMING = [{"names": ["shop"], "clusterRoles": ["edit"]}]


def filled() -> WatchCache:
    """A policy that selects namespaces by label, and one that names one."""
    cache = WatchCache()
    cache.put(POLICY, policy(1, namespaces=SELECTING))
    cache.put(POLICY, policy(2, "ops", namespaces=NAMING))
    return cache


def test_a_namespace_that_appears_is_told_to_those_that_give_something_in_it() -> None:
    cache = filled()
    assert cache.put(NAMESPACE, namespace("dev", 3, team="dev")) == {APPDEV}
    assert cache.put(NAMESPACE, namespace("shop", 4, team="dev")) == {APPDEV, OPS}
    assert cache.put(NAMESPACE, namespace("other", 5)) == set()
    assert set(cache.namespaces) == {"dev", "shop", "other"}


def test_a_namespace_that_is_relabelled_is_told_to_those_of_before_and_after() -> None:
    cache = filled()
    cache.put(NAMESPACE, namespace("dev", 3, team="dev"))
    assert cache.put(NAMESPACE, namespace("dev", 4, team="ops")) == {APPDEV}
    assert cache.put(NAMESPACE, namespace("dev", 5, team="ops")) == set()
    assert cache.put(NAMESPACE, namespace("dev", 6, team="dev")) == {APPDEV}


def test_a_namespace_that_ends_and_goes_is_told() -> None:
    cache = filled()
    cache.put(NAMESPACE, namespace("shop", 3))
    assert cache.put(NAMESPACE, body("shop", 4, deletionTimestamp="2026-11-23T12:00:00Z")) == {OPS}
    assert cache.drop(NAMESPACE, None, "shop", "an-older-uid") == set()
    assert cache.drop(NAMESPACE, None, "shop", UID.format("shop")) == {OPS}
    assert cache.drop(NAMESPACE, None, "shop", UID.format("shop")) == set()


def test_a_namespace_that_was_made_anew_is_not_dropped_for_the_old_one() -> None:
    cache = filled()
    cache.put(NAMESPACE, body("shop", 3, uid="old"))
    cache.put(NAMESPACE, body("shop", 5, uid="new"))
    assert cache.drop(NAMESPACE, None, "shop", "old") == set()
    assert cache.namespace("shop") is not None


def test_policies_that_are_gone_are_told_of_no_namespace() -> None:
    cache = filled()
    cache.drop(POLICY, None, "ops", UID.format("ops"))
    assert cache.put(NAMESPACE, namespace("shop", 3)) == set()


def test_the_namespace_of_a_service_account_is_told_to_its_policy() -> None:
    cache = WatchCache()
    account = {"serviceAccount": {"namespace": "tools", "name": "demo"}}
    cache.put(POLICY, policy(1, subject=account))
    assert cache.put(NAMESPACE, namespace("tools", 2)) == {APPDEV}


def test_a_cluster_role_that_comes_or_goes_is_told_to_those_that_use_it_in_namespaces() -> None:
    cache = filled()
    assert cache.put(CLUSTER_ROLE, body("edit", 3)) == {OPS}
    assert cache.drop(CLUSTER_ROLE, None, "edit", UID.format("edit")) == {OPS}


# What a policy owns

META = a_meta()
ROLE_NAME = policy_role_name("appdev")
OWN_ROLE = Child(ChildRef(CLUSTER_ROLE, None, ROLE_NAME), META, rules=(a_rule("get", "pods"),))
IN_DEV = Child(ChildRef(ROLE, "dev", ROLE_NAME), META, rules=(a_rule("get", "pods"),))
BOUND_IN_DEV = Child(
    ChildRef(ROLE_BINDING, "dev", policy_binding_name("appdev", "Role", ROLE_NAME, namespaced=True)),
    META,
    role_kind="Role",
    role=ROLE_NAME,
    subject=RbacSubject("Group", GROUP_ID),
)
ACCOUNT = Child(ChildRef(SERVICE_ACCOUNT, "tools", "demo"), META)


def child(one: Child, version: int, **meta: Any) -> dict[str, Any]:
    found = body_of(one)
    found["metadata"] |= {"resourceVersion": str(version)} | meta
    return found


@pytest.mark.parametrize("one", [IN_DEV, BOUND_IN_DEV, ACCOUNT], ids=lambda one: one.ref.kind.kind)
def test_what_a_policy_owns_in_a_namespace_wakes_the_policy(one: Child) -> None:
    cache = WatchCache()
    assert cache.put(one.ref.kind, child(one, 1)) == {APPDEV}
    assert cache.put(one.ref.kind, child(one, 2)) == {APPDEV}
    assert [seen.ref for seen in cache.children(APPDEV)] == [one.ref]
    uid = child(one, 1)["metadata"]["uid"]
    assert cache.drop(one.ref.kind, one.ref.namespace, one.ref.name, uid) == {APPDEV}
    assert cache.children(APPDEV) == ()


def shared_account(version: int, *names: str) -> dict[str, Any]:
    """An account of several policies; the last of them looks after it."""
    found = child(ACCOUNT, version)
    (ref,) = found["metadata"]["ownerReferences"]
    found["metadata"]["ownerReferences"] = [
        {**ref, "name": name, "uid": UID.format(name), "controller": name == names[-1]} for name in names
    ]
    return found


def test_a_shared_account_is_every_owners_and_news_for_all() -> None:
    cache = WatchCache()
    assert cache.put(SERVICE_ACCOUNT, shared_account(1, "ops", "appdev")) == {APPDEV, OPS}
    (one,) = cache.children(OPS)
    assert cache.children(APPDEV) == (one,)
    assert [name for _, name, _ in one.owners] == ["appdev", "ops"], "who looks after it comes first"
    assert cache.put(SERVICE_ACCOUNT, shared_account(2, "ops")) == {APPDEV, OPS}
    assert cache.children(APPDEV) == ()
    assert cache.drop(SERVICE_ACCOUNT, "tools", "demo", one.uid) == {OPS}
    assert cache.children(OPS) == ()


def test_a_binding_that_names_another_owner_too_is_still_ones() -> None:
    """Whoever may edit it could write any owner into it."""
    cache = WatchCache()
    found = child(BOUND_IN_DEV, 1)
    (ref,) = found["metadata"]["ownerReferences"]
    found["metadata"]["ownerReferences"] = [{**ref, "name": "ops", "uid": "x", "controller": False}, ref]
    assert cache.put(ROLE_BINDING, found) == {APPDEV}
    assert cache.children(OPS) == ()


def test_an_account_is_news_for_every_policy_whose_subject_it_is() -> None:
    cache = WatchCache()
    cache.put(NAMESPACE, namespace("tools", 1))
    account = {"serviceAccount": {"namespace": "tools", "name": "demo"}}
    for version, name in enumerate(("appdev", "ops", "else"), 2):
        subject = account if name != "else" else {"serviceAccount": {"namespace": "tools", "name": "other"}}
        cache.put(POLICY, policy(version, name, subject=subject))
    assert cache.put(SERVICE_ACCOUNT, child(ACCOUNT, 9)) == {APPDEV, OPS}
    assert [meta.name for meta in cache.heirs("appdev", ACCOUNT.ref)] == ["ops"]
    assert [meta.name for meta in cache.heirs("third", ACCOUNT.ref)] == ["appdev", "ops"]
    assert cache.drop(POLICY, None, "appdev") == {APPDEV, OPS}
    assert cache.heirs("ops", ACCOUNT.ref) == ()


def test_an_own_cluster_role_is_a_child_and_a_cluster_role_that_can_be_bound() -> None:
    cache = WatchCache()
    assert cache.put(CLUSTER_ROLE, child(OWN_ROLE, 1)) == {APPDEV}
    assert cache.cluster_roles == {ROLE_NAME}
    assert [seen.ref for seen in cache.children(APPDEV)] == [OWN_ROLE.ref]
    assert cache.identities(CLUSTER_ROLE) == {(None, ROLE_NAME): child(OWN_ROLE, 1)["metadata"]["uid"]}


def test_an_edited_cluster_role_of_ours_wakes_its_policy() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, child(OWN_ROLE, 1))
    assert cache.put(CLUSTER_ROLE, child(OWN_ROLE, 2) | {"rules": []}) == {APPDEV}
    (seen,) = cache.children(APPDEV)
    assert seen.content == {"rules": []}


def test_a_cluster_role_that_is_stripped_of_all_our_marks_is_still_known_as_ours() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, child(OWN_ROLE, 1))
    assert APPDEV in cache.put(CLUSTER_ROLE, child(OWN_ROLE, 2, labels={}))
    assert [seen.labels for seen in cache.children(APPDEV)] == [{}]
    assert APPDEV in cache.put(CLUSTER_ROLE, child(OWN_ROLE, 3, labels={}, ownerReferences=[]))


def test_a_cluster_role_of_ours_that_is_deleted_wakes_its_policy() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, child(OWN_ROLE, 1))
    uid = child(OWN_ROLE, 1)["metadata"]["uid"]
    assert cache.drop(CLUSTER_ROLE, None, ROLE_NAME, "an-older-uid") == set()
    assert cache.cluster_roles == {ROLE_NAME}
    assert cache.drop(CLUSTER_ROLE, None, ROLE_NAME, uid) == {APPDEV}
    assert (cache.cluster_roles, cache.children(APPDEV)) == (frozenset(), ())


def test_peoples_own_cluster_roles_are_nobodys_children() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, body("view", 1, labels={"app.kubernetes.io/managed-by": "Helm"}))
    assert cache.put(CLUSTER_ROLE, body("view", 2)) == set()
    assert cache.identities(CLUSTER_ROLE) == {(None, "view"): UID.format("view")}
    assert cache.drop(CLUSTER_ROLE, None, "view", UID.format("view")) == set()
    assert cache.identities(CLUSTER_ROLE) == {}


def test_a_list_that_lags_behind_brings_no_former_cluster_role_back() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, body("view", 3, uid="new"))
    cache.put(CLUSTER_ROLE, body("view", 1, uid="old"))
    cache.drop(CLUSTER_ROLE, None, "view", "new")
    assert cache.cluster_roles == frozenset()


def test_a_binding_of_a_policy_is_not_taken_for_a_grants() -> None:
    cache = WatchCache()
    cache.put(GRANT, grant(1))
    assert cache.put(ROLE_BINDING, child(BOUND_IN_DEV, 2)) == {APPDEV}
    assert cache.children(GRANT_KEY) == ()


def test_an_older_version_of_a_cluster_role_of_ours_is_no_news() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, child(OWN_ROLE, 5))
    assert cache.put(CLUSTER_ROLE, child(OWN_ROLE, 4)) == set()
    assert CLUSTER_ROLE_BINDING is not CLUSTER_ROLE


# Who needs Azure

AZURE_LINE = {"inventory": [line(READER).as_dict()]}
NEEDS: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing of Azure": ({"clusterRoles": ["view"]}, False),
    "an empty list": ({"azureRoles": []}, False),
    "an Azure role": ({"azureRoles": [READER]}, True),
    "an Azure role that is to go": ({"status": AZURE_LINE}, True),
    "a line of Kubernetes": (
        {"status": {"inventory": [{"system": "Kubernetes", "kind": "Role", "name": "dev/x"}]}},
        False,
    ),
}


@pytest.mark.parametrize(("fields", "expected"), NEEDS.values(), ids=NEEDS)
def test_a_grant_needs_azure_only_for_azure_roles(fields: dict[str, Any], expected: bool) -> None:  # noqa: FBT001
    cache = WatchCache()
    cache.put(GRANT, grant(1, **fields))
    assert cache.needs_azure(GRANT_KEY) is expected


def test_a_policy_always_needs_azure_and_what_is_not_there_does_not() -> None:
    cache = filled()
    assert cache.needs_azure(APPDEV)
    assert not cache.needs_azure(GRANT_KEY)


# Claims on assignments

CLAIM = line(READER).id.lower()


def test_what_an_inventory_names_is_claimed_until_its_resource_is_gone() -> None:
    cache = WatchCache()
    cache.put(GRANT, grant(1, status=AZURE_LINE))
    assert cache.azure_claims.of_others(APPDEV, {CLAIM}) == {CLAIM}
    assert cache.azure_claims.of_others(GRANT_KEY, {CLAIM}) == frozenset()
    cache.drop(GRANT, "dev", "dev-access", UID.format("dev-access"))
    assert cache.azure_claims.of_others(APPDEV, {CLAIM}) == frozenset()


def test_what_a_pass_found_is_not_overruled_by_the_status_that_it_writes() -> None:
    cache = WatchCache()
    cache.put(GRANT, grant(1, status=AZURE_LINE))
    cache.azure_claims.note(GRANT_KEY, frozenset())
    cache.put(GRANT, grant(2, status=AZURE_LINE))
    assert cache.azure_claims.of_others(APPDEV, {CLAIM}) == frozenset()


def test_a_resource_that_was_made_anew_is_known_by_its_own_inventory() -> None:
    cache = WatchCache()
    cache.put(GRANT, grant(1, status=AZURE_LINE))
    cache.azure_claims.note(GRANT_KEY, frozenset())
    cache.drop(GRANT, "dev", "dev-access", UID.format("dev-access"))
    cache.put(GRANT, grant(5, status=AZURE_LINE))
    assert cache.azure_claims.of_others(APPDEV, {CLAIM}) == {CLAIM}


# Members and names


def test_a_policy_whose_group_is_a_member_wakes_the_other_when_it_is_ready() -> None:
    cache = WatchCache()
    members = {"group": {"displayName": "ops", "members": [{"policy": "appdev"}]}}
    cache.put(POLICY, policy(1, "ops", subject=members))
    assert cache.put(POLICY, policy(2)) == {APPDEV, OPS}
    subject = {"kind": "Group", "objectId": GROUP_ID, "displayName": "appdev", "principalType": "Group"}
    assert cache.put(POLICY, policy(3, status={"subject": subject})) == {APPDEV, OPS}
    assert cache.drop(POLICY, None, "appdev", UID.format("appdev")) == {APPDEV, OPS}


def test_cycles_are_told_by_the_cache() -> None:
    cache = WatchCache()
    for version, (name, other) in enumerate((("appdev", "ops"), ("ops", "appdev")), 1):
        group = {"group": {"displayName": name, "members": [{"policy": other}]}}
        cache.put(POLICY, policy(version, name, subject=group))
    assert cache.cycles("appdev") == {"ops": "appdev → ops → appdev"}


def test_the_name_of_an_existing_group_is_nobodys_claim() -> None:
    """It is used, not held: whoever wants to make a group of that name is told by Entra, not by us."""
    cache = WatchCache()
    subject = {"kind": "Group", "objectId": GROUP_ID, "displayName": "Team", "origin": "Existing"}
    existing = {"existingGroup": {"objectId": GROUP_ID}}
    cache.put(POLICY, policy(1, "ops", subject=existing, status={"subject": subject}))
    cache.put(POLICY, policy(2, subject={"group": {"displayName": "Team"}}))
    assert cache.claimant("appdev") is None


def test_the_name_of_a_service_account_is_no_groups_name() -> None:
    """It was made here too, and its name in the status has a slash, which a group's may have as well."""
    cache = WatchCache()
    subject = {"kind": "ServiceAccount", "name": "demo", "namespace": "tools", "displayName": "tools/demo"}
    account = {"serviceAccount": {"namespace": "tools", "name": "demo"}}
    made = {"subject": subject | {"origin": "Created"}}
    cache.put(POLICY, policy(1, "ops", subject=account, status=made))
    cache.put(POLICY, policy(2, subject={"group": {"displayName": "tools/demo"}}))
    assert cache.claimant("appdev") is None
