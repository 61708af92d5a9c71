"""AccessPolicy and NamespaceGrant as frozen values, read from what the API server sent.

The API server has checked them against the CRD's schema. What is read here may still come from before
a schema changed, so nothing is taken for granted: what does not fit is an `InvalidFieldError` with its path.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from entra_access.api.names import GRANT, POLICY, Kind

T = TypeVar("T")
Body = Mapping[str, Any]


class InvalidFieldError(ValueError):
    """A field that cannot be used. `path` is where it is, as ``spec.subject.group``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Membership(Enum):
    """How the members of a group are kept; see the CRD."""

    EXACT = "Exact"
    ADDITIVE = "Additive"
    UNMANAGED = "Unmanaged"


class PrincipalKind(Enum):
    """The kinds of directory objects that can be members or owners of a group."""

    USER = "user"
    GROUP = "group"


@dataclass(frozen=True, order=True)
class Reference:
    """A member or owner as the spec names it."""

    kind: str
    value: str

    @property
    def is_id(self) -> bool:
        """Whether the value is an object id, and not a user principal name."""
        return "@" not in self.value

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


@dataclass(frozen=True)
class GroupSubject:
    """An Entra security group that the policy creates and owns."""

    display_name: str
    mail_nickname: str | None
    description: str | None
    members: tuple[Reference, ...]
    owners: tuple[Reference, ...]
    membership: Membership


@dataclass(frozen=True)
class Rule:
    """One rule of a Role or ClusterRole, with Kubernetes' meaning of each list."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, list[str]]:
        """The rule as Kubernetes writes it."""
        lists = {
            "apiGroups": self.api_groups,
            "resources": self.resources,
            "resourceNames": self.resource_names,
            "nonResourceURLs": self.non_resource_urls,
            "verbs": self.verbs,
        }
        return {key: list(values) for key, values in lists.items() if values}


@dataclass(frozen=True)
class Requirement:
    """One expression of a label selector."""

    key: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class LabelSelector:
    """Which namespaces, by label. Without any requirement: all of them."""

    match_labels: tuple[tuple[str, str], ...]
    match_expressions: tuple[Requirement, ...]


@dataclass(frozen=True)
class Ceiling:
    """What a NamespaceGrant may give at most, and where."""

    namespaces: LabelSelector
    cluster_roles: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Meta:
    """What the operator needs of ``metadata``."""

    kind: Kind
    name: str
    namespace: str | None
    uid: str
    generation: int
    created: str
    deleting: bool
    finalizers: tuple[str, ...]
    resource_version: str

    @property
    def path(self) -> str:
        """``namespace/name``, or the name alone where there is no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.path}"


@dataclass(frozen=True)
class AccessPolicy:
    """Who, what they get, and how far teams may go."""

    meta: Meta
    group: GroupSubject
    azure_roles: tuple[str, ...]
    cluster_roles: tuple[str, ...]
    ceiling: Ceiling | None


@dataclass(frozen=True)
class NamespaceGrant:
    """What the subject of a policy may do in one namespace."""

    meta: Meta
    policy: str
    rules: tuple[Rule, ...]
    cluster_roles: tuple[str, ...]


def read_meta(body: Body) -> Meta:
    """The metadata of an AccessPolicy or NamespaceGrant."""
    meta = body["metadata"]
    return Meta(
        kind=GRANT if meta.get("namespace") else POLICY,
        name=meta["name"],
        namespace=meta.get("namespace"),
        uid=meta["uid"],
        generation=int(meta.get("generation", 0)),
        created=meta.get("creationTimestamp", ""),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers", ())),
        resource_version=meta.get("resourceVersion", ""),
    )


def read_policy(body: Body) -> AccessPolicy:
    """Read an AccessPolicy.

    Raises
    ------
    InvalidFieldError
        Something in it cannot be used.
    """
    spec = _Node(body.get("spec"), "spec")
    group = spec.child("subject").child("group")
    grants = spec.optional("grants")
    return AccessPolicy(
        meta=read_meta(body),
        group=GroupSubject(
            display_name=group.text("displayName"),
            mail_nickname=group.optional_text("mailNickname"),
            description=group.optional_text("description"),
            members=group.each("members", _read_reference),
            owners=group.each("owners", _read_reference),
            membership=_read_membership(group),
        ),
        azure_roles=spec.each("azureRoles", lambda node: node.text("role")),
        cluster_roles=spec.texts("clusterRoles"),
        ceiling=_read_ceiling(grants) if grants else None,
    )


def read_grant(body: Body) -> NamespaceGrant:
    """Read a NamespaceGrant.

    Raises
    ------
    InvalidFieldError
        Something in it cannot be used.
    """
    spec = _Node(body.get("spec"), "spec")
    return NamespaceGrant(
        meta=read_meta(body),
        policy=spec.child("policyRef").text("name"),
        rules=spec.each("rules", _read_rule),
        cluster_roles=spec.texts("clusterRoles"),
    )


class _Node:
    """A mapping with the path that leads to it, so that every error can say where it is."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidFieldError(path, "must be given" if value is None else "must be a mapping")
        self._value = value
        self.path = path

    def child(self, key: str) -> "_Node":
        return _Node(self._value.get(key), f"{self.path}.{key}")

    def optional(self, key: str) -> "_Node | None":
        return self.child(key) if self._value.get(key) is not None else None

    def given(self) -> list[str]:
        return [key for key, value in self._value.items() if value is not None]

    def text(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str) or not value:
            raise InvalidFieldError(f"{self.path}.{key}", "must be given, as text")
        return value

    def every_text(self) -> tuple[tuple[str, str], ...]:
        for key, value in self._value.items():
            if not isinstance(value, str):
                raise InvalidFieldError(f"{self.path}[{key}]", "must be text; an empty one is in quotes")
        return tuple(self._value.items())

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self._value.get(key) is not None else None

    def _list(self, key: str) -> Sequence[object]:
        value = self._value.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise InvalidFieldError(f"{self.path}.{key}", "must be a list")
        return value

    def texts(self, key: str, *, empty: bool = True) -> tuple[str, ...]:
        values = self._list(key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise InvalidFieldError(f"{self.path}.{key}[{index}]", "must be text")
        if not values and not empty:
            raise InvalidFieldError(f"{self.path}.{key}", "must have at least one item")
        return tuple(str(value) for value in values)

    def each(self, key: str, read: "Callable[[_Node], T]") -> tuple[T, ...]:
        nodes = (_Node(value, f"{self.path}.{key}[{index}]") for index, value in enumerate(self._list(key)))
        return tuple(read(node) for node in nodes)


def _read_membership(group: _Node) -> Membership:
    value = group.optional_text("membership") or Membership.EXACT.value
    try:
        return Membership(value)
    except ValueError:
        raise InvalidFieldError(f"{group.path}.membership", "must be Exact, Additive or Unmanaged") from None


def _read_reference(node: _Node) -> Reference:
    given = node.given()
    if len(given) != 1 or given[0] not in {kind.value for kind in PrincipalKind}:
        raise InvalidFieldError(node.path, "must be exactly one of user and group")
    # Entra compares user principal names and ids without regard to case; one form makes them comparable.
    return Reference(given[0], node.text(given[0]).lower())


def _read_rule(node: _Node) -> Rule:
    return Rule(
        verbs=node.texts("verbs", empty=False),
        api_groups=node.texts("apiGroups", empty=False),
        resources=node.texts("resources", empty=False),
        resource_names=node.texts("resourceNames"),
    )


def _read_ceiling(node: _Node) -> Ceiling:
    return Ceiling(
        namespaces=_read_selector(node.child("namespaces")),
        cluster_roles=node.texts("clusterRoles"),
        rules=node.each("rules", _read_rule),
    )


def _read_selector(node: _Node) -> LabelSelector:
    labels = node.optional("matchLabels")
    return LabelSelector(
        match_labels=labels.every_text() if labels else (),
        match_expressions=node.each("matchExpressions", _read_requirement),
    )


def _read_requirement(node: _Node) -> Requirement:
    operator = node.text("operator")
    some = operator in {"In", "NotIn"}
    return Requirement(node.text("key"), operator, node.texts("values", empty=not some))
