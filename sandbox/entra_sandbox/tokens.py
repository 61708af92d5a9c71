"""Access tokens: RS256 JSON web tokens, signed with the sandbox's own key."""

import base64
import hashlib
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from entra_sandbox.azure import new_id
from entra_sandbox.clock import Clock
from entra_sandbox.directory import ServicePrincipal, User
from entra_sandbox.exchange import Caller

GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
GRAPH_AUDIENCES = frozenset({GRAPH_APP_ID, "https://graph.microsoft.com"})
ARM_AUDIENCES = frozenset({"https://management.azure.com", "https://management.core.windows.net"})
_CACHE_SIZE = 10_000


class BadTokenError(Exception):
    """The token is not one of ours, or was changed."""


class ExpiredTokenError(BadTokenError):
    """The token was good once."""


class Tokens:
    """Issues and verifies tokens of one tenant."""

    def __init__(self, key: RSAPrivateKey, tenant_id: str, bases: tuple[str, ...], clock: Clock) -> None:
        self.bases = frozenset(bases)
        """The URLs that this process goes by: each is a resource that tokens may be asked for."""
        self._key = key
        self._public = key.public_key()
        self._tenant_id = tenant_id
        self._clock = clock
        self.issuer = f"{bases[0]}/{tenant_id}/v2.0"
        self._verified: dict[str, dict[str, Any]] = {}
        numbers = self._public.public_numbers()
        self._jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "n": _b64(numbers.n), "e": _b64(numbers.e)}
        self._jwk["kid"] = hashlib.sha256(self._jwk["n"].encode()).hexdigest()[:27]

    def jwks(self) -> dict[str, Any]:
        """Give the public key as the discovery document's `jwks_uri` serves it."""
        return {"keys": [{**self._jwk, "issuer": self.issuer}]}

    def for_app(
        self, principal: ServicePrincipal, audience: str, lifetime: float, *, with_roles: bool
    ) -> str:
        """Issue an app-only token. Its `roles` are the Graph permissions, if it is for Graph."""
        claims = {"appid": principal.app_id, "azp": principal.app_id, "idtyp": "app", "oid": principal.id}
        claims |= {"sub": principal.id, "app_displayname": principal.display_name, "appidacr": "1"}
        roles = sorted(principal.app_roles) if with_roles else []
        return self._sign({**claims, **({"roles": roles} if roles else {})}, audience, lifetime)

    def for_user(self, user: User, audience: str, lifetime: float) -> str:
        """Issue a user's token, as `kubelogin` gets one for the cluster. It names no groups: the cluster
        asks. What the user may do in Graph is in `scp`, as if the program had been consented all of it.
        """
        claims = {
            "appid": "80faf920-1908-4b52-b5ef-a8e7bedfc67a",
            "idtyp": "user",
            "oid": user.id,
            "sub": user.id,
        }
        claims |= {"upn": user.upn, "unique_name": user.upn, "name": user.display_name}
        claims["scp"] = " ".join(sorted({"user.read", *user.permissions}))
        return self._sign(claims, audience, lifetime)

    def verify(self, token: str) -> dict[str, Any]:
        """Give the claims of a token that we signed; raise `BadTokenError` otherwise. The audience is the
        caller's task.
        """
        claims = self._verified.get(token)
        if claims is None:
            try:
                # Time is judged below, by the sandbox's own clock.
                options: Any = {
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                }
                claims = jwt.decode(
                    token, self._public, algorithms=["RS256"], issuer=self.issuer, options=options
                )
            except jwt.PyJWTError as error:
                raise BadTokenError(str(error)) from error
            if len(self._verified) >= _CACHE_SIZE:
                self._verified.clear()
            self._verified[token] = claims
        if claims["exp"] <= self._clock.now():
            raise ExpiredTokenError("the token's lifetime is over")
        return claims

    def _sign(self, claims: dict[str, Any], audience: str, lifetime: float) -> str:
        now = int(self._clock.now())
        times = {"iat": now, "nbf": now, "exp": int(now + lifetime)}
        who = {"aud": audience, "iss": self.issuer, "tid": self._tenant_id, "ver": "2.0", "uti": new_id()}
        return jwt.encode({**who, **times, **claims}, self._key, "RS256", headers={"kid": self._jwk["kid"]})


def caller_of(claims: dict[str, Any]) -> Caller:
    """Say who the claims speak for: an application with its `roles`, or a user with the program's `scp`."""
    return Caller(
        oid=claims["oid"],
        app_id=claims.get("appid", ""),
        kind="app" if claims.get("idtyp") == "app" else "user",
        roles=frozenset(claims.get("roles", ()) or str(claims.get("scp", "")).split()),
        upn=claims.get("upn", ""),
    )


def bearer(authorization: str) -> str | None:
    """Take the token out of an Authorization header."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _b64(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
