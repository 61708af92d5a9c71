"""What all tests share: a sandbox to speak to."""

from collections.abc import Iterator

import pytest

from support.sandbox import RunningSandbox, start_sandbox


def pytest_configure(config: pytest.Config) -> None:
    """Let the Graph SDK's warnings about itself pass: it gives them while it is imported, whoever does so."""
    for text in ("GetQueryParameters is deprecated", "This class is deprecated. Please use the generic"):
        config.addinivalue_line("filterwarnings", f"ignore:{text}:DeprecationWarning")


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
