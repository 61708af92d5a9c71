"""What the tests of ending access share: moments that are near, grants that end then, and what they say."""

from datetime import UTC, datetime, timedelta
from typing import Any

from support.cluster import Body, Cluster, eventually
from support.life import Person, condition_of, events


def in_seconds(seconds: float) -> str:
    """The moment in so many seconds, as RFC 3339 writes it; the fraction of a second is cut off."""
    return stamp(datetime.now(UTC) + timedelta(seconds=seconds))


def stamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def later(moment: str, **spans: float) -> str:
    """The moment so long after another one."""
    return stamp(datetime.fromisoformat(moment) + timedelta(**spans))


def is_over(moment: str) -> bool:
    """Whether that moment has come."""
    return datetime.now(UTC) >= datetime.fromisoformat(moment)


def grant(cluster: Cluster, namespace: str, policy: str, name: str = "work", **spec: Any) -> Body:
    """Apply a grant. Returns it as it is in the API server."""
    cluster.grant(name, namespace, policy, **spec)
    return cluster.get("ngrant", name, namespace)


def has_ended(cluster: Cluster, namespace: str, name: str = "work", *, end: str) -> Body:
    """Wait until a grant says that it ended at that moment, which is over then. Returns the grant.

    Its Ready is False, and what explains it is said on the link that refuses it.
    """
    ready = cluster.waits_for("ngrant", name, "Ready", "Expired", namespace)
    assert is_over(end), f"it ended before {end}"
    found = cluster.get("ngrant", name, namespace)
    assert (ready["status"], found["status"]["expiresAt"]) == ("False", end)
    assert end in ready["message"]
    assert "set a later spec.expiresAt" in ready["message"]
    for type_, status in (("Expired", "True"), ("WithinCeiling", "False"), ("Stalled", "True")):
        said = condition_of(found, type_)
        assert (said["status"], said["reason"]) == (status, "Expired"), type_
    return found


def told_of_the_end(cluster: Cluster, namespace: str, name: str = "work") -> int:
    """How many events there are that say so; waits until there is one."""

    def told() -> list[str]:
        found = events(cluster, "NamespaceGrant", name, namespace)
        return [message for _, reason, message in found if reason == "Expired"]

    return len(eventually(told, "an event tells that it has ended"))


def columns(cluster: Cluster, who: Person | None, kind: str, *where: str) -> dict[str, str]:
    """The one line that `kubectl get` prints, by the heads of its columns; an empty one is not in it."""
    head, line = cluster.kubectl("get", kind, *where, user=who.upn if who else None).splitlines()
    starts = {name: head.index(name) for name in head.split()}
    ends = [*sorted(starts.values())[1:], None]
    cut = dict(zip(sorted(starts, key=starts.__getitem__), ends, strict=True))
    found = {name: line[start : cut[name]].strip() for name, start in starts.items()}
    return {name: value for name, value in found.items() if value}
