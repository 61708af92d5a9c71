"""The command ``entra-access``: puts the rooms together and runs them."""

import argparse
import asyncio
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import kopf
from kubernetes.aio.config import ConfigException

from entra_access.adapters.arm import Arm
from entra_access.adapters.credentials import IdentityIncompleteError, make_credential
from entra_access.adapters.graph import Graph
from entra_access.adapters.rbac import Kubernetes, connect
from entra_access.api.names import GRANT, POLICY
from entra_access.domain.faults import Fault
from entra_access.domain.observed import Assignment
from entra_access.domain.place import Place
from entra_access.handlers import make_registry, make_settings
from entra_access.queue import Lanes
from entra_access.reconcile.apply import Applier
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.azure_sweep import AzureSweep, concerned
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.cluster import ClusterWatch
from entra_access.reconcile.directory_reader import DirectoryReader
from entra_access.reconcile.directory_sweep import DirectorySweep
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.notes import Notes
from entra_access.reconcile.planning import Modes
from entra_access.reconcile.reconciler import Reconciler
from entra_access.reconcile.sweeps import Sweeps
from entra_access.settings import SettingError, Settings, read_settings

logger = logging.getLogger(__name__)
_LANES: Final = ("azure", "kubernetes")
_CHATTY: Final = ("httpx", "azure", "kopf.objects", "aiohttp.access", "msal")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 ended as asked, 1 failed, 2 a setting is wrong."""
    parser = argparse.ArgumentParser(prog="entra-access", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runs = commands.add_parser("run", help="run the operator; settings come from the environment")
    runs.add_argument(
        "--observe", action="store_true", help="write nothing but statuses and events, whatever a policy says"
    )
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(os.environ)
        _set_up_logs(settings)
        asyncio.run(run(settings, read_only=given.observe))
    except (SettingError, IdentityIncompleteError, ConfigException) as error:
        print(f"entra-access: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _set_up_logs(settings: Settings) -> None:
    """Our own lines, and of the libraries only errors: at lower levels some print whole bodies."""
    kopf.configure(log_format=kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL)
    logging.getLogger("entra_access").setLevel(settings.log_level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)  # what they warn of, we say ourselves


async def run(settings: Settings, *, read_only: bool = False) -> None:
    """Run the operator until it is told to stop (SIGTERM, SIGINT), or until a part of it fails.

    `read_only`: nothing but statuses and events is written.

    Raises
    ------
    IdentityIncompleteError
        The operator has no identity.
    ConfigException
        There is no way to the API server.
    """
    async with _connected(settings) as (kubernetes, graph, arm):
        place = Place(
            cluster_id=settings.cluster_id,
            owner_id=settings.owner_id or await _reachable(kubernetes),
            replication_window=timedelta(seconds=settings.replication_seconds),
        )
        cache = WatchCache()
        notes = Notes(kubernetes)
        # Most grants need nothing but Kubernetes: they must not wait behind what waits for Azure.
        queue = Lanes[Key](_LANES, lambda key: _LANES[0 if cache.needs_azure(key) else 1])

        def changed_in_azure(those: Iterable[Assignment]) -> None:
            for key in concerned(cache, those):
                queue.add(key)

        azure = AzureReader(place, arm, settings.assignments_seconds, changed_in_azure)

        # Until all first lists are in the cache, what is not in it is not absent: nobody works before.
        complete = asyncio.Event()

        def look_at_all() -> None:
            for key in [*cache.keys(POLICY), *cache.keys(GRANT)]:
                queue.add(key)

        cluster = ClusterWatch(arm, settings.cluster_id, settings.cluster_seconds, look_at_all)
        reconciler = Reconciler(
            place,
            cache,
            kubernetes,
            Gatherer(place, cache, DirectoryReader(place, graph), azure, kubernetes, cluster),
            Applier(cache, graph, arm, kubernetes, azure.assignments),
            notes,
            tell=queue.add,
            clock=lambda: datetime.now(UTC),
            stalled_after=settings.stalled_seconds,
            modes=Modes(settings.mode, read_only),
        )
        rounds = (
            Sweeps(kubernetes, cache, queue.add_after, settings.resync_seconds),
            AzureSweep(place, cache, azure, queue.add, settings.sweep_seconds),
            DirectorySweep(cache, graph.delta, queue.add_after, settings.sweep_seconds),
        )
        # Ours first: kopf takes tasks that start after it for its own, and cancels them.
        work = _after(complete, lambda: queue.run(reconciler.reconcile, settings.workers))
        ours = [work, notes.run(), cluster.run(), *(_after(complete, one.run) for one in rounds)]

        def news(key: Key) -> None:
            reconciler.notice(key)
            queue.add(key)

        await _until_one_ends(ours, make_registry(cache, news, complete.set), settings)


async def _after(event: asyncio.Event, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it once the event has come."""
    await event.wait()
    await run()


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[tuple[Kubernetes, Graph, Arm]]:
    """The three services, closed in the end."""
    credential = make_credential(settings.identity)
    ca_file = settings.identity.ca_file
    kubernetes = await connect()
    graph = Graph(credential, settings.graph_url, ca_file)
    arm = Arm(credential, settings.arm_url, settings.subscription, ca_file)
    try:
        yield kubernetes, graph, arm
    finally:
        await arm.close()
        await graph.close()
        await kubernetes.close()
        await credential.close()


async def _reachable(kubernetes: Kubernetes) -> str:
    """Wait for the API server. Returns the cluster's UID."""
    pause = 1.0
    while True:
        try:
            return await kubernetes.cluster_uid()
        except Fault as fault:
            logger.warning("waiting for the API server: %s", fault.message)
            await asyncio.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter is no secret
            pause = min(pause * 2, 30.0)


async def _until_one_ends(
    ours: list[Coroutine[Any, Any, None]], registry: kopf.OperatorRegistry, settings: Settings
) -> None:
    """Run all parts. Any that ends ends the whole: half an operator would look alive and do nothing."""
    tasks = [asyncio.create_task(coroutine) for coroutine in ours]
    await asyncio.sleep(0)
    watching = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=make_settings(),
            clusterwide=True,
            liveness_endpoint=f"http://0.0.0.0:{settings.probe_port}/healthz"
            if settings.probe_port
            else None,
        )
    )
    done, _ = await asyncio.wait([watching, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (watching, *tasks):
        task.cancel()
    for task in (watching, *tasks):
        with suppress(asyncio.CancelledError):
            if task not in done:
                await task
    for task in done:
        task.result()


if __name__ == "__main__":
    sys.exit(main())
