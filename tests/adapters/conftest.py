"""The operator's adapters, signed in to the sandbox of the test as the operator is."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from azure.core.credentials_async import AsyncTokenCredential
from kubernetes.aio.client import ApiClient, Configuration

from entra_access.adapters.arm import Arm
from entra_access.adapters.credentials import Identity, make_credential
from entra_access.adapters.graph import Graph
from entra_access.adapters.rbac import Kubernetes
from entra_sandbox import seed
from support.answers import Answers, answering
from support.api_server import ApiServer, listening
from support.sandbox import RunningSandbox


@pytest.fixture
def identity(sandbox: RunningSandbox) -> Identity:
    """The operator's identity, by client secret."""
    return Identity(
        tenant_id=seed.TENANT_ID,
        client_id=seed.OPERATOR_CLIENT_ID,
        authority=sandbox.url,
        client_secret=seed.OPERATOR_SECRET,
        ca_file=sandbox.ca,
        instance_discovery=False,
    )


@pytest.fixture
async def credential(identity: Identity) -> AsyncIterator[AsyncTokenCredential]:
    """The credential of that identity."""
    made = make_credential(identity)
    yield made
    await made.close()


@pytest.fixture
async def graph(sandbox: RunningSandbox, credential: AsyncTokenCredential) -> AsyncIterator[Graph]:
    """Microsoft Graph, as the operator calls it."""
    made = Graph(credential, sandbox.url, sandbox.ca)
    yield made
    await made.close()


@pytest.fixture
async def arm(sandbox: RunningSandbox, credential: AsyncTokenCredential) -> AsyncIterator[Arm]:
    """Azure Resource Manager, as the operator calls it."""
    made = Arm(credential, sandbox.url, seed.SUBSCRIPTION_ID, sandbox.ca)
    yield made
    await made.close()


@pytest.fixture
async def least(sandbox: RunningSandbox, identity: Identity) -> AsyncIterator[AsyncTokenCredential]:
    """A credential whose application may create groups and read, and nothing else."""
    poor = replace(identity, client_id=seed.LEAST_CLIENT_ID, client_secret=seed.LEAST_SECRET)
    made = make_credential(poor)
    yield made
    await made.close()


@pytest.fixture
async def graph_with(sandbox: RunningSandbox, identity: Identity) -> AsyncIterator[Callable[..., Graph]]:
    """Make Microsoft Graph as an application calls it that has these permissions and no others."""
    open_ones: list[Graph | AsyncTokenCredential] = []

    def make(*permissions: str) -> Graph:
        sandbox.client.change_app(seed.LEAST_CLIENT_ID, appRoles=list(permissions))
        poor = make_credential(
            replace(identity, client_id=seed.LEAST_CLIENT_ID, client_secret=seed.LEAST_SECRET)
        )
        made = Graph(poor, sandbox.url, sandbox.ca)
        open_ones.extend((made, poor))
        return made

    yield make
    for one in open_ones:
        await one.close()


@pytest.fixture
def asked(sandbox: RunningSandbox) -> Callable[[], list[str]]:
    """Tell what Graph and ARM were asked since this was called last: number, method, path and status."""

    def tell() -> list[str]:
        entries = [one for one in sandbox.client.journal() if one["kind"] in {"graph", "arm"}]
        sandbox.client.clear_journal()
        return [f"{one['method']} {one['path'].removeprefix('/v1.0')} {one['status']}" for one in entries]

    return tell


@pytest.fixture
async def answers(tmp_path: Path) -> AsyncIterator[Answers]:
    """A server that says what a test tells it to."""
    async with answering(tmp_path / "answers") as server:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    """An API server of a few lines."""
    async with listening() as api:
        yield api


@pytest.fixture
async def kubernetes(server: ApiServer) -> AsyncIterator[Kubernetes]:
    """Kubernetes, as the operator calls it, at that server."""
    made = Kubernetes(ApiClient(Configuration(host=server.url)))
    yield made
    await made.close()
