"""Azure RBAC for Kubernetes: what a SubjectAccessReview asks, as a data action at a scope of the cluster.

The translation is that of AKS' own webhook: the verb becomes read, write, delete or an `/action`, a
subresource counts as its resource (but `pods/exec` is an action of its own), and a namespace is a scope below
the cluster.
"""

from collections.abc import Mapping
from typing import Any

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
    "*": "*",
}
_NO_OPINION = "Azure does not have opinion for this user."
_NO_ACCESS = "User does not have access to the resource in Azure. Update role assignment to allow access."


def decide(state: State, spec: Mapping[str, Any], cluster_id: str) -> Json:
    """Give the status of a review. A refusal is no veto: what another authorizer allowed stays allowed."""
    oid = next(iter((spec.get("extra") or {}).get("oid") or ()), None)
    if oid is None or state.directory.find(oid) is None:
        return {"allowed": False, "reason": _NO_OPINION}
    action, scope = question(spec, cluster_id)
    verdict = state.access.check(oid, scope, Attempt(action), data=True)
    if verdict.allowed:
        return {"allowed": True, "reason": f"Access allowed by Azure RBAC role {verdict.role} for {action}."}
    return {"allowed": False, "reason": _NO_ACCESS}


def question(spec: Mapping[str, Any], cluster_id: str) -> tuple[str, str]:
    """Translate a review's attributes into a data action and a scope."""
    prefix = "/".join(cluster_id.strip("/").split("/")[-3:-1])
    if asked := spec.get("nonResourceAttributes"):
        return f"{prefix}/{str(asked.get('path', '')).strip('/')}/{_verb(asked)}", cluster_id
    asked = spec.get("resourceAttributes") or {}
    parts = [prefix, asked.get("group", ""), asked.get("resource", ""), _verb(asked)]
    namespace = asked.get("namespace")
    scope = f"{cluster_id}/namespaces/{namespace}" if namespace else cluster_id
    return "/".join(part for part in parts if part), scope


def _verb(asked: Mapping[str, Any]) -> str:
    if (asked.get("resource"), asked.get("subresource")) == ("pods", "exec"):
        return "exec/action"
    verb = str(asked.get("verb", ""))
    return _VERBS.get(verb, f"{verb}/action")
