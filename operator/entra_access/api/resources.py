"""AccessPolicy and NamespaceGrant as frozen values; how they are read is in `reading`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from entra_access.api.names import Kind

CLUSTER_SCOPE: Final = "Cluster"
"""The scope that stands for the ARM id of the cluster."""


class Membership(Enum):
    """How the members of a group are kept; see the CRD."""

    EXACT = "Exact"
    ADDITIVE = "Additive"
    UNMANAGED = "Unmanaged"


class Mode(Enum):
    """What is done about what is not as it should be; see the CRD."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"


class DeletePolicy(Enum):
    """What becomes of what was made when its resource is deleted. What was adopted stays in any case."""

    DELETE = "Delete"
    KEEP = "Keep"


class AdoptionPolicy(Enum):
    """What is done with something that is already where the operator is to make something."""

    NEVER = "Never"
    IF_IDENTICAL = "IfIdentical"
    ALWAYS = "Always"


class ForeignAssignments(Enum):
    """What is done with role assignments of the subject that nobody declared."""

    REPORT = "Report"
    REMOVE = "Remove"


class PrincipalKind(Enum):
    """The kinds of directory objects that can be given access, or be members or owners of a group."""

    USER = "user"
    GROUP = "group"
    SERVICE_PRINCIPAL = "servicePrincipal"


POLICY_MEMBER: Final = "policy"
"""The kind of a member that is the group of another AccessPolicy."""


@dataclass(frozen=True, order=True)
class Reference:
    """A directory object as the spec names it.

    `kind` is that of `PrincipalKind`, or ``policy``. `value` is a user principal name, an object id, an
    application's id or the name of a policy. `form` says which one where the field says it: ``appId`` or
    ``objectId``.
    """

    kind: str
    value: str
    form: str = ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.kind, self.form, self.value) if word)


@dataclass(frozen=True)
class GroupSubject:
    """An Entra security group that the policy creates and owns."""

    display_name: str
    mail_nickname: str | None
    description: str | None
    members: tuple[Reference, ...]
    owners: tuple[Reference, ...]
    membership: Membership
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER


@dataclass(frozen=True)
class DirectorySubject:
    """A group, user or service principal that is there already: used, never changed. `path`: its field."""

    reference: Reference
    path: str


@dataclass(frozen=True)
class ServiceAccountSubject:
    """A service account of the cluster, made where there is none. `token`: with a Secret that signs in."""

    namespace: str
    name: str
    token: bool = False


SubjectSpec: TypeAlias = GroupSubject | DirectorySubject | ServiceAccountSubject


@dataclass(frozen=True)
class AzureRole:
    """An Azure role by name, GUID or role definition id, and where it is assigned.

    `scope` is an ARM id, or `CLUSTER_SCOPE`.
    """

    role: str
    scope: str = CLUSTER_SCOPE


@dataclass(frozen=True)
class CustomRole:
    """An Azure role definition that the policy creates and owns.

    Without `assignable_scopes` it can be assigned in the cluster's resource group.
    """

    name: str
    description: str | None = None
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    assignable_scopes: tuple[str, ...] = ()


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
class NamespaceAccess:
    """The same access in every namespace that matches: by label, or, where `selector` is None, by name."""

    selector: LabelSelector | None
    names: tuple[str, ...]
    cluster_roles: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    azure_roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ceiling:
    """What a NamespaceGrant may give at most, and where."""

    namespaces: LabelSelector
    cluster_roles: tuple[str, ...]
    rules: tuple[Rule, ...]
    azure_roles: tuple[str, ...] = ()
    max_duration: timedelta | None = None


@dataclass(frozen=True)
class Meta:
    """What the operator needs of ``metadata``.

    Attributes
    ----------
    created
        The creationTimestamp.
    annotations
        Those of this project, with their values.
    expiry_set
        When ``spec.expiresAt`` was written last, as the API server recorded it; empty where it is not known.
    """

    kind: Kind
    name: str
    namespace: str | None
    uid: str
    generation: int
    created: str
    deleting: bool
    finalizers: tuple[str, ...]
    resource_version: str
    annotations: tuple[tuple[str, str], ...] = ()
    expiry_set: str = ""

    def annotation(self, name: str) -> str:
        """The value of one of this project's annotations, or nothing."""
        return dict(self.annotations).get(name, "")

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
    subject: SubjectSpec
    azure_roles: tuple[AzureRole, ...] = ()
    custom_roles: tuple[CustomRole, ...] = ()
    cluster_roles: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    namespaces: tuple[NamespaceAccess, ...] = ()
    ceiling: Ceiling | None = None
    mode: Mode | None = None  # None: as the operator was started
    delete_policy: DeletePolicy = DeletePolicy.DELETE
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER
    foreign_assignments: ForeignAssignments = ForeignAssignments.REPORT

    @property
    def group(self) -> GroupSubject | None:
        """The group that the policy creates, where that is its subject."""
        return self.subject if isinstance(self.subject, GroupSubject) else None


@dataclass(frozen=True)
class NamespaceGrant:
    """What the subject of a policy may do in one namespace."""

    meta: Meta
    policy: str
    rules: tuple[Rule, ...]
    cluster_roles: tuple[str, ...]
    azure_roles: tuple[str, ...] = ()
    expires_at: datetime | None = None
