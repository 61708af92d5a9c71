"""What could lose an account that is to stay, or keep one that is to go: as it was tried once."""

import copy
from typing import Any

import pytest

from entra_access.api.names import ANNOTATION_HOLDER, POLICY
from entra_access.api.resources import Mode
from entra_access.domain.modes import Modes
from entra_access.reconcile.cache import Key
from unit.accounts import ACCOUNT, FIRST, KEEP, SECOND, TOKEN, World, robot, shared
from unit.objects import DeadError
from unit.test_kept_accounts import DELETE, alone, go, in_foreground, kinds


def cannot_be_read(world: World, key: Key) -> None:
    """The policy has something in its spec that an operator of another version has let in."""
    body = world.body(key)
    spec = {**body["spec"], "azureRoles": [{"role": ""}]}
    world.cache.put(POLICY, world._versioned({**body, "spec": spec}))


def forge(world: World, ref: Any, holder: str) -> None:
    """Somebody writes that this one is the Namespace which the operator made an owner."""
    body = copy.deepcopy(world.objects[ref])
    annotations = body["metadata"].get("annotations") or {}
    body["metadata"]["annotations"] = {**annotations, ANNOTATION_HOLDER: holder}
    world.objects[ref] = world._versioned(body)
    world.cache.put(ref.kind, world.objects[ref])


async def test_a_policy_that_cannot_be_read_keeps_still() -> None:
    """Unknown is not absent: what it says of deletion can be read all the same."""
    world = await shared(second=KEEP)
    cannot_be_read(world, SECOND)
    for key in (FIRST, SECOND, FIRST):
        await world.look(key)
    assert "Namespace" in kinds(world)
    in_foreground(world, FIRST, SECOND)
    for key in (FIRST, SECOND):
        await world.look(key)
    world.collect()
    assert ACCOUNT in world.objects


async def test_one_that_cannot_be_read_and_does_not_keep_holds_nothing() -> None:
    world = await shared()
    cannot_be_read(world, SECOND)
    await world.look(FIRST)
    assert "Namespace" not in kinds(world)


async def test_who_only_observes_by_default_has_no_say() -> None:
    world = World()
    world.cache.modes = Modes(Mode.OBSERVE)
    world.wish(FIRST, robot(), mode="Enforce")
    await world.settle()
    world.wish(SECOND, robot(), **KEEP)
    await world.settle()
    assert kinds(world) == ["AccessPolicy"]


async def test_a_forged_word_takes_no_owner_out() -> None:
    """Anybody who may edit the account can write it; then the word of it goes, and nothing else."""
    world = await shared()
    forge(world, ACCOUNT, world.body(SECOND)["metadata"]["uid"])
    await world.look(FIRST)
    assert len(world.owners()) == 2
    assert ANNOTATION_HOLDER not in world.objects[ACCOUNT]["metadata"]["annotations"]


async def test_a_forged_word_does_not_make_a_token_anew() -> None:
    world = await alone(deletePolicy="Delete")
    forge(world, TOKEN, world.body(FIRST)["metadata"]["uid"])
    before = world.objects[TOKEN]["metadata"]["uid"]
    await world.look(FIRST, times=2)
    world.collect()
    assert world.objects[TOKEN]["metadata"]["uid"] == before


@pytest.mark.parametrize("wish", [KEEP, DELETE], ids=["kept", "edited"])
async def test_a_token_that_was_made_anew_before_the_operator_died(wish: dict[str, Any]) -> None:
    """The status has the UID of the one before, and Kubernetes has taken the policy out of the owners."""
    world = World()
    world.put_object(ACCOUNT)
    world.wish(FIRST, robot(token=True), **KEEP)
    await world.settle()
    world.objects[ACCOUNT]["metadata"]["uid"] = "made anew by another hand"
    world.deaths = {str(TOKEN)}
    with pytest.raises(DeadError):
        await world.look(FIRST)
    world.wish(FIRST, robot(token=True), **wish)
    in_foreground(world, FIRST)
    await go(world, FIRST)
    if wish is DELETE:
        assert TOKEN not in world.objects
    else:
        assert world.objects[TOKEN]["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion"}
