"""Everything at once: random wishes, other hands in all three systems, faults at random calls, sudden death.

Then quiet: the world must be exactly what is wished for, with nothing left behind and nothing of others
touched. A short form is part of the tests, and ``make chaos`` a longer one; CHAOS_SEED=n runs one again.
"""

import os
import random
import time
from pathlib import Path

import pytest

from support.cluster import Body, Cluster, running
from support.mischief import Mischief
from support.trouble import is_ready, objects
from support.wishes import GrantWish, PolicyWish, Wishes, changed_grant, changed_policy, wrong

SECONDS = float(os.environ.get("CHAOS_SECONDS", "30"))
SEED = int(os.environ.get("CHAOS_SEED", "5"))
POLICIES = ("one", "two", "three")
NAMES = ("first", "second")
API = "/apis/entra-access.dev/v1alpha1"


def test_chaos_ends_in_exactly_what_is_wished_for(tmp_path: Path) -> None:
    """No group is ever made twice, nothing is orphaned, and in the end nobody writes anything."""
    chance = random.Random(SEED)  # noqa: S311 - it must be the same each time
    with running(
        tmp_path,
        ENTRA_ACCESS_SWEEP_SECONDS="2",
        ENTRA_ACCESS_REPLICATION_SECONDS="5",
        ENTRA_ACCESS_RESYNC_SECONDS="10",
    ) as cluster:
        namespaces = tuple(cluster.namespace() for _ in range(2))
        mischief = Mischief(cluster, chance)
        mischief.plant(namespaces[0])
        wishes = Wishes()
        try:
            _rage(wishes, mischief, chance, namespaces)
            mischief.peace()
            _settle(cluster, wishes, mischief)
            assert mischief.touched(namespaces[0]) == []
            _is_quiet(cluster)
        except AssertionError as error:
            story = "\n".join(mischief.told[-60:])
            raise AssertionError(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}: {error}\n{story}") from error
        finally:
            mischief.close()


def _rage(wishes: Wishes, mischief: Mischief, chance: random.Random, namespaces: tuple[str, ...]) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        draw = chance.random()
        if draw < 0.30:
            _wish(wishes, mischief, chance)
        elif draw < 0.45:
            _grant(wishes, mischief, chance, namespaces)
        elif draw < 0.60:
            mischief.in_kubernetes()
        elif draw < 0.72:
            mischief.in_entra(wishes)
        elif draw < 0.80:
            mischief.in_azure()
        elif draw < 0.92:
            mischief.fault()
        elif draw < 0.95:
            mischief.delay()
        elif draw < 0.98:
            mischief.death()
        time.sleep(chance.random() * 0.4)


def _wish(wishes: Wishes, mischief: Mischief, chance: random.Random) -> None:
    name = chance.choice(POLICIES)
    if name in wishes.policies and chance.random() < 0.15:
        mischief.told.append(f"delete policy {name}")
        del wishes.policies[name]
        mischief.remove("AccessPolicy", None, name)
        return
    wish = wishes.policies.get(name)
    wishes.policies[name] = changed_policy(wish, chance) if wish else PolicyWish(name)
    mischief.told.append(f"wish {wishes.policies[name]}")
    mischief.write(wishes.policies[name].body())


def _grant(wishes: Wishes, mischief: Mischief, chance: random.Random, namespaces: tuple[str, ...]) -> None:
    key = (chance.choice(namespaces), chance.choice(NAMES))
    if key in wishes.grants and chance.random() < 0.25:
        mischief.told.append(f"delete grant {key}")
        del wishes.grants[key]
        mischief.remove("NamespaceGrant", *key)
        return
    wish = wishes.grants.get(key)
    new = GrantWish(key[1], key[0], POLICIES[NAMES.index(key[1])])
    wishes.grants[key] = changed_grant(wish, chance) if wish else new
    mischief.told.append(f"wish {wishes.grants[key]}")
    mischief.write(wishes.grants[key].body())


def _settle(cluster: Cluster, wishes: Wishes, mischief: Mischief) -> None:
    """Say once more what is wished for, in Enforce, and wait until it is so."""
    for name in POLICIES:
        # A policy that was deleted while it was written may have come back without its finalizer.
        wish = wishes.policies.get(name)
        if wish:
            calm = PolicyWish(**{**wish.__dict__, "observe": False})
            wishes.policies[name] = calm
            mischief.write(calm.body())
    for grant in wishes.grants.values():
        mischief.write(grant.body())
    deadline = time.monotonic() + 150
    found = ["not looked at"]
    while found and time.monotonic() < deadline:
        # One that was being deleted when it was written is gone now, and is written once more.
        there = {one["metadata"]["name"] for one in objects(cluster, f"{API}/accesspolicies")}
        for name in wishes.policies.keys() - there:
            mischief.write(wishes.policies[name].body())
        found = wrong(cluster, wishes) or _not_ready(cluster, wishes)
        time.sleep(0.5)
    assert not found, "\n".join(found)


def _not_ready(cluster: Cluster, wishes: Wishes) -> list[str]:
    resources = [*objects(cluster, f"{API}/accesspolicies"), *objects(cluster, f"{API}/namespacegrants")]
    without = {key for key, grant in wishes.grants.items() if grant.policy not in wishes.policies}

    def said(one: Body) -> str:
        first = one.get("status", {}).get("conditions", [{}])[0]
        return f"{one['metadata']['name']}: {first.get('reason')}: {first.get('message')}"

    return [
        said(one)
        for one in resources
        if not is_ready(one) and (one["metadata"].get("namespace"), one["metadata"]["name"]) not in without
    ]


def _is_quiet(cluster: Cluster) -> None:
    """Nobody writes anything any more; the last of the contests may take its time."""
    for _ in range(20):
        if cluster.quiet(4.0) == ([], False):
            return
    pytest.fail("it does not come to rest")
