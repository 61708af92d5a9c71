"""Signing in: by secret and by workload identity, and what becomes of it when that fails."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from entra_access.adapters.arm import Arm
from entra_access.adapters.credentials import Identity, IdentityIncompleteError, make_credential, trust
from entra_access.adapters.graph import Graph
from entra_access.domain.faults import Fault, SignInFailed, Unavailable
from entra_sandbox import seed
from support.sandbox import RunningSandbox

SCOPE = seed.CLUSTER_ID
OWN_ROLES = {seed.RBAC_ADMINISTRATOR, seed.CUSTOM_ROLE_AUTHOR}
"""Those of the operator itself, above the cluster: all that is assigned in a new sandbox."""
ISSUER = "https://issuer.example"
SUBJECT = "system:serviceaccount:entra-access-system:entra-access-operator"
Services = tuple[Graph, Arm]


@pytest.fixture
async def signed_in(sandbox: RunningSandbox) -> AsyncIterator[Callable[[Identity], Services]]:
    """Make both services for an identity; all are closed in the end."""
    open_ones: list[Any] = []

    def make(identity: Identity) -> Services:
        credential = make_credential(identity)
        graph = Graph(credential, sandbox.url, sandbox.ca)
        arm = Arm(credential, sandbox.url, seed.SUBSCRIPTION_ID, sandbox.ca)
        open_ones.extend((graph, arm, credential))
        return graph, arm

    yield make
    for one in open_ones:
        await one.close()


@pytest.fixture
def token_file(sandbox: RunningSandbox, tmp_path: Path) -> Path:
    """A service account's token that the operator's application trusts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwks = {"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]}
    trusted = {"issuer": ISSUER, "subject": SUBJECT, "audience": "api://AzureADTokenExchange", "jwks": jwks}
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, federatedCredentials=[trusted])
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": "api://AzureADTokenExchange", "iat": 1, "exp": 2**32}
    file = tmp_path / "token"
    file.write_text(jwt.encode(claims, key, "RS256", {"kid": "one"}))
    return file


def _write(file: Path, content: str) -> None:
    file.write_text(content)


async def faults(services: Services) -> list[Fault]:
    """What a call of each service ends with; it shows no secret."""
    graph, arm = services
    found = []
    for call in (graph.deleted_groups(), arm.assignments(SCOPE, below=True)):
        with pytest.raises(Fault) as caught:
            await call
        for secret in (seed.OPERATOR_SECRET, "wrong-secret", "eyJ", "AADSTS"):
            assert secret not in f"{caught.value!r} {caught.value}"
        found.append(caught.value)
    return found


async def roles_at_the_cluster(arm: Arm) -> set[str]:
    """What is assigned at the cluster, above and below it."""
    return {one.role_id for one in await arm.assignments(SCOPE, below=True)}


async def test_a_client_secret_signs_in(
    signed_in: Callable[[Identity], Services], identity: Identity
) -> None:
    """One credential, two services."""
    graph, arm = signed_in(identity)
    assert await graph.deleted_groups() == ()
    assert await roles_at_the_cluster(arm) == OWN_ROLES


async def test_workload_identity_signs_in(
    signed_in: Callable[[Identity], Services], identity: Identity, token_file: Path, sandbox: RunningSandbox
) -> None:
    """With the token of the service account, and without any secret."""
    graph, arm = signed_in(replace(identity, client_secret=None, token_file=str(token_file)))

    assert await graph.deleted_groups() == ()
    assert await roles_at_the_cluster(arm) == OWN_ROLES
    asked = sandbox.client.journal(kind="signin", method="POST")
    assert asked
    assert all("client_assertion" in entry["body"] for entry in asked)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_secret": "wrong-secret"},
        {"client_id": "99999999-9999-4999-8999-999999999999"},
        {"tenant_id": "99999999-9999-4999-8999-999999999999"},
    ],
    ids=["secret", "application", "tenant"],
)
async def test_a_wrong_identity_cannot_sign_in(
    signed_in: Callable[[Identity], Services], identity: Identity, wrong: dict[str, str]
) -> None:
    """Both services say so, and neither shows the secret or what the sign-in answered."""
    found = await faults(signed_in(replace(identity, **wrong)))  # type: ignore[arg-type]  # all are text
    assert [type(fault) for fault in found] == [SignInFailed, SignInFailed]


@pytest.mark.parametrize("content", ["", "no token at all", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_wrong_federated_token_cannot_sign_in(
    signed_in: Callable[[Identity], Services], identity: Identity, token_file: Path, content: str
) -> None:
    """An empty, a nonsensical and an unsigned one."""
    _write(token_file, content)
    services = signed_in(replace(identity, client_secret=None, token_file=str(token_file)))
    assert {type(fault) for fault in await faults(services)} == {SignInFailed}


async def test_a_federated_token_that_is_not_trusted_cannot_sign_in(
    signed_in: Callable[[Identity], Services], identity: Identity, token_file: Path, sandbox: RunningSandbox
) -> None:
    """The application trusts no such issuer any more."""
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, federatedCredentials=[])
    services = signed_in(replace(identity, client_secret=None, token_file=str(token_file)))
    assert {type(fault) for fault in await faults(services)} == {SignInFailed}


async def test_a_token_file_that_is_not_there_cannot_sign_in(
    signed_in: Callable[[Identity], Services], identity: Identity, tmp_path: Path
) -> None:
    """The webhook that mounts it may not be installed; that is a fault like any other, not a defect."""
    services = signed_in(replace(identity, client_secret=None, token_file=str(tmp_path / "none")))
    assert {type(fault) for fault in await faults(services)} == {SignInFailed}


@pytest.mark.parametrize("broken", [{"status": 500}, {"status": 503}, {"status": 429}, {"drop": True}])
async def test_a_sign_in_that_fails_is_a_passing_fault(
    signed_in: Callable[[Identity], Services],
    identity: Identity,
    sandbox: RunningSandbox,
    broken: dict[str, Any],
) -> None:
    """Whatever is wrong with it, it is told as such and not as a matter of Graph; then it works again."""
    sandbox.client.fault(kind="signin", count=None, **broken)
    graph, arm = signed_in(identity)

    found = await faults((graph, arm))
    assert {type(fault) for fault in found} <= {SignInFailed, Unavailable}
    assert not any(fault.permanent for fault in found)

    sandbox.client.clear_faults()
    assert await graph.deleted_groups() == ()
    assert await roles_at_the_cluster(arm) == OWN_ROLES


async def test_a_sign_in_that_cannot_be_reached_is_unavailable(
    signed_in: Callable[[Identity], Services], identity: Identity, unused_tcp_port: int
) -> None:
    """Nobody listens there."""
    services = signed_in(replace(identity, authority=f"https://127.0.0.1:{unused_tcp_port}"))
    assert {type(fault) for fault in await faults(services)} <= {SignInFailed, Unavailable}


def test_without_any_identity_nothing_is_made(identity: Identity) -> None:
    """The message names both ways to have one."""
    with pytest.raises(IdentityIncompleteError, match=r"AZURE_FEDERATED_TOKEN_FILE.*AZURE_CLIENT_SECRET"):
        make_credential(replace(identity, client_secret=None))


def test_a_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before the first call, by the setting's name."""
    with pytest.raises(IdentityIncompleteError, match="ENTRA_ACCESS_CA_FILE"):
        trust(str(tmp_path / "none"))
