"""kopf's part: watch, and put what changed on our queue. Nothing is decided and nothing is written here.

Each kind has an index and an event handler. kopf calls the event handlers only when the indices of all
kinds have seen their first lists, so the first pass already knows everything; that is why the cache is
filled from the index functions.
"""

from collections.abc import Callable
from typing import Any

import kopf

from entra_access.api.names import GROUP, WATCHED, Kind, selector_of
from entra_access.reconcile.cache import Key, WatchCache


def make_settings() -> kopf.OperatorSettings:
    """kopf's settings; why each is as it is stands beside it."""
    settings = kopf.OperatorSettings()
    # Not ours: kopf takes its own finalizer off whatever has no handler that needs one.
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.posting.enabled = False  # we record events ourselves, under our own name
    settings.scanning.disabled = True  # needs no right to list CRDs and namespaces for its own sake
    settings.peering.standalone = True  # one replica, strategy Recreate
    # Long idle watches die silently behind load balancers: end them ourselves, in time.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 60
    # After an outage of the API server, look at it again within five seconds; kopf's own pauses grow to 21.
    settings.networking.error_backoffs = (1, 1, 2, 3, *(5,) * 20)
    for kind in WATCHED:
        if selector := selector_of(kind):
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector
    return settings


def make_registry(
    cache: WatchCache, add: Callable[[Key], None], complete: Callable[[], None], listed: Callable[[], None]
) -> kopf.OperatorRegistry:
    """The handlers for everything that is watched; `add` queues a key.

    `complete` is called, again and again, once the first lists of all kinds are in the cache, and `listed`
    for each object that a list showed: a watch that broke off begins anew with one.
    """
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)
    news: set[Key] = set()
    for kind in WATCHED:
        _watch(registry, kind, cache, add, complete, listed, news)
    return registry


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """As the pod's service account, or else by KUBECONFIG."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _watch(
    registry: kopf.OperatorRegistry,
    kind: Kind,
    cache: WatchCache,
    add: Callable[[Key], None],
    complete: Callable[[], None],
    listed: Callable[[], None],
    news: set[Key],
) -> None:
    """Fill the cache from one kind's watch. `news` are the keys that wait until every kind was listed."""

    # Coroutines: kopf runs plain functions in threads, beside all that reads the cache.
    async def note(body: kopf.Body, **_: Any) -> None:
        news.update(cache.put(kind, dict(body)))

    async def pass_on(
        event: kopf.RawEvent, name: str, namespace: str | None, uid: str | None, **_: Any
    ) -> None:
        complete()
        if event["type"] is None:
            listed()
        elif event["type"] == "DELETED":
            news.update(cache.drop(kind, namespace, name, uid))
        for key in news:
            add(key)
        news.clear()

    kopf.index(kind.group, kind.version, kind.plural, id=f"{kind.plural}-cache", registry=registry)(note)
    kopf.on.event(kind.group, kind.version, kind.plural, id=f"{kind.plural}-queue", registry=registry)(
        pass_on
    )
