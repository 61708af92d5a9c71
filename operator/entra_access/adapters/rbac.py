"""Kubernetes: Roles and bindings by server-side apply, status, finalizers, events."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from kubernetes.aio.client import ApiClient, ApiException, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from entra_access.adapters.rbac_dry_run import Objection, Written, dry_run
from entra_access.adapters.rbac_faults import translated
from entra_access.api.names import (
    ANNOTATION_ADOPTED,
    ANNOTATION_APPLIED,
    ANNOTATION_HOLDER,
    EVENT,
    FIELD_MANAGER,
    GROUP,
    LABEL_MANAGED_BY,
    LABEL_OWNER_KIND,
    LABEL_OWNER_NAME,
    LABEL_OWNER_UID,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    USER_AGENT,
    Kind,
)
from entra_access.api.resources import AdoptionPolicy, Meta
from entra_access.domain.children import (
    AGGREGATION,
    Child,
    ChildRef,
    fingerprint,
    holder_reference,
    not_made_here,
    seen_child,
    was_made_here,
)
from entra_access.domain.faults import Changed, Missing, Taken

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
JSON: Final = "application/json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
TIMEOUT: Final = 30.0
Body = dict[str, Any]


class Kubernetes:
    """The calls that the operator makes to the API server. Each raises `Fault` and nothing else."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._client.user_agent = USER_AGENT

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the client is half typed

    async def cluster_uid(self) -> str:
        """The UID of the kube-system namespace, by which clusters are told apart."""
        body = await self._call(
            "GET", path_of(NAMESPACE, None, "kube-system"), "read the kube-system namespace"
        )
        return str(body["metadata"]["uid"])

    async def apply_child(
        self,
        child: Child,
        group_id: str | None,
        uid: str | None,
        adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
    ) -> Body:
        """Make a Role or binding as it should be.

        With a `uid` it must still be that object, and by server-side apply what another hand set is
        overruled. Without one it must be new: an apply would take over whatever has that name already, which
        only `adoption` allows; the answer has no owner of ours then.

        Raises
        ------
        Taken
            An object of that name is there and is not ours.
        Changed
            The object with that UID is gone.
        """
        manifest = child.manifest(group_id)
        ref = child.ref
        if uid and child.joins:
            return await self._merge_owner(ref, uid, child.owner_reference(), f"add an owner of {ref}")
        if uid:
            manifest["metadata"]["uid"] = uid
            path = path_of(ref.kind, ref.namespace, ref.name)
            body = await self._apply(path, manifest, f"apply {ref}")
            return body if child.owned else await self._disown(ref, body)
        query = [("fieldManager", FIELD_MANAGER)]
        try:
            path = path_of(ref.kind, ref.namespace, None)
            return await self._call(
                "POST", path, f"create {ref}", query=query, body=manifest, accept=_accept(ref.kind)
            )
        except Changed:
            return await self._apply_over(child, manifest, group_id, adoption)

    async def _apply_over(
        self, child: Child, manifest: Body, group_id: str | None, adoption: AdoptionPolicy
    ) -> Body:
        """There is an object of that name: go on with it where it is ours, else refuse.

        It can be ours although it was not seen: the watch is late, or another hand took our label away.
        """
        ref = child.ref
        path = path_of(ref.kind, ref.namespace, ref.name)
        found = await self._call("GET", path, f"read {ref}", accept=_accept(ref.kind))
        there = found["metadata"]
        owners = {owner.get("uid") for owner in there.get("ownerReferences", ())}
        # An ownerReference can be written by anybody; one with another roleRef was not made here as it is.
        other_role = "roleRef" in found and found["roleRef"] != manifest.get("roleRef")
        if child.owner.uid not in owners and not other_role and _may_adopt(child, found, group_id, adoption):
            adopted = replace(child, adopted=True).manifest(group_id)
            adopted["metadata"]["uid"] = there["uid"]
            return await self._apply(path, adopted, f"adopt {ref}")
        if child.owner.uid not in owners or other_role:
            if ref.kind is SERVICE_ACCOUNT and was_made_here(found):
                raise Changed(f"{ref} was made for another policy a moment ago")
            raise Taken(not_made_here(ref, found))
        if ref.kind is SECRET:
            return found  # there is nothing in it that could be put right
        manifest["metadata"]["uid"] = there["uid"]
        return await self._apply(path, manifest, f"apply {ref}")

    async def _disown(self, ref: ChildRef, body: Body) -> Body:
        """Take our ownerReferences off: an apply leaves those that were made by POST."""
        meta = body["metadata"]
        owners = meta.get("ownerReferences", ())
        others = [one for one in owners if not _is_of_ours(one)]
        if len(others) == len(owners):
            return body
        patch = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        return await self._call(
            "PATCH",
            path_of(ref.kind, ref.namespace, ref.name),
            f"take the owner off {ref}",
            body={"metadata": {**patch, "ownerReferences": others or None}},
            content_type=MERGE,
        )

    async def delete_child(self, ref: ChildRef, uid: str) -> None:
        """Delete a Role or binding if it still has that UID. One that is gone counts as deleted."""
        body = {"preconditions": {"uid": uid}}
        path = path_of(ref.kind, ref.namespace, ref.name)
        try:
            await self._call("DELETE", path, f"delete {ref}", body=body, accept=_accept(ref.kind))
        except (Missing, Changed):
            return

    async def release_child(self, ref: ChildRef, uid: str) -> None:
        """Take off all that makes it ours, if it still has that UID: it stays when its resource goes.

        So does a Namespace that the operator made an owner of it, so that it would stay until now.
        """
        body = await self.get(ref.kind, ref.namespace, ref.name)
        if body is None or body["metadata"]["uid"] != uid:
            return
        meta = body["metadata"]
        labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
        holder = annotations.get(ANNOTATION_HOLDER, "")
        owners = [one for one in meta.get("ownerReferences", ()) if not _is_of_ours(one)]
        others = [one for one in owners if (one.get("kind"), one.get("uid")) != (NAMESPACE.kind, holder)]
        ours = {
            LABEL_MANAGED_BY,
            LABEL_OWNER_KIND,
            LABEL_OWNER_NAME,
            LABEL_OWNER_UID,
            ANNOTATION_APPLIED,
            ANNOTATION_ADOPTED,
            ANNOTATION_HOLDER,
        }
        patch = {
            "metadata": {
                "uid": uid,
                "resourceVersion": meta["resourceVersion"],
                "labels": {key: None for key in labels if key in ours},
                "annotations": {key: None for key in annotations if key in ours},
                "ownerReferences": others or None,
            }
        }
        path = path_of(ref.kind, ref.namespace, ref.name)
        try:
            await self._call(
                "PATCH", path, f"release {ref}", body=patch, content_type=MERGE, accept=_accept(ref.kind)
            )
        except Missing:
            return

    async def leave_account(self, ref: ChildRef, uid: str, owner_uid: str) -> Body | None:
        """Take one resource out of the owners of an account. None: it is not that object any more."""
        try:
            gone = {"$patch": "delete", "uid": owner_uid}
            return await self._merge_owner(ref, uid, gone, f"take an owner from {ref}")
        except (Missing, Changed):
            return None

    async def hold_child(self, ref: ChildRef, uid: str, holder: str, *, holds: bool) -> Body:
        """Make its Namespace an owner of an object, or none any more; an annotation tells that we did.

        Raises
        ------
        Missing, Changed
            The object with that UID is gone.
        """
        gone = {"$patch": "delete", "uid": holder} if holder else None
        owner = holder_reference(ref, holder) if holds else gone
        note = {"annotations": {ANNOTATION_HOLDER: holder if holds else None}}
        return await self._merge_owner(ref, uid, owner, f"change the owners of {ref}", note)

    async def _merge_owner(
        self, ref: ChildRef, uid: str, owner: Body | None, doing: str, more: Body | None = None
    ) -> Body:
        """Change one of the owners of an object that has that UID still; Kubernetes merges them by UID."""
        owners = {"ownerReferences": [owner]} if owner else {}
        body = {"metadata": {"uid": uid, **owners, **(more or {})}}
        path, query = path_of(ref.kind, ref.namespace, ref.name), [("fieldManager", FIELD_MANAGER)]
        return await self._call(
            "PATCH", path, doing, query=query, body=body, content_type=STRATEGIC, accept=_accept(ref.kind)
        )

    async def apply_status(self, meta: Meta, status: Mapping[str, Any]) -> Body:
        """Write the status as a whole; conditions of others on the same object stay.

        Raises
        ------
        Missing
            The resource is gone.
        """
        manifest = {
            "apiVersion": meta.kind.api_version,
            "kind": meta.kind.kind,
            "metadata": {"name": meta.name, "uid": meta.uid},
            "status": status,
        }
        path = f"{path_of(meta.kind, meta.namespace, meta.name)}/status"
        return await self._apply(path, manifest, f"write the status of {meta}")

    async def replace_status(self, meta: Meta, body: Mapping[str, Any], status: Mapping[str, Any]) -> Body:
        """Write the status in the place of all that is there, also what other hands put into it.

        `body` is the resource as it was read last.

        Raises
        ------
        Changed
            It has changed since.
        """
        path = f"{path_of(meta.kind, meta.namespace, meta.name)}/status"
        query = [("fieldManager", FIELD_MANAGER)]
        whole = {**body, "status": dict(status)}
        return await self._call("PUT", path, f"replace the status of {meta}", query=query, body=whole)

    async def set_finalizers(self, meta: Meta, finalizers: tuple[str, ...]) -> Body:
        """Set the finalizers, if the resource has not changed since it was read.

        Raises
        ------
        Changed
            It has changed.
        """
        body = {"metadata": {"finalizers": list(finalizers), "resourceVersion": meta.resource_version}}
        path = path_of(meta.kind, meta.namespace, meta.name)
        return await self._call("PATCH", path, f"set the finalizers of {meta}", body=body, content_type=MERGE)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        """The object as it is now, or None. Of a Secret, its metadata only."""
        path = path_of(kind, namespace, name)
        try:
            return await self._call("GET", path, f"read {kind.kind} {name}", accept=_accept(kind))
        except Missing:
            return None

    async def list_all(self, kind: Kind, selector: str | None = None, *, latest: bool = False) -> list[Body]:
        """All objects of the kind, from the API server's cache; `latest`: as they are at this moment."""
        query = [] if latest else [("resourceVersion", "0")]
        query += [("labelSelector", selector)] if selector else []
        answer = await self._call("GET", path_of(kind, None, None), f"list {kind.plural}", query=query)
        return list(answer["items"])

    async def schema(self, kind: Kind) -> Body:
        """What an object of the kind can hold, as the API server tells it: a schema of OpenAPI 3."""
        path = f"/openapi/v3/apis/{kind.group}/{kind.version}"
        answer = await self._call("GET", path, f"read the schema of {kind.kind}")
        schemas = answer.get("components", {}).get("schemas", {}).values()
        wanted = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        ours = (one for one in schemas if wanted in one.get("x-kubernetes-group-version-kind", ()))
        return next(ours, {})

    async def objections(
        self, kind: Kind, namespace: str | None, name: str | None, body: Written
    ) -> tuple[Objection, ...]:
        """Why the API server would not take a new object, or a JSON patch of the one of that name.

        It is a dry run: nothing is kept.

        Raises
        ------
        Missing
            There is no such namespace, or no such object.
        Denied
            Whoever asks may not write it, and so may not ask either.
        """
        path = path_of(kind, namespace, name)
        return await dry_run(self._call, kind, namespace, path, body)

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Record a Kubernetes Event."""
        await self._call("POST", path_of(EVENT, namespace, None), "record an event", body=dict(event))

    async def _apply(self, path: str, manifest: Body, doing: str) -> Body:
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._call("PATCH", path, doing, query=query, body=manifest, content_type=APPLY)

    async def _call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Written | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Body:
        """One request. The generated methods would build models of what is read as plain JSON here."""
        async with translated(doing):
            request = await self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params={"Accept": accept, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*request, _request_timeout=TIMEOUT)
            data: bytes = await answer.read()  # type: ignore[no-untyped-call]  # likewise
            if not 200 <= answer.status <= 299:
                raise ApiException.from_response(
                    http_resp=answer, body=data.decode(errors="replace"), data=None
                )
            found: Body = json.loads(data)
            return found
        raise AssertionError("unreachable")  # pragma: no cover - the block above returns or raises


def _accept(kind: Kind) -> str:
    """What is asked for: what a Secret holds is none of the operator's business."""
    return METADATA if kind is SECRET else JSON


def _may_adopt(child: Child, found: Body, group_id: str | None, adoption: AdoptionPolicy) -> bool:
    """Whether something that is there already may be taken over. What is another resource's may not."""
    ours = any(_is_of_ours(one) for one in found["metadata"].get("ownerReferences", ()))
    labels = found["metadata"].get("labels") or {}
    if ours or labels.get(LABEL_MANAGED_BY) == FIELD_MANAGER or child.ref.kind in {SECRET, SERVICE_ACCOUNT}:
        return False  # and an account that was there is used as it is
    if found.get(AGGREGATION):
        return False  # its rules are gathered from other ClusterRoles, whatever is written into it
    if adoption is AdoptionPolicy.IF_IDENTICAL:
        seen = seen_child(child.ref.kind, found).content
        return fingerprint(seen) == fingerprint(child.content(group_id))
    return adoption is AdoptionPolicy.ALWAYS


def _is_of_ours(owner: Mapping[str, Any]) -> bool:
    return str(owner.get("apiVersion", "")).startswith(f"{GROUP}/")


def path_of(kind: Kind, namespace: str | None, name: str | None) -> str:
    """The URL path of an object, or of all of its kind."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{where}/{kind.plural}" + (f"/{name}" if name else "")


async def connect(kubeconfig: str | None = None) -> Kubernetes:
    """Connect by the kubeconfig file, or else as the pod's service account, or else by KUBECONFIG.

    Raises
    ------
    ConfigException
        There is neither.
    """
    configuration = Configuration()
    if not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # the client is half typed
    else:
        await load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = 64
    return Kubernetes(ApiClient(configuration))
