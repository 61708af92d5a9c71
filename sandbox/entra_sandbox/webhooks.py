"""What an AKS cluster asks: who a token belongs to (TokenReview), and what Azure RBAC allows
(SubjectAccessReview).

The user's groups come from the directory at that moment, not from the token. Which cluster asks is in the
path, `/webhooks/authorize/subscriptions/…/managedClusters/aks-demo`: the API server drops a query from a
webhook's URL.
"""

import re
from typing import Any

from entra_sandbox.authorize import aad_profile, decide
from entra_sandbox.directory import ServicePrincipal, User
from entra_sandbox.exchange import NO_ROUTE, Call, Json, Reply
from entra_sandbox.seed import AKS_SERVER_APP_ID, CLUSTER_ID
from entra_sandbox.state import State
from entra_sandbox.tokens import BadTokenError, Tokens

_OVERAGE = 200
"""AKS turns service principals away that are in more groups than a token can name; users it looks up."""
_KINDS = {
    "token": ("authentication.k8s.io/v1", "TokenReview"),
    "authorize": ("authorization.k8s.io/v1", "SubjectAccessReview"),
}
_PATH = re.compile(r"/webhooks/(?P<kind>token|authorize)(?P<cluster>/subscriptions/.+)?")
_AKS = "/providers/microsoft.containerservice/managedclusters/"


class Webhooks:
    """What the API server calls."""

    def __init__(self, state: State, tokens: Tokens) -> None:
        self._state = state
        self._tokens = tokens

    def handle(self, call: Call) -> Reply:
        """Answer one request."""
        found = _PATH.fullmatch(call.path.rstrip("/"))
        if found is None:
            return Reply(404, {"message": f"no webhook at {call.path}"}, code="NotFound", detail=NO_ROUTE)
        if call.method != "POST":
            return Reply(405, {"message": "a review is posted"}, code="MethodNotAllowed")
        version, kind = asked = _KINDS[found["kind"]]
        try:
            review = call.json()
            spec = dict(review["spec"])
        except (ValueError, KeyError, TypeError):
            return Reply(400, {"message": f"the body is not a {kind}"}, code="BadRequest")
        if (review.get("apiVersion"), review.get("kind")) != asked:
            return Reply(400, {"message": f"only {version} {kind} is known here"}, code="BadRequest")
        status, problem = self._answer(found["cluster"] or CLUSTER_ID, kind, spec)
        body = {"apiVersion": version, "kind": kind, "status": status}
        return Reply(200, body, code=problem and "Refused", detail=problem)

    def _answer(self, cluster_id: str, kind: str, spec: Json) -> tuple[Json, str]:
        if kind == "TokenReview":
            return self._review(str(spec.get("token", "")), cluster_id)
        status = decide(self._state, spec, cluster_id)
        return status, "" if status["allowed"] else str(status["reason"])

    def _review(self, token: str, cluster_id: str) -> tuple[Json, str]:
        # An Arc cluster's sign-in is the proxy's: it is there whatever the profile says.
        if _AKS in cluster_id.lower() and aad_profile(self._state, cluster_id) is None:
            return _refused("the cluster is not integrated with Microsoft Entra ID")
        try:
            claims = self._tokens.verify(token)
        except BadTokenError as error:
            return _refused(f"failed to verify the token: {error}")
        if claims["aud"] not in (AKS_SERVER_APP_ID, f"spn:{AKS_SERVER_APP_ID}"):
            return _refused(f"invalid audience in token: {claims['aud']}, want {AKS_SERVER_APP_ID}")
        principal = self._state.directory.find(claims["oid"])
        if not isinstance(principal, User | ServicePrincipal):
            return _refused(f"the directory has no user or service principal {claims['oid']}")
        groups = sorted(self._state.directory.transitive_groups_of(principal.id))
        if isinstance(principal, ServicePrincipal) and len(groups) > _OVERAGE:
            return _refused("service principal with group membership exceeding 200 is not supported")
        return {"authenticated": True, "user": _user_info(principal, groups)}, ""


def _user_info(principal: User | ServicePrincipal, groups: list[str]) -> dict[str, Any]:
    """Same-tenant users go by name; guests and applications by object id."""
    by_name = isinstance(principal, User) and principal.user_type == "Member"
    return {
        "username": principal.upn if by_name and isinstance(principal, User) else principal.id,
        "uid": principal.id,
        "groups": groups,
        "extra": {"oid": [principal.id]},
    }


def _refused(problem: str) -> tuple[Json, str]:
    return {"authenticated": False, "error": problem}, problem
