"""Every name that other programs can see: the API group, labels, annotations, the field manager."""

from typing import Final, NamedTuple

GROUP: Final = "entra-access.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
RBAC_API: Final = "rbac.authorization.k8s.io"

FINALIZER: Final = f"{GROUP}/cleanup"
"""On a resource that may have made something in Entra or Azure."""
FINALIZER_RELEASE: Final = f"{GROUP}/release"
"""On one that has nothing there, and may have something in the cluster that Kubernetes must not collect."""
FINALIZERS: Final = frozenset({FINALIZER, FINALIZER_RELEASE})
FIELD_MANAGER: Final = "entra-access-operator"
USER_AGENT: Final = "entra-access-operator/0.1"

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_OWNER_KIND: Final = f"{GROUP}/owner-kind"
LABEL_OWNER_NAME: Final = f"{GROUP}/owner-name"
LABEL_OWNER_UID: Final = f"{GROUP}/owner-uid"
MANAGED_SELECTOR: Final = f"{LABEL_MANAGED_BY}={FIELD_MANAGER}"
TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - the type of a Secret, and none itself
ANNOTATION_ACCOUNT: Final = "kubernetes.io/service-account.name"
ANNOTATION_ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"
ANNOTATION_APPROVE: Final = f"{GROUP}/approve-removals"
"""On a policy: a person lets a removal happen that no edit asked for. Its generation, or the plan's hash."""
ANNOTATION_ABANDON: Final = f"{GROUP}/abandon"
"""On a resource that is being deleted, ``"true"``: let it go, whatever stays behind."""
ANNOTATION_ADOPT: Final = f"{GROUP}/adopt-group"
"""On a policy: the object id of the group that is to become its group."""
ANNOTATION_ADOPTED: Final = f"{GROUP}/adopted"
"""On a child, ``"true"``: it was there before, and stays when its resource is deleted."""
ANNOTATION_APPLIED: Final = f"{GROUP}/applied"
"""On a child: a hash of what was applied last. It tells an edit by another hand from a new wish."""
ANNOTATION_HOLDER: Final = f"{GROUP}/held-by-namespace"
"""On a service account or token that a policy keeps: the UID of the Namespace that we made an owner of it."""


class Kind(NamedTuple):
    """A kind of Kubernetes object, with what its URL needs."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The value of ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version


POLICY: Final = Kind(GROUP, VERSION, "AccessPolicy", "accesspolicies", namespaced=False)
GRANT: Final = Kind(GROUP, VERSION, "NamespaceGrant", "namespacegrants", namespaced=True)
ROLE: Final = Kind(RBAC_API, "v1", "Role", "roles", namespaced=True)
ROLE_BINDING: Final = Kind(RBAC_API, "v1", "RoleBinding", "rolebindings", namespaced=True)
CLUSTER_ROLE: Final = Kind(RBAC_API, "v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING: Final = Kind(
    RBAC_API, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True)
SECRET: Final = Kind("", "v1", "Secret", "secrets", namespaced=True)
BINDING_KINDS: Final = (ROLE_BINDING, CLUSTER_ROLE_BINDING)
NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
EVENT: Final = Kind("", "v1", "Event", "events", namespaced=True)

CHILD_KINDS: Final = (ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING, SERVICE_ACCOUNT)
"""What the operator makes and watches. The Secrets that it makes it does not watch: that would need the right
to read every Secret of the cluster."""
WATCHED: Final = (NAMESPACE, POLICY, GRANT, *CHILD_KINDS)
KINDS: Final = {k.kind: k for k in (POLICY, GRANT, *CHILD_KINDS, SECRET, NAMESPACE)}


def selector_of(kind: Kind) -> str | None:
    """Which objects of a watched kind are looked at; None: all of them."""
    # Bindings refer to people's own roles, and people bind our subjects.
    everybodys = kind not in CHILD_KINDS or kind is CLUSTER_ROLE or kind in BINDING_KINDS
    return None if everybodys else MANAGED_SELECTOR
