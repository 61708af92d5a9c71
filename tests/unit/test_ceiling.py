"""The ceiling: what a grant may give at most."""

import sys

import pytest

from entra_access.api.resources import LabelSelector, Rule
from entra_access.domain.ceiling import (
    MAX_SINGLE_PERMISSIONS,
    beyond,
    describe,
    first_uncovered,
    selects,
    size,
)
from entra_access.domain.faults import Link, Severity
from unit.builders import a_ceiling, a_grant, a_rule, a_selector

ALL = a_rule("*", "*", "*")

COVERED = {
    "the same": ([a_rule("get", "pods")], a_rule("get", "pods")),
    "fewer verbs": ([a_rule("get list watch", "pods")], a_rule("list", "pods")),
    "every verb": ([a_rule("*", "pods")], a_rule("get deletecollection *", "pods")),
    "every resource": ([a_rule("get", "*")], a_rule("get", "pods secrets *")),
    "every resource, subresources too": ([a_rule("get", "*")], a_rule("get", "pods/log pods/exec")),
    "every group": ([a_rule("get", "deployments", "*")], a_rule("get", "deployments", "apps extensions - *")),
    "a subresource by name": ([a_rule("get", "pods/log")], a_rule("get", "pods/log")),
    "a subresource of any resource": (
        [a_rule("update", "*/scale", "apps")],
        a_rule("update", "deployments/scale statefulsets/scale */scale", "apps"),
    ),
    "one name of any": ([a_rule("get", "secrets")], a_rule("get", "secrets", names="tls")),
    "one name of several": ([a_rule("get", "secrets", names="tls ca")], a_rule("get", "secrets", names="ca")),
    "all names": ([a_rule("get", "secrets", names="tls ca")], a_rule("get", "secrets", names="ca tls")),
    "by several rules together": (
        [a_rule("get", "pods"), a_rule("list", "pods"), a_rule("get list", "services")],
        a_rule("get list", "pods services"),
    ),
    "by several rules, of several groups": (
        [a_rule("*", "*", "apps"), a_rule("*", "*", "batch")],
        a_rule("*", "*", "apps batch"),
    ),
    "by several rules, of several names": (
        [a_rule("get", "secrets", names="a"), a_rule("get", "secrets", names="b")],
        a_rule("get", "secrets", names="a b"),
    ),
    "a URL": ([a_rule("get", urls="/healthz")], a_rule("get", urls="/healthz")),
    "URLs below": ([a_rule("get", urls="/healthz/*")], a_rule("get", urls="/healthz/etcd /healthz/*")),
    "every URL": ([a_rule("*", urls="*")], a_rule("get post", urls="/metrics /x/*")),
    "a rule of everything": ([ALL], a_rule("impersonate escalate", "users pods/exec", "x.io y.io", "n")),
}


@pytest.mark.parametrize(("owned", "wanted"), COVERED.values(), ids=COVERED)
def test_covered(owned: list[Rule], wanted: Rule) -> None:
    assert first_uncovered(owned, wanted) is None


UNCOVERED = {
    "nothing is owned": ([], a_rule("get", "pods"), "get pods"),
    "another verb": ([a_rule("get", "pods")], a_rule("get delete", "pods"), "delete pods"),
    "every verb by many": ([a_rule("get list watch create", "pods")], a_rule("*", "pods"), "* pods"),
    "another resource": ([a_rule("get", "pods")], a_rule("get", "pods secrets"), "get secrets"),
    "every resource by many": ([a_rule("get", "pods secrets")], a_rule("get", "*"), "get *"),
    "a subresource": ([a_rule("get", "pods")], a_rule("get", "pods/log"), "get pods/log"),
    "the resource of a subresource": ([a_rule("get", "pods/log")], a_rule("get", "pods"), "get pods"),
    "another subresource": (
        [a_rule("get", "*/scale")],
        a_rule("get", "pods/scale pods/status"),
        "get pods/status",
    ),
    "the resource beside its scale": ([a_rule("get", "*/scale")], a_rule("get", "pods"), "get pods"),
    "all subresources": ([a_rule("get", "*/scale")], a_rule("get", "*"), "get *"),
    "another group": (
        [a_rule("get", "deployments", "apps")],
        a_rule("get", "deployments", "apps extensions"),
        "get deployments in API group extensions",
    ),
    "the core group": ([a_rule("get", "*", "apps")], a_rule("get", "pods"), "get pods"),
    "every group by one": ([a_rule("get", "*")], a_rule("get", "*", "*"), "get * in API group *"),
    "every name": ([a_rule("get", "secrets", names="tls")], a_rule("get", "secrets"), "get secrets"),
    "another name": (
        [a_rule("get", "secrets", names="tls")],
        a_rule("get", "secrets", names="tls ca"),
        "get secrets ca",
    ),
    "a star is no name": (
        [a_rule("get", "secrets", names="*")],
        a_rule("get", "secrets", names="tls"),
        "get secrets tls",
    ),
    "each half by another rule": (
        [a_rule("get", "pods"), a_rule("delete", "secrets")],
        a_rule("get delete", "pods secrets"),
        "delete pods",
    ),
    "another URL": (
        [a_rule("get", urls="/healthz")],
        a_rule("get", urls="/healthz /metrics"),
        "get /metrics",
    ),
    "URLs below": ([a_rule("get", urls="/healthz")], a_rule("get", urls="/healthz/*"), "get /healthz/*"),
    "the URL above": ([a_rule("get", urls="/api/*")], a_rule("get", urls="/api"), "get /api"),
    "a URL by a rule of resources": ([ALL], a_rule("get", urls="/metrics"), "get /metrics"),
    "resources by a rule of URLs": ([a_rule("*", urls="*")], a_rule("get", "pods"), "get pods"),
}


@pytest.mark.parametrize(("owned", "wanted", "first"), UNCOVERED.values(), ids=UNCOVERED)
def test_the_first_permission_that_is_too_much_is_named(owned: list[Rule], wanted: Rule, first: str) -> None:
    missing = first_uncovered(owned, wanted)
    assert missing is not None
    assert describe(missing) == first


def test_no_ceiling_at_all_allows_nothing() -> None:
    found = beyond(a_grant(a_rule("get", "pods")), None, {}, {})
    assert found is not None
    assert (found.link, found.severity, found.reason) == (Link.CEILING, Severity.STALLED, "NoGrantsAllowed")
    assert found.path == "spec.policyRef.name"


def test_an_empty_ceiling_allows_nothing() -> None:
    found = beyond(a_grant(a_rule("get", "pods")), a_ceiling(), {}, {})
    assert found is not None
    assert found.text == (
        "spec.rules[0]: get pods is beyond AccessPolicy appdev, because its spec.grants.rules do not cover it"
    )


def test_the_rule_that_is_too_much_is_named_by_its_path() -> None:
    grant = a_grant(a_rule("get", "pods"), a_rule("get", "secrets"))
    found = beyond(grant, a_ceiling(a_rule("get", "pods")), {}, {})
    assert found is not None
    assert found.path == "spec.rules[1]"


def test_cluster_roles_must_be_among_those_of_the_ceiling() -> None:
    ceiling = a_ceiling(ALL, cluster_roles="view edit")
    assert beyond(a_grant(cluster_roles="edit view"), ceiling, {}, {}) is None
    found = beyond(a_grant(cluster_roles="view admin"), ceiling, {}, {})
    assert found is not None
    assert (found.reason, found.path) == ("BeyondCeiling", "spec.clusterRoles[1]")
    assert "admin" in found.message


def test_a_star_in_the_ceilings_cluster_roles_is_a_name_and_nothing_more() -> None:
    assert beyond(a_grant(cluster_roles="view"), a_ceiling(cluster_roles="*"), {}, {}) is not None


def test_rules_of_a_ceiling_say_nothing_of_cluster_roles() -> None:
    assert beyond(a_grant(cluster_roles="view"), a_ceiling(ALL), {}, {}) is not None


def test_only_in_namespaces_that_the_ceiling_selects() -> None:
    ceiling = a_ceiling(ALL, namespaces=a_selector(team="appdev"))
    grant = a_grant(a_rule("get", "pods"))
    assert beyond(grant, ceiling, {"team": "appdev", "more": "x"}, {}) is None
    found = beyond(grant, ceiling, {"team": "other"}, {})
    assert found is not None
    assert (found.reason, found.path) == ("NamespaceNotAllowed", "metadata.namespace")


HALVES = a_ceiling(a_rule("get", "pods"), a_rule("list", "pods"))


def names(number: int) -> str:
    return " ".join(f"n{one}" for one in range(number))


def test_rules_of_too_many_single_permissions_are_refused() -> None:
    """No rule of the ceiling covers them alone, so that each permission would have to be looked at."""
    fits = a_rule("get list", "pods", names=names(MAX_SINGLE_PERMISSIONS // 2))
    too_many = a_rule("get list", "pods", names=names(MAX_SINGLE_PERMISSIONS // 2 + 1))
    assert (size(fits), size(too_many)) == (MAX_SINGLE_PERMISSIONS, MAX_SINGLE_PERMISSIONS + 2)
    assert beyond(a_grant(fits), HALVES, {}, {}) is None
    for rules, path in (
        ((too_many,), "spec.rules[0]"),
        ((fits, a_rule("get list", "pods")), "spec.rules[1]"),
    ):
        found = beyond(a_grant(*rules), HALVES, {}, {})
        assert found is not None
        assert (found.reason, found.path, found.severity) == ("RulesTooLarge", path, Severity.STALLED)


def test_what_one_rule_of_the_ceiling_covers_may_be_of_any_size() -> None:
    many = a_rule("get list", "pods", names=names(MAX_SINGLE_PERMISSIONS))
    assert beyond(a_grant(many, many, a_rule("get list", "pods", names="x")), a_ceiling(ALL), {}, {}) is None


@pytest.mark.parametrize(
    ("rule", "permissions"),
    [
        (a_rule("get", "pods"), 1),
        (a_rule("get list", "pods secrets services", "- apps"), 12),
        (a_rule("get list", "pods secrets", names="a b c"), 12),
        (a_rule("get post", urls="/a /b"), 4),
    ],
)
def test_the_size_of_a_rule(rule: Rule, permissions: int) -> None:
    assert size(rule) == permissions


def some(stem: str, number: int, suffix: str = "") -> tuple[str, ...]:
    return tuple(f"{stem}{one}{suffix}" for one in range(number))


VERBS, GROUPS, RESOURCES, NAMES = some("v", 50), some("g", 50), some("r", 100), some("n", 100)
BY_VERBS = (Rule(VERBS[:25], GROUPS, RESOURCES), Rule(VERBS[25:], GROUPS, RESOURCES))
LOGS = some("r", 100, "/log")
LARGEST: dict[str, tuple[list[Rule], list[Rule]]] = {
    "one rule, covered by two after many that miss it by a word": (
        [Rule(VERBS, GROUPS[:4], RESOURCES)],
        [*[Rule(VERBS[:49], GROUPS[:3] + GROUPS[5:], RESOURCES)] * 98, *BY_VERBS],
    ),
    "one rule without names, after many with names": (
        [Rule(VERBS, GROUPS[:4], RESOURCES)],
        [*[Rule(VERBS, GROUPS, RESOURCES, NAMES)] * 98, *BY_VERBS],
    ),
    "one rule with names, half of them in each": (
        [Rule(VERBS[:20], GROUPS[:1], RESOURCES[:10], NAMES)],
        [Rule(VERBS, GROUPS, RESOURCES, half) for half in (NAMES[:50], NAMES[50:]) for _ in range(50)],
    ),
    "all rules, each covered by the last one": (
        [Rule(VERBS, GROUPS, LOGS, NAMES)] * 100,
        [*[Rule(VERBS, GROUPS, LOGS[:99], NAMES)] * 99, Rule(VERBS, GROUPS, ("*/log",), NAMES)],
    ),
    "all rules, none covered by one alone": (
        [Rule(VERBS, GROUPS[:1], RESOURCES[:4])] * 100,
        [*[BY_VERBS[0]] * 99, BY_VERBS[1]],
    ),
    "the very last permission is too much": (
        [Rule(VERBS, GROUPS[:4], RESOURCES)],
        [*[BY_VERBS[0]] * 99, Rule(VERBS[25:], GROUPS, RESOURCES[:99])],
    ),
}


@pytest.mark.parametrize(("rules", "ceiling"), LARGEST.values(), ids=LARGEST)
def test_the_largest_grants_keep_nobody_waiting(rules: list[Rule], ceiling: list[Rule]) -> None:
    """As large as the schemas let them be. Steps are counted: how long they take depends on the machine."""
    assert len(ceiling) == 100
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        beyond(a_grant(*rules), a_ceiling(*ceiling), {}, {})
    finally:
        sys.setprofile(None)
    assert steps < 200_000


SELECTORS = {
    "nothing selects everything": (a_selector(), {"a": "b"}, True),
    "nothing selects what has no labels": (a_selector(), {}, True),
    "label": (a_selector(team="x"), {"team": "x"}, True),
    "label of another value": (a_selector(team="x"), {"team": "y"}, False),
    "label absent": (a_selector(team="x"), {}, False),
    "all labels": (a_selector(team="x", env="dev"), {"team": "x", "env": "dev"}, True),
    "one label of two": (a_selector(team="x", env="dev"), {"team": "x"}, False),
    "empty label": (a_selector(team=""), {"team": ""}, True),
    "empty label absent": (a_selector(team=""), {}, False),
    "In": (a_selector(("team", "In", "x y")), {"team": "y"}, True),
    "In, other": (a_selector(("team", "In", "x y")), {"team": "z"}, False),
    "In, absent": (a_selector(("team", "In", "x y")), {}, False),
    "In the empty value, absent": (a_selector(("team", "In", "-")), {}, False),
    "NotIn": (a_selector(("team", "NotIn", "x y")), {"team": "z"}, True),
    "NotIn, among them": (a_selector(("team", "NotIn", "x y")), {"team": "x"}, False),
    "NotIn, absent": (a_selector(("team", "NotIn", "x y")), {}, True),
    "Exists": (a_selector(("team", "Exists", "")), {"team": ""}, True),
    "Exists, absent": (a_selector(("team", "Exists", "")), {}, False),
    "DoesNotExist": (a_selector(("team", "DoesNotExist", "")), {}, True),
    "DoesNotExist, there": (a_selector(("team", "DoesNotExist", "")), {"team": ""}, False),
    "an unknown operator selects nothing": (a_selector(("team", "Like", "x")), {"team": "x"}, False),
    "labels and expressions": (a_selector(("env", "NotIn", "prod"), team="x"), {"team": "x"}, True),
    "labels without expressions": (
        a_selector(("env", "NotIn", "prod"), team="x"),
        {"team": "x", "env": "prod"},
        False,
    ),
}


@pytest.mark.parametrize(("selector", "labels", "expected"), SELECTORS.values(), ids=SELECTORS)
def test_selectors(selector: LabelSelector, labels: dict[str, str], expected: bool) -> None:  # noqa: FBT001
    assert selects(selector, labels) is expected
