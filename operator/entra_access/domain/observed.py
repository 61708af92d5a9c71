"""What was seen of the world in one pass. A `Fault` in the place of a value: it could not be seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from entra_access.api.resources import AccessPolicy, Meta, Reference
from entra_access.api.status import Item, Subject
from entra_access.domain.children import ChildRef, SeenChild
from entra_access.domain.faults import Fault

T = TypeVar("T")
Seen: TypeAlias = T | Fault


@dataclass(frozen=True)
class Group:
    """An Entra group.

    `deleted`: it lies among the deleted items, from where it can be restored. `obstacle`: why it cannot be
    one that a policy looks after.
    """

    id: str
    unique_name: str
    display_name: str
    mail_nickname: str
    description: str | None
    deleted: bool = False
    obstacle: str = field(default="", compare=False)


@dataclass(frozen=True)
class Principal:
    """A directory object that is given access, or is, or can be, a member or owner.

    Attributes
    ----------
    name
        A user's user principal name, an application's id; else empty.
    guest
        A user of another tenant: Kubernetes knows them by their object id.
    security
        A group that can be given access: Azure and Kubernetes take security groups only.
    enabled
        A user who can sign in.
    unified
        A Microsoft 365 group, which can be no member of another group.
    """

    id: str
    kind: str
    name: str = ""
    display_name: str = ""
    guest: bool = False
    security: bool = True
    unified: bool = False
    enabled: bool = True


@dataclass(frozen=True)
class Entry:
    """A member or owner who is wished for; `there`: it is in the group already."""

    relation: str
    reference: str
    id: str
    there: bool


@dataclass(frozen=True)
class Assignment:
    """An Azure role assignment. `role_id` is the GUID of the role definition.

    Attributes
    ----------
    condition
        What narrows the access down; the operator sets none.
    changed_by
        The object id of who wrote it last.
    changed
        When that was.
    """

    name: str
    scope: str
    principal_id: str
    role_id: str
    description: str = ""
    condition: str = ""
    changed_by: str = field(default="", compare=False)
    changed: str = field(default="", compare=False)


@dataclass(frozen=True)
class Definition:
    """An Azure role definition, as far as a custom role can be compared.

    `permissions` are actions, notActions, dataActions and notDataActions; `changed_by` is the object id of
    who wrote it last, and `changed` when. `built_in`: it is Azure's own, and nobody can change it.
    """

    guid: str
    name: str
    description: str = ""
    assignable_scopes: tuple[str, ...] = ()
    permissions: tuple[tuple[str, ...], ...] = ((), (), (), ())
    changed_by: str = field(default="", compare=False)
    changed: str = field(default="", compare=False)
    built_in: bool = field(default=False, compare=False)

    @property
    def content(self) -> tuple[object, ...]:
        """What makes two definitions the same: neither the order of lists nor the case of actions counts."""
        lists = (self.assignable_scopes, *self.permissions)
        return (self.name, self.description, *(frozenset(text.lower() for text in one) for one in lists))


@dataclass(frozen=True)
class ClusterFacts:
    """What the cluster's own ARM resource says. None: not known.

    Attributes
    ----------
    entra
        People of Entra can sign in.
    legacy
        By the old integration, with server and client applications of one's own.
    azure_rbac
        Azure roles with data actions count.
    """

    entra: bool | None = None
    legacy: bool = False
    azure_rbac: bool | None = None


class Whom(NamedTuple):
    """A subject as RBAC names it."""

    kind: str
    name: str
    namespace: str


def whom(subject: Subject) -> Whom:
    """How RBAC names a policy's subject."""
    return Whom(subject.kind, subject.rbac_name, subject.namespace)


@dataclass(frozen=True)
class ForeignBinding:
    """A binding that the operator did not make.

    `name` is as ``RoleBinding apps/mine``, `role` as ``ClusterRole edit``; `made_by` is a field manager.
    """

    name: str
    role: str
    made_by: str
    made: str


@dataclass(frozen=True)
class Namespace:
    """What is known of a namespace, as it was at a resource version."""

    labels: Mapping[str, str]
    ending: bool
    uid: str = field(default="", compare=False)
    version: str = field(default="0", compare=False)


@dataclass(frozen=True, kw_only=True)
class AzureWorld:
    """What was seen of Azure for one resource.

    Attributes
    ----------
    roles
        The GUID of each wished Azure role; None where there is certainly no such role.
    assignments
        All role assignments at the cluster, above and below it.
    elsewhere
        Those at other scopes that matter, by the scope in lower case.
    claimed
        ARM ids, in lower case, of assignments that another resource of ours wants too.
    claims_known
        Everybody of ours has said what they want, so that what nobody claims nobody wants.
    facts
        What the cluster is.
    """

    roles: Mapping[str, Seen[str | None]] = field(default_factory=dict)
    assignments: Seen[tuple[Assignment, ...]] = ()
    elsewhere: Mapping[str, Seen[tuple[Assignment, ...]]] = field(default_factory=dict)
    claimed: frozenset[str] = frozenset()
    claims_known: bool = True
    facts: ClusterFacts = field(default_factory=ClusterFacts)


@dataclass(frozen=True)
class AccountWorld:
    """What was seen for a policy whose subject is a service account.

    Attributes
    ----------
    there
        The UID of the account; None where there is none.
    ours
        It was made here, and this policy looks after it.
    shared
        It was made here for another policy, which looks after it.
    token_for
        The UID of the account that the policy's token Secret is for; None where there is no such Secret.
    taken
        Why the Secret cannot be made: what is there by its name; empty where nothing is in the way.
    """

    there: Seen[str | None] = None
    ours: bool = False
    shared: bool = False
    token_for: Seen[str | None] = None
    taken: str = ""


@dataclass(frozen=True)
class PolicyWorld(AzureWorld):
    """What was seen for one AccessPolicy.

    Attributes
    ----------
    group
        The group with the policy's uniqueName; None where there is certainly none.
    namesakes
        Other groups with the wished display name; looked for only when the group is to be made or renamed.
    candidate
        The group that a policy names by annotation as the one that is to become its group.
    claimant
        The name of another AccessPolicy that has the wished display name, if there is one.
    principals
        What the references in the spec stand for; None where the directory certainly has no such object.
    policies
        The other policies whose groups are members, by name; None where there is none.
    cycles
        The members by which the group would be a member of itself, with the way, as ``a → b → a``.
    groups_of
        In how many groups each service principal is, by object id.
    shadows
        The bindings that other hands made, by whom they are for.
    definition_owners
        The other policies that custom roles belong to, by GUID.
    definitions, definition_namesakes
        The policy's custom roles by name, and others that have such a name.
    heirs
        The other policies whose subject is a service account that was made for this one, by the account.
    kept
        The service accounts that another policy leaves behind when it goes.
    unread
        The inventory's lines of objects that the operator may not look at.
    """

    group: Seen[Group | None] = None
    namesakes: Seen[tuple[Group, ...]] = ()
    candidate: Seen[Group | None] = None
    claimant: str | None = None
    members: Seen[tuple[Principal, ...]] = ()
    owners: Seen[tuple[Principal, ...]] = ()
    principals: Mapping[Reference, Seen[Principal | None]] = field(default_factory=dict)
    policies: Mapping[str, "PolicyView | None"] = field(default_factory=dict)
    cycles: Mapping[str, str] = field(default_factory=dict)
    groups_of: Mapping[str, int] = field(default_factory=dict)
    account: AccountWorld = field(default_factory=AccountWorld)
    definitions: Mapping[str, Seen[Definition | None]] = field(default_factory=dict)
    definition_namesakes: Mapping[str, Seen[Definition | None]] = field(default_factory=dict)
    definition_owners: Mapping[str, str] = field(default_factory=dict)
    children: tuple[SeenChild, ...] = ()
    heirs: Mapping[ChildRef, tuple[Meta, ...]] = field(default_factory=dict)
    kept: frozenset[ChildRef] = frozenset()
    unread: tuple[Item, ...] = ()
    cluster_roles: frozenset[str] = frozenset()
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    shadows: Mapping[Whom, Mapping[ChildRef, ForeignBinding]] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyView:
    """What others need to know of a policy.

    Attributes
    ----------
    unreadable
        Why the spec cannot be used.
    subject
        Who the spec says gets the access. None while nobody is known, or only who got it by an earlier spec:
        what the spec allows now was not meant for them.
    roles
        The GUIDs of the custom roles that it has made, by name in lower case.
    withheld
        Somebody else has the name of its subject now, and may not have the access before a person says so.
    """

    name: str
    deleting: bool
    policy: AccessPolicy | None
    unreadable: str
    subject: Subject | None
    roles: Mapping[str, str] = field(default_factory=dict)
    withheld: bool = False


@dataclass(frozen=True)
class GrantWorld(AzureWorld):
    """What was seen for one NamespaceGrant; all but Azure from the watches. `policy` None: there is none."""

    policy: PolicyView | None
    namespace_labels: Mapping[str, str]
    namespace_ending: bool
    children: tuple[SeenChild, ...]
    cluster_roles: frozenset[str]
