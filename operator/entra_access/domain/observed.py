"""What was seen of the world in one pass. A `Fault` in the place of a value: it could not be seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from entra_access.api.resources import AccessPolicy, Reference
from entra_access.domain.children import SeenChild
from entra_access.domain.faults import Fault

T = TypeVar("T")
Seen: TypeAlias = T | Fault


@dataclass(frozen=True)
class Group:
    """An Entra group. `deleted`: it lies among the deleted items, from where it can be restored."""

    id: str
    unique_name: str
    display_name: str
    mail_nickname: str
    description: str | None
    deleted: bool = False


@dataclass(frozen=True)
class Principal:
    """A directory object that is, or can be, a member or owner. `name` is a user's UPN, else empty."""

    id: str
    kind: str
    name: str = ""


@dataclass(frozen=True)
class Assignment:
    """An Azure role assignment. `role_id` is the GUID of the role definition."""

    name: str
    scope: str
    principal_id: str
    role_id: str


@dataclass(frozen=True)
class PolicyWorld:
    """What was seen for one AccessPolicy.

    Attributes
    ----------
    group
        The group with the policy's uniqueName; None where there is certainly none.
    namesakes
        Other groups with the wished display name; looked for only when the group is to be made or renamed.
    claimant
        The name of another AccessPolicy that has the wished display name, if there is one.
    principals
        What the references in the spec stand for; None where the directory certainly has no such object.
    roles
        The GUID of each wished Azure role; None where there is certainly no such role.
    assignments
        All that are exactly at the cluster.
    """

    group: Seen[Group | None]
    namesakes: Seen[tuple[Group, ...]] = ()
    claimant: str | None = None
    members: Seen[tuple[Principal, ...]] = ()
    owners: Seen[tuple[Principal, ...]] = ()
    principals: Mapping[Reference, Seen[Principal | None]] = field(default_factory=dict)
    roles: Mapping[str, Seen[str | None]] = field(default_factory=dict)
    assignments: Seen[tuple[Assignment, ...]] = ()
    children: tuple[SeenChild, ...] = ()
    cluster_roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PolicyView:
    """What a grant needs to know of its policy. `unreadable` says why the spec cannot be used."""

    name: str
    deleting: bool
    policy: AccessPolicy | None
    unreadable: str
    subject_id: str
    subject_name: str


@dataclass(frozen=True)
class GrantWorld:
    """What was seen for one NamespaceGrant; all of it from the watches. `policy` None: there is none."""

    policy: PolicyView | None
    namespace_labels: Mapping[str, str]
    namespace_ending: bool
    children: tuple[SeenChild, ...]
    cluster_roles: frozenset[str]
