"""Small builders: values as they would be read, with only what a test is about spelled out."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from entra_access.api.names import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    FIELD_MANAGER,
    GRANT,
    POLICY,
    ROLE,
    ROLE_BINDING,
    Kind,
)
from entra_access.api.resources import (
    AccessPolicy,
    AzureRole,
    Ceiling,
    GroupSubject,
    LabelSelector,
    Membership,
    Meta,
    NamespaceGrant,
    Reference,
    Requirement,
    Rule,
)
from entra_access.api.status import DriftItem, Item, Subject, System
from entra_access.domain.children import Child, ChildRef, RbacSubject, SeenChild, seen_child
from entra_access.domain.faults import Fault
from entra_access.domain.group_plan import group_mark
from entra_access.domain.naming import (
    assignment_id,
    assignment_name,
    binding_name,
    mail_nickname,
    role_name,
    unique_name,
)
from entra_access.domain.observed import Assignment, GrantWorld, Group, PolicyView, PolicyWorld, Principal
from entra_access.domain.place import Place
from entra_access.domain.plan import Plan
from entra_access.domain.role_plan import MADE

T = TypeVar("T")
EVERYWHERE: Final = LabelSelector((), ())
AT: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW: Final = "2026-11-23T12:00:00Z"
BEFORE: Final = "2026-11-01T08:00:00Z"
SCOPE: Final = (
    "/subscriptions/99999999-0000-0000-0000-000000000000/resourceGroups/rg"
    "/providers/Microsoft.ContainerService/managedClusters/aks"
)
PLACE: Final = Place(SCOPE, "owner")
UNIQUE: Final = unique_name(PLACE.owner_id, "appdev")
GROUP_ID: Final = "aaaaaaaa-0000-0000-0000-00000000000a"
POLICY_UID: Final = "uid-of-appdev"
GRANT_UID: Final = "uid-of-dev-access"


def words(text: str) -> tuple[str, ...]:
    """The words of a text; ``-`` stands for the empty word."""
    return tuple("" if word == "-" else word for word in text.split())


def got(value: T | Fault) -> T:
    """The value that was seen, where the test knows that it was."""
    assert not isinstance(value, Fault)
    return value


def guid(text: str) -> str:
    """A GUID that is always the same for the same text."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, text.lower()))


def a_meta(kind: Kind = POLICY, name: str = "appdev", **changes: Any) -> Meta:
    """The metadata of a resource; a grant lives in the namespace ``dev``."""
    values: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "namespace": "dev" if kind is GRANT else None,
        "uid": POLICY_UID if kind is POLICY else GRANT_UID,
        "generation": 1,
        "created": BEFORE,
        "deleting": False,
        "finalizers": (),
        "resource_version": "10",
    }
    return Meta(**(values | changes))


def a_rule(verbs: str, resources: str = "", groups: str = "-", names: str = "", urls: str = "") -> Rule:
    """A rule from words; the core group unless told otherwise."""
    if urls:
        return Rule(words(verbs), non_resource_urls=words(urls))
    return Rule(words(verbs), words(groups), words(resources), words(names))


def a_selector(*requirements: tuple[str, str, str], **labels: str) -> LabelSelector:
    """A selector of labels and of requirements (key, operator, values in words)."""
    return LabelSelector(
        match_labels=tuple(labels.items()),
        match_expressions=tuple(
            Requirement(k, operator, words(values)) for k, operator, values in requirements
        ),
    )


def a_ceiling(
    *rules: Rule,
    cluster_roles: str = "",
    namespaces: LabelSelector = EVERYWHERE,
    azure_roles: tuple[str, ...] = (),
) -> Ceiling:
    """A ceiling, in every namespace unless told otherwise."""
    return Ceiling(namespaces, words(cluster_roles), rules, azure_roles)


def ref(value: str, kind: str = "user") -> Reference:
    """A reference as the reader makes it."""
    return Reference(kind, value.lower())


def principal(value: str, kind: str = "user") -> Principal:
    """What a reference of that value stands for."""
    return Principal(guid(value), kind, value if "@" in value else "")


def a_policy(
    *,
    members: str = "",
    owners: str = "",
    azure_roles: str = "",
    cluster_roles: str = "",
    ceiling: Ceiling | None = None,
    meta: Meta | None = None,
    **group: Any,
) -> AccessPolicy:
    """An AccessPolicy named ``appdev`` with a group of that name. Lists are given in words.

    The Azure roles are at the cluster.
    """
    wish: dict[str, Any] = {
        "display_name": "appdev",
        "mail_nickname": None,
        "description": None,
        "members": tuple(ref(value) for value in words(members)),
        "owners": tuple(ref(value) for value in words(owners)),
        "membership": Membership.EXACT,
    }
    return AccessPolicy(
        meta=meta or a_meta(),
        subject=GroupSubject(**(wish | group)),
        azure_roles=tuple(AzureRole(role) for role in words(azure_roles)),
        cluster_roles=words(cluster_roles),
        ceiling=ceiling,
    )


def group_of(policy: AccessPolicy) -> GroupSubject:
    """The group that the policy makes, where the test knows that it makes one."""
    assert policy.group is not None
    return policy.group


def role_names(policy: AccessPolicy) -> list[str]:
    """The Azure roles of a policy, as its spec names them."""
    return [one.role for one in policy.azure_roles]


def a_grant(
    *rules: Rule, cluster_roles: str = "", azure_roles: tuple[str, ...] = (), **meta: Any
) -> NamespaceGrant:
    """A NamespaceGrant ``dev/dev-access`` of the policy ``appdev``."""
    return NamespaceGrant(
        a_meta(GRANT, meta.pop("name", "dev-access"), **meta),
        "appdev",
        rules,
        words(cluster_roles),
        azure_roles,
    )


def a_group(**changes: Any) -> Group:
    """The policy's group as it should be."""
    values: dict[str, Any] = {
        "id": GROUP_ID,
        "unique_name": UNIQUE,
        "display_name": "appdev",
        "mail_nickname": "appdev",
        "description": None,
    }
    return Group(**(values | changes))


def group_line(group_id: str = GROUP_ID) -> Item:
    """The inventory's line for the group."""
    mark = group_mark("appdev", "appdev", None)
    return Item(System.ENTRA, "Group", UNIQUE, group_id, BEFORE, applied=mark)


def an_assignment(role: str, group_id: str = GROUP_ID, *, name: str = "", scope: str = SCOPE) -> Assignment:
    """An assignment of the role as the operator makes it for the policy; with a `name`, by another hand."""
    own = assignment_name(scope, group_id, guid(role))
    return Assignment(name or own, scope, group_id, guid(role), "" if name else PLACE.note(a_meta()))


def role_line(role: str, group_id: str = GROUP_ID) -> Item:
    """The inventory's line for an assignment that the operator made."""
    name = assignment_name(SCOPE, group_id, guid(role))
    return Item(System.AZURE, "RoleAssignment", role, assignment_id(SCOPE, name), applied=MADE)


def for_group(group_id: str | None = GROUP_ID) -> RbacSubject:
    """The subject of a binding for the group; None: for the group that the same plan makes."""
    return RbacSubject("Group", group_id or "")


def cluster_binding(role: str, group_id: str | None = GROUP_ID, meta: Meta | None = None) -> Child:
    """The policy's binding to a ClusterRole."""
    owner = meta or a_meta()
    name = f"entra-access-{binding_name(owner.name, 'ClusterRole', role)}"
    child = ChildRef(CLUSTER_ROLE_BINDING, None, name)
    return Child(child, owner, role_kind=CLUSTER_ROLE.kind, role=role, subject=for_group(group_id))


def grant_role(grant: NamespaceGrant) -> Child:
    """The Role made of a grant's rules."""
    child = ChildRef(ROLE, grant.meta.namespace, role_name(grant.meta.name))
    return Child(child, grant.meta, rules=grant.rules)


def grant_binding(
    grant: NamespaceGrant, role: str = "", kind: Kind = CLUSTER_ROLE, group_id: str = GROUP_ID
) -> Child:
    """The grant's binding to a ClusterRole, or to the Role of its own rules."""
    name = role or role_name(grant.meta.name)
    child = ChildRef(ROLE_BINDING, grant.meta.namespace, binding_name(grant.meta.name, kind.kind, name))
    return Child(child, grant.meta, role_kind=kind.kind, role=name, subject=for_group(group_id))


def grant_children(grant: NamespaceGrant, group_id: str = GROUP_ID) -> list[Child]:
    """All that the grant wishes for."""
    own = [grant_role(grant), grant_binding(grant, kind=ROLE, group_id=group_id)] if grant.rules else []
    return own + [grant_binding(grant, role, group_id=group_id) for role in grant.cluster_roles]


def body_of(child: Child, group_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """The child as the API server shows it after the operator has applied it; `changes` are of the body."""
    body = child.manifest(group_id)
    managed = {"manager": FIELD_MANAGER, "operation": "Apply", "time": BEFORE, "fieldsV1": {}}
    body["metadata"] |= {
        "uid": f"uid-of-{child.ref.name}",
        "resourceVersion": "20",
        "managedFields": [managed],
    }
    return body | changes


def seen(child: Child, group_id: str | None = None, **changes: Any) -> SeenChild:
    """The child as the watch shows it."""
    return seen_child(child.ref.kind, body_of(child, group_id, **changes))


def edited(child: Child, by: str, field: str, at: str = NOW, **changes: Any) -> SeenChild:
    """The child after another hand changed a field of it, as ``kubectl edit`` leaves it."""
    body = body_of(child, **changes)
    steps: dict[str, Any] = {}
    for step in reversed(field.split("/")):
        steps = {f"f:{step}": steps}
    body["metadata"]["managedFields"].append(
        {"manager": by, "operation": "Update", "time": at, "fieldsV1": steps}
    )
    return seen_child(child.ref.kind, body)


def child_line(child: Child | SeenChild) -> Item:
    """The inventory's line for a Role or binding."""
    return Item(System.KUBERNETES, child.ref.kind.kind, child.ref.path, f"uid-of-{child.ref.name}")


def steady(policy: AccessPolicy, cluster_roles: str = "view edit") -> tuple[PolicyWorld, tuple[Item, ...]]:
    """The world in which all that the policy wishes is in place, and the inventory that tells of it."""
    wish = group_of(policy)
    references = (*wish.members, *wish.owners)
    bindings = [cluster_binding(role) for role in policy.cluster_roles]
    world = PolicyWorld(
        group=a_group(
            display_name=wish.display_name,
            mail_nickname=wish.mail_nickname or mail_nickname(wish.display_name),
            description=wish.description,
        ),
        members=tuple(principal(one.value, one.kind) for one in wish.members),
        owners=tuple(principal(one.value, one.kind) for one in wish.owners),
        principals={one: principal(one.value, one.kind) for one in references},
        roles={role: guid(role) for role in role_names(policy)},
        assignments=tuple(an_assignment(role) for role in role_names(policy)),
        children=tuple(seen(binding) for binding in bindings),
        cluster_roles=frozenset(words(cluster_roles)),
    )
    nickname = wish.mail_nickname or mail_nickname(wish.display_name)
    mark = group_mark(wish.display_name, nickname, wish.description)
    lines = [
        replace(group_line(), applied=mark),
        *(role_line(role) for role in role_names(policy)),
        *(child_line(b) for b in bindings),
    ]
    return world, tuple(lines)


def nothing_yet(policy: AccessPolicy, cluster_roles: str = "view edit") -> PolicyWorld:
    """The world before the operator came."""
    world, _ = steady(policy, cluster_roles)
    return PolicyWorld(
        group=None, principals=world.principals, roles=world.roles, cluster_roles=world.cluster_roles
    )


def a_view(policy: AccessPolicy | None = None, **changes: Any) -> PolicyView:
    """What a grant sees of its policy, whose group is in place."""
    values: dict[str, Any] = {
        "name": "appdev",
        "deleting": False,
        "policy": policy,
        "unreadable": "" if policy else "spec.subject: must be given",
        "subject": Subject("Group", GROUP_ID, "appdev"),
    }
    return PolicyView(**(values | changes))


def grant_world(
    view: PolicyView | None,
    children: Iterable[SeenChild] = (),
    *,
    labels: Mapping[str, str] | None = None,
    ending: bool = False,
    cluster_roles: str = "view edit",
    **azure: Any,
) -> GrantWorld:
    """What was seen for a grant."""
    known = frozenset(words(cluster_roles))
    return GrantWorld(view, labels or {}, ending, tuple(children), known, **azure)


def drift_of_plan(plan: Plan) -> tuple[DriftItem, ...]:
    """What another hand did, as a plan found it."""
    return tuple(one.item for one in plan.differences if one.foreign)
