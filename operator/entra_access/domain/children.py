"""Roles and bindings that the operator makes: as they should be, as they are, and who made them differ."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from entra_access.api.names import (
    ANNOTATION_ACCOUNT,
    ANNOTATION_ADOPTED,
    ANNOTATION_APPLIED,
    ANNOTATION_HOLDER,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    FIELD_MANAGER,
    GRANT,
    GROUP,
    LABEL_MANAGED_BY,
    LABEL_OWNER_KIND,
    LABEL_OWNER_NAME,
    LABEL_OWNER_UID,
    NAMESPACE,
    POLICY,
    RBAC_API,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    TOKEN_TYPE,
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


AGGREGATION: Final = "aggregationRule"
OWNERS: Final = "metadata.ownerReferences"
NOT_AN_OWNER: Final = "none of it"
UNCHANGEABLE: Final = {"roleRef", AGGREGATION}
"""What an apply cannot put right: such an object is deleted and made again."""
ROLE_KINDS: Final = (ROLE, CLUSTER_ROLE)
_GOES: Final = (ROLE_BINDING, CLUSTER_ROLE_BINDING, ROLE, CLUSTER_ROLE, SECRET, SERVICE_ACCOUNT)
"""The order of deletion: a binding before the role that it refers to, a token before its account."""


@dataclass(frozen=True)
class RbacSubject:
    """Whom a binding is for. A Group without a name is the one that the same plan makes."""

    kind: str
    name: str = ""
    namespace: str = ""

    def as_dict(self, group_id: str | None) -> dict[str, str]:
        """The subject as Kubernetes writes it."""
        if self.kind == SERVICE_ACCOUNT.kind:
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"apiGroup": RBAC_API, "kind": self.kind, "name": self.name or group_id or ""}


@dataclass(frozen=True)
class Child:
    """A Role, a binding, a service account or its token as it should be. A binding has a `subject`.

    `account` is, for a token, the service account that it signs in. `adopted`: it was there before. `kept`:
    it is to stay when its resource goes. Nobody owns either, so that Kubernetes does not collect it. `joins`:
    it was made for another policy that wants it too, which looks after it; this one is only to be among its
    owners, so that it stays for it. `holder` is, for an account or token that is to stay, the UID of the
    Namespace, which is to be among its owners too: Kubernetes collects nothing that has one owner left.
    """

    ref: ChildRef
    owner: Meta
    rules: tuple[Rule, ...] = ()
    role_kind: str = ""
    role: str = ""
    subject: RbacSubject | None = None
    account: str = ""
    adopted: bool = False
    kept: bool = False
    joins: bool = False
    holder: str = ""

    @property
    def owned(self) -> bool:
        """Whether Kubernetes collects it with its resource."""
        return not (self.adopted or self.kept)

    def content(self, group_id: str | None = None) -> dict[str, Any]:
        """The part that gives access: the rules, or the roleRef and the subjects, or a token's type."""
        if self.ref.kind in ROLE_KINDS:
            return {"rules": [rule.as_dict() for rule in self.rules]}
        if self.subject:
            return {
                "roleRef": {"apiGroup": RBAC_API, "kind": self.role_kind, "name": self.role},
                "subjects": [self.subject.as_dict(group_id)],
            }
        return {"type": TOKEN_TYPE} if self.account else {}

    def mark(self, group_id: str | None = None) -> str:
        """A hash of what is wished for, by which a new wish is told from what another hand changed."""
        return fingerprint({**self.content(group_id), **({"kept": True} if self.kept else {})})

    def labels(self) -> dict[str, str]:
        """The labels by which the operator finds its own."""
        if self.joins:
            return {}
        return {
            LABEL_MANAGED_BY: FIELD_MANAGER,
            LABEL_OWNER_KIND: self.owner.kind.kind,
            LABEL_OWNER_NAME: self.owner.name,
            LABEL_OWNER_UID: self.owner.uid,
        }

    def owner_reference(self) -> dict[str, Any]:
        """The ownerReference to the resource that it is made for. An object has one controller at most."""
        return {
            "apiVersion": self.owner.kind.api_version,
            "kind": self.owner.kind.kind,
            "name": self.owner.name,
            "uid": self.owner.uid,
            "controller": not self.joins,
            "blockOwnerDeletion": False,
        }

    def owner_references(self) -> list[dict[str, Any]]:
        """All owners that it is to have for the sake of the resource that it is made for."""
        owners = [self.owner_reference()] if self.owned else []
        return [*owners, holder_reference(self.ref, self.holder)] if self.holder else owners

    def manifest(self, group_id: str | None = None) -> dict[str, Any]:
        """The whole object, for server-side apply."""
        content = self.content(group_id)
        metadata = {
            "name": self.ref.name,
            "labels": self.labels(),
            "annotations": {ANNOTATION_APPLIED: self.mark(group_id)}
            | ({ANNOTATION_ACCOUNT: self.account} if self.account else {})
            | ({ANNOTATION_ADOPTED: "true"} if self.adopted else {})
            | ({ANNOTATION_HOLDER: self.holder} if self.holder else {}),
            "ownerReferences": self.owner_references(),
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
    """A Role or a binding as it is.

    `held` is the UID of the Namespace that the operator made an owner of it, as its annotation says, and
    `holders` are those that are among its owners.
    """

    ref: ChildRef
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    applied: str
    owners: tuple[tuple[str, str, str], ...]  # kind, name and UID of ours; the controller comes first
    content: Mapping[str, Any]
    managers: tuple[Mapping[str, Any], ...] = field(compare=False)
    adopted: bool = False  # says its annotation, which anybody may write
    held: str = ""
    holders: frozenset[str] = frozenset()

    @property
    def owner_uids(self) -> frozenset[str]:
        """The UIDs of the resources that it was made for."""
        return frozenset(uid for _, _, uid in self.owners)

    @property
    def owner_key(self) -> tuple[str, str | None, str]:
        """Kind, namespace and name of the resource that it was made for.

        By the ownerReference, and by the labels where that was taken away.
        """
        labels = (self.labels.get(LABEL_OWNER_KIND, ""), self.labels.get(LABEL_OWNER_NAME, ""))
        kind, name = self.owners[0][:2] if self.owners else labels
        return (kind, None if kind == POLICY.kind else self.ref.namespace, name)


_CONTENT: Final = {
    ROLE: ("rules",),
    CLUSTER_ROLE: ("rules", AGGREGATION),
    ROLE_BINDING: ("roleRef", "subjects"),
    CLUSTER_ROLE_BINDING: ("roleRef", "subjects"),
}


def is_ours(body: Mapping[str, Any]) -> bool:
    """Whether it looks like something that we made: by its labels, or by an ownerReference to ours."""
    meta = body["metadata"]
    owners, labels = meta.get("ownerReferences", ()), meta.get("labels") or {}
    owner = labels.get(LABEL_OWNER_KIND) in {POLICY.kind, GRANT.kind} and labels.get(LABEL_OWNER_NAME)
    return (labels.get(LABEL_MANAGED_BY) == FIELD_MANAGER and bool(owner)) or any(
        str(owner.get("apiVersion", "")).startswith(f"{GROUP}/") for owner in owners
    )


def not_made_here(ref: ChildRef, body: Mapping[str, Any]) -> str:
    """What is wrong with an object of that name that is there already, and what to do."""
    if was_made_here(body):
        kind, name, _ = seen_child(ref.kind, body).owners[0]
        return f"{ref} is already there and was made for {kind} {name}; only one of them can have it"
    makers = ", ".join(sorted(_managers(body)))
    return f"{ref} is already there and was not made here (by {makers}); delete or rename it"


def was_made_here(body: Mapping[str, Any]) -> bool:
    """Whether the operator made it for a resource of ours. Anybody can write an ownerReference alone."""
    owners = body["metadata"].get("ownerReferences", ())
    owned = any(str(owner.get("apiVersion", "")).startswith(f"{GROUP}/") for owner in owners)
    return owned and FIELD_MANAGER in _managers(body)


def _managers(body: Mapping[str, Any]) -> set[str]:
    return {one.get("manager", "") for one in body["metadata"].get("managedFields", ())}


def order_of_going(ref: ChildRef) -> int:
    """What is deleted before what: the lower number first."""
    return _GOES.index(ref.kind)


def seen_child(kind: Kind, body: Mapping[str, Any]) -> SeenChild:
    """Read an object of a kind that we make, as the API server sent it."""
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    content = {
        key: body.get(key) or [] for key in _CONTENT.get(kind, ()) if key in body or key != AGGREGATION
    }
    return SeenChild(
        ref=ChildRef(kind, meta.get("namespace"), meta["name"]),
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        labels=meta.get("labels") or {},
        applied=annotations.get(ANNOTATION_APPLIED, ""),
        owners=tuple(
            (owner.get("kind", ""), owner.get("name", ""), owner.get("uid", ""))
            for owner in sorted(meta.get("ownerReferences", ()), key=lambda one: not one.get("controller"))
            if str(owner.get("apiVersion", "")).startswith(f"{GROUP}/")
        ),
        content=content,
        managers=tuple(
            {"manager": m.get("manager"), "time": m.get("time", ""), "fields": m.get("fieldsV1", {})}
            for m in meta.get("managedFields", ())
            if m.get("manager") != FIELD_MANAGER
        ),
        adopted=annotations.get(ANNOTATION_ADOPTED) == "true",
        held=annotations.get(ANNOTATION_HOLDER, ""),
        holders=frozenset(
            owner.get("uid", "")
            for owner in meta.get("ownerReferences", ())
            if (owner.get("apiVersion"), owner.get("kind")) == (NAMESPACE.api_version, NAMESPACE.kind)
        ),
    )


def holder_reference(ref: ChildRef, holder: str) -> dict[str, Any]:
    """The ownerReference to the Namespace with that UID, which an object is in."""
    return {
        "apiVersion": NAMESPACE.api_version,
        "kind": NAMESPACE.kind,
        "name": ref.namespace,
        "uid": holder,
        "controller": False,
        "blockOwnerDeletion": False,
    }


def is_shared(child: SeenChild, policy: str) -> bool:
    """Whether a service account is also another policy's than the one of that name.

    Of nothing else this is asked: whoever may edit a binding could keep it with one more owner.
    """
    others = (name for kind, name, _ in child.owners if kind == POLICY.kind)
    return child.ref.kind is SERVICE_ACCOUNT and any(name != policy for name in others)


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


def differences(wanted: Child, seen: SeenChild) -> list[tuple[str, str, str]]:
    """The fields that are not as they should be: (field, expected, found)."""
    found = [
        (key, _short(_words(value)), _short(_words(seen.content.get(key))))
        for key, value in wanted.content().items()
        if key != "type" and _ordered(value) != _ordered(seen.content.get(key))
    ]
    # Rules that Kubernetes gathers from elsewhere would take the place of ours.
    if seen.content.get(AGGREGATION):
        found.append((AGGREGATION, "none", _short(_words(seen.content[AGGREGATION]))))
    found += [
        (f"metadata.labels[{key}]", value, seen.labels.get(key) or "none")
        for key, value in wanted.labels().items()
        if seen.labels.get(key) != value
    ]
    if wanted.owned and wanted.owner.uid not in seen.owner_uids:
        found.append((OWNERS, str(wanted.owner), NOT_AN_OWNER))
    if not wanted.owned and seen.owners:
        found.append((OWNERS, "none", ", ".join(f"{kind} {name}" for kind, name, _ in seen.owners)))
    return found


def gives_all(wanted: Child, seen: SeenChild) -> bool:
    """Whether the one that is there gives all that is wanted; it may give more, or to more."""
    for key, value in wanted.content().items():
        there = _ordered(seen.content.get(key))
        parts = value if isinstance(value, list) else [value]
        if not all(_ordered(part) in (there if isinstance(there, list) else [there]) for part in parts):
            return False
    return True


def _short(text: str) -> str:
    """Twenty of these must fit into a status, however long a Role is."""
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def _words(value: object) -> str:
    """A short form of a rule list, a roleRef or a subject list, for people."""
    if isinstance(value, Mapping):
        return (
            f"{value.get('kind')} {value.get('name') or 'not made yet'}"
            if "name" in value
            else json.dumps(value, sort_keys=True)
        )
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value) or "none"
    return str(value)


def drift_of(wanted: Child, seen: SeenChild, *, joined: bool = False) -> list[tuple[DriftItem, bool]]:
    """The differences, and whether another hand made each; then with who did it and when.

    A difference because something new is wished for is no drift: then the mark of what was applied last
    is not that of what is wanted now, and nobody else owns the field. Nor is it when a shared account passes
    on to the next of its policies: then its labels are still those that were written for the one before.
    `joined`: the one that is to be among its owners has been that.
    """
    unchanged_wish = joined if wanted.joins else seen.applied == wanted.mark()
    found = []
    for name, expected, there in differences(wanted, seen):
        foreign = any(_owns(manager["fields"], name) for manager in seen.managers)
        foreign = foreign or (unchanged_wish and not _passed_on(wanted, name, there))
        by = changed_by(seen, name) if foreign else ("", "")
        found.append((DriftItem(System.KUBERNETES, str(seen.ref), name, expected, there, *by), foreign))
    return found


def _passed_on(wanted: Child, name: str, found: str) -> bool:
    """Whether it is a label of an account that tells of the policy which looked after it before."""
    return wanted.ref.kind is SERVICE_ACCOUNT and name.startswith("metadata.labels[") and found != "none"


def changed_by(seen: SeenChild, name: str) -> tuple[str, str]:
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


def by_ref(seen: Iterable[SeenChild]) -> dict[ChildRef, SeenChild]:
    """The children by what names them."""
    return {child.ref: child for child in seen}
