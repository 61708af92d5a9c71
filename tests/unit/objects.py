"""The objects in the cluster of a world in memory, and how calls to its services fail."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from entra_access.adapters.rbac_dry_run import Objection
from entra_access.api.names import (
    ANNOTATION_ACCOUNT_UID,
    ANNOTATION_HOLDER,
    GRANT,
    POLICY,
    SERVICE_ACCOUNT,
    Kind,
)
from entra_access.api.resources import AdoptionPolicy
from entra_access.domain.children import Child, ChildRef, holder_reference, is_ours
from entra_access.domain.faults import Changed, Fault, Unavailable
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import NOW, body_of

LOST: Final = Unavailable("no answer")


class DeadError(Exception):
    """The operator died."""


class Calls:
    """What is called, and what fails.

    `faults`: what a call fails with, by its name or, for a reading of one object, by that; `lost`: calls that
    take effect and do not answer; `writes`: all that were made.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.lost: set[str] = set()
        self.writes: list[tuple[str, str]] = []
        self.version = 100

    def written(self, what: str) -> list[str]:
        """What was written by calls of that name."""
        return [detail for name, detail in self.writes if name == what]

    def _write(self, name: str, detail: str) -> None:
        fault = self.faults.get(name)
        if fault and name not in self.lost:
            raise fault
        self.writes.append((name, detail))

    def _answer(self, name: str) -> None:
        if name in self.lost:
            raise self.faults.get(name, LOST)

    def _read(self, name: str) -> None:
        if name in self.faults:
            raise self.faults[name]

    def _versioned(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        return {**body, "metadata": metadata}


class Objects(Calls):
    """The cluster.

    `objects`: what was made in it, or was there; `hides`: those of them that a reading does not show;
    `deaths`: children with which the operator dies when they are made; `due`: who is to be looked at;
    `foreground`: the UIDs of resources that wait for Kubernetes to collect what they own; `objects_to`: what
    the API server has against resources, by name; `tried`: what it was asked about.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[ChildRef, dict[str, Any]] = {}
        self.hides: set[ChildRef] = set()
        self.deaths: set[str] = set()
        self.due: set[Key] = set()
        self.foreground: set[str] = set()
        self.cache = WatchCache()
        self.tried: list[tuple[str | None, Any]] = []
        self.objects_to: dict[str, tuple[Objection, ...]] = {}

    # What the operator does

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Mapping[str, Any] | None:
        ref = ChildRef(kind, namespace, name)
        self._read(str(ref))
        if ref in self.hides:
            return None
        return self.cache.resource(Key(kind.kind, namespace, name)) or self.objects.get(ref)

    async def objections(
        self, _kind: Kind, _namespace: str | None, name: str | None, body: Any
    ) -> tuple[Objection, ...]:
        """What `objects_to` says of the object of that name; a new one has it in itself."""
        self._read("objections")
        self.tried.append((name, body))
        return self.objects_to.get(name or body["metadata"]["name"], ())

    async def apply_child(
        self, child: Child, group_id: str | None, uid: str | None, adoption: Any = AdoptionPolicy.NEVER
    ) -> dict[str, Any]:
        old = self.objects.get(child.ref)
        if old and not uid and adoption is not AdoptionPolicy.NEVER and not is_ours(old):
            child, uid = replace(child, adopted=True), old["metadata"]["uid"]
        if uid and (old is None or old["metadata"]["uid"] != uid):
            raise Changed("another one")
        if not uid and old and child.owner.uid not in _owners(old):
            raise Changed("made for another")
        self._write("child", str(child.ref))
        if child.joins:
            assert old
            return self._owned(child.ref, {**_owners(old), child.owner.uid: child.owner_reference()})
        body = body_of(child, group_id)
        body["metadata"]["uid"] = old["metadata"]["uid"] if old else f"uid-{self.version}"
        if old and child.owned:
            refs = {**_owners(old), **_owners(body)}
            body["metadata"]["ownerReferences"] = list(refs.values())
            held = (old["metadata"].get("annotations") or {}).get(ANNOTATION_HOLDER)
            body["metadata"]["annotations"] |= {ANNOTATION_HOLDER: held} if held else {}
        if child.account:
            account = self.objects[ChildRef(SERVICE_ACCOUNT, child.ref.namespace, child.account)]
            body["metadata"]["annotations"][ANNOTATION_ACCOUNT_UID] = account["metadata"]["uid"]
        self.objects[child.ref] = self._versioned(body)
        if str(child.ref) in self.deaths:
            self.deaths.remove(str(child.ref))
            raise DeadError
        return self.objects[child.ref]

    async def delete_child(self, ref: ChildRef, uid: str) -> None:
        self._write("delete_child", str(ref))
        if ref in self.objects and self.objects[ref]["metadata"]["uid"] == uid:
            del self.objects[ref]

    async def release_child(self, ref: ChildRef, uid: str) -> None:
        self._write("release", str(ref))
        metadata = self.objects[ref]["metadata"]
        assert metadata["uid"] == uid
        plain = {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
        self.objects[ref] = self._versioned({**self.objects[ref], "metadata": plain})

    async def leave_account(self, ref: ChildRef, uid: str, owner_uid: str) -> dict[str, Any]:
        self._write("leave", str(ref))
        owners = _owners(self.objects[ref])
        assert self.objects[ref]["metadata"]["uid"] == uid
        del owners[owner_uid]
        return self._owned(ref, owners)

    async def hold_child(self, ref: ChildRef, uid: str, holder: str, *, holds: bool) -> dict[str, Any]:
        self._write("hold", f"{'+' if holds else '-'} {ref}")
        metadata = self.objects[ref]["metadata"]
        assert metadata["uid"] == uid
        annotations = {**(metadata.get("annotations") or {}), ANNOTATION_HOLDER: holder if holds else None}
        kept = {key: value for key, value in annotations.items() if value}
        self.objects[ref] = {**self.objects[ref], "metadata": {**metadata, "annotations": kept}}
        owners = _owners(self.objects[ref])
        owners.pop(holder, None)
        return self._owned(ref, {**owners, **({holder: holder_reference(ref, holder)} if holds else {})})

    def _owned(self, ref: ChildRef, owners: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """The object with other owners."""
        old = self.objects[ref]
        metadata = {**old["metadata"], "ownerReferences": list(owners.values())}
        self.objects[ref] = self._versioned({**old, "metadata": metadata})
        return self.objects[ref]

    # What others do

    def edit(self, ref: ChildRef, by: str, **content: Any) -> None:
        """Another hand changes what an object of ours says."""
        body = copy.deepcopy(self.objects[ref]) | content
        fields: dict[str, Any] = {f"f:{name}": {} for name in content}
        body["metadata"]["managedFields"].append({"manager": by, "time": NOW, "fieldsV1": fields})
        self.objects[ref] = self._versioned(body)
        self.cache.put(ref.kind, self.objects[ref])

    def take(self, ref: ChildRef) -> None:
        """Another hand deletes an object of ours."""
        del self.objects[ref]
        self.cache.drop(ref.kind, ref.namespace, ref.name)

    def ours(self, kind: Kind) -> list[ChildRef]:
        """The objects of a kind, by name."""
        return sorted((ref for ref in self.objects if ref.kind is kind), key=lambda ref: ref.path)

    def collect(self) -> None:
        """Kubernetes drops owners that are gone, and what has none left; the watch shows that.

        So it does with owners that are deleted in the foreground, while they are still there.
        """
        there = [self.cache.resource(key) for kind in (POLICY, GRANT) for key in self.cache.keys(kind)]
        uids = {body["metadata"]["uid"] for body in there if body} - self.foreground
        uids |= {one.uid for one in self.cache.namespaces.values()}
        for ref, body in list(self.objects.items()):
            owners = _owners(body)
            left = {uid: one for uid, one in owners.items() if uid in uids}
            if owners and not left:
                del self.objects[ref]
                self.due |= self.cache.drop(ref.kind, ref.namespace, ref.name, body["metadata"]["uid"])
            elif left != owners:
                self.due |= self.cache.put(ref.kind, self._owned(ref, left))

    def watch(self) -> None:
        """The watch shows what there is, but for Secrets, which no watch shows."""
        for ref, body in self.objects.items():
            if is_ours(body):
                self.due |= self.cache.put(ref.kind, body)

    def put_object(self, ref: ChildRef, **metadata: Any) -> None:
        """Somebody makes an object that is none of the operator's."""
        self.objects[ref] = self._versioned(
            {
                "metadata": {
                    "name": ref.name,
                    "namespace": ref.namespace,
                    "uid": f"foreign-{ref.name}",
                    **metadata,
                }
            }
        )

    def there(self, kind: Kind) -> list[str]:
        """The objects of a kind, as namespace/name."""
        return sorted(ref.path for ref in self.objects if ref.kind is kind)


def _owners(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The ownerReferences by UID."""
    return {one["uid"]: one for one in body["metadata"].get("ownerReferences", ())}
