"""What the API server has when a file is applied, as kubectl applies it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from entra_access.api.manifests import Manifest
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_resource
from entra_access.api.times import stamp
from entra_access.reconcile.cache import Body

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def _texts(manifest: Manifest, key: str) -> dict[str, str]:
    return dict(manifest.body["metadata"].get(key) or {})


def laid_over(there: Mapping[str, Any], manifest: Manifest, key: str) -> dict[str, str]:
    """Labels or annotations after the file is applied: what it had before and has not now goes.

    Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config
    """
    said = (there.get("annotations") or {}).get(_LAST_APPLIED, "")
    try:
        before = json.loads(said)["metadata"].get(key) or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        before = {}  # it was never applied by kubectl
    wished = _texts(manifest, key)
    kept = {name: value for name, value in (there.get(key) or {}).items() if name not in before}
    return {**kept, **wished}


def applied(manifest: Manifest, old: Body | None, now: datetime) -> Body:
    """The resource as the API server has it when the file is applied."""
    spec = manifest.body.get("spec")
    if old is None:
        meta: dict[str, Any] = {"name": manifest.name, "uid": made_up(manifest), "generation": 1}
        meta |= {"creationTimestamp": stamp(now), "resourceVersion": "1"}
        meta |= {"namespace": manifest.namespace} if manifest.namespace else {}
        old = {"apiVersion": manifest.kind.api_version, "kind": manifest.kind.kind, "metadata": meta}
    else:
        meta = {**old["metadata"], "resourceVersion": next_version(old["metadata"]["resourceVersion"])}
        meta["generation"] = int(meta.get("generation", 0)) + (not _same_wish(old, spec))
    for key in ("labels", "annotations"):
        meta[key] = laid_over(meta, manifest, key)
    if (old.get("spec") or {}).get("expiresAt") != (spec or {}).get("expiresAt"):
        # How long a grant may last is counted from when its time was written.
        written = {"manager": "preview", "time": stamp(now), "fieldsV1": {"f:spec": {"f:expiresAt": {}}}}
        meta["managedFields"] = [written]
    return {**old, "metadata": meta, "spec": spec}


def as_patch(body: Body) -> list[dict[str, Any]]:
    """What makes an object that is there so, as a JSON patch: all that a file can say of it."""
    meta = body["metadata"]
    values = {"/metadata/labels": meta["labels"], "/metadata/annotations": meta["annotations"]}
    values["/spec"] = body["spec"]
    return [{"op": "add", "path": path, "value": value} for path, value in values.items()]


def _same_wish(old: Body, spec: object) -> bool:
    """Whether both mean the same: the API server has written defaults into what it has."""
    try:
        return read_resource(old) == read_resource({**old, "spec": spec})
    except InvalidFieldError:
        return False


def made_up(manifest: Manifest) -> str:
    """A UID for what is not there yet: no UID of Kubernetes has spaces."""
    return f"of the new {manifest}"


def next_version(version: str) -> str:
    """A resource version that is later."""
    return str(int(version) + 1)
