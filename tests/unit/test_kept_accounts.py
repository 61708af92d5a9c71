"""Service accounts that policies keep, with all that Kubernetes collects meanwhile: whole passes."""

import random
from typing import Any

import pytest

from entra_access.api.names import POLICY, SECRET, SERVICE_ACCOUNT
from entra_access.api.status import REPORTED
from entra_access.domain.children import ChildRef
from entra_access.reconcile.cache import Key
from unit.accounts import (
    ACCOUNT,
    FIRST,
    KEEP,
    OBSERVE,
    PERSON,
    SECOND,
    THIRD,
    TOKEN,
    World,
    hurt,
    marks,
    other_of,
    robot,
    shared,
    told,
)
from unit.objects import DeadError

DELETE = {"deletePolicy": "Delete"}


def kinds(world: World, ref: ChildRef = ACCOUNT) -> list[str]:
    """The kinds of the owners."""
    return sorted(one["kind"] for one in world.objects[ref]["metadata"].get("ownerReferences", ()))


async def alone(**spec: Any) -> World:
    """A policy for an account with a token, at rest."""
    world = World()
    world.wish(FIRST, robot(token=True), **spec)
    await world.settle()
    return world


def in_foreground(world: World, *keys: Key) -> None:
    """Somebody deletes policies; Kubernetes collects what they own before anybody looks."""
    world.foreground |= {world.body(key)["metadata"]["uid"] for key in keys}
    for key in keys:
        world.delete(key)
    world.collect()


async def go(world: World, *keys: Key) -> None:
    """Passes over policies until they are gone."""
    for key in keys:
        await world.look(key)
        assert world.cache.resource(key) is None
        await world.look(key)  # what is left of it
    world.collect()


def is_nobodys(world: World, uid: str) -> bool:
    """Whether the account is the one of before, and nothing is on it."""
    return (world.uid(), marks(world)) == (uid, set())


async def test_a_kept_account_and_its_token_survive_that_their_policy_is_deleted_in_the_foreground() -> None:
    world = await alone(**KEEP)
    before = {ref: body["metadata"]["uid"] for ref, body in world.objects.items()}
    in_foreground(world, FIRST)
    assert [kinds(world, ref) for ref in (ACCOUNT, TOKEN)] == [["Namespace"]] * 2
    await go(world, FIRST)
    assert {ref: body["metadata"]["uid"] for ref, body in world.objects.items()} == before
    for ref in (ACCOUNT, TOKEN):
        assert world.objects[ref]["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion"}
    (event,) = world.told("Kept")
    assert all(f"{ref}" in event for ref in (ACCOUNT, TOKEN))


async def test_nothing_is_left_of_one_that_is_not_kept() -> None:
    world = await alone()
    assert [kinds(world, ref) for ref in (ACCOUNT, TOKEN)] == [["AccessPolicy"]] * 2
    in_foreground(world, FIRST)
    await go(world, FIRST)
    assert world.objects == {}


async def test_a_policy_that_was_edited_a_moment_ago_deletes_what_kubernetes_holds() -> None:
    """Nobody has looked at it since it was to keep."""
    world = await alone(**KEEP)
    world.wish(FIRST, robot(token=True), **DELETE)
    in_foreground(world, FIRST)
    assert ACCOUNT in world.objects
    await go(world, FIRST)
    assert world.objects == {}


async def test_the_owner_comes_and_goes_with_the_wish_and_is_no_drift() -> None:
    world = await alone()
    before = {ref: body["metadata"]["uid"] for ref, body in world.objects.items()}
    for spec, owners in ((KEEP, ["AccessPolicy", "Namespace"]), (DELETE, ["AccessPolicy"])):
        world.wish(FIRST, robot(token=True), **spec)
        await world.settle()
        assert [kinds(world, ref) for ref in (ACCOUNT, TOKEN)] == [owners] * 2
        assert world.drift(FIRST) == 0
        assert {ref: world.objects[ref]["metadata"]["uid"] for ref in (ACCOUNT, TOKEN)} == {
            ref: before[ref] for ref in (ACCOUNT, TOKEN)
        }


async def test_an_abandoned_policy_that_keeps_lets_go_of_all_of_it() -> None:
    world = await alone(**KEEP)
    before = world.uid()
    body = world.body(FIRST)
    metadata = {**body["metadata"], "annotations": {"entra-access.dev/abandon": "true"}}
    world.cache.put(POLICY, world._versioned({**body, "metadata": metadata}))
    in_foreground(world, FIRST)
    await go(world, FIRST)
    assert is_nobodys(world, before)
    assert kinds(world, TOKEN) == []


@pytest.mark.parametrize("wish", [KEEP, DELETE], ids=["kept", "edited"])
async def test_a_token_that_no_inventory_tells_of_is_found(wish: dict[str, Any]) -> None:
    """The operator died when it had made it, and Kubernetes has taken its policy out of the owners."""
    world = World()
    world.put_object(ACCOUNT)
    world.wish(FIRST, robot(token=True), **KEEP)
    world.deaths = {str(TOKEN)}
    with pytest.raises(DeadError):
        await world.look(FIRST)
    world.wish(FIRST, robot(token=True), **wish)
    in_foreground(world, FIRST)
    assert kinds(world, TOKEN) == ["Namespace"]
    await go(world, FIRST)
    assert (TOKEN in world.objects) == (wish == KEEP)
    if wish == KEEP:
        assert world.objects[TOKEN]["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion"}


async def test_who_observes_is_told_of_it_and_writes_nothing() -> None:
    world = await alone()
    world.wish(FIRST, robot(token=True), **KEEP, **OBSERVE)
    await world.settle()
    assert kinds(world) == ["AccessPolicy"]
    assert world.written("hold") == []
    assert told(world, FIRST) == [
        ("metadata.ownerReferences", "Namespace tools", "none of it", REPORTED),
    ]


# Shared


@pytest.mark.parametrize("keeps", [FIRST, SECOND], ids=lambda key: key.name)
async def test_the_namespace_is_an_owner_while_any_of_them_keeps(keeps: Key) -> None:
    """Whoever says so puts it in and takes it out; none of them calls that drift."""
    world = await shared(**{keeps.name: KEEP})
    assert kinds(world) == ["AccessPolicy", "AccessPolicy", "Namespace"]
    world.wish(keeps, robot())
    await world.settle()
    assert kinds(world) == ["AccessPolicy", "AccessPolicy"]
    world.wish(keeps, robot(), **KEEP)
    await world.settle()
    assert kinds(world) == ["AccessPolicy", "AccessPolicy", "Namespace"]
    world.wish(keeps, PERSON, **KEEP)
    await world.settle()
    assert kinds(world) == ["AccessPolicy"]
    assert [world.drift(key) for key in (FIRST, SECOND)] == [0, 0]
    assert [told(world, key) for key in (FIRST, SECOND)] == [[], []]


@pytest.mark.parametrize("keeps", [FIRST, SECOND], ids=lambda key: key.name)
@pytest.mark.parametrize("looks", [FIRST, SECOND], ids=lambda key: f"{key.name} looks")
async def test_it_stays_when_all_go_in_the_foreground_and_one_of_them_keeps(keeps: Key, looks: Key) -> None:
    """Kubernetes takes all of them out of the owners; it is for the one that keeps to let it go."""
    world = await shared(**{keeps.name: KEEP})
    before = world.uid()
    in_foreground(world, FIRST, SECOND)
    assert kinds(world) == ["Namespace"]
    await go(world, looks, other_of(looks))
    assert is_nobodys(world, before)


async def test_it_goes_when_the_one_that_kept_it_keeps_no_more() -> None:
    """Its end was held up, and somebody changed its mind."""
    world = await shared(second=KEEP)
    in_foreground(world, FIRST, SECOND)
    await go(world, FIRST)
    assert kinds(world) == ["Namespace"]
    body = world.body(SECOND)
    world.cache.put(POLICY, world._versioned({**body, "spec": {**body["spec"], **DELETE}}))
    await go(world, SECOND)
    assert ACCOUNT not in world.objects


@pytest.mark.parametrize("goes", [FIRST, SECOND], ids=lambda key: key.name)
async def test_who_goes_alone_in_the_foreground_leaves_it_to_the_one_that_keeps(goes: Key) -> None:
    stays = other_of(goes)
    world = await shared(**{stays.name: KEEP})
    before = world.uid()
    in_foreground(world, goes)
    await go(world, goes)
    await world.settle()
    assert (world.uid(), world.owners(), kinds(world)) == (
        before,
        [stays.name],
        ["AccessPolicy", "Namespace"],
    )
    assert world.drift(stays) == 0
    in_foreground(world, stays)
    await go(world, stays)
    assert is_nobodys(world, before)


async def test_who_only_observes_has_no_say() -> None:
    """It is no owner of what others made, and leaves it alone when it goes: nobody would let it go."""
    world = await shared(second=KEEP | OBSERVE)
    assert kinds(world) == ["AccessPolicy"]
    in_foreground(world, FIRST, SECOND)
    await go(world, FIRST, SECOND)
    assert ACCOUNT not in world.objects


async def test_who_goes_without_having_had_it_has_no_say_either() -> None:
    """Another's finalizer holds it, and nobody has looked at it before it was deleted."""
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    world.wish(SECOND, robot(), **KEEP)
    body = world.body(SECOND)
    metadata = {**body["metadata"], "finalizers": ["example.com/hold"]}
    world.cache.put(POLICY, world._versioned({**body, "metadata": metadata}))
    await world.look(FIRST)
    assert kinds(world) == ["AccessPolicy", "Namespace"]
    world.delete(SECOND)
    await world.look(FIRST)
    assert kinds(world) == ["AccessPolicy"]
    world.delete(FIRST)
    await go(world, FIRST)
    assert ACCOUNT not in world.objects


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_it_stays_if_one_that_had_it_keeps(seed: int) -> None:
    """Wishes change, calls fail, and the operator dies; then all are deleted in the foreground at once."""
    chance = random.Random(seed)  # noqa: S311 - the same story each time
    world, keys = World(), [FIRST, SECOND, THIRD]
    for _ in range(12):
        key = chance.choice(keys)
        subject = chance.choice([robot(), robot(), robot(token=True), PERSON])
        world.wish(key, subject, **chance.choice([KEEP, DELETE]))
        for _ in range(chance.randint(0, 3)):
            await hurt(world, chance, chance.choice(keys))
            world.collect()
    await world.settle_all()
    there = [key for key in keys if world.cache.resource(key)]
    specs = {key: world.body(key)["spec"] for key in there}
    having = [key for key in there if "serviceAccount" in specs[key]["subject"]]
    kept = any(specs[key]["deletePolicy"] == "Keep" for key in having)
    uid = world.uid() if having else ""
    in_foreground(world, *there)
    for _ in range(60):
        try:
            await hurt(world, chance, chance.choice(there))
        except DeadError:
            continue
        world.collect()
    for key in there * 2:
        await world.look(key)
    world.collect()
    assert [key for key in there if world.cache.resource(key)] == []
    assert world.there(SERVICE_ACCOUNT) == ([ACCOUNT.path] if kept else [])
    assert not kept or is_nobodys(world, uid)
    assert all(kinds(world, ref) == [] for ref in world.ours(SECRET))
