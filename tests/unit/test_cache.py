"""The watch cache: what is news, and to whom."""

from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, GRANT, NAMESPACE, POLICY, ROLE_BINDING, Kind
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import GROUP_ID, a_grant, body_of, grant_binding

APPDEV, OPS = Key("AccessPolicy", None, "appdev"), Key("AccessPolicy", None, "ops")
DEV, TEST = Key("NamespaceGrant", "dev", "dev-access"), Key("NamespaceGrant", "test", "dev-access")
CEILING = {"namespaces": {"matchLabels": {"team": "appdev"}}, "clusterRoles": ["view"]}
SUBJECT = {"kind": "Group", "objectId": GROUP_ID, "displayName": "appdev"}


def body(name: str, version: int, namespace: str | None = None, uid: str = "", **meta: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": uid or f"uid-of-{name}", "resourceVersion": str(version)} | meta
    return {"metadata": metadata | ({"namespace": namespace} if namespace else {})}


def policy(
    version: int = 1,
    name: str = "appdev",
    *,
    display_name: str = "",
    ceiling: dict[str, Any] | None = None,
    subject: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    **meta: Any,
) -> dict[str, Any]:
    group = {"displayName": display_name or name}
    wish: dict[str, Any] = {"subject": {"group": group}, "grants": ceiling or CEILING}
    status = {"subject": subject} if subject else {}
    return body(name, version, **meta) | {"spec": wish | (spec or {}), "status": status}


def grant(
    version: int = 1, namespace: str = "dev", policy_name: str = "appdev", **meta: Any
) -> dict[str, Any]:
    spec = {"policyRef": {"name": policy_name}, "clusterRoles": ["view"]}
    return body("dev-access", version, namespace, **meta) | {"spec": spec}


def filled() -> WatchCache:
    """A policy with its group and two grants of it, in two namespaces."""
    cache = WatchCache()
    cache.put(POLICY, policy(1, subject=SUBJECT))
    cache.put(GRANT, grant(2))
    cache.put(GRANT, grant(3, "test"))
    for number, name in enumerate(("dev", "test")):
        cache.put(NAMESPACE, body(name, number, labels={"team": "appdev"}))
    return cache


def test_what_is_new_is_news() -> None:
    cache = WatchCache()
    assert cache.put(POLICY, policy()) == {APPDEV}
    assert cache.put(GRANT, grant()) == {DEV}
    assert cache.resource(DEV) is not None
    assert set(cache.keys()) == {APPDEV, DEV}
    assert cache.keys(POLICY) == [APPDEV]


def test_grants_that_came_before_their_policy_hear_of_it() -> None:
    cache = WatchCache()
    cache.put(GRANT, grant())
    assert cache.put(POLICY, policy()) == {APPDEV, DEV}


@pytest.mark.parametrize("version", [1, 4, 5])
def test_the_same_or_an_older_version_is_no_news(version: int) -> None:
    """Own writes are put in as they are answered; the watch shows them again, sometimes late."""
    cache = WatchCache()
    cache.put(GRANT, grant(5, policy_name="new"))
    assert cache.put(GRANT, grant(version, policy_name="old")) == set()
    stored = cache.resource(DEV)
    assert stored is not None
    assert stored["spec"]["policyRef"]["name"] == "new"


def test_versions_are_numbers_and_not_words() -> None:
    cache = WatchCache()
    cache.put(POLICY, policy(9))
    assert cache.put(POLICY, policy(10)) == {APPDEV}


def test_what_fills_memory_for_nothing_is_left_out() -> None:
    cache = WatchCache()
    cache.put(POLICY, policy(managedFields=[{"manager": "x"}]))
    stored = cache.resource(APPDEV)
    assert stored is not None
    assert "managedFields" not in stored["metadata"]


RELEVANT: dict[str, dict[str, Any]] = {
    "ceiling": {"ceiling": {**CEILING, "clusterRoles": ["view", "edit"]}},
    "no ceiling": {"spec": {"grants": None}},
    "namespaces": {"ceiling": {"namespaces": {}}},
    "deleting": {"deletionTimestamp": "2026-11-23T12:00:00Z"},
    "unreadable": {"spec": {"subject": {}}},
    "Azure roles": {"spec": {"azureRoles": [{"role": "Reader"}]}},
    "custom roles": {"spec": {"customRoles": [{"name": "Pod Restarter"}]}},
    "another group": {"subject": {**SUBJECT, "objectId": "new"}},
    "another name": {"subject": {**SUBJECT, "displayName": "new"}},
    "no group": {"subject": None},
}
IRRELEVANT: dict[str, dict[str, Any]] = {
    "nothing but the version": {},
    "cluster roles of its own": {"spec": {"clusterRoles": ["admin"]}},
    "labels": {"labels": {"a": "b"}},
    "generation": {"generation": 5},
    "finalizers": {"finalizers": ["x"]},
}


@pytest.mark.parametrize("changes", RELEVANT.values(), ids=RELEVANT)
def test_what_grants_depend_on_wakes_them(changes: dict[str, Any]) -> None:
    assert filled().put(POLICY, policy(9, **({"subject": SUBJECT} | changes))) == {APPDEV, DEV, TEST}


@pytest.mark.parametrize("changes", IRRELEVANT.values(), ids=IRRELEVANT)
def test_what_grants_do_not_depend_on_leaves_them_asleep(changes: dict[str, Any]) -> None:
    assert filled().put(POLICY, policy(9, **({"subject": SUBJECT} | changes))) == {APPDEV}


def test_the_policys_status_alone_leaves_grants_asleep() -> None:
    cache = filled()
    later = policy(9, subject=SUBJECT)
    later["status"] |= {"conditions": [{"type": "Ready", "status": "True"}], "counts": {"members": 5}}
    assert cache.put(POLICY, later) == {APPDEV}


def test_grants_of_another_policy_sleep_on() -> None:
    cache = filled()
    cache.put(GRANT, grant(5, "test", policy_name="ops"))
    assert cache.put(POLICY, policy(9)) == {APPDEV, DEV}
    assert cache.put(POLICY, policy(10, "ops")) == {OPS, TEST}


def test_a_policy_that_goes_is_told_to_its_grants() -> None:
    cache = filled()
    assert cache.drop(POLICY, None, "appdev", "uid-of-appdev") == {APPDEV, DEV, TEST}
    assert cache.resource(APPDEV) is None
    assert cache.policy_view("appdev") is None


def test_a_grant_that_goes_is_told() -> None:
    cache = filled()
    assert cache.drop(GRANT, "dev", "dev-access", "uid-of-dev-access") == {DEV}
    assert cache.drop(GRANT, "dev", "dev-access", "uid-of-dev-access") == set()
    assert cache.put(POLICY, policy(9)) == {APPDEV, TEST}


@pytest.mark.parametrize(
    ("kind", "namespace", "name"), [(POLICY, None, "appdev"), (GRANT, "dev", "dev-access")], ids=str
)
def test_the_end_of_an_earlier_one_is_not_that_of_the_one_that_is_there(
    kind: Kind, namespace: str | None, name: str
) -> None:
    cache = filled()
    assert cache.drop(kind, namespace, name, "an-older-uid") == set()
    assert cache.resource(Key(kind.kind, namespace, name)) is not None


def test_nor_that_of_a_namespace() -> None:
    """Deleted and made again: the two ends of the watch are worked on apart, and can come in any order."""
    cache = WatchCache()
    cache.put(NAMESPACE, body("dev", 1, uid="old"))
    cache.put(NAMESPACE, body("dev", 5, uid="new", labels={"team": "appdev"}))
    cache.drop(NAMESPACE, None, "dev", "old")
    found = cache.namespace("dev")
    assert found is not None
    assert found.labels == {"team": "appdev"}


def test_nor_that_of_a_cluster_role() -> None:
    cache = WatchCache()
    cache.put(CLUSTER_ROLE, body("view", 1, uid="old"))
    cache.put(CLUSTER_ROLE, body("view", 5, uid="new"))
    cache.drop(CLUSTER_ROLE, None, "view", "old")
    assert cache.cluster_roles == {"view"}


# Namespaces and ClusterRoles


def test_a_relabelled_namespace_wakes_its_grants() -> None:
    cache = filled()
    assert cache.put(NAMESPACE, body("dev", 9, labels={"team": "other"})) == {DEV}
    assert cache.put(NAMESPACE, body("dev", 10, labels={"team": "other"}, annotations={"a": "b"})) == set()
    assert cache.put(NAMESPACE, body("dev", 11)) == {DEV}
    assert cache.put(NAMESPACE, body("empty", 12)) == set()


def test_a_namespace_on_its_way_out_wakes_its_grants() -> None:
    cache = filled()
    labels = {"team": "appdev"}
    ending = body("dev", 9, labels=labels, deletionTimestamp="2026-11-23T12:00:00Z")
    assert cache.put(NAMESPACE, ending) == {DEV}
    found = cache.namespace("dev")
    assert found is not None
    assert (found.ending, found.labels) == (True, labels)


def test_a_namespace_is_known_until_it_is_gone() -> None:
    cache = filled()
    assert cache.namespace("other") is None
    cache.drop(NAMESPACE, None, "dev", "uid-of-dev")
    assert cache.namespace("dev") is None


def test_a_cluster_role_that_comes_or_goes_wakes_who_asks_for_it() -> None:
    cache = filled()
    cache.put(POLICY, policy(9, "ops", spec={"clusterRoles": ["view"]}))
    assert cache.put(CLUSTER_ROLE, body("view", 1)) == {OPS, DEV, TEST}
    assert cache.put(CLUSTER_ROLE, body("view", 2)) == set()
    assert cache.put(CLUSTER_ROLE, body("unused", 3)) == set()
    assert cache.cluster_roles == {"view", "unused"}
    assert cache.drop(CLUSTER_ROLE, None, "view", "uid-of-view") == {OPS, DEV, TEST}
    assert cache.cluster_roles == {"unused"}


# Children

BINDING = grant_binding(a_grant(cluster_roles="view"), "view")


def child(version: int, **meta: Any) -> dict[str, Any]:
    found = body_of(BINDING)
    found["metadata"] |= {"resourceVersion": str(version)} | meta
    return found


def test_an_edited_child_wakes_its_owner() -> None:
    cache = WatchCache()
    assert cache.put(ROLE_BINDING, child(1)) == {DEV}
    assert cache.put(ROLE_BINDING, child(2)) == {DEV}
    assert [seen.resource_version for seen in cache.children(DEV)] == ["2"]


def test_an_own_write_that_the_watch_repeats_is_no_news() -> None:
    cache = WatchCache()
    cache.put(ROLE_BINDING, child(5))
    assert cache.put(ROLE_BINDING, child(5)) == set()
    assert cache.put(ROLE_BINDING, child(4)) == set()


def test_a_deleted_child_wakes_its_owner() -> None:
    cache = WatchCache()
    cache.put(ROLE_BINDING, child(1))
    ref = BINDING.ref
    assert cache.drop(ROLE_BINDING, ref.namespace, ref.name, "an-older-uid") == set()
    assert len(cache.children(DEV)) == 1
    assert cache.drop(ROLE_BINDING, ref.namespace, ref.name, child(1)["metadata"]["uid"]) == {DEV}
    assert cache.children(DEV) == ()
    assert cache.drop(ROLE_BINDING, ref.namespace, ref.name) == set()


def test_a_child_that_is_given_to_another_wakes_both() -> None:
    cache = WatchCache()
    cache.put(ROLE_BINDING, child(1))
    (owner,) = child(1)["metadata"]["ownerReferences"]
    other = Key("NamespaceGrant", "dev", "other")
    given = child(2, ownerReferences=[owner | {"name": "other"}])
    assert cache.put(ROLE_BINDING, given) == {DEV, other}
    assert cache.children(DEV) == ()
    assert len(cache.children(other)) == 1


def test_a_label_does_not_make_a_child_anothers() -> None:
    """The ownerReference says whose it is: by a wrong label it would be taken for an orphan, and deleted."""
    cache = WatchCache()
    cache.put(ROLE_BINDING, child(1))
    labels = child(1)["metadata"]["labels"] | {"entra-access.dev/owner-name": "other"}
    assert cache.put(ROLE_BINDING, child(2, labels=labels)) == {DEV}
    assert len(cache.children(DEV)) == 1


def test_identities_are_what_a_full_list_is_compared_with() -> None:
    cache = filled()
    cache.put(ROLE_BINDING, child(1))
    assert cache.identities(POLICY) == {(None, "appdev"): "uid-of-appdev"}
    assert cache.identities(GRANT).keys() == {("dev", "dev-access"), ("test", "dev-access")}
    uid = child(1)["metadata"]["uid"]
    assert cache.identities(ROLE_BINDING) == {("dev", BINDING.ref.name): uid}


# Names of groups


def test_who_waits_for_a_name_hears_when_it_is_let_go() -> None:
    cache = WatchCache()
    cache.put(POLICY, policy(1, "appdev", display_name="Team", subject={**SUBJECT, "displayName": "Team"}))
    assert cache.put(POLICY, policy(2, "ops", display_name="team")) == {OPS}
    assert cache.claimant("ops") == "appdev"
    assert cache.claimant("appdev") is None
    renamed = policy(3, "appdev", display_name="Else", subject={**SUBJECT, "displayName": "Team"})
    assert cache.put(POLICY, renamed) == {APPDEV}  # it still holds the name
    assert cache.claimant("ops") == "appdev"
    done = policy(4, "appdev", display_name="Else", subject={**SUBJECT, "displayName": "Else"})
    assert cache.put(POLICY, done) == {APPDEV, OPS}
    assert cache.claimant("ops") is None


def test_who_waits_for_a_name_hears_when_its_holder_goes() -> None:
    cache = WatchCache()
    cache.put(POLICY, policy(1, "appdev", display_name="Team", subject={**SUBJECT, "displayName": "Team"}))
    cache.put(POLICY, policy(2, "ops", display_name="Team"))
    assert cache.drop(POLICY, None, "appdev", "uid-of-appdev") == {APPDEV, OPS}
    assert cache.claimant("ops") is None


def test_a_policy_that_cannot_be_read_keeps_the_name_that_it_has() -> None:
    cache = WatchCache()
    cache.put(POLICY, policy(1, "appdev", subject=SUBJECT, spec={"subject": {}}))
    cache.put(POLICY, policy(2, "ops", display_name="appdev"))
    assert cache.claimant("ops") == "appdev"


def test_policies_that_cannot_be_read_do_not_fight_for_no_name() -> None:
    cache = WatchCache()
    for version, name in enumerate(("appdev", "ops"), 1):
        cache.put(POLICY, policy(version, name, spec={"subject": {}}))
    assert cache.claimant("ops") is None
    view = cache.policy_view("ops")
    assert view is not None
    assert view.policy is None
    assert view.unreadable.startswith("spec.subject: must be exactly one of group, existingGroup, user")
