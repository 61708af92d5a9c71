"""The whole operator in memory: the real passes, with Entra, Azure and the API server as dictionaries.

What they are asked for they do, late or never where they are told to; every write is remembered.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from entra_access.api.names import GRANT, NAMESPACE, POLICY, Kind
from entra_access.api.resources import Meta, Reference
from entra_access.api.status import Status, read_status
from entra_access.domain.faults import InUse, Missing, RoleUnknown
from entra_access.domain.known_roles import BY_GUID, known_role
from entra_access.domain.modes import Modes
from entra_access.domain.naming import assignment_id, definition_id, guid_in, role_guid, scope_of
from entra_access.domain.observed import Assignment, Definition, Group, Principal
from entra_access.reconcile.apply import Applier
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.azure_sweep import concerned
from entra_access.reconcile.cache import Key
from entra_access.reconcile.cluster import ClusterWatch
from entra_access.reconcile.directory_reader import DirectoryReader
from entra_access.reconcile.gather import Gatherer
from entra_access.reconcile.notes import Note, Notes
from entra_access.reconcile.outcome import Next
from entra_access.reconcile.reconciler import Reconciler
from unit.builders import AT, PLACE, guid
from unit.objects import Objects
from unit.worlds import A_ROBOT, A_TEAM, A_USER


class Heard(Notes):
    """The events, to be read again."""

    def __init__(self, kubernetes: Any) -> None:
        super().__init__(kubernetes)
        self.heard: list[Note] = []

    def add(self, meta: Meta, note: Note, now: datetime) -> None:
        """An event is recorded."""
        self.heard.append(note)
        super().add(meta, note, now)


APPDEV: Final = Key("AccessPolicy", None, "appdev")


class Office(Objects):
    """Everything there is.

    `looked_up`: the Azure roles that were asked for; `statuses`: all that were written; `lives`: how many
    resources of a key there have been.
    """

    def __init__(self, modes: Modes | None = None) -> None:
        super().__init__()
        self.cache.modes = modes or Modes()
        self.statuses: list[dict[str, Any]] = []
        self.looked_up: list[str] = []
        self.lives: Counter[Key] = Counter()
        self.given: dict[str, Assignment] = {}
        self.definitions: dict[str, Definition] = {}
        self.listed: dict[str, str] = {}  # what a list that lags behind shows: GUIDs by name in lower case
        self.groups: dict[str, Group] = {}
        self.relations: dict[str, dict[str, dict[str, Principal]]] = {}
        self.people: list[Principal] = [A_USER, A_ROBOT, A_TEAM]
        self.passes = 0
        services: Any = self
        self.notes = Heard(services)
        azure = self.azure = AzureReader(PLACE, services, 0.0, changed=self._changed)
        cluster = ClusterWatch(services, PLACE.cluster_id, 60, lambda: None)
        self.reconciler = Reconciler(
            PLACE,
            self.cache,
            services,
            Gatherer(PLACE, self.cache, DirectoryReader(PLACE, services), azure, services, cluster),
            Applier(self.cache, services, services, services, azure.assignments, azure.roles),
            self.notes,
            tell=self.due.add,
            clock=self.clock,
            stalled_after=60,
        )

    def _changed(self, those: list[Assignment]) -> None:
        self.due |= concerned(self.cache, those)

    def clock(self) -> datetime:
        """The time of the pass: a minute later each."""
        return AT + timedelta(minutes=self.passes)

    # What people do

    def apply(
        self, kind: Kind, name: str, spec: dict[str, Any], namespace: str | None = None, created: str = ""
    ) -> Key:
        """Somebody writes a resource. Returns its key."""
        key = Key(kind.kind, namespace, name)
        old = self.cache.resource(key)
        metadata: dict[str, Any] = {"name": name, "uid": f"uid-of-{name}", "generation": 1}
        metadata |= {"creationTimestamp": created} if created else {}
        if old is None:
            self.lives[key] += 1
            metadata["uid"] += f"-{self.lives[key]}" if self.lives[key] > 1 else ""
        else:
            metadata = {**old["metadata"], "generation": old["metadata"]["generation"] + 1}
        metadata |= {"namespace": namespace} if namespace else {}
        status = dict(old.get("status") or {}) if old else {}
        self.cache.put(kind, self._versioned({"metadata": metadata, "spec": spec, "status": status}))
        return key

    def policy(self, subject: dict[str, Any], **spec: Any) -> Key:
        """Somebody writes the policy ``appdev``."""
        return self.apply(POLICY, "appdev", {"subject": subject, **spec})

    def namespace(self, name: str, **labels: str) -> set[Key]:
        """Somebody makes or relabels a namespace. Returns who must be looked at."""
        metadata = {"name": name, "uid": f"uid-of-{name}", "labels": labels}
        return self.cache.put(NAMESPACE, self._versioned({"metadata": metadata}))

    def people_define(self, name: str) -> None:
        """Somebody makes a role in Azure."""
        self.definitions[guid(name)] = Definition(guid(name), name)

    def delete(self, key: Key) -> None:
        """Somebody deletes a resource."""
        body = self.body(key)
        metadata = {**body["metadata"], "deletionTimestamp": "2026-11-23T12:00:00Z"}
        kind = POLICY if key.kind == POLICY.kind else GRANT
        if not metadata.get("finalizers"):
            self.due |= self.cache.drop(kind, key.namespace, key.name)
            return
        self.cache.put(kind, self._versioned({**body, "metadata": metadata}))

    # What the operator does

    async def look(self, key: Key = APPDEV, times: int = 1) -> Next:
        """So many passes over a resource."""
        answer = Next()
        for _ in range(times):
            self.passes += 1
            answer = await self.reconciler.reconcile(key)
        return answer

    def body(self, key: Key = APPDEV) -> Mapping[str, Any]:
        body = self.cache.resource(key)
        assert body is not None
        return body

    def status(self, key: Key = APPDEV) -> Status:
        return read_status(self.body(key))

    def told(self, reason: str) -> list[str]:
        """The messages of the events of that reason."""
        return [note.message for note in self.notes.heard if note.reason == reason]

    # Azure

    async def assignments(self, scope: str, *, below: bool) -> tuple[Assignment, ...]:
        self._read("assignments")
        at = f"{scope.lower()}/"
        return tuple(
            one
            for one in self.given.values()
            if at.startswith(f"{one.scope.lower()}/") or (below and f"{one.scope.lower()}/".startswith(at))
        )

    async def assignment(self, scope: str, name: str) -> Assignment | None:
        self._read("assignment")
        return self.given.get(assignment_id(scope, name).lower())

    async def role_id(self, role: str, _: str) -> str | None:
        self._read("role_id")
        self.looked_up.append(role)
        made = {one.name.lower(): one.guid for one in self.definitions.values()} | self.listed
        built_in = known_role(role)
        return role_guid(role) or made.get(role.lower()) or (built_in.guid if built_in else None)

    async def custom_definitions(self, _: str) -> tuple[Definition, ...]:
        self._read("custom_definitions")
        return tuple(self.definitions.values())

    async def definition(self, _: str, role_guid: str) -> Definition | None:
        self._read("definition")
        return self.definitions.get(role_guid)

    async def define(self, scope: str, definition: Definition) -> None:
        self._write("define", definition_id(scope, definition.guid))
        self.definitions[definition.guid] = definition
        self._answer("define")

    async def undefine(self, arm_id: str) -> None:
        self._write("undefine", arm_id)
        if any(one.role_id == guid_in(arm_id) for one in self.given.values()):
            raise InUse("still assigned")
        self.definitions.pop(guid_in(arm_id) or "", None)

    async def assign(self, assignment: Assignment, principal_type: str) -> None:
        assert assignment.principal_id
        assert principal_type
        arm_id = assignment_id(assignment.scope, assignment.name)
        if assignment.role_id not in {*self.definitions, *BY_GUID}:
            raise RoleUnknown("not known yet")
        self._write("assign", arm_id)
        self.given[arm_id.lower()] = assignment
        self._answer("assign")

    async def unassign(self, arm_id: str) -> None:
        self._write("unassign", arm_id)
        self.given.pop(arm_id.lower(), None)

    def scopes(self) -> list[str]:
        """Where something is assigned."""
        return sorted(scope_of(arm_id) for arm_id in self.given)

    # Entra

    async def group_by_unique_name(self, name: str) -> Group | None:
        self._read("group")
        live = (one for one in self.groups.values() if not one.deleted)
        return next((one for one in live if one.unique_name == name), None)

    async def group(self, group_id: str) -> Group | None:
        return self.groups.get(group_id)

    async def deleted_groups(self) -> tuple[Group, ...]:
        return tuple(one for one in self.groups.values() if one.deleted)

    async def groups_named(self, _: str) -> tuple[Group, ...]:
        return ()

    async def principals(self, group_id: str, relation: str) -> tuple[Principal, ...]:
        """As Graph lists them: without service principals."""
        self._read("principals")
        there = self.relations[group_id][relation].values()
        return tuple(one for one in there if one.kind != "servicePrincipal" or relation == "owners")

    async def principal(self, reference: Reference) -> Principal | None:
        self._read("principal")
        known = (one for one in self.people if one.kind == reference.kind)
        return next((one for one in known if reference.value in {one.id, one.name.lower()}), None)

    async def is_direct_member(self, group_id: str, principal_id: str) -> bool:
        return principal_id in self.relations[group_id]["members"]

    async def groups_of(self, _: str) -> int:
        return 1

    async def create_group(self, unique: str, name: str, nickname: str, description: str | None) -> Group:
        self._write("create_group", name)
        made = Group(guid(f"group {self.version}"), unique, name, nickname, description)
        self.groups[made.id] = made
        self.relations[made.id] = {"members": {}, "owners": {}}
        self._answer("create_group")
        return made

    async def update_group(self, group_id: str, attributes: dict[str, Any]) -> None:
        self._write("update_group", " ".join(sorted(attributes)))
        names = {"displayName": "display_name", "mailNickname": "mail_nickname", "description": "description"}
        values: dict[str, Any] = {names[name]: value for name, value in attributes.items()}
        self.groups[group_id] = replace(self.groups[group_id], **values)

    async def restore_group(self, group_id: str) -> None:
        self._write("restore_group", group_id)
        self.groups[group_id] = replace(self.groups[group_id], deleted=False)

    async def delete_group(self, group_id: str) -> None:
        self._write("delete_group", group_id)
        del self.groups[group_id]

    async def add(self, group_id: str, relation: str, ids: Iterable[str]) -> None:
        wanted = set(ids)
        self._write("add", " ".join(sorted(wanted)))
        self.relations[group_id][relation] |= {one.id: one for one in self.people if one.id in wanted}
        self._answer("add")

    async def remove(self, group_id: str, relation: str, principal_id: str) -> None:
        self._write("remove", principal_id)
        self.relations[group_id][relation].pop(principal_id, None)

    # Kubernetes

    async def apply_status(self, meta: Any, status: Mapping[str, Any]) -> Mapping[str, Any]:
        self._write("status", str(meta))
        self.statuses.append(dict(status))
        key = Key(meta.kind.kind, meta.namespace, meta.name)
        if self.cache.resource(key) is None:
            raise Missing("it is gone")
        return self._versioned({**self.body(key), "status": dict(status)})

    async def set_finalizers(self, meta: Any, finalizers: tuple[str, ...]) -> Mapping[str, Any]:
        self._write("finalizers", str(meta))
        body = self.body(Key(meta.kind.kind, meta.namespace, meta.name))
        return self._versioned({**body, "metadata": {**body["metadata"], "finalizers": list(finalizers)}})

    def write_status(self, status: Mapping[str, Any], key: Key = APPDEV) -> None:
        """Somebody writes the status of a policy."""
        self.cache.put(POLICY, self._versioned({**self.body(key), "status": dict(status)}))
