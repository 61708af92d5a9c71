"""A shared service account whose policies keep what they made, adopt, only observe, or tell of drift."""

import pytest

from entra_access.api.names import ANNOTATION_ADOPTED, SERVICE_ACCOUNT
from entra_access.api.status import CORRECTED, REPORTED
from entra_access.domain.faults import Unavailable
from entra_access.reconcile.cache import Key
from unit.accounts import (
    ACCOUNT,
    FIRST,
    KEEP,
    OBSERVE,
    PERSON,
    SECOND,
    TOKEN,
    World,
    marks,
    other_of,
    robot,
    shared,
    told,
)

# Keep


@pytest.mark.parametrize("goes", [FIRST, SECOND], ids=lambda key: key.name)
async def test_whoever_goes_and_keeps_lets_go_of_it_for_good(goes: Key) -> None:
    """Whoever of them made it: bindings that stay would be worth nothing without it."""
    world = await shared(**{goes.name: KEEP})
    before, stays = world.uid(), other_of(goes)
    world.due.clear()
    world.delete(goes)
    await world.look(goes)
    assert (world.uid(), marks(world)) == (before, set())
    assert stays in world.due
    (event,) = world.told("Kept")
    assert f"ServiceAccount {ACCOUNT.path}" in event

    await world.settle()
    assert world.said(stays) == ("Existing", False)
    assert world.drift(stays) == 0
    world.delete(stays)
    await world.look(stays)
    world.collect()
    assert (world.uid(), marks(world)) == (before, set())


@pytest.mark.parametrize("then", ["deleted", "another subject", "nobody"])
async def test_what_was_kept_is_not_deleted_for_an_inventory_that_tells_of_it(then: str) -> None:
    """The other policy goes, or wants it no more, before a pass has written down that it is nobody's now."""
    world = await shared(first=KEEP)
    before = world.uid()
    world.delete(FIRST)
    await world.look(FIRST)
    assert world.said(SECOND)[1]
    if then == "deleted":
        world.delete(SECOND)
    else:
        world.wish(SECOND, PERSON if then == "another subject" else {"nobody": {}})
    await world.look(SECOND)
    if then == "nobody":
        world.delete(SECOND)
        await world.look(SECOND)
    world.collect()
    assert (world.uid(), marks(world)) == (before, set())


async def test_it_is_left_alone_while_the_watch_shows_it_as_it_was() -> None:
    """The subject is looked at itself, and the watch is late."""
    world = await shared(first=KEEP)
    before, old = world.uid(), world.objects[ACCOUNT]
    world.delete(FIRST)
    await world.look(FIRST)
    world.cache.put(SERVICE_ACCOUNT, old)
    await world.look(SECOND)
    assert (world.uid(), marks(world)) == (before, set())
    assert world.said(SECOND) == ("Existing", False)


async def test_a_token_is_kept_with_its_account() -> None:
    world = World()
    world.wish(FIRST, robot(token=True), **KEEP)
    world.wish(SECOND, robot())
    await world.settle()
    kept = {ref: world.objects[ref]["metadata"]["uid"] for ref in (ACCOUNT, TOKEN)}
    for key in (FIRST, SECOND):
        world.delete(key)
        await world.look(key)
    world.collect()
    assert {ref: world.objects[ref]["metadata"]["uid"] for ref in (ACCOUNT, TOKEN)} == kept


async def test_who_keeps_and_gets_another_subject_is_only_none_of_the_owners_any_more() -> None:
    """To keep is for the end of the policy. What it has no use for goes, or stays for the others."""
    world = await shared(first=KEEP)
    before = world.uid()
    world.wish(FIRST, PERSON, **KEEP)
    await world.settle()
    assert (world.uid(), world.owners()) == (before, ["second"])
    world.delete(SECOND)
    await world.look(SECOND)
    assert ACCOUNT not in world.objects


# Order


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "another subject"])
async def test_nobody_lets_go_before_the_next_one_is_an_owner(*, deleted: bool) -> None:
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    before = world.uid()
    world.wish(SECOND, robot())
    if deleted:
        world.delete(FIRST)
    else:
        world.wish(FIRST, PERSON)
    world.faults = {"child": Unavailable("down")}
    await world.look(FIRST)
    assert world.owners() == ["first"]
    assert world.written("leave") == []

    world.faults = {}
    await world.look(FIRST)
    world.collect()
    assert (world.uid(), world.owners()) == (before, ["second"])


async def test_a_spec_that_cannot_be_read_leaves_the_account_in_the_inventory() -> None:
    """Somebody took its label away, so no watch shows it."""
    world = await shared()
    world.cache.drop(SERVICE_ACCOUNT, ACCOUNT.namespace, ACCOUNT.name)
    world.wish(SECOND, {"nobody": {}})
    await world.look(SECOND)
    assert world.said(SECOND)[1]


# Adoption


async def test_policies_that_adopt_share_it_as_others_do() -> None:
    """An account is used as it is where it was there; what the operator made has its owners."""
    adopts = {"adoptionPolicy": "Always"}
    world = await shared(first=adopts, second=adopts)
    assert world.owners() == ["first", "second"]
    for key in (FIRST, SECOND):
        world.delete(key)
        await world.look(key)
    world.collect()
    assert ACCOUNT not in world.objects


async def test_a_mark_that_somebody_writes_does_not_make_it_adopted() -> None:
    """It would stay for good, and nobody be its owner."""
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    metadata = world.objects[ACCOUNT]["metadata"]
    metadata |= {"ownerReferences": [], "annotations": {ANNOTATION_ADOPTED: "true"}}
    world.wish(SECOND, robot(), adoptionPolicy="Always")
    await world.look(SECOND)
    assert not any(item.adopted for item in world.status(SECOND).inventory)
    await world.settle()
    assert sorted(world.owners()) == ["first", "second"]


# Observe


async def test_who_observes_is_no_owner_and_says_so() -> None:
    world = await shared(second=OBSERVE)
    assert world.owners() == ["first"]
    assert world.said(SECOND) == ("Created", False)
    expected = ("metadata.ownerReferences", "AccessPolicy second", "none of it", REPORTED)
    assert told(world, SECOND) == [expected]
    world.delete(SECOND)
    await world.look(SECOND)
    await world.settle()
    assert world.owners() == ["first"]


async def test_who_observes_and_has_another_subject_tells_what_it_would_leave() -> None:
    world = await shared()
    world.wish(SECOND, PERSON, **OBSERVE)
    await world.settle()
    assert world.owners() == ["first", "second"]
    expected = ("metadata.ownerReferences", "without it", "AccessPolicy second", REPORTED)
    assert told(world, SECOND) == [expected]


# Drift


async def test_to_become_an_owner_is_no_drift_and_to_be_none_any_more_is() -> None:
    world = await shared()
    assert [told(world, key) for key in (FIRST, SECOND)] == [[], []]
    body = world.objects[ACCOUNT]
    refs = [one for one in body["metadata"]["ownerReferences"] if one["controller"]]
    world.objects[ACCOUNT] = {**body, "metadata": {**body["metadata"], "ownerReferences": refs}}
    await world.look(SECOND)
    assert world.owners() == ["first", "second"]
    corrected = ("metadata.ownerReferences", "AccessPolicy second", "none of it", CORRECTED)
    assert told(world, SECOND) == [corrected]


@pytest.mark.parametrize("fault", ["child", str(TOKEN)], ids=["not written", "token not seen"])
async def test_an_account_that_cannot_be_joined_yet_is_not_in_the_inventory(fault: str) -> None:
    """What a line tells of is gone some day, and would be told as drift."""
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    world.wish(SECOND, robot(token=True))
    world.faults = {fault: Unavailable("down")}
    await world.look(SECOND)
    assert ACCOUNT.path not in {item.name for item in world.status(SECOND).inventory if item.id}
    world.faults = {}
    await world.settle()
    assert world.owners() == ["first", "second"]
    assert told(world, SECOND) == []
