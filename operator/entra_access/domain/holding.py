"""What keeps Kubernetes from collecting service accounts and tokens that are to stay when their policy goes.

They have their owners also where their policy keeps what it made: those tell who shares an account, and that
a Secret, which no watch shows, is ours. Where a policy is deleted in the foreground, Kubernetes collects what
it owns before any finalizer is looked at, but for what has another owner that stays: so their Namespace is
one. Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from entra_access.domain.changes import HoldChild
from entra_access.domain.children import OWNERS, Child, ChildRef, SeenChild, changed_by
from entra_access.domain.difference import Difference, items_of


def plan_holding(
    wanted: Iterable[Child], there: Mapping[ChildRef, SeenChild], replaced: Collection[ChildRef]
) -> list[Difference]:
    """What makes the Namespace an owner of accounts and tokens, or none any more.

    Those that are `replaced` are made anew with all their owners. It is drift where another hand took out
    what the operator put in, of which its annotation tells; what it did not put in is left alone.
    """
    found = []
    for child in wanted:
        one = there.get(child.ref)
        change = _holding(child, one) if one and child.ref not in replaced else None
        if one and change:
            foreign = change.holds and one.held == change.holder
            who, when = changed_by(one, OWNERS) if foreign else ("", "")
            (item,) = items_of(change, "")
            found.append(Difference(replace(item, changed_by=who, since=when), change, foreign))
    return found


def _holding(wanted: Child, seen: SeenChild) -> HoldChild | None:
    if wanted.holder and wanted.holder not in seen.holders:
        return HoldChild(seen.ref, seen.uid, wanted.holder)
    if seen.held and not wanted.holder:
        # Anybody can write the annotation: what it tells of is an owner only if it is a Namespace.
        return HoldChild(seen.ref, seen.uid, seen.held if seen.held in seen.holders else "", holds=False)
    return None
