"""What the API server is asked by dry runs, and what its answers become."""

from typing import Any

import pytest

from entra_access.adapters.rbac import Kubernetes, path_of
from entra_access.api.names import GRANT, POLICY
from entra_access.domain.faults import Changed, Denied, Fault, Missing, Throttled, Unavailable
from support.api_server import ApiServer, status


async def test_a_dry_run_says_so_in_each_request(kubernetes: Kubernetes, server: ApiServer) -> None:
    """Else it would be a write. A new object by POST, the patch of one that is there by PATCH."""
    patch = [{"op": "add", "path": "/spec", "value": {}}]
    assert await kubernetes.objections(POLICY, None, None, {"spec": {}}) == ()
    assert await kubernetes.objections(GRANT, "dev", "work", patch) == ()

    new, changed = server.requests
    assert (new.line, new.body) == (f"POST {path_of(POLICY, None, None)}", {"spec": {}})
    assert (changed.line, changed.body) == (f"PATCH {path_of(GRANT, 'dev', 'work')}", patch)
    assert (new.headers["content-type"], changed.headers["content-type"]) == (
        "application/json",
        "application/json-patch+json",
    )
    assert all("dryRun=All" in one.target for one in server.requests)


INVALID: dict[str, Any] = {
    "message": "all of it",
    "details": {
        "causes": [
            {"field": "spec.subject", "message": "exactly\n one"},
            {"field": "<nil>", "message": "not all was checked"},
            {"field": "spec.mode", "message": "no mode"},
            {"field": "spec.subject", "message": "exactly\n one"},
        ]
    },
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            (422, INVALID),
            [("spec.mode", "no mode"), ("spec.subject", "exactly one"), ("", "not all was checked")],
        ),
        (status(400, "cannot be read"), [("", "cannot be read")]),
        (status(403, "being terminated"), [("", "being terminated")]),
        ((413, b"<html>"), [("", "without a reason (413)")]),
        ((422, b"[]"), [("", "without a reason (422)")]),
    ],
)
async def test_what_it_has_against_an_object_is_in_its_own_words(
    kubernetes: Kubernetes, server: ApiServer, answer: tuple[int, object], expected: list[tuple[str, str]]
) -> None:
    server.says(answer, (201, {"status": {"allowed": True}}))
    assert list(await kubernetes.objections(POLICY, None, None, {})) == expected


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_denial_is_of_the_object_only_where_the_caller_has_the_right(
    kubernetes: Kubernetes,
    server: ApiServer,
    allowed: bool,  # noqa: FBT001
) -> None:
    """Admission and authorization answer alike."""
    server.says(status(403, "denied"), (201, {"status": {"allowed": allowed}}))
    if allowed:
        assert [one.message for one in await kubernetes.objections(GRANT, "dev", None, {})] == ["denied"]
    else:
        with pytest.raises(Denied):
            await kubernetes.objections(GRANT, "dev", None, {})

    asked = server.requests[1]
    assert asked.line == "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert asked.body["spec"]["resourceAttributes"] == {
        "verb": "create",
        "group": "entra-access.dev",
        "resource": "namespacegrants",
        "namespace": "dev",
    }


@pytest.mark.parametrize(
    ("code", "fault"), [(404, Missing), (409, Changed), (429, Throttled), (500, Unavailable)]
)
async def test_where_it_did_not_look_at_the_object_that_is_a_fault(
    kubernetes: Kubernetes, server: ApiServer, code: int, fault: type[Fault]
) -> None:
    server.says(status(code, "hidden"))
    with pytest.raises(fault):
        await kubernetes.objections(POLICY, None, None, {})
