"""The status of both kinds: what was made, what is awaited, what to do. Conditions in metav1's form."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

MAX_DRIFT_ITEMS: Final = 20
ADOPTED: Final = "Adopted"
CORRECTED: Final = "Corrected"
REPORTED: Final = "Reported"
PENDING: Final = "Pending"
"""What became of something that is not as it should be: put right; only told of; to be put right later."""


class ConditionType:
    """The types of conditions that this operator writes; others on the object are left alone."""

    READY: Final = "Ready"
    # One for each link of the chain, AccessPolicy:
    SUBJECT: Final = "SubjectReady"
    MEMBERS: Final = "MembersReady"
    AZURE_ROLES: Final = "AzureRolesReady"
    BINDINGS: Final = "BindingsReady"
    # NamespaceGrant has AZURE_ROLES and BINDINGS too, and:
    POLICY: Final = "PolicyReady"
    CEILING: Final = "WithinCeiling"
    # Only while something is odd that does not keep the access from being as asked for:
    WARNING: Final = "Warning"
    # Only while something is not as it was made, and it is not put right or must not be:
    DRIFTED: Final = "Drifted"
    # Only when the time of a grant is over:
    EXPIRED: Final = "Expired"
    # kstatus' two, which are there only while they are true:
    RECONCILING: Final = "Reconciling"
    STALLED: Final = "Stalled"


@dataclass(frozen=True)
class Condition:
    """One condition. `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The condition as it stands in the object."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.last_transition_time,
            "observedGeneration": self.observed_generation,
        }


class System(Enum):
    """Where an object lives."""

    ENTRA = "Entra"
    AZURE = "Azure"
    KUBERNETES = "Kubernetes"


_SYSTEMS: Final = {system.value for system in System}


@dataclass(frozen=True)
class Item:
    """One line of the inventory. Without an id: it is about to be made, and may be there already.

    Attributes
    ----------
    origin
        ``Adopted`` where it was there before; empty where the operator made it.
    applied
        A hash of what was applied last, where nothing else tells a foreign change from a new wish.
    """

    system: System
    kind: str
    name: str
    id: str = ""
    since: str = ""
    origin: str = ""
    applied: str = ""

    @property
    def adopted(self) -> bool:
        """Whether it was there before, so that it stays when all else goes."""
        return self.origin == ADOPTED

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two lines the same object."""
        return (self.system.value, self.kind, self.name)

    def as_dict(self) -> dict[str, str]:
        """The line as it stands in the object."""
        values = {"system": self.system.value, "kind": self.kind, "name": self.name}
        more = {"id": self.id, "since": self.since, "origin": self.origin, "applied": self.applied}
        return values | {k: v for k, v in more.items() if v}


@dataclass(frozen=True)
class DriftItem:
    """Something that is not as it should be. Without a `field`: the whole object."""

    system: System
    object: str
    field: str
    expected: str
    found: str
    changed_by: str = ""
    since: str = ""
    action: str = CORRECTED

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two items the same, whenever they were seen."""
        return (self.system.value, self.object, self.field, self.expected, self.found)

    def as_dict(self) -> dict[str, str]:
        """The change as it stands in the object."""
        values = {
            "system": self.system.value,
            "object": self.object,
            "field": self.field,
            "expected": self.expected,
            "found": self.found,
            "changedBy": self.changed_by,
            "since": self.since,
            "action": self.action,
        }
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True)
class Subject:
    """Who the access is given to.

    Attributes
    ----------
    kind, name, namespace
        The subject as Kubernetes RBAC names it: Group, User or ServiceAccount. An empty name stands for the
        object id.
    object_id, principal_type
        In Entra, with Azure's word for what it is: Group, User or ServicePrincipal. A service account has
        neither; a group that is about to be made has no id yet.
    origin
        Created, Adopted or Existing.
    reference
        How the spec named it when it was found; empty where that says nothing new.
    """

    kind: str
    object_id: str
    display_name: str
    origin: str = "Created"
    name: str = ""
    namespace: str = ""
    principal_type: str = "Group"
    reference: str = ""

    @property
    def rbac_name(self) -> str:
        """The name that bindings have."""
        return self.name or self.object_id

    def as_dict(self) -> dict[str, str]:
        """The subject as it stands in the object."""
        values = {
            "kind": self.kind,
            "name": self.rbac_name,
            "namespace": self.namespace,
            "objectId": self.object_id,
            "principalType": self.principal_type if self.object_id else "",
            "displayName": self.display_name,
            "origin": self.origin,
            "reference": self.reference,
        }
        return {key: value for key, value in values.items() if value or key in {"kind", "displayName"}}


def read_subject(raw: Mapping[str, Any]) -> Subject | None:
    """The subject as it stands in a status, or None where there is none that could be used."""
    object_id, name = raw.get("objectId", ""), raw.get("name", "")
    if not (object_id or name):
        return None
    return Subject(
        kind=raw.get("kind", ""),
        object_id=object_id,
        display_name=raw.get("displayName", ""),
        origin=raw.get("origin", "Created"),
        name="" if name == object_id else name,
        namespace=raw.get("namespace", ""),
        principal_type=raw.get("principalType", "Group") if object_id else "",
        reference=raw.get("reference", ""),
    )


@dataclass(frozen=True)
class Status:
    """The status as it was read, for what is carried from one pass to the next.

    Conditions are kept only to leave `lastTransitionTime` as it was: no decision is taken from them.

    Attributes
    ----------
    mode
        Enforce or Observe, as it is in effect.
    expires_at
        When the access of a grant ends.
    member_marks
        Whom the operator has put into the group, as `marks` writes it.
    """

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()
    subject: Subject | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    inventory: tuple[Item, ...] = ()
    effective_by: str = ""
    mode: str = ""
    expires_at: str = ""
    member_marks: str = ""
    drift: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The status as it stands in the object."""
        values: dict[str, Any] = {
            "observedGeneration": self.observed_generation,
            "conditions": [condition.as_dict() for condition in self.conditions],
            "subject": self.subject.as_dict() if self.subject else None,
            "counts": dict(self.counts),
            "inventory": [item.as_dict() for item in self.inventory],
            "effectiveBy": self.effective_by,
            "mode": self.mode,
            "expiresAt": self.expires_at,
            "memberMarks": self.member_marks,
            "drift": dict(self.drift),
        }
        return {key: value for key, value in values.items() if value not in (None, "", {})}

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it is there."""
        return next((c for c in self.conditions if c.type == kind), None)


def read_status(body: Mapping[str, Any]) -> Status:
    """Read a status leniently: what does not fit is left out, and is written anew by the next pass."""
    raw = body.get("status") or {}
    return Status(
        observed_generation=raw.get("observedGeneration", -1),
        conditions=tuple(_read_condition(c) for c in raw.get("conditions") or () if c.get("type")),
        subject=read_subject(raw.get("subject") or {}),
        counts=raw.get("counts") or {},
        inventory=tuple(
            _read_item(i)
            for i in raw.get("inventory") or ()
            if i.get("system") in _SYSTEMS and i.get("kind") and i.get("name")
        ),
        effective_by=raw.get("effectiveBy", ""),
        mode=raw.get("mode", ""),
        expires_at=raw.get("expiresAt", ""),
        member_marks=raw.get("memberMarks", ""),
        drift=raw.get("drift") or {},
    )


def read_drift_item(raw: Mapping[str, Any]) -> DriftItem | None:
    """One item of the drift in a status, or None where it is none."""
    if raw.get("system") not in _SYSTEMS:
        return None
    return DriftItem(
        system=System(raw["system"]),
        object=raw.get("object", ""),
        field=raw.get("field", ""),
        expected=raw.get("expected", ""),
        found=raw.get("found", ""),
        changed_by=raw.get("changedBy", ""),
        since=raw.get("since", ""),
        action=raw.get("action", CORRECTED),
    )


def _read_item(raw: Mapping[str, Any]) -> Item:
    return Item(
        system=System(raw["system"]),
        kind=raw["kind"],
        name=raw["name"],
        id=raw.get("id", ""),
        since=raw.get("since", ""),
        origin=raw.get("origin", ""),
        applied=raw.get("applied", ""),
    )


def _read_condition(raw: Mapping[str, Any]) -> Condition:
    return Condition(
        type=raw["type"],
        status=raw.get("status", "Unknown"),
        reason=raw.get("reason", ""),
        message=raw.get("message", ""),
        observed_generation=raw.get("observedGeneration", 0),
        last_transition_time=raw.get("lastTransitionTime", ""),
    )


def settle_conditions(old: Iterable[Condition], new: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """Give each new condition its time: the old one's while the status is the same, else `now`."""
    before = {condition.type: condition for condition in old}

    def settled(condition: Condition) -> Condition:
        was = before.get(condition.type)
        same = was is not None and was.status == condition.status and was.last_transition_time
        return replace(condition, last_transition_time=was.last_transition_time if was and same else now)

    return tuple(settled(condition) for condition in new)
