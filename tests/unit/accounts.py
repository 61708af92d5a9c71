"""Policies that have the same service account as their subject, in memory."""

import random
from typing import Any

from entra_access.api.names import CLUSTER_ROLE, POLICY, SECRET, SERVICE_ACCOUNT
from entra_access.domain.children import ChildRef
from entra_access.domain.faults import Fault, Throttled, Unavailable
from entra_access.reconcile.cache import Key
from unit.objects import DeadError
from unit.office import Office
from unit.worlds import ANNA

PERSON = {"user": {"userPrincipalName": ANNA}}
ACCOUNT = ChildRef(SERVICE_ACCOUNT, "tools", "robot")
TOKEN = ChildRef(SECRET, "tools", "robot-token")
KEEP: dict[str, Any] = {"deletePolicy": "Keep"}
OBSERVE: dict[str, Any] = {"mode": "Observe"}
FIRST, SECOND, THIRD = (Key("AccessPolicy", None, name) for name in ("first", "second", "third"))


def robot(name: str = "robot", *, token: bool = False) -> dict[str, Any]:
    return {"serviceAccount": {"namespace": "tools", "name": name, "token": token}}


class World(Office):
    """Policies by name, and the account that they share."""

    def __init__(self) -> None:
        super().__init__()
        self.namespace("tools")
        view = {"metadata": {"name": "view", "uid": "uid-of-view", "resourceVersion": "1"}}
        self.cache.put(CLUSTER_ROLE, view)

    def wish(self, key: Key, subject: dict[str, Any], **spec: Any) -> None:
        self.apply(POLICY, key.name, {"subject": subject, "clusterRoles": ["view"], **spec})

    async def settle(self) -> None:
        """Passes over all that are there, and Kubernetes' own work, until nothing more happens."""
        for _ in range(4):
            for key in self.cache.keys(POLICY):
                await self.look(key)
            for key in self.due - set(self.cache.keys()):
                await self.look(key)
            self.collect()
        self.writes.clear()
        for key in self.cache.keys(POLICY):
            await self.look(key)
        assert self.writes == []

    async def settle_all(self) -> None:
        """Also those that are to go."""
        for _ in range(10):
            self.watch()
            for key in (FIRST, SECOND, THIRD):
                await self.look(key)
            self.collect()
        await self.settle()

    def uid(self) -> str:
        return str(self.objects[ACCOUNT]["metadata"]["uid"])

    def owners(self) -> list[str]:
        """The policies among the owners of the account; the one that looks after it first."""
        refs = self.objects[ACCOUNT]["metadata"]["ownerReferences"]
        uids = {self.body(key)["metadata"]["uid"] for key in self.cache.keys(POLICY)}
        return [
            one["name"] for one in sorted(refs, key=lambda one: not one["controller"]) if one["uid"] in uids
        ]

    def said(self, key: Key) -> tuple[str, bool]:
        """The origin of the subject as the status has it, and whether the account is in the inventory."""
        status = self.status(key)
        assert status.subject is not None
        return status.subject.origin, ACCOUNT.path in {item.name for item in status.inventory}

    def drift(self, key: Key) -> int:
        return int(self.status(key).drift.get("total", 0))


async def shared(**specs: dict[str, Any]) -> World:
    """Two policies for the account, at rest. `specs`: what else they say, by name."""
    world = World()
    for key in (FIRST, SECOND):
        world.wish(key, robot(), **specs.get(key.name, {}))
        await world.look(key)
    await world.settle()
    return world


def other_of(key: Key) -> Key:
    return SECOND if key == FIRST else FIRST


def marks(world: World) -> set[str]:
    """What there is on the account besides its name and UID."""
    return set(world.objects[ACCOUNT]["metadata"]) - {"name", "namespace", "uid", "resourceVersion"}


def told(world: World, key: Key) -> list[tuple[str, str, str, str]]:
    """What the status says of the account's drift: field, expected, found and what became of it."""
    items = world.status(key).drift.get("items", ())
    return [
        (one["field"], one["expected"], one["found"], one["action"])
        for one in items
        if one["object"] == str(ACCOUNT)
    ]


async def hurt(world: World, chance: random.Random, key: Key) -> None:
    """A pass in which something may go wrong."""
    kinds: list[Fault] = [Unavailable("down"), Throttled("slowly", retry_after=1)]
    calls = ["child", "delete_child", "hold", "leave", "release", "status", "finalizers"]
    world.faults = {call: chance.choice(kinds) for call in calls if chance.random() < 0.15}
    world.deaths = {str(ref) for ref in (ACCOUNT, TOKEN) if chance.random() < 0.1}
    try:
        await world.look(key)
    except DeadError:
        world.watch()
    world.faults, world.deaths = {}, set()
