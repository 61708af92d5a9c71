"""Kubeconfig files: for clients of the API server, and for it as a client of webhooks."""

import base64
import os
from pathlib import Path
from typing import Any

import yaml

from entra_sandbox.local.certs import KeyPair
from entra_sandbox.local.commands import Webhook


def for_certificate(file: Path, url: str, ca_file: Path, pair: KeyPair) -> None:
    """Write a kubeconfig that signs in with a client certificate; all is inside, so the file can be moved."""
    user = {"client-certificate-data": _inline(pair.cert), "client-key-data": _inline(pair.key)}
    _write(file, _cluster(url, ca_file), user, None)


def for_token(file: Path, url: str, ca_file: Path, token: str, namespace: str | None = None) -> None:
    """Write a kubeconfig that signs in with a bearer token."""
    _write(file, _cluster(url, ca_file), {"token": token}, namespace)


def for_webhook(file: Path, webhook: Webhook) -> None:
    """Write the file that tells the API server where a webhook is."""
    _write(file, _cluster(webhook.url, webhook.ca_file), {}, None)


def _cluster(url: str, ca_file: Path) -> dict[str, str]:
    return {"server": url, "certificate-authority-data": _inline(ca_file)}


def _inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _write(file: Path, cluster: dict[str, str], user: dict[str, str], namespace: str | None) -> None:
    """Write the file at once, so that nobody reads half of it, and readable by its owner only."""
    context = {"cluster": "local", "user": "local"} | ({"namespace": namespace} if namespace else {})
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "local", "user": user}],
        "contexts": [{"name": "local", "context": context}],
        "current-context": "local",
    }
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        yaml.safe_dump(content, output, sort_keys=False)
    partial.replace(file)
