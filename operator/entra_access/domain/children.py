"""Roles and bindings that the operator makes: as they should be, as they are, and who made them differ."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from entra_access.api.names import (
    ANNOTATION_APPLIED,
    FIELD_MANAGER,
    GROUP,
    LABEL_MANAGED_BY,
    LABEL_OWNER_KIND,
    LABEL_OWNER_NAME,
    LABEL_OWNER_UID,
    RBAC_API,
    ROLE,
    Kind,
)
from entra_access.api.resources import Meta, Rule
from entra_access.api.status import DriftItem, System
from entra_access.domain.naming import digest

MAX_WORDS: Final = 500


@dataclass(frozen=True)
class ChildRef:
    """Which object."""

    kind: Kind
    namespace: str | None
    name: str

    @property
    def path(self) -> str:
        """``namespace/name``, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.path}"


@dataclass(frozen=True)
class Child:
    """A Role or a binding as it should be.

    A binding's subject is the Entra group `group_id`. None stands for the group that the same plan makes.
    """

    ref: ChildRef
    owner: Meta
    rules: tuple[Rule, ...] = ()
    role_kind: str = ""
    role: str = ""
    group_id: str | None = None

    def content(self, group_id: str | None = None) -> dict[str, Any]:
        """The part that gives access: the rules, or the roleRef and the subjects."""
        if self.ref.kind is ROLE:
            return {"rules": [rule.as_dict() for rule in self.rules]}
        return {
            "roleRef": {"apiGroup": RBAC_API, "kind": self.role_kind, "name": self.role},
            "subjects": [{"apiGroup": RBAC_API, "kind": "Group", "name": self.group_id or group_id}],
        }

    def labels(self) -> dict[str, str]:
        """The labels by which the operator finds its own."""
        return {
            LABEL_MANAGED_BY: FIELD_MANAGER,
            LABEL_OWNER_KIND: self.owner.kind.kind,
            LABEL_OWNER_NAME: self.owner.name,
            LABEL_OWNER_UID: self.owner.uid,
        }

    def manifest(self, group_id: str | None = None) -> dict[str, Any]:
        """The whole object, for server-side apply."""
        content = self.content(group_id)
        metadata = {
            "name": self.ref.name,
            "labels": self.labels(),
            "annotations": {ANNOTATION_APPLIED: fingerprint(content)},
            "ownerReferences": [
                {
                    "apiVersion": self.owner.kind.api_version,
                    "kind": self.owner.kind.kind,
                    "name": self.owner.name,
                    "uid": self.owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        }
        if self.ref.namespace:
            metadata["namespace"] = self.ref.namespace
        return {
            "apiVersion": self.ref.kind.api_version,
            "kind": self.ref.kind.kind,
            "metadata": metadata,
            **content,
        }


@dataclass(frozen=True)
class SeenChild:
    """A Role or a binding as it is."""

    ref: ChildRef
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    applied: str
    owners: tuple[tuple[str, str, str], ...]  # kind, name and UID of ours among the ownerReferences
    content: Mapping[str, Any]
    managers: tuple[Mapping[str, Any], ...] = field(compare=False)

    @property
    def owner_key(self) -> tuple[str, str | None, str]:
        """Kind, namespace and name of the resource that it was made for.

        By the ownerReference, and by the labels where that was taken away.
        """
        labels = (self.labels.get(LABEL_OWNER_KIND, ""), self.labels.get(LABEL_OWNER_NAME, ""))
        kind, name = self.owners[0][:2] if self.owners else labels
        return (kind, self.ref.namespace, name)


def seen_child(kind: Kind, body: Mapping[str, Any]) -> SeenChild:
    """Read a Role, RoleBinding or ClusterRoleBinding as the API server sent it."""
    meta = body["metadata"]
    content = {key: body.get(key) or [] for key in (("rules",) if kind is ROLE else ("roleRef", "subjects"))}
    return SeenChild(
        ref=ChildRef(kind, meta.get("namespace"), meta["name"]),
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        labels=meta.get("labels") or {},
        applied=(meta.get("annotations") or {}).get(ANNOTATION_APPLIED, ""),
        owners=tuple(
            (owner.get("kind", ""), owner.get("name", ""), owner.get("uid", ""))
            for owner in meta.get("ownerReferences", ())
            if str(owner.get("apiVersion", "")).startswith(f"{GROUP}/")
        ),
        content=content,
        managers=tuple(
            {"manager": m.get("manager"), "time": m.get("time", ""), "fields": m.get("fieldsV1", {})}
            for m in meta.get("managedFields", ())
            if m.get("manager") != FIELD_MANAGER
        ),
    )


def fingerprint(content: Mapping[str, Any]) -> str:
    """A hash of what gives access, the same for every order of the lists in it."""
    return digest(json.dumps(_ordered(content), sort_keys=True), 16)


def _ordered(value: object) -> object:
    """The value with its lists sorted: the order of rules and subjects means nothing in RBAC."""
    if isinstance(value, Mapping):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_ordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def differences(wanted: Child, seen: SeenChild, group_id: str | None) -> list[tuple[str, str, str]]:
    """The fields that are not as they should be: (field, expected, found)."""
    found = [
        (key, _short(_words(value)), _short(_words(seen.content.get(key))))
        for key, value in wanted.content(group_id).items()
        if _ordered(value) != _ordered(seen.content.get(key))
    ]
    found += [
        (f"metadata.labels[{key}]", value, seen.labels.get(key) or "none")
        for key, value in wanted.labels().items()
        if seen.labels.get(key) != value
    ]
    if wanted.owner.uid not in {uid for _, _, uid in seen.owners}:
        found.append(("metadata.ownerReferences", str(wanted.owner), "none of it"))
    return found


def _short(text: str) -> str:
    """Twenty of these must fit into a status, however long a Role is."""
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def _words(value: object) -> str:
    """A short form of a rule list, a roleRef or a subject list, for people."""
    if isinstance(value, Mapping):
        return (
            f"{value.get('kind')} {value.get('name')}"
            if "name" in value
            else json.dumps(value, sort_keys=True)
        )
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value) or "none"
    return str(value)


def drift_of(wanted: Child, seen: SeenChild, group_id: str | None) -> list[DriftItem]:
    """What another hand changed: differences to what was applied last, with who made each and when.

    A difference because something new is wished for is no drift: then the mark of what was applied last
    is not that of what is wanted now, and nobody else owns the field.
    """
    unchanged_wish = seen.applied == fingerprint(wanted.content(group_id))
    return [
        DriftItem(System.KUBERNETES, str(seen.ref), name, expected, found, *_changed_by(seen, name))
        for name, expected, found in differences(wanted, seen, group_id)
        if unchanged_wish or any(_owns(manager["fields"], name) for manager in seen.managers)
    ]


def _changed_by(seen: SeenChild, name: str) -> tuple[str, str]:
    """The field manager that last wrote the field, and when; else the one that last wrote anything."""
    owning = [m for m in seen.managers if _owns(m["fields"], name)]
    last = max(owning or seen.managers, key=lambda m: str(m["time"]), default=None)
    return (str(last["manager"]), str(last["time"])) if last else ("", "")


def _owns(fields: Mapping[str, Any], name: str) -> bool:
    path, _, key = name.partition("[")
    steps = [f"f:{step}" for step in path.split(".")] + ([f"f:{key.rstrip(']')}"] if key else [])
    for step in steps:
        if step not in fields:
            return False
        fields = fields[step]
    return True


def deleted_drift(ref: ChildRef, now: str) -> DriftItem:
    """The drift that is an object's deletion. Kubernetes does not record who deleted it."""
    return DriftItem(System.KUBERNETES, str(ref), "", "present", "deleted", "", now)


def by_ref(seen: Iterable[SeenChild]) -> dict[ChildRef, SeenChild]:
    """The children by what names them."""
    return {child.ref: child for child in seen}
