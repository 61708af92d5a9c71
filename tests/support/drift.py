"""What the tests of drift in Entra and Azure share: what a status says of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.cluster import Body, Cluster, eventually, running
from support.life import condition_of, events
from support.watching import comes_to_rest


@contextmanager
def quickly(folder: Path) -> Iterator[Cluster]:
    """A set-up in which it is asked every second what has changed.

    After a second nothing is new any more, and what is not there is gone.
    """
    with running(folder, ENTRA_ACCESS_SWEEP_SECONDS="1", ENTRA_ACCESS_REPLICATION_SECONDS="1") as cluster:
        yield cluster


def drift_of(cluster: Cluster, name: str, kind: str = "apol", namespace: str | None = None) -> Body:
    """The drift in a resource's status."""
    found: Body = cluster.get(kind, name, namespace)["status"].get("drift", {})
    return found


def item(system: str, object_: str, field: str, expected: str, found: str, action: str) -> Body:
    """An item of drift as a status has it, without who and when. An empty field is left out."""
    whole = {"system": system, "object": object_, "field": field, "expected": expected, "found": found}
    return {key: value for key, value in {**whole, "action": action}.items() if value}


def plain(drift: Body) -> list[Body]:
    """The items of a drift without who and when, in an order that does not depend on chance."""
    kept = (
        {k: v for k, v in one.items() if k not in {"changedBy", "since"}} for one in drift.get("items", ())
    )
    return sorted(kept, key=lambda one: json.dumps(one, sort_keys=True))


def tells(cluster: Cluster, name: str, state: str, *items: Body, seconds: float = 30.0) -> Body:
    """Wait until a policy's drift has exactly that state and these items. Returns the policy."""
    wanted = plain({"items": items})
    last: list[Any] = []

    def told() -> Body | None:
        body = cluster.get("apol", name)
        drift = body.get("status", {}).get("drift", {})
        last[:] = [drift.get("state"), plain(drift)]
        return body if last == [state, wanted] else None

    try:
        found = eventually(told, f"{name} tells of its drift", seconds)
    except AssertionError as error:
        raise AssertionError(f"{name} tells {json.dumps(last, indent=1)} and not {state} {wanted}") from error
    assert found is not None
    return found


def told(cluster: Cluster, name: str, reason: str = "DriftCorrected") -> list[str]:
    """The messages of the Warning events of a policy with that reason."""
    return [
        text
        for kind, why, text in events(cluster, "AccessPolicy", name)
        if (kind, why) == ("Warning", reason)
    ]


def states(body: Body, *kinds: str) -> list[tuple[str, str]]:
    """Status and reason of conditions; empty where there is none."""
    found = (condition_of(body, kind) for kind in kinds)
    return [(one.get("status", ""), one.get("reason", "")) for one in found]


def settles(cluster: Cluster) -> None:
    """Wait until nothing is written for a round: neither to Azure nor to Kubernetes."""
    comes_to_rest(cluster, 1.5, 40)


def at_rest(cluster: Cluster, seconds: float = 3.0) -> None:
    """Nothing is written any more, over some rounds."""
    settles(cluster)
    assert cluster.quiet(seconds) == ([], False)
