"""Sign-in: OpenID discovery, the keys, and the token endpoint with its `AADSTS` refusals."""

import json
import re
from typing import Any

import jwt

from entra_sandbox.azure import new_id
from entra_sandbox.clock import graph_time
from entra_sandbox.directory import FederatedCredential, ServicePrincipal
from entra_sandbox.exchange import Call, Reply, ServiceError
from entra_sandbox.seed import AKS_SERVER_APP_ID
from entra_sandbox.state import State
from entra_sandbox.tokens import ARM_AUDIENCES, GRAPH_AUDIENCES, Tokens

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ROUTE = re.compile(
    r"/(?P<tenant>[^/]+)/(?P<rest>v2\.0/\.well-known/openid-configuration|\.well-known/openid-configuration"
    r"|discovery/v2\.0/keys|discovery/keys|discovery/instance|oauth2/v2\.0/token)"
)


class SignIn:
    """The login authority."""

    def __init__(self, state: State, tokens: Tokens) -> None:
        self._state = state
        self._tokens = tokens

    def handle(self, call: Call) -> Reply:
        """Answer one request; refusals come in the token endpoint's envelope."""
        try:
            return self._route(call)
        except ServiceError as error:
            return self.error(error)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether the path is one of the login authority's."""
        return _ROUTE.fullmatch(path) is not None

    def _route(self, call: Call) -> Reply:
        found = _ROUTE.fullmatch(call.path)
        if found is None:
            raise ServiceError(404, "invalid_request", "AADSTS90014: The requested resource is not there.")
        tenant, rest = found["tenant"], found["rest"]
        if rest == "discovery/instance":
            return Reply(200, self._instance(call, tenant))
        self._check_tenant(tenant)
        if rest.endswith("openid-configuration"):
            return Reply(200, self._configuration(call.base))
        if rest.endswith("keys"):
            return Reply(200, self._tokens.jwks())
        if call.method != "POST":
            raise _refuse(
                400,
                "invalid_request",
                900561,
                "The endpoint only accepts POST requests. Received a GET request.",
            )
        return self._token(call)

    def _check_tenant(self, tenant: str) -> None:
        known = (self._state.tenant_id, self._state.tenant_domain, "common", "organizations")
        if tenant.lower() not in known:
            raise _refuse(
                400,
                "invalid_tenant",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are "
                "signing into "
                "the correct cloud. Check with your subscription administrator, this may happen if there "
                "are no "
                "active subscriptions for the tenant.",
            )

    def _instance(self, call: Call, tenant: str) -> dict[str, Any]:
        host = call.base.removeprefix("https://")
        return {
            "tenant_discovery_endpoint": f"{call.base}/{tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }

    def _configuration(self, base: str) -> dict[str, Any]:
        tenant = f"{base}/{self._state.tenant_id}"
        return {
            "issuer": f"{tenant}/v2.0",
            "token_endpoint": f"{tenant}/oauth2/v2.0/token",
            "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{tenant}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{tenant}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "oid", "tid", "upn"],
            "tenant_region_scope": "EU",
        }

    def _token(self, call: Call) -> Reply:
        form = call.form()
        grant = _required(form, "grant_type")
        if grant != "client_credentials":
            raise _refuse(
                400,
                "unsupported_grant_type",
                70003,
                f"The app requested an unsupported grant type '{grant}'.",
            )
        principal = self._application(_required(form, "client_id"))
        scope = _required(form, "scope")
        self._authenticate(principal, form)
        audience, with_roles = self._audience(scope)
        lifetime = self._state.settings.token_lifetime
        token = self._tokens.for_app(principal, audience, lifetime, with_roles=with_roles)
        body = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }
        return Reply(200, body, {"cache-control": "no-store, no-cache", "pragma": "no-cache"})

    def _application(self, client_id: str) -> ServicePrincipal:
        principal = self._state.directory.service_principal_of(client_id)
        if principal is None:
            raise _refuse(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client_id}' was not found in the directory "
                f"'{self._state.tenant_name}'. This can happen if the application has not been installed by "
                "the "
                "administrator of the tenant or consented to by any user in the tenant. You may have sent "
                "your "
                "authentication request to the wrong tenant.",
            )
        if not principal.enabled:
            raise _refuse(
                400,
                "unauthorized_client",
                7000112,
                f"Application '{principal.app_id}'({principal.display_name}) is disabled.",
            )
        return principal

    def _authenticate(self, principal: ServicePrincipal, form: dict[str, str]) -> None:
        if "client_assertion" in form:
            if form.get("client_assertion_type") != JWT_BEARER:
                raise _refuse(
                    400,
                    "invalid_request",
                    900144,
                    "The request body must contain the following parameter: 'client_assertion_type'.",
                )
            self._check_assertion(principal, form["client_assertion"])
        elif "client_secret" not in form:
            raise _refuse(
                401,
                "invalid_client",
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or "
                "'client_secret'.",
            )
        elif not principal.secret or form["client_secret"] != principal.secret:
            raise _refuse(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client "
                "secret "
                f"value, not the client secret ID, for a secret added to app '{principal.app_id}'.",
            )

    def _check_assertion(self, principal: ServicePrincipal, assertion: str) -> None:
        try:
            header = jwt.get_unverified_header(assertion)
            claims: dict[str, Any] = jwt.decode(
                assertion, options={"verify_signature": False, "verify_exp": False}
            )
        except jwt.PyJWTError as error:
            raise _refuse(400, "invalid_request", 50027, "JWT token is invalid or malformed.") from error
        credential = _matching(principal.federated, claims)
        if float(claims.get("exp", 0)) <= self._state.clock.now():
            raise _refuse(
                401, "invalid_client", 700024, "Client assertion is not within its valid time range."
            )
        if not _signed_by(credential.jwks, header, assertion):
            raise _refuse(
                401,
                "invalid_client",
                700027,
                "The certificate with identifier used to sign the client assertion is not registered on "
                "application. "
                "[Reason - The key was not found.]",
            )

    def _audience(self, scope: str) -> tuple[str, bool]:
        """Give the audience that the scope asks for, and whether it is Graph, whose permissions go into the
        token.
        """
        scopes = [s for s in scope.split() if s not in ("openid", "profile", "offline_access")]
        if len(scopes) != 1 or not scopes[0].endswith("/.default"):
            raise _refuse(
                400,
                "invalid_scope",
                1002012,
                f"The provided value for scope {scope} is not valid. Client credential flows must have a "
                "scope value "
                "with /.default suffixed to the resource identifier (application ID URI).",
            )
        # The double slash of "https://resource//.default" means that the slash belongs to the resource.
        resource = scopes[0].removesuffix("/.default")
        bare = resource.rstrip("/")
        if bare in GRAPH_AUDIENCES or bare in self._tokens.bases:
            return resource, True
        if bare in ARM_AUDIENCES or bare == AKS_SERVER_APP_ID:
            return resource, False
        raise _refuse(
            400,
            "invalid_resource",
            500011,
            f"The resource principal named {resource} was not found in the tenant named "
            f"{self._state.tenant_name}. "
            "This can happen if the application has not been installed by the administrator of the tenant or "
            "consented to by any user in the tenant. You might have sent your authentication request to "
            "the wrong "
            "tenant.",
        )

    def error(self, error: ServiceError) -> Reply:
        """Write a refusal in the token endpoint's envelope."""
        stamp = graph_time(self._state.clock.now()).replace("T", " ")
        trace, correlation = new_id(), new_id()
        number = int(re.sub(r"\D", "", error.message.partition(":")[0]) or 0)
        body = {
            "error": error.code,
            "error_description": f"{error.message} Trace ID: {trace} Correlation ID: {correlation} "
            f"Timestamp: {stamp}",
            "error_codes": [number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        }
        code = error.message.partition(":")[0] if number else error.code
        return Reply(error.status, body, error.headers, code=code, detail=error.detail)


def _refuse(status: int, code: str, number: int, message: str) -> ServiceError:
    return ServiceError(status, code, f"AADSTS{number}: {message}")


def _required(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise _refuse(
            400,
            "invalid_request",
            900144,
            f"The request body must contain the following parameter: '{name}'.",
        )
    return form[name]


def _matching(credentials: list[FederatedCredential], claims: dict[str, Any]) -> FederatedCredential:
    """Find the credential for an assertion: issuer first, then subject, then audience; every comparison
    exact.
    """
    audiences = claims.get("aud", [])
    audiences = [audiences] if isinstance(audiences, str) else audiences
    issued = [c for c in credentials if c.issuer == claims.get("iss")]
    about = [c for c in issued if c.subject == claims.get("sub")]
    for credential in about:
        if credential.audience in audiences:
            return credential
    if about:
        number, what, value = 700212, "audience", ", ".join(audiences)
    elif issued:
        number, what, value = 700213, "subject", str(claims.get("sub"))
    else:
        number, what, value = 700211, "issuer", str(claims.get("iss"))
    raise _refuse(
        401,
        "invalid_client",
        number,
        f"No matching federated identity record found for presented assertion {what} '{value}'. Check your "
        "federated "
        "identity credential Subject, Audience and Issuer against the presented assertion. "
        "https://learn.microsoft.com/entra/workload-id/workload-identity-federation",
    )


def _signed_by(jwks: dict[str, object], header: dict[str, Any], assertion: str) -> bool:
    keys = jwt.PyJWKSet.from_json(json.dumps(jwks)).keys
    wanted = header.get("kid")
    for key in keys:
        if wanted is not None and key.key_id not in (None, wanted):
            continue
        try:
            options: Any = {
                "verify_aud": False,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            }
            jwt.decode(assertion, key, algorithms=["RS256", "ES256"], options=options)
        except jwt.PyJWTError:
            continue
        return True
    return False
