"""Fixtures of the sandbox's own tests."""

import ssl
from collections.abc import Iterator

import httpx
import pytest

from support.azure import Caller
from support.azure import operator as operator_of
from support.sandbox import RunningSandbox


@pytest.fixture(scope="session")
def http(running_sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    """A client that trusts the sandbox's CA and nothing else."""
    context = ssl.create_default_context(cafile=running_sandbox.ca)
    with httpx.Client(base_url=running_sandbox.url, verify=context, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def operator(sandbox: RunningSandbox, http: httpx.Client) -> Caller:
    """The operator's application, as the seed has it."""
    return operator_of(sandbox, http)
