"""A real control plane for tests, and patience with it."""

import time
from collections.abc import Callable, Iterator

import pytest

from entra_sandbox.local.controlplane import ControlPlane


def eventually(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until it is true; fail, saying what was awaited, when it is not so after that many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One plain control plane for all tests of a worker: what a test makes in it has names of its own."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as running:
        yield running
        running.check()
