"""The command ``entra-access``: puts the rooms together, and runs them or says what they would do."""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

import kopf
from kubernetes.aio.config import ConfigException

from entra_access.adapters.arm import Arm
from entra_access.adapters.credentials import IdentityIncompleteError, make_credential
from entra_access.adapters.graph import Graph
from entra_access.adapters.rbac import Kubernetes, connect
from entra_access.api.manifests import Manifests
from entra_access.api.names import GRANT, POLICY, WATCHED, selector_of
from entra_access.domain.faults import Fault
from entra_access.domain.modes import Modes
from entra_access.domain.observed import Assignment
from entra_access.domain.place import Place
from entra_access.handlers import make_registry, make_settings
from entra_access.queue import Lanes
from entra_access.reconcile.apply import Applier
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.azure_sweep import AzureSweep, concerned
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.cluster import ClusterWatch
from entra_access.reconcile.directory_reader import DirectoryReader
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.group_sweep import GroupSweep
from entra_access.reconcile.notes import Notes
from entra_access.reconcile.planning import Planner
from entra_access.reconcile.preview import Preview
from entra_access.reconcile.proposal import FAILED, Proposal, all_words, exit_code
from entra_access.reconcile.reconciler import Reconciler
from entra_access.reconcile.rehearsal import unknown_to
from entra_access.reconcile.role_ids import MISSING_SECONDS
from entra_access.reconcile.sweeps import Sweeps
from entra_access.reconcile.user_sweep import UserSweep
from entra_access.settings import SettingError, Settings, read_settings

logger = logging.getLogger(__name__)
_LANES: Final = ("azure", "kubernetes")
_CHATTY: Final = ("httpx", "azure", "kopf.objects", "aiohttp.access", "msal")


class _Parser(argparse.ArgumentParser):
    """Wrong usage is exit code 1: 2 says of a plan that there are changes."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 ended as asked, 1 failed, and 2 of `run` a setting is wrong.

    Of `plan`: 0 there is nothing to do, 2 there are changes, 1 it cannot be said, or somebody must act.
    """
    parser = _Parser(prog="entra-access", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    runs = commands.add_parser("run", help="run the operator; settings come from the environment")
    runs.add_argument(
        "--observe", action="store_true", help="write nothing but statuses and events, whatever a policy says"
    )
    plans = commands.add_parser(
        "plan",
        help="say what the operator would change if files were applied; writes nothing",
        description="Say what the operator would change if these files were applied. Nothing is written. "
        "Settings come from the environment, as those of `run`. "
        "Exit code 0: nothing to do; 2: changes; 1: it cannot be said, or somebody must act.",
    )
    plans.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE", help="a YAML file; - for stdin"
    )
    plans.add_argument("-o", "--output", choices=("words", "json"), default="words")
    given = parser.parse_args(arguments)
    if given.command == "plan":
        return _plan(given.filename, as_json=given.output == "json")
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


def _plan(files: Sequence[str], *, as_json: bool) -> int:
    """Read the files, look, and print. Returns the exit code."""
    manifests = Manifests()
    for name in files:
        try:
            text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            manifests.errors.append(f"{name}: cannot be read: {getattr(error, 'strerror', '') or error}")
        else:
            manifests.take_in("stdin" if name == "-" else name, text)
    for name, kinds in manifests.skipped.items():
        print(f"entra-access: {name}: of no concern here: {', '.join(dict.fromkeys(kinds))}", file=sys.stderr)
    try:
        proposals = [] if manifests.errors else asyncio.run(_preview(read_settings(os.environ), manifests))
    except (SettingError, IdentityIncompleteError, ConfigException) as error:
        manifests.errors.append(str(error))
    except Fault as fault:
        manifests.errors.append(fault.message)
    for line in manifests.errors:
        print(f"entra-access: {line}", file=sys.stderr)
    if manifests.errors:
        return FAILED
    if as_json:
        print(json.dumps([one.as_dict() for one in proposals], indent=2, ensure_ascii=False))
    else:
        print(all_words(proposals) or "nothing of ours is in the files, or concerned by them")
    return exit_code(proposals)


async def _preview(settings: Settings, manifests: Manifests) -> list[Proposal]:
    """What the operator would do. What is wrong with the files is added to their errors.

    Raises
    ------
    Fault
        The API server could not be asked what there is.
    IdentityIncompleteError, ConfigException
        As `run`.
    """
    logging.basicConfig(format="entra-access: %(message)s", level=logging.WARNING)
    _quieten_libraries()
    async with _connected(settings) as (kubernetes, graph, arm):
        try:
            manifests.errors += await unknown_to(kubernetes, manifests)
        except Fault as fault:
            logger.warning("fields that the API server does not know are not looked for: %s", fault.message)
        if manifests.errors:
            return []
        place = _place(settings, settings.owner_id or await kubernetes.cluster_uid())
        cache = WatchCache(Modes(settings.mode))
        azure = AzureReader(place, arm, settings.assignments_seconds)
        cluster = ClusterWatch(arm, settings.cluster_id, settings.cluster_seconds, lambda: None)
        await cluster.look()
        gatherer = Gatherer(place, cache, DirectoryReader(place, graph), azure, kubernetes, cluster)
        planner = Planner(place, cache, gatherer)
        kinds = {kind: selector_of(kind) for kind in WATCHED}
        preview = Preview(kubernetes, cache, planner, kinds, lambda: datetime.now(UTC))
        proposals = await preview.look(manifests)
        for line in preview.not_asked:
            print(f"entra-access: {line}", file=sys.stderr)
        return proposals


def _place(settings: Settings, owner_id: str) -> Place:
    return Place(settings.cluster_id, owner_id, timedelta(seconds=settings.replication_seconds))


def _set_up_logs(settings: Settings) -> None:
    """Our own lines, and of the libraries only errors: at lower levels some print whole bodies."""
    kopf.configure(log_format=kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL)
    logging.getLogger("entra_access").setLevel(settings.log_level.upper())
    _quieten_libraries()


def _quieten_libraries() -> None:
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
        place = _place(settings, settings.owner_id or await _reachable(kubernetes))
        cache = WatchCache(Modes(settings.mode, read_only))
        notes = Notes(kubernetes)
        # Most grants need nothing but Kubernetes: they must not wait behind what waits for Azure.
        queue = Lanes[Key](_LANES, lambda key: _LANES[0 if cache.needs_azure(key) else 1])

        def changed_in_azure(those: Iterable[Assignment]) -> None:
            for key in concerned(cache, those):
                queue.add(key)

        # Whoever waits for a role is to find it at the next look.
        missing = min(MISSING_SECONDS, settings.stalled_seconds)
        azure = AzureReader(place, arm, settings.assignments_seconds, missing, changed_in_azure)

        # Until all first lists are in the cache, what is not in it is not absent: nobody works before.
        complete = asyncio.Event()

        def look_at_all() -> None:
            for key in [*cache.keys(POLICY), *cache.keys(GRANT)]:
                queue.add(key)

        cluster = ClusterWatch(arm, settings.cluster_id, settings.cluster_seconds, look_at_all)
        clock, every = lambda: datetime.now(UTC), settings.sweep_seconds
        blindness = Blindness(queue.add_after, clock, every / 2)
        reconciler = Reconciler(
            place,
            cache,
            kubernetes,
            Gatherer(place, cache, DirectoryReader(place, graph), azure, kubernetes, cluster),
            Applier(cache, graph, arm, kubernetes, azure.assignments, azure.roles),
            notes,
            tell=queue.add,
            clock=clock,
            stalled_after=settings.stalled_seconds,
            blindness=blindness,
        )
        sweeps = Sweeps(kubernetes, cache, queue.add_after, settings.resync_seconds)
        rounds = (
            sweeps,
            AzureSweep(place, cache, azure, queue.add_after, blindness, every),
            GroupSweep(cache, graph.delta, queue.add_after, blindness, every),
            UserSweep(cache, graph.delta, queue.add_after, blindness, every),
        )
        # Ours first: kopf takes tasks that start after it for its own, and cancels them.
        work = _after(complete, lambda: queue.run(reconciler.reconcile, settings.workers))
        ours = [work, notes.run(), cluster.run(), *(_after(complete, one.run) for one in rounds)]

        def news(key: Key) -> None:
            reconciler.notice(key)
            queue.add(key)

        await _until_one_ends(ours, make_registry(cache, news, complete.set, sweeps.listed), settings)


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
