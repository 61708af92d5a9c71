"""The operator's identity: one credential for Graph and ARM, by workload identity or by client secret."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import ClientSecretCredential, WorkloadIdentityCredential


class IdentityIncompleteError(ValueError):
    """A setting is missing without which the operator has no identity."""


@dataclass(frozen=True)
class Identity:
    """How to sign in. Addresses are settings, because national clouds have their own.

    Attributes
    ----------
    authority
        As ``https://login.microsoftonline.com``.
    token_file
        Where Kubernetes writes the service account's token, for workload identity.
    ca_file
        A CA to trust instead of the system's; None for the system's.
    instance_discovery
        Whether the authority is checked with Microsoft's public list; not possible in a closed cloud.
    """

    tenant_id: str
    client_id: str
    authority: str
    token_file: str | None = None
    client_secret: str | None = None
    ca_file: str | None = None
    instance_discovery: bool = True


def make_credential(identity: Identity) -> AsyncTokenCredential:
    """The credential for both services. Whoever makes it closes it.

    Raises
    ------
    IdentityIncompleteError
        There is neither a token file nor a client secret.
    """
    verify: bool | str = identity.ca_file or True
    discovery = not identity.instance_discovery
    if identity.token_file:
        return WorkloadIdentityCredential(
            tenant_id=identity.tenant_id,
            client_id=identity.client_id,
            token_file_path=identity.token_file,
            authority=identity.authority,
            disable_instance_discovery=discovery,
            connection_verify=verify,
            retry_total=0,  # the queue retries, and says so in the status
        )
    if identity.client_secret:
        return ClientSecretCredential(
            identity.tenant_id,
            identity.client_id,
            identity.client_secret,
            authority=identity.authority,
            disable_instance_discovery=discovery,
            connection_verify=verify,
            retry_total=0,
        )
    raise IdentityIncompleteError(
        "no identity: set AZURE_FEDERATED_TOKEN_FILE (workload identity) or AZURE_CLIENT_SECRET"
    )


def trust(ca_file: str | None) -> ssl.SSLContext:
    """The TLS settings: the given CA, or the system's.

    Raises
    ------
    IdentityIncompleteError
        There are no certificates in the file.
    """
    if ca_file and not Path(ca_file).is_file():
        raise IdentityIncompleteError(f"ENTRA_ACCESS_CA_FILE names {ca_file}, which is not a file")
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        message = f"ENTRA_ACCESS_CA_FILE names {ca_file}, which is not a file of certificates in PEM"
        raise IdentityIncompleteError(message) from error
