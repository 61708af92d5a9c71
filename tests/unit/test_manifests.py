"""YAML files as people keep them in Git: what is ours in them, what is not, and what is wrong."""

from typing import Any

import pytest

from entra_access.api.manifests import Manifests, unknown_fields

POLICY = """
apiVersion: entra-access.dev/v1alpha1
kind: AccessPolicy
metadata: {name: appdev}
spec: {subject: {group: {displayName: appdev}}}
"""
GRANT = """
apiVersion: entra-access.dev/v1alpha1
kind: NamespaceGrant
metadata: {name: work, namespace: dev}
spec: {policyRef: {name: appdev}, clusterRoles: [view]}
"""
OTHERS = """
apiVersion: v1
kind: Namespace
metadata: {name: dev, labels: {team: a}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: restarter}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
---
[a, list]
"""


def read(*texts: str) -> Manifests:
    manifests = Manifests()
    for number, text in enumerate(texts, 1):
        manifests.take_in(f"{number}.yaml", text)
    return manifests


def test_several_documents_and_several_files() -> None:
    found = read(f"{POLICY}---\n---\n{GRANT}", OTHERS)
    assert [(one.file, str(one)) for one in found.resources] == [
        ("1.yaml", "AccessPolicy appdev"),
        ("1.yaml", "NamespaceGrant dev/work"),
    ]
    assert [str(one) for one in found.around] == ["Namespace dev", "ClusterRole restarter"]
    assert found.skipped == {"2.yaml": ["Deployment", "Deployment", "something without a kind"]}
    assert found.errors == []


def test_a_list_is_what_is_in_it() -> None:
    """As `kubectl get -o yaml` writes it; JSON is YAML too."""
    items = '{"apiVersion": "v1", "kind": "List", "items": [%s]}'
    policy = (
        '{"apiVersion": "entra-access.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "a"}, '
        '"spec": {"subject": {"user": {"objectId": "11111111-2222-3333-4444-555555555555"}}}}'
    )
    found = read(items % policy)
    assert ([str(one) for one in found.resources], found.errors) == (["AccessPolicy a"], [])


def test_a_time_without_quotes_is_text_as_for_kubernetes() -> None:
    found = read(GRANT.replace("clusterRoles:", "expiresAt: 2026-12-01T00:00:00Z, clusterRoles:"))
    assert found.errors == []
    assert found.resources[0].body["spec"]["expiresAt"] == "2026-12-01T00:00:00Z"


def test_a_policy_has_no_namespace_whatever_the_file_says() -> None:
    found = read(POLICY.replace("name: appdev}\n", "name: appdev, namespace: tools}\n"))
    assert [(str(one), one.namespace) for one in found.resources] == [("AccessPolicy appdev", None)]


KNOWN = "this knows AccessPolicy and NamespaceGrant of entra-access.dev/v1alpha1"
WRONG: dict[str, tuple[str, str]] = {
    "no YAML": (
        "a: [1\nb: 2",
        "1.yaml: is no valid YAML: expected ',' or ']', but got ':', at line 2, column 2",
    ),
    "a control character": ("a: \x01", "1.yaml: is no valid YAML: special characters are not allowed"),
    "a wrong field": (
        POLICY.replace("displayName", "name"),
        "1.yaml: AccessPolicy appdev: spec.subject.group.displayName: must be given, as text",
    ),
    "no spec": (
        GRANT.partition("spec:")[0],
        "1.yaml: NamespaceGrant dev/work: spec: must be given",
    ),
    "no name": (
        POLICY.replace("{name: appdev}", "{generateName: app}"),
        "1.yaml: AccessPolicy: metadata.name: must be given, as text",
    ),
    "no namespace": (
        GRANT.replace(", namespace: dev", ""),
        "1.yaml: NamespaceGrant: metadata.namespace: must be given: nothing else says where it is applied",
    ),
    "a label that is no text": (
        POLICY.replace("{name: appdev}", "{name: appdev, labels: {a: 1}}"),
        "1.yaml: AccessPolicy: metadata.labels[a]: must be text; an empty one is in quotes",
    ),
    "another version": (
        POLICY.replace("v1alpha1", "v9"),
        f"1.yaml: there is no AccessPolicy of entra-access.dev/v9 here; {KNOWN}",
    ),
    "another kind of ours": (
        POLICY.replace("AccessPolicy", "AccesPolicy"),
        f"1.yaml: there is no AccesPolicy of entra-access.dev/v1alpha1 here; {KNOWN}",
    ),
    "twice": (
        f"{POLICY}---{POLICY}",
        "1.yaml: AccessPolicy appdev: is given twice, first in 1.yaml; leave one of them out",
    ),
}


@pytest.mark.parametrize(("text", "error"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_file_object_and_field(text: str, error: str) -> None:
    assert read(text).errors == [error]


def test_an_error_shows_nothing_of_the_file() -> None:
    """There may be a Secret in it."""
    assert "hunter2" not in read("password: [hunter2\nb: 2").errors[0]


SCHEMA: dict[str, Any] = {
    "properties": {
        "metadata": {"$ref": "#/components/schemas/ObjectMeta"},
        "spec": {
            "properties": {
                "name": {"type": "string"},
                "labels": {"additionalProperties": {"type": "string"}},
                "rules": {"items": {"properties": {"verbs": {"items": {"type": "string"}}}}},
            }
        },
    }
}


@pytest.mark.parametrize(
    ("spec", "unknown"),
    [
        ({"name": "a", "labels": {"any": "b"}, "rules": [{"verbs": ["get"]}]}, []),
        ({"nmae": "a"}, ["spec.nmae"]),
        ({"rules": [{"verbs": []}, {"verb": []}]}, ["spec.rules[1].verb"]),
        ({"name": {"not": "text"}, "rules": "no list"}, []),
    ],
)
def test_fields_that_the_schema_does_not_have(spec: dict[str, Any], unknown: list[str]) -> None:
    assert list(unknown_fields({"metadata": {"anything": 1}, "spec": spec}, SCHEMA)) == unknown


def test_without_a_schema_every_field_may_be_known() -> None:
    assert list(unknown_fields({"spec": {"any": 1}}, {})) == []
