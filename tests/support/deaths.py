"""An operator that dies at a certain write."""

from support.cluster import Cluster

HELD = 2.0
"""Seconds for which a write is held, so that the operator dies while it waits for the answer."""
Write = tuple[str, str]
"""The method of a write, and a regular expression for its path."""


def asleep(cluster: Cluster) -> None:
    """No operator runs: what is wished for now is not acted upon before `killed_at` has set its trap."""
    if cluster.operator and cluster.operator.alive():
        cluster.kill_operator()


def killed_at(cluster: Cluster, write: Write, moment: str) -> None:
    """Have the operator come to that write, kill it there, and start another one.

    `moment` says what becomes of the write: never done, done before the death, or done after it, when the
    next operator works already.
    """
    method, path = write
    fault = cluster.azure.fault(
        method=method,
        path_regex=path,
        delay_seconds=HELD,
        drop=moment != "late",
        after=moment == "done",
    )

    def arrived() -> bool:
        return any(one["id"] == fault["id"] and one["used"] for one in cluster.azure.faults())

    if cluster.operator is None or not cluster.operator.alive():
        cluster.start_operator()
    cluster.azure.wait(arrived, timeout=30, what=f"{method} {path} {moment}")
    cluster.kill_operator()
