"""Which service accounts another policy leaves behind when it goes, by `deletePolicy: Keep`."""

from collections.abc import Iterable

from entra_access.api.names import SERVICE_ACCOUNT
from entra_access.api.resources import DeletePolicy, Mode
from entra_access.domain.children import ChildRef, SeenChild
from entra_access.domain.observed import PolicyView
from entra_access.reconcile.cache import WatchCache


def kept_by_others(cache: WatchCache, policy: str, children: Iterable[SeenChild]) -> frozenset[ChildRef]:
    """Those of the children that a policy keeps other than the one of that name."""
    accounts = (child for child in children if child.ref.kind is SERVICE_ACCOUNT)
    return frozenset(
        one.ref
        for one in accounts
        if any(_keeps(cache, view, one) for view in cache.sharers(policy, one.ref))
        or any(_may_keep(cache, view, one) for view in cache.policy_views() if view.name != policy)
    )


def _keeps(cache: WatchCache, view: PolicyView, account: SeenChild) -> bool:
    """Whether a policy lets go of its account when it goes, and does not delete it.

    Only of one that its inventory has. Whoever only observes is no owner of what others made, and whoever is
    going does not become one any more.
    """
    wish = view.policy
    if wish is None or wish.delete_policy is not DeletePolicy.KEEP:
        return False
    observing = cache.mode(view.name) is Mode.OBSERVE
    return _has(cache, view, account) or not (view.deleting or observing)


def _may_keep(cache: WatchCache, view: PolicyView, account: SeenChild) -> bool:
    """Whether a policy that cannot be read has the account, and does not plainly say that it goes."""
    if view.policy is not None or not _has(cache, view, account):
        return False
    spec = (cache.resource(cache.policy_key(view.name)) or {}).get("spec") or {}
    goes = DeletePolicy.DELETE.value
    return bool(spec.get("deletePolicy", goes) != goes)


def _has(cache: WatchCache, view: PolicyView, account: SeenChild) -> bool:
    lines = cache.policy_inventory(view.name)
    return any((line.kind, line.id) == (SERVICE_ACCOUNT.kind, account.uid) for line in lines)
