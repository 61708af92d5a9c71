"""One service account as the subject of several policies: it stays the same while any of them has it."""

import random
from typing import Any

import pytest

from entra_access.api.names import NAMESPACE, POLICY, SECRET, SERVICE_ACCOUNT
from entra_access.reconcile.cache import Key
from unit.accounts import ACCOUNT, FIRST, PERSON, SECOND, THIRD, TOKEN, World, hurt, robot, shared


async def test_each_policy_is_among_the_owners_and_the_first_one_looks_after_it() -> None:
    world = await shared()
    assert world.owners() == ["first", "second"]
    assert world.objects[ACCOUNT]["metadata"]["labels"]["entra-access.dev/owner-name"] == "first"
    for key in (FIRST, SECOND):
        assert world.said(key) == ("Created", True)
        assert world.drift(key) == 0


@pytest.mark.parametrize("goes", [FIRST, SECOND], ids=lambda key: key.name)
async def test_it_stays_the_same_when_one_of_them_is_deleted(goes: Key) -> None:
    world = await shared()
    stays, before = (SECOND if goes == FIRST else FIRST), world.uid()
    world.delete(goes)
    await world.look(goes)
    assert world.cache.resource(goes) is None
    await world.settle()
    assert (world.uid(), world.owners()) == (before, [stays.name])
    labels = world.objects[ACCOUNT]["metadata"]["labels"]
    assert (labels["entra-access.dev/owner-name"], world.drift(stays)) == (stays.name, 0)

    world.delete(stays)
    await world.look(stays)
    assert world.objects == {}


@pytest.mark.parametrize("goes", [FIRST, SECOND], ids=lambda key: key.name)
@pytest.mark.parametrize("other", [PERSON, robot("worker")], ids=["a person", "another account"])
async def test_it_stays_the_same_when_one_of_them_gets_another_subject(goes: Key, other: Any) -> None:
    world = await shared()
    stays, before = (SECOND if goes == FIRST else FIRST), world.uid()
    world.wish(goes, other)
    await world.settle()
    assert (world.uid(), world.owners()) == (before, [stays.name])
    assert (world.drift(stays), world.drift(goes)) == (0, 0)
    assert world.said(stays) == ("Created", True)
    assert not world.said(goes)[1]
    world.delete(stays)
    await world.look(stays)
    assert ACCOUNT not in world.objects


async def test_it_goes_when_all_of_them_go_at_once() -> None:
    world = await shared()
    world.wish(THIRD, robot())
    await world.settle()
    for key in (FIRST, SECOND, THIRD):
        world.delete(key)
    for key in (FIRST, SECOND, THIRD):
        await world.look(key)
    world.collect()
    for key in (FIRST, SECOND, THIRD):
        await world.look(key)
    assert world.objects == {}


async def test_it_goes_when_all_of_them_get_another_subject_at_once() -> None:
    world = await shared()
    for key in (FIRST, SECOND):
        world.wish(key, PERSON)
    await world.settle()
    assert world.there(SERVICE_ACCOUNT) == []


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "another subject"])
async def test_a_policy_that_takes_the_place_of_another_at_once_gets_its_account(*, deleted: bool) -> None:
    """A policy was renamed in Git: the old one goes before anybody has looked at the new one."""
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    before = world.uid()
    world.wish(SECOND, robot())
    if deleted:
        world.delete(FIRST)
    else:
        world.wish(FIRST, PERSON)

    await world.look(FIRST)
    assert world.uid() == before
    assert "second" in world.owners()
    assert SECOND in world.due
    await world.settle()
    assert (world.uid(), world.owners()) == (before, ["second"])
    assert world.said(SECOND) == ("Created", True)
    assert world.drift(SECOND) == 0


@pytest.mark.parametrize("why", ["deleting", "unreadable", "another account", "namespace"])
async def test_who_cannot_have_it_does_not_keep_it(why: str) -> None:
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    world.wish(SECOND, robot("worker") if why == "another account" else robot())
    if why == "deleting":
        world.wish(SECOND, PERSON)
        await world.look(SECOND)
        world.wish(SECOND, robot())
        world.delete(SECOND)
    elif why == "unreadable":
        world.wish(SECOND, {"serviceAccount": {"namespace": "tools", "name": "robot", "token": "yes"}})
    elif why == "namespace":
        meta = {"name": "tools", "uid": "uid-of-tools", "resourceVersion": "9999"}
        world.cache.put(NAMESPACE, {"metadata": {**meta, "deletionTimestamp": "2026-11-23T12:00:00Z"}})
    world.delete(FIRST)
    await world.look(FIRST)
    assert ACCOUNT not in world.objects


async def test_what_is_left_of_a_policy_that_is_gone_stays_for_the_others() -> None:
    """Somebody took the finalizer away, and Kubernetes has not dropped the owner yet."""
    world = await shared()
    before = world.uid()
    world.cache.drop(POLICY, None, "first")
    await world.look(FIRST)
    assert world.uid() == before
    await world.settle()
    assert (world.uid(), world.owners()) == (before, ["second"])


async def test_a_policy_that_cannot_be_read_holds_it_until_it_says_otherwise() -> None:
    world = await shared()
    before = world.uid()
    world.wish(SECOND, {"nobody": {}})
    await world.look(SECOND)
    world.delete(FIRST)
    await world.look(FIRST)
    world.collect()
    await world.look(SECOND)
    assert (world.uid(), world.owners()) == (before, ["second"])
    world.wish(SECOND, PERSON)
    await world.settle()
    assert ACCOUNT not in world.objects


async def test_a_token_is_of_one_policy_and_goes_with_it() -> None:
    """Whoever has it has it from that policy. The other one gets a token of its own then."""
    world = World()
    world.wish(FIRST, robot(token=True))
    await world.settle()
    world.wish(SECOND, robot(token=True))
    await world.settle()
    stalled = world.status(SECOND).condition("Stalled")
    assert stalled is not None
    assert "was made for AccessPolicy first" in stalled.message
    account, token = world.uid(), world.objects[TOKEN]["metadata"]["uid"]
    world.due.clear()

    world.delete(FIRST)
    await world.look(FIRST)

    assert TOKEN not in world.objects
    assert SECOND in world.due
    await world.settle()
    assert world.uid() == account
    assert world.objects[TOKEN]["metadata"]["uid"] != token


async def test_one_that_was_made_by_hand_has_no_owners() -> None:
    world = World()
    world.put_object(ACCOUNT)
    for key in (FIRST, SECOND):
        world.wish(key, robot())
    await world.settle()
    assert "ownerReferences" not in world.objects[ACCOUNT]["metadata"]
    assert {world.said(key) for key in (FIRST, SECOND)} == {("Existing", False)}


async def test_an_owner_that_somebody_took_away_is_one_again_at_the_next_look() -> None:
    world = await shared()
    refs = world.objects[ACCOUNT]["metadata"]["ownerReferences"]
    world.objects[ACCOUNT]["metadata"]["ownerReferences"] = [one for one in refs if one["controller"]]
    await world.look(SECOND)
    assert world.owners() == ["first", "second"]


@pytest.mark.parametrize("looks", [FIRST, SECOND], ids=lambda key: key.name)
async def test_owners_that_somebody_took_away_come_back_and_the_account_stays(looks: Key) -> None:
    """Whoever looks at it first looks after it from then on."""
    world = await shared()
    before = world.uid()
    world.objects[ACCOUNT]["metadata"] |= {"ownerReferences": [], "resourceVersion": "9000"}
    world.cache.put(SERVICE_ACCOUNT, world.objects[ACCOUNT])
    world.version = 9001
    await world.look(looks)
    await world.settle()
    other = SECOND if looks == FIRST else FIRST
    assert (world.uid(), world.owners()) == (before, [looks.name, other.name])


async def test_two_that_make_it_at_once_share_it() -> None:
    """The second finds it made by the first a moment ago, and looks again."""
    world = World()
    world.wish(FIRST, robot())
    world.wish(SECOND, robot())
    world.hides = {ACCOUNT}
    await world.look(FIRST)
    assert SECOND in world.due, "it is told"
    await world.look(SECOND)
    ready = world.status(SECOND).condition("Ready")
    assert ready is not None
    assert ready.reason == "Changed"
    world.hides = set()
    await world.settle()
    assert world.owners() == ["first", "second"]


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_it_stays_while_anybody_has_it_and_no_longer(seed: int) -> None:
    """Policies come, change and go, calls fail, and the operator dies; Kubernetes does its part late."""
    chance = random.Random(seed)  # noqa: S311 - the same story each time
    world = World()
    keys = [FIRST, SECOND, THIRD]
    subjects = [robot(), robot(), robot(token=True), PERSON]
    wanted: dict[Key, dict[str, Any]] = {}
    for _ in range(30):
        before = world.uid() if ACCOUNT in world.objects else ""
        holding = {key for key in wanted if before and key.name in world.owners()}
        key = chance.choice(keys)
        if key in wanted and chance.random() < 0.3:
            world.delete(key)
            del wanted[key]
        elif world.cache.resource(key) is None or key in wanted:
            wanted[key] = chance.choice(subjects)
            world.wish(key, wanted[key])
        for _ in range(chance.randint(1, 4)):
            await hurt(world, chance, chance.choice(keys))
            if chance.random() < 0.5:
                world.collect()
        if before and any("serviceAccount" in wanted.get(one, {}) for one in holding):
            assert world.uid() == before
    await world.settle_all()
    names = {key.name for key, subject in wanted.items() if "serviceAccount" in subject}
    assert world.there(SERVICE_ACCOUNT) == ([ACCOUNT.path] if names else [])
    assert set(world.owners() if names else ()) == names
    tokens = [key for key in wanted if wanted[key] == robot(token=True)]
    assert len(world.there(SECRET)) == min(len(tokens), 1)
