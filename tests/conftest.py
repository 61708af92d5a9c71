"""What all tests share: a sandbox to speak to."""

from collections.abc import Iterator

import pytest

from support.sandbox import RunningSandbox, start_sandbox


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One sandbox for all tests of a worker, in whatever state the last test left it."""
    sandbox = start_sandbox(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running_sandbox: RunningSandbox) -> RunningSandbox:
    """Give that sandbox with nothing but the seed in it: no faults, first settings, an empty journal."""
    running_sandbox.client.reset()
    return running_sandbox
