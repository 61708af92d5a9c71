"""A status is the operator's: what others write into it is written anew, and only what is theirs stays."""

from typing import Final

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually
from support.life import condition_of, everything, patch


def settled(body: Body) -> Body:
    """A status without what may differ when it is written anew: times, and the history of drift."""
    status = dict(body["status"])
    for key, time in (("conditions", "lastTransitionTime"), ("inventory", "since")):
        lines = ({k: v for k, v in one.items() if k != time} for one in status.get(key, ()))
        status[key] = sorted(lines, key=str)
    state = status.pop("drift", {}).get("state")
    return {k: v for k, v in status.items() if k != "effectiveBy"} | {"state": state}


LIES: Final[dict[str, list[Body]]] = {
    "all of it removed": [{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}],
    "conditions removed": [{"op": "remove", "path": "/status/conditions"}],
    "a condition turned": [{"op": "replace", "path": "/status/conditions/0/status", "value": "False"}],
    "a subject that is another": [
        {"op": "replace", "path": "/status/subject/objectId", "value": seed.USER_IDS[seed.ALICE]}
    ],
    "an inventory without anything": [{"op": "replace", "path": "/status/inventory", "value": []}],
    "other counts": [
        {"op": "add", "path": "/status/counts/azureRoles", "value": 7},
        {"op": "add", "path": "/status/counts/madeUp", "value": 7},
    ],
    "a made-up Stalled": [
        {
            "op": "add",
            "path": "/status/conditions/-",
            "value": {
                "type": "Stalled",
                "status": "True",
                "reason": "MadeUp",
                "message": "not true",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            },
        }
    ],
    "another drift state": [{"op": "replace", "path": "/status/drift/state", "value": "Drifted"}],
}


@pytest.mark.parametrize("kind", ["apol", "ngrant"])
def test_a_status_edited_by_hand_is_written_anew(cluster: Cluster, kind: str) -> None:
    """Whatever was removed from it or falsely put there: it says what is so, and nothing was done to what it
    speaks of."""
    policy, namespace, _ = everything(cluster)
    name, where = (policy.name, ()) if kind == "apol" else ("work", ("-n", namespace))
    group = policy.entra()

    def now() -> Body:
        return settled(cluster.get(kind, name, namespace if where else None))

    true = now()
    wrong = []
    for lie, change in LIES.items():
        if kind == "ngrant" and lie == "other counts":
            change = [{"op": "add", "path": "/status/counts/madeUp", "value": 7}]  # noqa: PLW2901
        patch(cluster, kind, name, change, "--subresource=status", *where)
        try:
            eventually(lambda: now() == true, f"the status says what is so after: {lie}", seconds=5)
        except AssertionError:
            wrong.append(lie)
            mend(cluster, kind, name, where)
            eventually(lambda: now() == true, "the status is as it was", seconds=10)
    assert wrong == []
    assert policy.entra() == group
    assert len(cluster.azure.assignments(group["id"])) == 1


def mend(cluster: Cluster, kind: str, name: str, where: tuple[str, ...]) -> None:
    """Begin with an empty status again, as if the operator had never looked."""
    empty = [{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}]
    patch(cluster, kind, name, empty, "--subresource=status", *where)


def test_conditions_of_others_are_left_alone(cluster: Cluster) -> None:
    """A condition that another controller put on our object stays through later writes of the status."""
    policy, _, _ = everything(cluster)
    theirs = {
        "type": "example.com/Reviewed",
        "status": "True",
        "reason": "Approved",
        "message": "by the security team",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    change = [{"op": "add", "path": "/status/conditions/-", "value": theirs}]
    patch(cluster, "apol", policy.name, change, "--subresource=status")
    _, moved = cluster.quiet(1.0)
    assert not moved
    body = policy.update(clusterRoles=["view"])
    assert condition_of(body, "example.com/Reviewed") == theirs
    assert condition_of(body, "Ready")["status"] == "True"


def test_the_time_of_a_condition_moves_only_with_its_status(cluster: Cluster) -> None:
    """An edit that changes nothing about a condition leaves its lastTransitionTime as it was."""
    policy, _, _ = everything(cluster)
    before = {one["type"]: one for one in policy.ready()["status"]["conditions"]}
    aged = [{**one, "lastTransitionTime": "2026-01-01T00:00:00Z"} for one in before.values()]
    change = [{"op": "replace", "path": "/status/conditions", "value": aged}]
    patch(cluster, "apol", policy.name, change, "--subresource=status")

    after = policy.update(clusterRoles=["view"])["status"]["conditions"]
    assert {one["lastTransitionTime"] for one in after} == {"2026-01-01T00:00:00Z"}
    policy.apply(azureRoles=[{"role": "No Such Role"}])
    cluster.waits_for("apol", policy.name, "Stalled", "RoleNotFound")
    found = cluster.get("apol", policy.name)
    for moved in ("Ready", "AzureRolesReady"):
        assert condition_of(found, moved)["lastTransitionTime"] > "2026-01-01T00:00:00Z"
    assert condition_of(found, "SubjectReady")["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_what_others_made_is_not_deleted_because_the_inventory_was_made_to_name_it(cluster: Cluster) -> None:
    """Who can write a status cannot have the operator remove role assignments of others by it."""
    policy, _, _ = everything(cluster)
    theirs = cluster.azure.assign(seed.USER_IDS[seed.ALICE], "Reader", seed.CLUSTER_ID)
    line = {"system": "Azure", "kind": "RoleAssignment", "name": "Reader", "id": theirs["id"]}
    change = [{"op": "add", "path": "/status/inventory/-", "value": line}]
    patch(cluster, "apol", policy.name, change, "--subresource=status")

    policy.update(clusterRoles=["view"])
    policy.delete("--timeout=20s")

    left = [one["name"] for one in cluster.azure.assignments(seed.USER_IDS[seed.ALICE])]
    assert left == [theirs["name"]]
