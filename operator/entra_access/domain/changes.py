"""The changes that a plan is made of: run, printed, shown as drift, asserted in tests."""

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from entra_access.api.resources import AdoptionPolicy, Meta
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Link
from entra_access.domain.naming import assignment_id, assignment_name, definition_id
from entra_access.domain.observed import Definition


@dataclass(frozen=True)
class Change:
    """One write.

    Attributes
    ----------
    removal
        It takes something away, so it waits until nothing of its link was refused.
    gives
        Without it somebody lacks access that is wished for.
    """

    link: ClassVar[Link]
    removal: ClassVar[bool] = False

    @property
    def gives(self) -> bool:
        return not self.removal


@dataclass(frozen=True)
class CreateGroup(Change):
    """Make the group, or find it by its uniqueName where an earlier pass made it and was cut off."""

    link = Link.SUBJECT
    unique_name: str
    display_name: str
    mail_nickname: str
    description: str | None

    def __str__(self) -> str:
        return f"create group {self.display_name}"


@dataclass(frozen=True)
class AdoptGroup(Change):
    """Take over a group that was there before, by giving it the uniqueName by which its policy finds it."""

    link = Link.SUBJECT
    group_id: str
    unique_name: str
    display_name: str

    def __str__(self) -> str:
        return f"adopt group {self.display_name} ({self.group_id})"


@dataclass(frozen=True)
class RestoreGroup(Change):
    """Bring the group back from the deleted items, with its object id, members and owners."""

    link = Link.SUBJECT
    group_id: str
    display_name: str

    def __str__(self) -> str:
        return f"restore deleted group {self.display_name} ({self.group_id})"


@dataclass(frozen=True)
class UpdateGroup(Change):
    """Set attributes of the group. The names are Graph's."""

    link = Link.SUBJECT
    group_id: str
    attributes: tuple[tuple[str, str | None], ...]
    before: tuple[tuple[str, str | None], ...] = field(default=(), compare=False)

    @property
    def gives(self) -> bool:
        return False

    @property
    def renames(self) -> bool:
        """Whether the display name is among them."""
        return any(name == "displayName" for name, _ in self.attributes)

    def __str__(self) -> str:
        return f"set {', '.join(name for name, _ in self.attributes)} of group {self.group_id}"


@dataclass(frozen=True)
class AddPrincipals(Change):
    """Add members or owners. `group_id` None: to the group that the same plan makes.

    `applications`: service principals and nobody else, which needs a permission of its own.
    """

    link = Link.MEMBERS
    group_id: str | None
    relation: str  # "members" | "owners"
    ids: tuple[str, ...]
    names: tuple[str, ...] = field(default=(), compare=False)
    applications: bool = False

    @property
    def gives(self) -> bool:
        return self.relation == "members"

    def __str__(self) -> str:
        return f"add {self.relation} {', '.join(self.names or self.ids)}"


@dataclass(frozen=True)
class RemovePrincipal(Change):
    """Take one member or owner out. `application`: it is a service principal."""

    link = Link.MEMBERS
    removal = True
    group_id: str
    relation: str
    id: str
    name: str = field(default="", compare=False)
    application: bool = False

    def __str__(self) -> str:
        return f"remove {self.name or self.id} from the {self.relation}"


@dataclass(frozen=True)
class AssignRole(Change):
    """Give somebody an Azure role. `principal_id` None: the group that the same plan makes.

    `new`: there is no such assignment; else it is there and not as it was made. `name`, a GUID: that of one
    which another hand made; else it has the name that we give. `condition`: that takes away a part of what
    it gives, and is to go. `path` is the field that asks for it.
    """

    link = Link.AZURE_ROLES
    scope: str
    role: str
    role_id: str
    principal_id: str | None
    principal_type: str
    description: str
    path: str = field(default="", compare=False)
    new: bool = field(default=True, compare=False)
    name: str = ""
    condition: str = field(default="", compare=False)

    @property
    def gives(self) -> bool:
        return self.new or bool(self.condition)

    def name_for(self, principal: str) -> str:
        """The name of the assignment, which is for the `principal`."""
        return self.name or assignment_name(self.scope, principal, self.role_id)

    def id_for(self, principal: str) -> str:
        """Its ARM id."""
        return assignment_id(self.scope, self.name_for(principal))

    def __str__(self) -> str:
        if not self.new:
            off = f", without the condition {self.condition}" if self.condition else ""
            return f"correct assignment of Azure role {self.role} at {place_name(self.scope)}{off}"
        return f"assign Azure role {self.role} at {place_name(self.scope)}"


@dataclass(frozen=True)
class UnassignRole(Change):
    """Take an Azure role assignment away."""

    link = Link.AZURE_ROLES
    removal = True
    assignment_id: str
    role: str

    def __str__(self) -> str:
        return f"remove assignment of Azure role {self.role}"


@dataclass(frozen=True)
class DefineRole(Change):
    """Make a custom role, or change one of ours to what it should be.

    `lacks`: there is one, and it does not allow all that it should.
    """

    link = Link.AZURE_ROLES
    scope: str
    definition: Definition
    new: bool
    adopted: bool = field(default=False, compare=False)
    lacks: bool = field(default=False, compare=False)

    @property
    def gives(self) -> bool:
        return self.new or self.lacks

    @property
    def id(self) -> str:
        """The ARM id of the role definition."""
        return definition_id(self.scope, self.definition.guid)

    def __str__(self) -> str:
        return f"{'create' if self.new else 'update'} custom role {self.definition.name}"


@dataclass(frozen=True)
class RemoveRole(Change):
    """Delete a custom role of ours."""

    link = Link.AZURE_ROLES
    removal = True
    definition_id: str
    role: str

    def __str__(self) -> str:
        return f"delete custom role {self.role}"


@dataclass(frozen=True)
class ApplyChild(Change):
    """Make a Role or binding as it should be. `uid`: of the one that is there and ours; None: make it.

    `complete`: it gives all that it should, whatever else is not as it should be. `adoption`: what to do with
    one that is there and not ours.
    """

    link = Link.BINDINGS
    child: Child
    uid: str | None
    complete: bool = field(default=False, compare=False)
    adoption: AdoptionPolicy = field(default=AdoptionPolicy.NEVER, compare=False)

    @property
    def gives(self) -> bool:
        return not self.complete

    def __str__(self) -> str:
        if self.child.joins:
            return f"add {self.child.owner} to the owners of {self.child.ref}"
        return f"{'correct' if self.uid else 'create'} {self.child.ref}"


@dataclass(frozen=True)
class DeleteChild(Change):
    """Take a Role or binding away, if it still has that UID."""

    link = Link.BINDINGS
    removal = True
    ref: ChildRef
    uid: str

    def __str__(self) -> str:
        return f"delete {self.ref}"


@dataclass(frozen=True)
class ReplaceChild(DeleteChild):
    """Take away one that stands where another must come: its roleRef is wrong and cannot be changed."""

    removal = False

    @property
    def gives(self) -> bool:
        return False


@dataclass(frozen=True)
class ReleaseChild(Change):
    """Leave a Role, binding or account where it is, as nobody's: without our labels, and without an owner."""

    link = Link.BINDINGS
    removal = True
    ref: ChildRef
    uid: str

    def __str__(self) -> str:
        return f"release {self.ref}"


@dataclass(frozen=True)
class LeaveAccount(Change):
    """Take a policy out of the owners of a service account, which stays for others that have it too."""

    link = Link.BINDINGS
    removal = True
    ref: ChildRef
    uid: str
    owner: Meta

    def __str__(self) -> str:
        return f"take {self.owner} out of the owners of {self.ref}"


@dataclass(frozen=True)
class HoldChild(Change):
    """Put the Namespace of a service account or token among its owners, or take it out again.

    `holder` is the UID of the Namespace, empty where only the word of it is to go; `holds`: it is to be an
    owner.
    """

    link = Link.BINDINGS
    ref: ChildRef
    uid: str
    holder: str
    holds: bool = True

    @property
    def gives(self) -> bool:
        return False

    def __str__(self) -> str:
        verb, where = ("add", "to") if self.holds else ("take", "out of")
        return f"{verb} Namespace {self.ref.namespace} {where} the owners of {self.ref}"


ChildChange: TypeAlias = ApplyChild | DeleteChild | ReleaseChild | LeaveAccount | HoldChild
"""What is written to the cluster."""


@dataclass(frozen=True)
class DeleteGroup(Change):
    """Delete the group. Entra keeps it among the deleted items for thirty days."""

    link = Link.SUBJECT
    removal = True
    group_id: str
    display_name: str

    def __str__(self) -> str:
        return f"delete group {self.display_name} ({self.group_id})"


def place_name(scope: str) -> str:
    """A scope in a word or two, for people: the last of its kinds with its name."""
    kind, _, name = scope.strip("/").rpartition("/")
    kind = kind.rpartition("/")[2]
    return (
        f"{kind.removesuffix('s')} {name}"
        if kind in {"namespaces", "resourceGroups", "subscriptions"}
        else name
    )
