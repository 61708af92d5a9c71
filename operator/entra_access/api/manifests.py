"""YAML files as people keep them in Git: which of our resources are in them, and what is wrong with those."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from entra_access.api.names import API_VERSION, CLUSTER_ROLE, GRANT, GROUP, NAMESPACE, POLICY, Kind
from entra_access.api.node import InvalidFieldError, Node
from entra_access.api.reading import read_resource

Body = Mapping[str, Any]
_KINDS: Final = {(k.api_version, k.kind): k for k in (POLICY, GRANT, NAMESPACE, CLUSTER_ROLE)}
_TIME: Final = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True)
class Manifest:
    """One object of a file. The namespace is None where the kind has none."""

    file: str
    kind: Kind
    namespace: str | None
    name: str
    body: Body

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind.kind} {path}"


class Manifests:
    """What is in some files.

    Attributes
    ----------
    resources
        The AccessPolicies and NamespaceGrants.
    around
        Namespaces and ClusterRoles, which the resources may speak of.
    skipped
        The other objects, by file, in words.
    errors
        What cannot be used, each with file, object and field.
    """

    def __init__(self) -> None:
        self.resources: list[Manifest] = []
        self.around: list[Manifest] = []
        self.skipped: dict[str, list[str]] = {}
        self.errors: list[str] = []
        self._seen: dict[str, str] = {}

    def take_in(self, file: str, text: str) -> None:
        """Read a file's text, of one or more documents."""
        try:
            for document in yaml.load_all(text, Loader=_Loader):
                self._object(file, document)
        except yaml.YAMLError as error:
            self.errors.append(f"{file}: is no valid YAML: {_problem(error)}")

    def _object(self, file: str, document: object) -> None:
        if document is None:
            return
        body = document if isinstance(document, Mapping) else {}
        version, name = str(body.get("apiVersion", "")), str(body.get("kind", ""))
        if (version, name) == ("v1", "List"):
            for item in body.get("items") or ():
                self._object(file, item)
            return
        kind = _KINDS.get((version, name))
        if kind is None and version.partition("/")[0] == GROUP:
            known = f"AccessPolicy and NamespaceGrant of {API_VERSION}"
            self.errors.append(f"{file}: there is no {name or 'kind'} of {version} here; this knows {known}")
        elif kind is None:
            self.skipped.setdefault(file, []).append(name or "something without a kind")
        else:
            self._known(file, kind, body)

    def _known(self, file: str, kind: Kind, body: Body) -> None:
        try:
            meta = Node(body.get("metadata"), "metadata")
            name = meta.text("name")
            namespace = _namespace(meta) if kind.namespaced else None
            for texts in (meta.optional("labels"), meta.optional("annotations")):
                if texts:
                    texts.every_text()
        except InvalidFieldError as error:
            self.errors.append(f"{file}: {kind.kind}: {error}")
            return
        manifest = Manifest(file, kind, namespace, name, body)
        if kind not in {POLICY, GRANT}:
            self.around.append(manifest)
            return
        if first := self._seen.get(str(manifest)):
            self.errors.append(f"{file}: {manifest}: is given twice, first in {first}; leave one of them out")
            return
        self._seen[str(manifest)] = file
        self.resources.append(manifest)
        try:
            # Of the cluster's own it has only a name, and no other namespace than its kind has.
            read_resource({**body, "metadata": {"name": name, "namespace": namespace, "uid": ""}})
        except InvalidFieldError as error:
            self.errors.append(f"{file}: {manifest}: {error}")


def _namespace(meta: Node) -> str:
    if meta.optional_text("namespace") is None:
        raise InvalidFieldError("metadata.namespace", "must be given: nothing else says where it is applied")
    return meta.text("namespace")


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a time is text."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != _TIME]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong, and where; without the lines themselves, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"{what}, at line {mark.line + 1}, column {mark.column + 1}" if mark else str(what)


def unknown_fields(value: object, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The paths of what an object holds and its schema, of OpenAPI 3, does not have."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items") or {}, f"{path}[{index}]")
        return
    known = schema.get("properties")
    if not isinstance(value, Mapping) or not known or schema.get("additionalProperties"):
        return
    for key, below in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in known:
            yield where
        else:
            yield from unknown_fields(below, known[key], where)
