"""Random policies and grants, and the whole world as it must be when all of them are fulfilled."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from entra_sandbox import seed
from support.cluster import API, Body, Cluster
from support.trouble import MANAGED, RBAC, USER_ROLE, groups_of, objects

READER = "Azure Kubernetes Service RBAC Reader"
WRITER = "Azure Kubernetes Service RBAC Writer"
PEOPLE = (seed.AKSDEV, seed.AKSSRE, seed.ALICE, seed.BOB)
LEADS = (seed.LEAD, seed.OPS_LEAD)
RULES: tuple[list[Body], ...] = (
    [],
    [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
    [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["*"]}],
)
ACTIONS = (
    "Microsoft.ContainerService/managedClusters/pods/delete",
    "Microsoft.ContainerService/managedClusters/pods/read",
)
OWNER_NAME = "entra-access.dev/owner-name"
OWNER_KIND = "entra-access.dev/owner-kind"


@dataclass(frozen=True)
class PolicyWish:
    """One AccessPolicy. `custom`: how many actions its custom role has; without any there is none."""

    name: str
    members: frozenset[str] = frozenset({seed.ALICE})
    owners: frozenset[str] = frozenset({seed.LEAD})
    roles: frozenset[str] = frozenset({USER_ROLE})
    cluster_roles: frozenset[str] = frozenset({"view"})
    custom: int = 0
    title: str = ""
    observe: bool = False

    def __str__(self) -> str:
        people = ",".join(sorted(one.partition("@")[0] for one in self.members))
        roles = ",".join(sorted(one.rpartition(" ")[2] for one in self.roles))
        more = f"{'-'.join(sorted(self.cluster_roles))} custom={self.custom} {self.title}"
        return f"{self.name}: {people} roles={roles} {more}{' Observe' if self.observe else ''}"

    @property
    def custom_role(self) -> str:
        """The name of its custom role."""
        return f"custom of {self.name}"

    def body(self) -> Body:
        """The AccessPolicy."""
        group = {
            "displayName": f"{self.name}{self.title}",
            "members": [{"user": one} for one in sorted(self.members)],
            "owners": [{"user": one} for one in sorted(self.owners)],
        }
        roles = [*sorted(self.roles), *([self.custom_role] if self.custom else [])]
        custom = [{"name": self.custom_role, "dataActions": list(ACTIONS[: self.custom])}]
        spec = {
            "subject": {"group": group},
            "azureRoles": [{"role": role} for role in roles],
            "customRoles": custom if self.custom else [],
            "clusterRoles": sorted(self.cluster_roles),
            "grants": {
                "namespaces": {},
                "clusterRoles": ["view", "edit"],
                "rules": RULES[2],
                "azureRoles": [READER, WRITER],
            },
            "mode": "Observe" if self.observe else "Enforce",
        }
        return {"apiVersion": API, "kind": "AccessPolicy", "metadata": {"name": self.name}, "spec": spec}


@dataclass(frozen=True)
class GrantWish:
    """One NamespaceGrant. It always has a ClusterRole, so that it is never empty."""

    name: str
    namespace: str
    policy: str
    rules: int = 1
    cluster_roles: frozenset[str] = frozenset({"view"})
    roles: frozenset[str] = frozenset()

    def __str__(self) -> str:
        roles = ",".join(sorted(one.rpartition(" ")[2] for one in self.roles))
        return (
            f"{self.namespace}/{self.name}: rules={self.rules} {'-'.join(sorted(self.cluster_roles))} {roles}"
        )

    def body(self) -> Body:
        """The NamespaceGrant."""
        return {
            "apiVersion": API,
            "kind": "NamespaceGrant",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "policyRef": {"name": self.policy},
                "rules": RULES[self.rules],
                "clusterRoles": sorted(self.cluster_roles),
                "azureRoles": sorted(self.roles),
            },
        }


@dataclass
class Wishes:
    """All that is wished for now."""

    policies: dict[str, PolicyWish] = field(default_factory=dict)
    grants: dict[tuple[str, str], GrantWish] = field(default_factory=dict)


def changed_policy(wish: PolicyWish, chance: random.Random) -> PolicyWish:
    """The policy with one thing about it changed."""
    match chance.randrange(7):
        case 0:
            return replace(wish, members=some(PEOPLE, chance))
        case 1:
            return replace(wish, owners=some(LEADS, chance) or frozenset(LEADS))
        case 2:
            return replace(wish, roles=some((USER_ROLE, READER, WRITER), chance))
        case 3:
            return replace(wish, cluster_roles=some(("view", "edit", "system:discovery"), chance))
        case 4:
            return replace(wish, custom=chance.randrange(3))
        case 5:
            return replace(wish, title=chance.choice(("", " (new)", " again")))
        case _:
            return replace(wish, observe=chance.random() < 0.3)


def changed_grant(wish: GrantWish, chance: random.Random) -> GrantWish:
    """The grant with one thing about it changed."""
    match chance.randrange(3):
        case 0:
            return replace(wish, rules=chance.randrange(len(RULES)))
        case 1:
            return replace(wish, cluster_roles=some(("view", "edit"), chance) or frozenset({"edit"}))
        case _:
            return replace(wish, roles=some((READER, WRITER), chance))


def some(things: tuple[str, ...], chance: random.Random) -> frozenset[str]:
    """Some of the things, or none."""
    return frozenset(one for one in things if chance.random() < 0.5)


def wrong(cluster: Cluster, wishes: Wishes) -> list[str]:
    """All that is not as wished for, or is left of what is not wished for any more."""
    state = cluster.azure.state()
    groups = {name: groups_of(state, name) for name in wishes.policies}
    found = [f"{len(those)} groups of {name}" for name, those in groups.items() if len(those) != 1]
    if found:
        return found
    ids = {name: those[0]["id"] for name, those in groups.items()}
    for wish in wishes.policies.values():
        found += _wrong_group(wish, groups[wish.name][0])
    found += _difference("assignments", _assigned(state), _wished_assignments(cluster, wishes, ids))
    found += _difference("custom roles", _defined(state), _wished_definitions(wishes))
    found += _difference("groups", _living(state), set(wishes.policies))
    found += _difference("bindings", _bound(cluster), _wished_bindings(wishes, ids))
    found += _difference("roles", _roles(cluster), _wished_roles(wishes))
    return found


def _difference(what: str, found: set[str], wished: set[str]) -> Iterator[str]:
    yield from (f"{what}: {one} is too much" for one in sorted(found - wished))
    yield from (f"{what}: {one} is missing" for one in sorted(wished - found))


def _wrong_group(wish: PolicyWish, group: Body) -> Iterator[str]:
    for what, found, wished in (
        ("displayName", group["displayName"], f"{wish.name}{wish.title}"),
        ("members", sorted(group["members"]), sorted(seed.USER_IDS[one] for one in wish.members)),
        ("owners", sorted(group["owners"]), sorted(seed.USER_IDS[one] for one in wish.owners)),
    ):
        if found != wished:
            yield f"{wish.name}: {what} {found} and not {wished}"


def _living(state: Body) -> set[str]:
    names = [group["uniqueName"] or "" for group in state["groups"]]
    return {name.rpartition("_")[2] for name in names if name.startswith("entra-access-")}


def _assigned(state: Body) -> set[str]:
    """What the operator has assigned, to whomever, as principal, role, scope, condition."""
    return {
        f"{one['principalId']} {one['roleName']} {one['scope'].lower()} {one['condition'] or ''}"
        for one in state["assignments"]
        if "kept by entra-access-operator" in (one["description"] or "")
    }


def _wished_assignments(cluster: Cluster, wishes: Wishes, ids: dict[str, str]) -> set[str]:
    here = cluster.stack.cluster_id.lower()
    found = set()
    for wish in wishes.policies.values():
        roles = [*wish.roles, *([wish.custom_role] if wish.custom else [])]
        found |= {f"{ids[wish.name]} {role} {here} " for role in roles}
    for grant in wishes.grants.values():
        if grant.policy in ids:
            where = f"{here}/namespaces/{grant.namespace}"
            found |= {f"{ids[grant.policy]} {role} {where} " for role in grant.roles}
    return found


def _defined(state: Body) -> set[str]:
    return {
        f"{one['roleName']} {sorted(one['permissions'][0]['dataActions'])}"
        for one in state["customRoles"]
        if one["roleName"].startswith("custom of ")
    }


def _wished_definitions(wishes: Wishes) -> set[str]:
    return {
        f"{wish.custom_role} {sorted(ACTIONS[: wish.custom])}"
        for wish in wishes.policies.values()
        if wish.custom
    }


def _owner(body: Body) -> str:
    meta = body["metadata"]
    return f"{meta['labels'].get(OWNER_KIND)} {meta.get('namespace', '')}/{meta['labels'].get(OWNER_NAME)}"


def _bound(cluster: Cluster) -> set[str]:
    found = []
    for kind in ("rolebindings", "clusterrolebindings"):
        found += objects(cluster, f"{RBAC}/{kind}?labelSelector={MANAGED}")
    return {
        f"{_owner(one)}: {[subject['name'] for subject in one.get('subjects', ())]} {one['roleRef']['name']}"
        for one in found
    }


def _wished_bindings(wishes: Wishes, ids: dict[str, str]) -> set[str]:
    found = {
        f"AccessPolicy /{wish.name}: {[ids[wish.name]]} {role}"
        for wish in wishes.policies.values()
        for role in wish.cluster_roles
    }
    for grant in wishes.grants.values():
        roles = [*grant.cluster_roles, *([f"{grant.name}-rules"] if grant.rules else [])]
        if grant.policy in ids:
            owner = f"NamespaceGrant {grant.namespace}/{grant.name}"
            found |= {f"{owner}: {[ids[grant.policy]]} {role}" for role in roles}
    return found


def _roles(cluster: Cluster) -> set[str]:
    found = objects(cluster, f"{RBAC}/roles?labelSelector={MANAGED}")
    return {f"{_owner(one)}: {json.dumps(one['rules'], sort_keys=True)}" for one in found}


def _wished_roles(wishes: Wishes) -> set[str]:
    return {
        f"NamespaceGrant {one.namespace}/{one.name}: {json.dumps(RULES[one.rules], sort_keys=True)}"
        for one in wishes.grants.values()
        if one.rules and one.policy in wishes.policies
    }
