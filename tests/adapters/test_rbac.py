"""What is sent to the API server, byte by byte, and what its answers become. The rest needs a real one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from entra_access.adapters.rbac import Kubernetes, path_of
from entra_access.api.names import CLUSTER_ROLE, FIELD_MANAGER, POLICY, ROLE, SECRET, SERVICE_ACCOUNT
from entra_access.api.resources import AdoptionPolicy, Meta, Rule
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import (
    Changed,
    Denied,
    Fault,
    Missing,
    Rejected,
    Taken,
    Throttled,
    Unavailable,
)
from support.api_server import ApiServer, status

UID = "11111111-1111-4111-8111-111111111111"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
JSON = "application/json"
HIDDEN = "what-only-the-holder-may-know"
OWNER = Meta(POLICY, "appdev", None, "owner-uid", 1, "", deleting=False, finalizers=(), resource_version="1")
ROLE_CHILD = Child(ChildRef(ROLE, "dev", "r"), OWNER, rules=(Rule(("get",), ("",), ("pods",)),))
CLUSTER_CHILD = Child(ChildRef(CLUSTER_ROLE, None, "r"), OWNER, rules=(Rule(("get",), ("",), ("pods",)),))
ACCOUNT = Child(ChildRef(SERVICE_ACCOUNT, "dev", "robot"), OWNER)
TOKEN = Child(ChildRef(SECRET, "dev", "robot-token"), OWNER, account="robot")
HELD = "entra-access.dev/held-by-namespace"
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "name": "dev",
    "uid": "uid-of-dev",
    "controller": False,
    "blockOwnerDeletion": False,
}
SECRETS = "/api/v1/namespaces/dev/secrets"


def there(owner: str = OWNER.uid, manager: str = "helm") -> dict[str, Any]:
    """An object that is there already."""
    owners = [{"apiVersion": "entra-access.dev/v1alpha1", "kind": "AccessPolicy", "uid": owner}]
    metadata = {"name": "x", "uid": UID, "ownerReferences": owners, "managedFields": [{"manager": manager}]}
    return {"metadata": metadata}


@pytest.mark.parametrize(
    "child", [ROLE_CHILD, CLUSTER_CHILD, ACCOUNT, TOKEN], ids=lambda c: str(c.ref.kind.kind)
)
async def test_a_child_that_is_new_is_created_in_one_request(
    kubernetes: Kubernetes, server: ApiServer, child: Child
) -> None:
    """By a POST, which takes nothing over, under the operator's name."""
    await kubernetes.apply_child(child, None, None)

    (request,) = server.requests
    assert request.line == f"POST {path_of(child.ref.kind, child.ref.namespace, None)}"
    assert "fieldManager=entra-access-operator" in request.target
    assert request.headers["content-type"] == JSON
    assert request.body == child.manifest()
    assert request.body["metadata"]["ownerReferences"][0]["uid"] == OWNER.uid


async def test_a_token_is_asked_for_by_its_type_and_account(
    kubernetes: Kubernetes, server: ApiServer
) -> None:
    """Kubernetes fills it; nothing of the operator's is in it."""
    await kubernetes.apply_child(TOKEN, None, None)

    body = server.requests[0].body
    assert body["type"] == "kubernetes.io/service-account-token"
    assert body["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "robot"
    assert not {"data", "stringData"} & body.keys()


@pytest.mark.parametrize(("child", "accept"), [(TOKEN, METADATA), (ROLE_CHILD, JSON), (ACCOUNT, JSON)])
async def test_what_a_secret_holds_is_never_asked_for(
    kubernetes: Kubernetes, server: ApiServer, child: Child, accept: str
) -> None:
    """Created, found to be there, read, deleted: of a Secret always the metadata alone."""
    kind, namespace, name = child.ref.kind, child.ref.namespace, child.ref.name
    server.says(status(409), (200, there()), (200, there()))
    await kubernetes.apply_child(child, None, None)
    await kubernetes.get(kind, namespace, name)
    await kubernetes.delete_child(child.ref, UID)

    asked = [request for request in server.requests if request.method in {"POST", "GET", "DELETE"}]
    assert [request.method for request in asked] == ["POST", "GET", "GET", "DELETE"]
    assert {request.headers["accept"] for request in asked} == {accept}


async def test_a_token_of_ours_that_is_there_already_is_left_as_it_is(
    kubernetes: Kubernetes, server: ApiServer
) -> None:
    """There is nothing in it that could be put right here; who owns it the next pass looks at."""
    server.says(status(409), (200, there()))

    assert await kubernetes.apply_child(TOKEN, None, None) == there()
    assert [request.line for request in server.requests] == [f"POST {SECRETS}", f"GET {SECRETS}/robot-token"]


async def test_a_role_of_ours_that_was_not_seen_is_gone_on_with(
    kubernetes: Kubernetes, server: ApiServer
) -> None:
    """The watch is late: it is applied over, as that object and no other."""
    server.says(status(409), (200, there()), (200, there()))

    await kubernetes.apply_child(ROLE_CHILD, None, None)

    path = path_of(ROLE, "dev", "r")
    assert [request.line for request in server.requests][1:] == [f"GET {path}", f"PATCH {path}"]
    patch = server.requests[-1]
    assert patch.headers["content-type"] == "application/apply-patch+yaml"
    assert "force=true" in patch.target
    assert patch.body["metadata"]["uid"] == UID


@pytest.mark.parametrize("child", [ROLE_CHILD, ACCOUNT, TOKEN], ids=lambda c: str(c.ref.kind.kind))
async def test_what_somebody_else_made_is_never_taken_over(
    kubernetes: Kubernetes, server: ApiServer, child: Child
) -> None:
    """The message names the object and who made it; nothing is written."""
    server.says(status(409), (200, there(owner="another", manager="kubectl-create")))

    with pytest.raises(Taken, match=f"{child.ref} is already there .*by kubectl-create"):
        await kubernetes.apply_child(child, None, None)
    assert [request.method for request in server.requests] == ["POST", "GET"]


async def test_an_account_is_not_adopted(kubernetes: Kubernetes, server: ApiServer) -> None:
    """It was made a moment ago: the next look uses it as it is."""
    metadata = {"name": "robot", "uid": UID, "managedFields": [{"manager": "kubectl-create"}]}
    server.says(status(409), (200, {"metadata": metadata}))

    with pytest.raises(Taken):
        await kubernetes.apply_child(ACCOUNT, None, None, AdoptionPolicy.ALWAYS)
    assert [request.method for request in server.requests] == ["POST", "GET"]


async def test_an_account_that_another_policy_has_just_made_is_looked_at_again(
    kubernetes: Kubernetes, server: ApiServer
) -> None:
    """It is to be shared, and no name that is taken."""
    server.says(status(409), (200, there(owner="another", manager=FIELD_MANAGER)))

    with pytest.raises(Changed):
        await kubernetes.apply_child(ACCOUNT, None, None)
    assert [request.method for request in server.requests] == ["POST", "GET"]


async def test_an_account_is_shared_and_let_go_by_one_owner_alone(
    kubernetes: Kubernetes, server: ApiServer
) -> None:
    """Nothing else of it is written, nor are the other owners; and only while it is that object."""
    await kubernetes.apply_child(replace(ACCOUNT, joins=True), None, UID)
    await kubernetes.leave_account(ACCOUNT.ref, UID, OWNER.uid)

    joining, leaving = server.requests
    for request in (joining, leaving):
        assert request.line == f"PATCH {path_of(SERVICE_ACCOUNT, 'dev', 'robot')}"
        assert request.headers["content-type"] == "application/strategic-merge-patch+json"
        assert request.body.keys() == {"metadata"}
        assert request.body["metadata"].keys() == {"uid", "ownerReferences"}
        assert request.body["metadata"]["uid"] == UID
    (owner,) = joining.body["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"], owner["controller"]) == ("appdev", OWNER.uid, False)
    assert leaving.body["metadata"]["ownerReferences"] == [{"$patch": "delete", "uid": OWNER.uid}]


@pytest.mark.parametrize(("child", "accept"), [(ACCOUNT, JSON), (TOKEN, METADATA)], ids=["account", "token"])
async def test_what_is_to_stay_is_held_by_its_namespace_and_let_go_of_it(
    kubernetes: Kubernetes, server: ApiServer, child: Child, accept: str
) -> None:
    """Nothing else of it is written, nor are the other owners; it says that the operator did it."""
    await kubernetes.hold_child(child.ref, UID, "uid-of-dev", holds=True)
    await kubernetes.hold_child(child.ref, UID, "uid-of-dev", holds=False)

    for request in server.requests:
        assert request.line == f"PATCH {path_of(child.ref.kind, 'dev', child.ref.name)}"
        assert request.headers["content-type"] == "application/strategic-merge-patch+json"
        assert request.headers["accept"] == accept
        assert request.body.keys() == {"metadata"}
        assert request.body["metadata"].keys() == {"uid", "ownerReferences", "annotations"}
        assert request.body["metadata"]["uid"] == UID
    held, left = (request.body["metadata"] for request in server.requests)
    assert held["ownerReferences"] == [NAMESPACE]
    assert left["ownerReferences"] == [{"$patch": "delete", "uid": "uid-of-dev"}]
    assert [one["annotations"] for one in (held, left)] == [{HELD: "uid-of-dev"}, {HELD: None}]


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "theirs"])
async def test_what_is_released_keeps_the_owners_of_others_alone(
    kubernetes: Kubernetes, server: ApiServer, *, ours: bool
) -> None:
    """A Namespace is one of ours if we have put it there."""
    body = there()
    body["metadata"]["ownerReferences"].append(NAMESPACE)
    notes = {"a": "b", HELD: "uid-of-dev"} if ours else {"a": "b"}
    body["metadata"] |= {"resourceVersion": "1", "annotations": notes}
    server.says((200, body), (200, {}))

    await kubernetes.release_child(ACCOUNT.ref, UID)

    _, patch = server.requests
    meta = patch.body["metadata"]
    assert meta["ownerReferences"] == (None if ours else [NAMESPACE])
    assert meta["annotations"] == ({HELD: None} if ours else {})


@pytest.mark.parametrize("answer", [status(404), status(409)], ids=["404", "409"])
async def test_an_account_that_is_gone_is_let_go(
    kubernetes: Kubernetes, server: ApiServer, answer: tuple[int, object]
) -> None:
    """Gone, or another one of that name; but it cannot be shared then."""
    server.says(answer)

    assert await kubernetes.leave_account(ACCOUNT.ref, UID, OWNER.uid) is None
    with pytest.raises((Missing, Changed)):
        await kubernetes.apply_child(replace(ACCOUNT, joins=True), None, UID)


async def test_what_is_there_is_changed_as_that_object(kubernetes: Kubernetes, server: ApiServer) -> None:
    """One apply with the UID that was seen."""
    await kubernetes.apply_child(ROLE_CHILD, None, UID)

    (request,) = server.requests
    assert request.line == f"PATCH {path_of(ROLE, 'dev', 'r')}"
    assert request.body["metadata"]["uid"] == UID


@pytest.mark.parametrize("answer", [(200, {}), status(404), status(409)], ids=["200", "404", "409"])
@pytest.mark.parametrize("child", [ROLE_CHILD, ACCOUNT, TOKEN], ids=lambda c: str(c.ref.kind.kind))
async def test_a_child_is_deleted_if_it_is_still_that_one(
    kubernetes: Kubernetes, server: ApiServer, child: Child, answer: tuple[int, object]
) -> None:
    """Gone, or another one of that name: both count as deleted."""
    server.says(answer)

    await kubernetes.delete_child(child.ref, UID)

    (request,) = server.requests
    assert request.line == f"DELETE {path_of(child.ref.kind, 'dev', child.ref.name)}"
    assert request.body == {"preconditions": {"uid": UID}}


CALLS: dict[str, Callable[[Kubernetes], Awaitable[object]]] = {
    "create": lambda k: k.apply_child(TOKEN, None, None),
    "apply": lambda k: k.apply_child(ROLE_CHILD, None, UID),
    "list": lambda k: k.list_all(ROLE),
    "status": lambda k: k.apply_status(OWNER, {}),
}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ((0, b""), Unavailable),
        (status(401, HIDDEN), Unavailable),
        (status(403, HIDDEN), Denied),
        (status(403, f"{HIDDEN} because it is being terminated"), Unavailable),
        ((403, HIDDEN.encode()), Denied),
        (status(404, HIDDEN), Missing),
        (status(422, HIDDEN), Rejected),
        (status(429, HIDDEN), Throttled),
        (status(500, HIDDEN), Unavailable),
        ((503, f"<html>{HIDDEN}".encode()), Unavailable),
        ((200, f"<html>{HIDDEN}".encode()), Unavailable),
        ((200, b""), Unavailable),
        ((200, b"\xff\xfe\x00"), Unavailable),
    ],
)
@pytest.mark.parametrize("call", CALLS)
async def test_what_goes_wrong_becomes_a_fault_that_shows_nothing(
    kubernetes: Kubernetes, server: ApiServer, call: str, answer: tuple[int, object], fault: type[Fault]
) -> None:
    """In the operator's own words; nothing that the server said is in them."""
    server.says(answer)

    with pytest.raises(Fault) as caught:
        await CALLS[call](kubernetes)

    assert type(caught.value) is fault
    assert HIDDEN not in f"{caught.value!r} {caught.value}"


async def test_a_conflict_on_what_was_seen_is_a_change(kubernetes: Kubernetes, server: ApiServer) -> None:
    """The object with that UID is gone, and perhaps another has its name."""
    server.says(status(409, HIDDEN))
    for call in ("apply", "status"):
        with pytest.raises(Changed):
            await CALLS[call](kubernetes)


async def test_who_may_not_is_told_to_compare_its_role(kubernetes: Kubernetes, server: ApiServer) -> None:
    """The object is named, so that the missing right is."""
    server.says(status(403))
    with pytest.raises(Denied, match=r"may not create Secret dev/robot-token: compare its ClusterRole"):
        await kubernetes.apply_child(TOKEN, None, None)


async def test_what_is_not_there_is_none(kubernetes: Kubernetes, server: ApiServer) -> None:
    """Of any kind."""
    server.says(status(404))
    for kind in (ROLE, SERVICE_ACCOUNT, SECRET):
        assert await kubernetes.get(kind, "dev", "x") is None
