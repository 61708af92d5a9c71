"""Why the API server would not take an object, in its own words. The way to ask it is a dry run."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from kubernetes.aio.client import ApiException

from entra_access.adapters.rbac_faults import status_of
from entra_access.api.names import Kind
from entra_access.domain.faults import Denied, Fault

JSON_PATCH: Final = "application/json-patch+json"
REVIEWS: Final = "authorization.k8s.io/v1"
Body = dict[str, Any]
Written: TypeAlias = Mapping[str, Any] | list[Body]
Call: TypeAlias = Callable[..., Awaitable[Body]]
_REFUSED: Final = {400, 403, 413, 422}
"""How it answers where an object is not as it may be, or somebody's rule denies it."""
_NO_FIELD: Final = "<nil>"


class Objection(NamedTuple):
    """Why the API server would not take an object. The path is empty where it names no field."""

    path: str
    message: str


async def dry_run(
    call: Call, kind: Kind, namespace: str | None, path: str, body: Written
) -> tuple[Objection, ...]:
    """What it has against a new object, or against the JSON patch of one that is there.

    Fields that it does not know are no matter of this: anybody may read its schema.

    Raises
    ------
    Fault
        As `call`, where it did not look at the object; Denied: the caller may not write it.
    """
    # These are the rights that kubectl apply needs.
    patch = isinstance(body, list)
    verb, ways = ("patch", {"content_type": JSON_PATCH}) if patch else ("create", {})
    query = [("dryRun", "All"), ("fieldValidation", "Ignore")]
    try:
        await call("PATCH" if patch else "POST", path, f"try a {kind.kind}", query=query, body=body, **ways)
    except Fault as fault:
        found = _objections(fault)
        # Admission denies by the same status as authorization.
        if not found or (isinstance(fault, Denied) and not await _may(call, verb, kind, namespace)):
            raise
        return found
    return ()


async def _may(call: Call, verb: str, kind: Kind, namespace: str | None) -> bool:
    """Whether the caller has that right."""
    asked = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace or ""}
    review = {"apiVersion": REVIEWS, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    path = f"/apis/{REVIEWS}/selfsubjectaccessreviews"
    answer = await call("POST", path, "ask for the caller's rights", body=review)
    return bool(answer["status"]["allowed"])


def _objections(fault: Fault) -> tuple[Objection, ...]:
    """They are for whoever has written the object, and tell of nothing else."""
    error = fault.__cause__
    if not isinstance(error, ApiException) or error.status not in _REFUSED:
        return ()
    status = status_of(error)
    causes = (status.get("details") or {}).get("causes") or [status]
    found = (
        Objection(
            str(one.get("field") or "").replace(_NO_FIELD, ""),
            " ".join(str(one.get("message") or f"without a reason ({error.status})").split()),
        )
        for one in causes
    )
    # They come in any order, and previews are compared.
    return tuple(sorted(set(found), key=lambda one: (not one.path, one)))
