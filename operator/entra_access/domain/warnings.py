"""What is as asked for and yet may not do what people expect. Each says what to do about it."""

from collections.abc import Iterable, Mapping
from typing import Final

from entra_access.api.names import SERVICE_ACCOUNT
from entra_access.api.resources import AccessPolicy, AzureRole, PrincipalKind
from entra_access.api.status import Subject
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.known_roles import BY_GUID, CLUSTER, CONNECTING, NAMESPACE, known_role
from entra_access.domain.observed import AzureWorld, ClusterFacts, PolicyWorld
from entra_access.domain.place import ClusterKind, Place
from entra_access.domain.role_plan import ResolvedRole

MAX_GROUPS: Final = 200
"""A token names at most so many groups.
Source: https://learn.microsoft.com/entra/identity-platform/optional-claims - groups overage."""
LEGACY_PAGE: Final = "https://learn.microsoft.com/azure/aks/managed-azure-ad"


def _warning(link: Link, reason: str, message: str, path: str = "") -> Finding:
    return Finding(link, Severity.WARNING, reason, message, path)


def policy_warnings(
    policy: AccessPolicy,
    place: Place,
    world: PolicyWorld,
    subject: Subject,
    resolved: Iterable[ResolvedRole],
) -> list[Finding]:
    """All that is odd about what a policy gives."""
    roles = list(resolved)
    bound = bool(policy.cluster_roles or policy.rules or policy.namespaces or policy.ceiling)
    found = [*_levels(roles, place), *_connection(roles, place, world, subject, ())]
    found += _cluster(roles, place, world.facts, subject, bound=bound)
    if subject.principal_type == "ServicePrincipal" and subject.object_id:
        kind = PrincipalKind.SERVICE_PRINCIPAL.value
        name = f"{kind} {subject.display_name}"
        many = overage(subject.object_id, name, world.groups_of, Link.SUBJECT, "spec.subject")
        found += [many] if many else []
    return found


def grant_warnings(
    roles: list[ResolvedRole],
    place: Place,
    world: AzureWorld,
    subject: Subject,
    of_policy: Iterable[AzureRole],
    *,
    bound: bool,
) -> list[Finding]:
    """All that is odd about what a grant gives. `of_policy`: the roles that its policy gives already."""
    return [
        *_levels(roles, place),
        *_connection(roles, place, world, subject, of_policy),
        *_cluster(roles, place, world.facts, subject, bound=bound),
    ]


def overage(object_id: str, name: str, groups_of: Mapping[str, int], link: Link, path: str) -> Finding | None:
    """A service principal in too many groups is turned away; people's groups are looked up instead."""
    number = groups_of.get(object_id, 0)
    if number <= MAX_GROUPS:
        return None
    message = (
        f"{name} is in {number} groups: with more than {MAX_GROUPS} a service principal cannot sign in "
        "to the cluster; take it out of some"
    )
    return _warning(link, "TooManyGroups", message, path)


def _levels(roles: Iterable[ResolvedRole], place: Place) -> list[Finding]:
    """Roles that are meant for another level than the one where they are assigned."""
    found = []
    for one in roles:
        role, scope = one.known, one.wish.scope
        if role is None or not role.level:
            continue
        in_namespace = place.within(scope) and scope.lower() != place.cluster_id.lower()
        if role.level == NAMESPACE and not in_namespace:
            message = f"{role.name} is meant for a namespace; here it gives admin access in every namespace"
        elif role.level == CLUSTER and in_namespace and role.data:
            message = (
                f"{role.name} is meant for the whole cluster; for a namespace use an Admin or Writer role"
            )
        elif role.level == CLUSTER and in_namespace:
            message = (
                f"{role.name} gives nothing in a namespace; assign it at the cluster, under spec.azureRoles"
            )
        else:
            continue
        found.append(_warning(Link.AZURE_ROLES, "UnusualScope", message, one.wish.path))
    return found


def _data_role(roles: Iterable[ResolvedRole], place: Place) -> ResolvedRole | None:
    """The first role that says what may be done inside this cluster."""
    return next(
        (
            one
            for one in roles
            if one.known
            and one.known.data
            and one.known.counts_on(place.kind)
            and place.covers(one.wish.scope)
        ),
        None,
    )


def _connection(
    roles: list[ResolvedRole],
    place: Place,
    world: AzureWorld,
    subject: Subject,
    of_policy: Iterable[AzureRole],
) -> list[Finding]:
    """Somebody who may do something in the cluster and cannot fetch a kubeconfig for it.

    Only what is certain is said: a role that the tables do not know may let its holder connect.
    """
    data = _data_role(roles, place)
    if data is None or isinstance(world.assignments, Fault):
        return []
    held = [one.role_id for one in roles if place.above(one.wish.scope)]
    held += [
        one.role_id
        for one in world.assignments
        if subject.object_id and one.principal_id == subject.object_id and place.above(one.scope)
    ]
    given = [known_role(one.role) for one in of_policy if place.above(place.scope(one.scope))]
    known = [BY_GUID.get(role_id) for role_id in held] + given
    if any(role is None or (role.connects and role.counts_on(place.kind)) for role in known):
        return []
    message = (
        f"{subject.display_name} has no role that lets it fetch a kubeconfig, so it may be unable to "
        f"connect; add {CONNECTING[place.kind]} at the cluster to the policy's azureRoles"
    )
    return [_warning(Link.AZURE_ROLES, "CannotConnect", message, data.wish.path)]


def _cluster(
    roles: list[ResolvedRole], place: Place, facts: ClusterFacts, subject: Subject, *, bound: bool
) -> list[Finding]:
    """What the cluster is not set up for."""
    if subject.kind == SERVICE_ACCOUNT.kind:
        return []
    if facts.legacy:
        message = (
            "the cluster uses the legacy Entra integration with server and client applications (its "
            "aadProfile has a serverAppID), deprecated since June 2023; migrate: az aks update --enable-aad, "
            f"see {LEGACY_PAGE}"
        )
        return [_warning(Link.SUBJECT, "LegacyEntraIntegration", message)]
    found = []
    data = _data_role(roles, place)
    if data and data.known and facts.azure_rbac is False:
        aks = place.kind is ClusterKind.AKS
        enable = (
            "az aks update --enable-azure-rbac"
            if aks
            else "az connectedk8s enable-features --features azure-rbac"
        )
        message = (
            f"Azure RBAC is off on this cluster, so {data.known.name} gives nothing; enable it: {enable}"
        )
        found.append(_warning(Link.AZURE_ROLES, "AzureRbacOff", message, data.wish.path))
    # An Arc-connected cluster needs no such integration: cluster connect signs people in itself.
    if bound and facts.entra is False and place.kind is ClusterKind.AKS:
        message = (
            "the cluster has no Entra integration, so nobody of Entra can sign in and bindings give nothing; "
            "enable it: az aks update --enable-aad"
        )
        found.append(_warning(Link.BINDINGS, "NoEntraIntegration", message))
    return found
