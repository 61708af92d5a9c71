"""The login authority: discovery, keys, tokens and the refusals."""

import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from entra_sandbox import seed
from entra_sandbox.signin import JWT_BEARER
from support.sandbox import RunningSandbox

ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:entra-access:operator"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _jwks(key: rsa.RSAPrivateKey = KEY) -> dict[str, Any]:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}


def _assertion(key: rsa.RSAPrivateKey = KEY, **claims: Any) -> str:
    now = int(time.time())
    usual = {"iss": ISSUER, "sub": SUBJECT, "aud": ["api://AzureADTokenExchange"], "exp": now + 10_000_000}
    return jwt.encode({**usual, **claims}, key, "RS256", headers={"kid": "k1"})


def _ask(http: httpx.Client, tenant: str = seed.TENANT_ID, **form: str) -> httpx.Response:
    usual = {
        "grant_type": "client_credentials",
        "client_id": seed.OPERATOR_CLIENT_ID,
        "scope": "https://graph.microsoft.com/.default",
    }
    wanted = {k: v for k, v in {**usual, **form}.items() if v}
    return http.post(f"/{tenant}/oauth2/v2.0/token", data=wanted)


def _with_assertion(http: httpx.Client, assertion: str) -> httpx.Response:
    return _ask(http, client_assertion=assertion, client_assertion_type=JWT_BEARER)


def test_a_token_says_who_and_what_for(sandbox: RunningSandbox, http: httpx.Client) -> None:
    configuration = http.get(f"/{seed.TENANT_ID}/v2.0/.well-known/openid-configuration").json()
    keys = jwt.PyJWKSet.from_dict(http.get(configuration["jwks_uri"]).json())
    answer = _ask(http, client_secret=seed.OPERATOR_SECRET).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    key = keys[jwt.get_unverified_header(answer["access_token"])["kid"]]
    claims = jwt.decode(
        answer["access_token"],
        key,
        algorithms=["RS256"],
        audience="https://graph.microsoft.com",
        issuer=configuration["issuer"],
        options={"verify_iat": False, "verify_nbf": False},
    )
    assert claims["tid"] == seed.TENANT_ID
    assert (claims["appid"], claims["oid"]) == (seed.OPERATOR_CLIENT_ID, seed.OPERATOR_OBJECT_ID)
    assert claims["idtyp"] == "app"
    assert set(claims["roles"]) == seed.OPERATOR_APP_ROLES


def test_permissions_are_only_in_tokens_for_graph(http: httpx.Client) -> None:
    answer = _ask(http, client_secret=seed.OPERATOR_SECRET, scope="https://management.azure.com//.default")
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["aud"] == "https://management.azure.com/"
    assert "roles" not in claims


def test_instance_discovery_knows_the_host(sandbox: RunningSandbox, http: httpx.Client) -> None:
    answer = http.get("/common/discovery/instance").json()
    assert answer["tenant_discovery_endpoint"].startswith(sandbox.url)
    assert answer["metadata"][0]["aliases"] == [sandbox.host]


@pytest.mark.parametrize(
    ("form", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({}, 401, "invalid_client", 7000218),
        ({"client_id": seed.TENANT_ID, "client_secret": "x"}, 400, "unauthorized_client", 700016),
        ({"tenant": "fabrikam.com", "client_secret": "x"}, 400, "invalid_tenant", 90002),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": ""}, 400, "invalid_request", 900144),
        ({"client_id": ""}, 400, "invalid_request", 900144),
        ({"client_secret": seed.OPERATOR_SECRET, "scope": "Group.Read.All"}, 400, "invalid_scope", 1002012),
        (
            {"client_secret": seed.OPERATOR_SECRET, "scope": "https://nowhere/.default"},
            400,
            "invalid_resource",
            500011,
        ),
    ],
)
def test_refusals_carry_their_number(
    sandbox: RunningSandbox, http: httpx.Client, form: dict[str, str], status: int, error: str, number: int
) -> None:
    answer = _ask(http, **form)
    body = answer.json()
    assert (answer.status_code, body["error"], body["error_codes"]) == (status, error, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert body["trace_id"] in body["error_description"]
    assert sandbox.client.journal(kind="signin")[-1]["code"] == f"AADSTS{number}"


def test_an_unknown_tenant_is_refused_at_discovery_too(sandbox: RunningSandbox, http: httpx.Client) -> None:
    answer = http.get("/fabrikam.com/v2.0/.well-known/openid-configuration")
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_tenant"


def test_a_disabled_application_gets_no_token(sandbox: RunningSandbox, http: httpx.Client) -> None:
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, accountEnabled=False)
    assert _ask(http, client_secret=seed.OPERATOR_SECRET).json()["error_codes"] == [7000112]


@pytest.fixture
def federated(sandbox: RunningSandbox) -> RunningSandbox:
    """A sandbox that trusts a cluster's service account for the operator."""
    credential = {"issuer": ISSUER, "subject": SUBJECT, "jwks": _jwks()}
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, federatedCredentials=[credential])
    return sandbox


def test_a_cluster_token_stands_in_for_the_secret(federated: RunningSandbox, http: httpx.Client) -> None:
    assert _with_assertion(http, _assertion()).status_code == 200
    body = federated.client.journal(kind="signin")[-1]["body"]
    assert body["client_assertion"] == "***"


@pytest.mark.parametrize(
    ("claims", "number", "what"),
    [
        ({"iss": f"{ISSUER}/"}, 700211, f"issuer '{ISSUER}/'"),
        ({"sub": SUBJECT.upper()}, 700213, f"subject '{SUBJECT.upper()}'"),
        ({"aud": ["kubernetes"]}, 700212, "audience 'kubernetes'"),
        ({"exp": 1}, 700024, "valid time range"),
    ],
)
def test_a_cluster_token_must_match_exactly(
    federated: RunningSandbox, http: httpx.Client, claims: dict[str, Any], number: int, what: str
) -> None:
    answer = _with_assertion(http, _assertion(**claims))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_codes"] == [number]
    assert what in answer.json()["error_description"]


def test_a_cluster_token_must_be_signed_by_the_cluster(federated: RunningSandbox, http: httpx.Client) -> None:
    assert _with_assertion(http, _assertion(OTHER_KEY)).json()["error_codes"] == [700027]
    assert _with_assertion(http, "nonsense").json()["error_codes"] == [50027]


def test_without_a_federated_credential_nothing_matches(sandbox: RunningSandbox, http: httpx.Client) -> None:
    assert _with_assertion(http, _assertion()).json()["error_codes"] == [700211]
