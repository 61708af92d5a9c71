"""Reads AccessPolicy and NamespaceGrant from what the API server sent.

The API server has checked them against the CRD's schema. What is read here may still come from before
a schema changed, so nothing is taken for granted: what does not fit is an `InvalidFieldError` with its path.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from entra_access.api.names import GRANT, GROUP, POLICY
from entra_access.api.node import InvalidFieldError, Node
from entra_access.api.resources import (
    CLUSTER_SCOPE,
    POLICY_MEMBER,
    AccessPolicy,
    AdoptionPolicy,
    AzureRole,
    Ceiling,
    CustomRole,
    DeletePolicy,
    DirectorySubject,
    ForeignAssignments,
    GroupSubject,
    LabelSelector,
    Membership,
    Meta,
    Mode,
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
        annotations=tuple(
            (key, str(value))
            for key, value in sorted((meta.get("annotations") or {}).items())
            if key.startswith(f"{GROUP}/")
        ),
        expiry_set=max((str(one.get("time", "")) for one in expiry_fields(meta)), default=""),
    )


def expiry_fields(meta: Body) -> list[dict[str, Any]]:
    """Of the ``managedFields``, what tells when ``spec.expiresAt`` was written; the rest is left out."""
    fields: dict[str, Any] = {"f:spec": {"f:expiresAt": {}}}
    return [
        {"manager": one.get("manager", ""), "time": one.get("time", ""), "fieldsV1": fields}
        for one in meta.get("managedFields") or ()
        if "f:expiresAt" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
    ]


def read_resource(body: Body) -> AccessPolicy | NamespaceGrant:
    """Read an AccessPolicy or a NamespaceGrant.

    Raises
    ------
    InvalidFieldError
        Something in it cannot be used.
    """
    return read_policy(body) if read_meta(body).kind is POLICY else read_grant(body)


def read_policy(body: Body) -> AccessPolicy:
    """Read an AccessPolicy.

    Raises
    ------
    InvalidFieldError
        Something in it cannot be used.
    """
    spec = Node(body.get("spec"), "spec")
    grants = spec.optional("grants")
    adoption = spec.choice("adoptionPolicy", AdoptionPolicy, AdoptionPolicy.NEVER)
    return AccessPolicy(
        meta=read_meta(body),
        subject=_read_subject(spec.child("subject"), adoption),
        azure_roles=spec.each("azureRoles", _read_azure_role),
        custom_roles=_read_custom_roles(spec),
        cluster_roles=spec.texts("clusterRoles"),
        rules=spec.each("rules", _read_cluster_rule),
        namespaces=spec.each("namespaces", _read_namespace_access),
        ceiling=_read_ceiling(grants) if grants else None,
        mode=spec.choice("mode", Mode, Mode.ENFORCE) if spec.optional_text("mode") else None,
        delete_policy=spec.choice("deletePolicy", DeletePolicy, DeletePolicy.DELETE),
        adoption=adoption,
        foreign_assignments=spec.choice("foreignAssignments", ForeignAssignments, ForeignAssignments.REPORT),
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
        expires_at=spec.time("expiresAt"),
    )


def _read_subject(node: Node, adoption: AdoptionPolicy) -> SubjectSpec:
    match node.one_of(("group", "existingGroup", "user", "servicePrincipal", "serviceAccount")):
        case "group":
            return _read_group(node.child("group"), adoption)
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


def _read_group(group: Node, adoption: AdoptionPolicy) -> GroupSubject:
    return GroupSubject(
        display_name=group.text("displayName"),
        mail_nickname=group.optional_text("mailNickname"),
        description=group.optional_text("description"),
        members=group.each("members", lambda node: _read_reference(node, _MEMBERS)),
        owners=group.each("owners", lambda node: _read_reference(node, _OWNERS)),
        membership=group.choice("membership", Membership, Membership.EXACT),
        adoption=group.choice("adoptionPolicy", AdoptionPolicy, adoption),
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
        max_duration=node.duration("maxDuration"),
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
