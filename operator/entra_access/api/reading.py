"""Reads AccessPolicy and NamespaceGrant from what the API server sent.

The API server has checked them against the CRD's schema. What is read here may still come from before
a schema changed, so nothing is taken for granted: what does not fit is an `InvalidFieldError` with its path.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from entra_access.api.names import GRANT, POLICY
from entra_access.api.node import InvalidFieldError, Node
from entra_access.api.resources import (
    CLUSTER_SCOPE,
    POLICY_MEMBER,
    AccessPolicy,
    AzureRole,
    Ceiling,
    CustomRole,
    DirectorySubject,
    GroupSubject,
    LabelSelector,
    Membership,
    Meta,
    NamespaceAccess,
    NamespaceGrant,
    PrincipalKind,
    Reference,
    Requirement,
    Rule,
    ServiceAccountSubject,
    SubjectSpec,
)

Body = Mapping[str, Any]
_MEMBERS: Final = (*(kind.value for kind in PrincipalKind), POLICY_MEMBER)
_OWNERS: Final = (PrincipalKind.USER.value, PrincipalKind.SERVICE_PRINCIPAL.value)
_GUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


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
    spec = Node(body.get("spec"), "spec")
    grants = spec.optional("grants")
    return AccessPolicy(
        meta=read_meta(body),
        subject=_read_subject(spec.child("subject")),
        azure_roles=spec.each("azureRoles", _read_azure_role),
        custom_roles=_read_custom_roles(spec),
        cluster_roles=spec.texts("clusterRoles"),
        rules=spec.each("rules", _read_cluster_rule),
        namespaces=spec.each("namespaces", _read_namespace_access),
        ceiling=_read_ceiling(grants) if grants else None,
    )


def read_grant(body: Body) -> NamespaceGrant:
    """Read a NamespaceGrant.

    Raises
    ------
    InvalidFieldError
        Something in it cannot be used.
    """
    spec = Node(body.get("spec"), "spec")
    return NamespaceGrant(
        meta=read_meta(body),
        policy=spec.child("policyRef").text("name"),
        rules=spec.each("rules", _read_rule),
        cluster_roles=spec.texts("clusterRoles"),
        azure_roles=spec.texts("azureRoles"),
    )


def _read_subject(node: Node) -> SubjectSpec:
    match node.one_of(("group", "existingGroup", "user", "servicePrincipal", "serviceAccount")):
        case "group":
            return _read_group(node.child("group"))
        case "existingGroup":
            return _read_directory(node.child("existingGroup"), PrincipalKind.GROUP, ("objectId",))
        case "user":
            return _read_directory(node.child("user"), PrincipalKind.USER, ("userPrincipalName", "objectId"))
        case "servicePrincipal":
            forms = ("appId", "objectId")
            return _read_directory(node.child("servicePrincipal"), PrincipalKind.SERVICE_PRINCIPAL, forms)
        case _:
            account = node.child("serviceAccount")
            return ServiceAccountSubject(
                account.text("namespace"), account.text("name"), account.flag("token")
            )


def _read_group(group: Node) -> GroupSubject:
    return GroupSubject(
        display_name=group.text("displayName"),
        mail_nickname=group.optional_text("mailNickname"),
        description=group.optional_text("description"),
        members=group.each("members", lambda node: _read_reference(node, _MEMBERS)),
        owners=group.each("owners", lambda node: _read_reference(node, _OWNERS)),
        membership=_read_membership(group),
    )


def _read_directory(node: Node, kind: PrincipalKind, forms: tuple[str, ...]) -> DirectorySubject:
    form = node.one_of(forms)
    return DirectorySubject(
        Reference(kind.value, node.text(form).lower(), form if form != "userPrincipalName" else ""),
        f"{node.path}.{form}",
    )


def _read_azure_role(node: Node) -> AzureRole:
    return AzureRole(node.text("role"), node.optional_text("scope") or CLUSTER_SCOPE)


def _read_custom_roles(spec: Node) -> tuple[CustomRole, ...]:
    roles = spec.each("customRoles", _read_custom_role)
    _all_different("spec.customRoles", (role.name for role in roles))
    return roles


def _all_different(path: str, names: Iterable[str]) -> None:
    """Azure's names have no case: two that differ only in that would be one role, written by turns."""
    first: dict[str, str] = {}
    for index, name in enumerate(names):
        same = first.setdefault(name.lower(), f"{path}[{index}]")
        if same != f"{path}[{index}]":
            message = f"must differ from the name of {same} in more than case; rename one of them"
            raise InvalidFieldError(f"{path}[{index}].name", message)


def _read_custom_role(node: Node) -> CustomRole:
    name = node.text("name")
    if "/" in name or _GUID.fullmatch(name):
        # A role that is given by id is told by the GUID at the end.
        raise InvalidFieldError(f"{node.path}.name", "must not contain a slash and must not be a GUID")
    return CustomRole(
        name=name,
        description=node.optional_text("description"),
        actions=node.texts("actions"),
        not_actions=node.texts("notActions"),
        data_actions=node.texts("dataActions"),
        not_data_actions=node.texts("notDataActions"),
        assignable_scopes=node.texts("assignableScopes"),
    )


def _read_namespace_access(node: Node) -> NamespaceAccess:
    selector = node.optional("selector")
    names = node.texts("names")
    if bool(selector) == bool(names):
        raise InvalidFieldError(node.path, "must have exactly one of selector and names")
    return NamespaceAccess(
        selector=_read_selector(selector) if selector else None,
        names=names,
        cluster_roles=node.texts("clusterRoles"),
        rules=node.each("rules", _read_rule),
        azure_roles=node.texts("azureRoles"),
    )


def _read_membership(group: Node) -> Membership:
    value = group.optional_text("membership") or Membership.EXACT.value
    try:
        return Membership(value)
    except ValueError:
        raise InvalidFieldError(f"{group.path}.membership", "must be Exact, Additive or Unmanaged") from None


def _read_reference(node: Node, kinds: tuple[str, ...]) -> Reference:
    kind = node.one_of(kinds)
    # Entra compares user principal names and ids without regard to case; one form makes them comparable.
    return Reference(kind, node.text(kind).lower())


def _read_cluster_rule(node: Node) -> Rule:
    """A rule of a ClusterRole, which may be about URLs that are no resources."""
    if "nonResourceURLs" not in node.given():
        return _read_rule(node)
    if {"apiGroups", "resources", "resourceNames"} & set(node.given()):
        raise InvalidFieldError(node.path, "must be of resources or of nonResourceURLs, and not of both")
    return Rule(
        verbs=node.texts("verbs", empty=False),
        non_resource_urls=node.texts("nonResourceURLs", empty=False),
    )


def _read_rule(node: Node) -> Rule:
    return Rule(
        verbs=node.texts("verbs", empty=False),
        api_groups=node.texts("apiGroups", empty=False),
        resources=node.texts("resources", empty=False),
        resource_names=node.texts("resourceNames"),
    )


def _read_ceiling(node: Node) -> Ceiling:
    return Ceiling(
        namespaces=_read_selector(node.child("namespaces")),
        cluster_roles=node.texts("clusterRoles"),
        rules=node.each("rules", _read_rule),
        azure_roles=node.texts("azureRoles"),
    )


def _read_selector(node: Node) -> LabelSelector:
    labels = node.optional("matchLabels")
    return LabelSelector(
        match_labels=labels.every_text() if labels else (),
        match_expressions=node.each("matchExpressions", _read_requirement),
    )


def _read_requirement(node: Node) -> Requirement:
    operator = node.text("operator")
    some = operator in {"In", "NotIn"}
    return Requirement(node.text("key"), operator, node.texts("values", empty=not some))
