"""The Kubernetes side of a policy: bindings to ClusterRoles, rules of its own, and access in namespaces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from entra_access.api.names import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from entra_access.api.resources import AccessPolicy, NamespaceAccess, Rule
from entra_access.api.status import Subject
from entra_access.domain.ceiling import selects
from entra_access.domain.children import Child, ChildRef, RbacSubject
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.naming import policy_binding_name, policy_role_name
from entra_access.domain.observed import Namespace, PolicyWorld
from entra_access.domain.place import Place
from entra_access.domain.plan import missing_cluster_roles
from entra_access.domain.role_plan import WishedRole


@dataclass
class Access:
    """What a policy gives in Kubernetes, and which Azure roles it gives in namespaces."""

    children: list[Child] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    azure_roles: list[WishedRole] = field(default_factory=list)


@dataclass
class _Here:
    """What is given in one namespace: several entries may match it."""

    cluster_roles: dict[str, None] = field(default_factory=dict)
    rules: dict[Rule, None] = field(default_factory=dict)
    azure_roles: dict[str, str] = field(default_factory=dict)  # with the field that asks for it first


def rbac_subject(subject: Subject) -> RbacSubject:
    """Whom bindings are for."""
    return RbacSubject(subject.kind, subject.rbac_name, subject.namespace)


def matching(access: NamespaceAccess, namespaces: Mapping[str, Namespace]) -> Iterator[str]:
    """The namespaces that an entry is about; those that are being deleted are not."""
    names = namespaces if access.selector else access.names
    for name in names:
        there = namespaces.get(name)
        if there and not there.ending and (not access.selector or selects(access.selector, there.labels)):
            yield name


def plan_access(policy: AccessPolicy, place: Place, world: PolicyWorld, subject: Subject) -> Access:
    """All that a policy gives inside the cluster."""
    access = Access()
    whom = rbac_subject(subject)
    _cluster_wide(access, policy, world, whom)
    per_namespace: dict[str, _Here] = {}
    for index, entry in enumerate(policy.namespaces):
        path = f"spec.namespaces[{index}]"
        access.findings += _missing_namespaces(entry, world.namespaces, path)
        access.findings += missing_cluster_roles(entry.cluster_roles, world.cluster_roles, path)
        for name in matching(entry, world.namespaces):
            here = per_namespace.setdefault(name, _Here())
            here.cluster_roles |= dict.fromkeys(entry.cluster_roles)
            here.rules |= dict.fromkeys(entry.rules)
            for number, role in enumerate(entry.azure_roles):
                here.azure_roles.setdefault(role, f"{path}.azureRoles[{number}]")
    for name, here in sorted(per_namespace.items()):
        _in_namespace(access, policy, world, whom, name, here)
        scope = place.namespace_scope(name)
        access.azure_roles += [WishedRole(path, role, scope) for role, path in here.azure_roles.items()]
    return access


def _missing_namespaces(
    entry: NamespaceAccess, namespaces: Mapping[str, Namespace], path: str
) -> list[Finding]:
    """A namespace that is named and is not there may come later, or be a slip of the pen."""
    return [
        Finding(
            Link.BINDINGS,
            Severity.WARNING,
            "NamespaceNotFound",
            f"there is no namespace {name} yet; the access there follows when it is made",
            f"{path}.names[{index}]",
        )
        for index, name in enumerate(entry.names)
        if name not in namespaces
    ]


def _cluster_wide(access: Access, policy: AccessPolicy, world: PolicyWorld, whom: RbacSubject) -> None:
    access.findings += missing_cluster_roles(policy.cluster_roles, world.cluster_roles, "spec")
    there = {child.ref for child in world.children}
    for role in policy.cluster_roles:
        binding = _cluster_binding(policy, role, whom)
        # A binding that is already there is left while its ClusterRole is missing: it gives nothing then.
        if role in world.cluster_roles or binding.ref in there:
            access.children.append(binding)
    if policy.rules:
        name = policy_role_name(policy.meta.name)
        access.children.append(Child(ChildRef(CLUSTER_ROLE, None, name), policy.meta, rules=policy.rules))
        access.children.append(_cluster_binding(policy, name, whom))


def _cluster_binding(policy: AccessPolicy, role: str, whom: RbacSubject) -> Child:
    name = policy_binding_name(policy.meta.name, CLUSTER_ROLE.kind, role)
    ref = ChildRef(CLUSTER_ROLE_BINDING, None, name)
    return Child(ref, policy.meta, role_kind=CLUSTER_ROLE.kind, role=role, subject=whom)


def _in_namespace(
    access: Access, policy: AccessPolicy, world: PolicyWorld, whom: RbacSubject, namespace: str, here: _Here
) -> None:
    there = {child.ref for child in world.children if child.ref.namespace == namespace}

    def binding(role_kind: str, role: str) -> Child:
        name = policy_binding_name(policy.meta.name, role_kind, role, namespaced=True)
        ref = ChildRef(ROLE_BINDING, namespace, name)
        return Child(ref, policy.meta, role_kind=role_kind, role=role, subject=whom)

    if here.rules:
        name = policy_role_name(policy.meta.name)
        role = Child(ChildRef(ROLE, namespace, name), policy.meta, rules=tuple(here.rules))
        access.children += [role, binding(ROLE.kind, name)]
    for cluster_role in here.cluster_roles:
        bound = binding(CLUSTER_ROLE.kind, cluster_role)
        if cluster_role in world.cluster_roles or bound.ref in there:
            access.children.append(bound)
