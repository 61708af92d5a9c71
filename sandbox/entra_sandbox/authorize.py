"""Azure RBAC for Kubernetes: what a SubjectAccessReview asks, as a data action at a scope of the cluster.

The decisions are those of the webhook that AKS and Arc run (kubeguard/guard, `authz/providers/azure`): who is
asked about at all, what a verb becomes, which paths are open to everybody, and the sentences.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from entra_sandbox.conditions import Attempt
from entra_sandbox.exchange import Json
from entra_sandbox.state import State

_VERBS = {
    "get": "read",
    "list": "read",
    "watch": "read",
    "create": "write",
    "update": "write",
    "patch": "write",
    "delete": "delete",
    "deletecollection": "delete",
    "bind": "bind/action",
    "escalate": "escalate/action",
    "impersonate": "impersonate/action",
    "use": "use/action",
    "*": "*",
}
"""Every other verb becomes nothing: the action is the resource itself, and only a `*` covers it."""
_DISCOVERY = ("/api", "/openapi", "/version", "/healthz")
"""Whoever signed in with Entra may get these paths and everything that begins like them."""
_NO_OPINION = "Azure does not have opinion for this user."
_NOT_FROM_ENTRA = (
    "Azure does not have opinion for this non AAD user. If you are an AAD user, please set Extra:oid "
    "parameter for impersonated user in the kubeconfig"
)
_BAD_OID = "Access denied due to Azure RBAC check failure. Please retry later."
_NO_ACCESS = "User does not have access to the resource in Azure. Update role assignment to allow access."
_OFF = "Azure RBAC for Kubernetes is not enabled on this cluster."


def decide(state: State, spec: Mapping[str, Any], cluster_id: str) -> Json:
    """Give the status of a review.

    No opinion (neither allowed nor denied) about who is not from Entra. For everybody else it is a verdict;
    what RBAC allowed before is not asked here at all.
    """
    if not enabled(state, cluster_id):
        return _no_opinion(_OFF)
    user = str(spec.get("user", ""))
    if user.lower().startswith("system:"):
        return _no_opinion(_NO_OPINION)
    extra = spec.get("extra") or {}
    if "oid" not in extra:
        return _no_opinion(_NOT_FROM_ENTRA)
    oid = _guid(extra["oid"])
    if oid is None:
        return _denied(_BAD_OID)
    if _is_discovery(spec.get("nonResourceAttributes")):
        return {"allowed": True, "reason": "Access allowed by Azure RBAC"}
    action, scope = question(spec, cluster_id)
    verdict = state.access.check(oid, scope, Attempt(action), data=True)
    if not verdict.allowed:
        return _denied(_NO_ACCESS)
    by = f"Role Assignment {verdict.assignment} of Role {verdict.role} to user {user}"
    return {"allowed": True, "reason": f"Access allowed by Azure RBAC {by}"}


def enabled(state: State, cluster_id: str) -> bool:
    """Whether the cluster was told to ask Azure: its `aadProfile.enableAzureRBAC`."""
    profile = aad_profile(state, cluster_id)
    return profile is not None and profile.get("enableAzureRBAC") is True


def aad_profile(state: State, cluster_id: str) -> Mapping[str, Any] | None:
    """Give the cluster's `aadProfile`; none for a cluster without Entra, or one that is not there."""
    resource = state.resources.get(cluster_id) or {}
    profile: Mapping[str, Any] | None = (resource.get("properties") or {}).get("aadProfile")
    return profile


def question(spec: Mapping[str, Any], cluster_id: str) -> tuple[str, str]:
    """Translate a review's attributes into a data action and a scope.

    A namespace is a scope below the cluster. A subresource counts as its resource, but for `pods/exec`, which
    is an action of its own whatever the verb.
    """
    prefix = "/".join(cluster_id.strip("/").split("/")[-3:-1])
    if asked := spec.get("nonResourceAttributes"):
        return _joined(prefix, *str(asked.get("path", "")).split("/"), _verb(asked)), cluster_id
    asked = spec.get("resourceAttributes") or {}
    action = _joined(prefix, asked.get("group", ""), asked.get("resource", ""), _verb(asked))
    namespace = asked.get("namespace")
    return action, f"{cluster_id}/namespaces/{namespace}" if namespace else cluster_id


def _verb(asked: Mapping[str, Any]) -> str:
    if (asked.get("resource"), asked.get("subresource")) == ("pods", "exec"):
        return "exec/action"
    return _VERBS.get(str(asked.get("verb", "")), "")


def _joined(*parts: str) -> str:
    """Write an action. One `*` stands for the next one too, so that "everything" has one form."""
    kept = [part for part in parts if part]
    return "/".join(part for at, part in enumerate(kept) if (part, kept[at - 1]) != ("*", "*"))


def _is_discovery(asked: Mapping[str, Any] | None) -> bool:
    if not asked or str(asked.get("verb", "")).lower() != "get":
        return False
    return str(asked.get("path", "")).lower().startswith(_DISCOVERY)


def _guid(values: Any) -> str | None:
    try:
        (value,) = values
        return str(UUID(str(value)))
    except (ValueError, TypeError):
        return None


def _no_opinion(reason: str) -> Json:
    return {"allowed": False, "reason": reason}


def _denied(reason: str) -> Json:
    return {"allowed": False, "denied": True, "reason": reason}
