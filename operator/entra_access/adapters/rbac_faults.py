"""What goes wrong with a call to the API server, in our words."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from kubernetes.aio.client import ApiException

from entra_access.domain.faults import Changed, Denied, Fault, Missing, Rejected, Throttled, Unavailable

SERVICE: Final = "the Kubernetes API server"


@asynccontextmanager
async def translated(doing: str) -> AsyncIterator[None]:
    """The one place where what the client raises becomes ours."""
    try:
        yield
    except ApiException as error:
        raise _fault(error, doing) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unavailable(f"cannot reach {SERVICE} to {doing}: {type(error).__name__}") from error


def _fault(error: ApiException, doing: str) -> Fault:
    status = error.status or 0
    if status == 404:
        return Missing(f"not there when asked to {doing}")
    if status == 409:
        return Changed(f"it changed while it was to {doing}")
    if status == 403:
        reason = _reason(error)
        if "being terminated" in reason:
            return Unavailable(f"the namespace is being deleted; it was to {doing}")
        return Denied(
            f"the operator's service account may not {doing}: compare its ClusterRole with manifests/"
        )
    if status == 429:
        return Throttled(f"{SERVICE} is throttling; it was to {doing}")
    if status == 401 or status >= 500 or not status:
        return Unavailable(f"{SERVICE} answered {status} when asked to {doing}")
    return Rejected(f"{SERVICE} will not {doing} ({status})")


def _reason(error: ApiException) -> str:
    """The API server's own words, for telling cases apart, never for showing."""
    try:
        return str(json.loads(error.body or "{}").get("message", ""))
    except ValueError:
        return ""
