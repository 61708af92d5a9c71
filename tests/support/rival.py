"""Another controller that is sure that an object must be otherwise, and writes it so again and again."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from support.cluster import Body, Cluster

NAME = "rival-controller"
PAUSE = 0.05
"""Seconds between its writes."""


@dataclass
class Rival:
    """What it has done. `writes`: how often it has written, also where nothing changed by it."""

    writes: int = 0
    failures: list[str] = field(default_factory=list)
    _versions: set[str] = field(default_factory=set)

    @property
    def changes(self) -> int:
        """How often something was otherwise because of it."""
        return len(self._versions)

    def note(self, answer: httpx.Response) -> None:
        """Take down what became of a write. One that met nothing to write to is none."""
        if answer.status_code == 404:
            return
        self.writes += 1
        if answer.is_error:
            self.failures.append(answer.text)
        else:
            self._versions.add(answer.json().get("metadata", {}).get("resourceVersion", ""))


def subject(name: str) -> Body:
    """A user as the subject of a binding."""
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def always_the_same(_: int) -> Body:
    """One that wants the binding for somebody."""
    return {"subjects": [subject("mallory@contoso.com")]}


def always_another(number: int) -> Body:
    """One that wants the binding for somebody else each time."""
    return {"subjects": [subject(f"mallory-{number}@contoso.com")]}


@contextmanager
def rival(cluster: Cluster, path: str, wish: Callable[[int], Body] | None) -> Iterator[Rival]:
    """Have it at work on the object at that path while the block runs. Without a wish it deletes it."""
    found, stop = Rival(), threading.Event()

    def write(client: httpx.Client, number: int) -> None:
        if wish is None:
            found.note(client.delete(path))
            return
        headers = {"Content-Type": "application/merge-patch+json"}
        found.note(client.patch(path, json=wish(number), params={"fieldManager": NAME}, headers=headers))

    def work() -> None:
        with cluster.stack.plane.client() as client:
            for number in itertools.count():
                write(client, number)
                if stop.wait(PAUSE):
                    return

    thread = threading.Thread(target=work, name=NAME)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
    assert found.failures == []
