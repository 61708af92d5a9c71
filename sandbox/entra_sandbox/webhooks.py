"""The cluster's sign-in, as AKS does it: a TokenReview webhook that reads the groups from the directory."""

from typing import Any

from entra_sandbox.directory import ServicePrincipal, User
from entra_sandbox.exchange import Call, Json, Reply
from entra_sandbox.seed import AKS_SERVER_APP_ID
from entra_sandbox.state import State
from entra_sandbox.tokens import BadTokenError, Tokens

_OVERAGE = 200
"""AKS turns service principals away that are in more groups than a token can name; users it looks up."""


class Webhooks:
    """What the API server calls."""

    def __init__(self, state: State, tokens: Tokens) -> None:
        self._state = state
        self._tokens = tokens

    def handle(self, call: Call) -> Reply:
        """Answer one request."""
        if call.path != "/webhooks/token":
            return Reply(404, {"message": f"no webhook at {call.path}"}, code="NotFound")
        if call.method != "POST":
            return Reply(405, {"message": "a TokenReview is posted"}, code="MethodNotAllowed")
        try:
            review = call.json()
            token = review["spec"]["token"]
        except (ValueError, KeyError, TypeError):
            return Reply(400, {"message": "the body is not a TokenReview"}, code="BadRequest")
        if review.get("apiVersion") != "authentication.k8s.io/v1" or review.get("kind") != "TokenReview":
            return Reply(
                400, {"message": "only authentication.k8s.io/v1 TokenReview is known"}, code="BadRequest"
            )
        status, problem = self._review(str(token))
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        return Reply(200, body, code="Unauthenticated" if problem else "", detail=problem)

    def _review(self, token: str) -> tuple[Json, str]:
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
