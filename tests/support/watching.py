"""What the tests of looking without writing share: what there is, and whether anybody wrote to it."""

from dataclasses import dataclass
from typing import Any

from support.cluster import API, DEADLINE, Body, Cluster, eventually
from support.life import (
    AKS_USER,
    Person,
    Policy,
    ceiling,
    condition_of,
    events,
    last_request,
    made_for,
    new_policy,
    person,
)
from support.scopes import at
from support.trouble import RBAC, objects

OURS = ("entra-access.dev", "rbac.authorization.k8s.io")
WRITES = ("APPLY", "PATCH", "POST", "PUT", "DELETE")
MANAGER = "entra-access-operator"
READ_SECRETS: Body = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
"""What the ClusterRole view does not give."""


def versions(cluster: Cluster, *, with_events: bool = True) -> dict[str, str]:
    """The resourceVersion of everything that the operator writes, or may write by mistake."""
    kinds = [f"/apis/{API}/{kind}" for kind in ("accesspolicies", "namespacegrants")]
    kinds += [f"{RBAC}/{kind}" for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")]
    kinds += ["/api/v1/events"] if with_events else []
    found = [(kind, one["metadata"]) for kind in kinds for one in objects(cluster, kind)]
    return {f"{kind}/{m.get('namespace')}/{m['name']}": m["resourceVersion"] for kind, m in found}


def in_rbac(cluster: Cluster) -> dict[str, str]:
    """The resourceVersion of all Roles and bindings, whoever made them."""
    found = versions(cluster, with_events=False)
    return {name: version for name, version in found.items() if name.startswith(RBAC)}


def write_requests(cluster: Cluster, *, status: bool = True) -> list[str]:
    """How often the API server was asked to write what is ours, also where nothing changed by it.

    Without `status`: not counting statuses and events.
    """
    with cluster.stack.plane.client() as client:
        lines = client.get("/metrics").text.splitlines()
    kinds = [f'group="{group}"' for group in OURS] + (['resource="events"'] if status else [])
    verbs = [f'verb="{verb}"' for verb in WRITES]
    counted = (line for line in lines if line.startswith("apiserver_request_total{"))
    return [
        line
        for line in counted
        if any(kind in line for kind in kinds)
        and any(verb in line for verb in verbs)
        and (status or 'subresource="status"' not in line)
    ]


def written_by_us(body: Body) -> set[str]:
    """What the operator has written of an object: "status", or "" for the rest of it."""
    managed = body["metadata"]["managedFields"]
    return {one.get("subresource", "") for one in managed if one["manager"] == MANAGER}


@dataclass
class Team:
    """A policy with a group, an Azure role and a binding, and a grant with a Role and its binding."""

    cluster: Cluster
    policy: Policy
    namespace: str
    who: Person

    def apol(self) -> Body:
        """The policy as it is."""
        return self.cluster.get("apol", self.policy.name)

    def ngrant(self) -> Body:
        """The grant as it is."""
        return self.cluster.get("ngrant", "work", self.namespace)

    def role(self) -> Body:
        """The grant's Role; an empty one where there is none."""
        return next(iter(self.cluster.list_all("roles", self.namespace)), {})

    def binding(self) -> Body:
        """The grant's RoleBinding; an empty one where there is none."""
        return next(iter(self.cluster.list_all("rolebindings", self.namespace)), {})

    def cluster_binding(self) -> Body:
        """The policy's ClusterRoleBinding; an empty one where there is none."""
        return next(iter(made_for(self.cluster, self.policy.name)), {})

    def world(self) -> list[Body]:
        """All that was made for both, in Kubernetes, Entra and Azure, without what says who wrote it when."""
        kube = [self.role(), self.binding(), self.cluster_binding()]
        for one in (one["metadata"] for one in kube if one):
            for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
                one.pop(key, None)
        group = self.cluster.group(self.policy.group_id) or {}
        group |= {key: sorted(group[key]) for key in ("members", "owners") if key in group}
        assigned = self.cluster.azure.assignments(self.policy.group_id)
        return [*kube, group, *({"role": one["roleName"], "scope": one["scope"]} for one in assigned)]

    def set_mode(self, mode: str) -> None:
        """Have the policy enforced or observed, and wait until both say so."""
        self.policy.apply(mode=mode)
        self.comes_to(mode)

    def comes_to(self, mode: str) -> None:
        """Wait until both say that this is the mode in effect."""

        def both() -> bool:
            bodies = (self.apol(), self.ngrant())
            return all(
                (one["status"].get("mode"), one["status"]["observedGeneration"])
                == (mode, one["metadata"]["generation"])
                for one in bodies
            )

        eventually(both, f"policy and grant are in mode {mode}")

    def both_ready(self) -> None:
        """Wait until the policy and the grant are Ready."""
        self.policy.ready()
        self.cluster.ready("ngrant", "work", self.namespace)

    def told(self, body: Body, reason: str) -> list[str]:
        """The events with that reason about the policy or the grant."""
        meta = body["metadata"]
        found = events(self.cluster, body["kind"], meta["name"], meta.get("namespace") or "default")
        return [message for _, found_reason, message in found if found_reason == reason]


def new_team(cluster: Cluster, **spec: Any) -> Team:
    """Apply such a policy and such a grant."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(
        cluster,
        who,
        clusterRoles=["view"],
        azureRoles=[at(AKS_USER)],
        grants=ceiling("view", rules=[READ_SECRETS]),
        **spec,
    )
    cluster.grant("work", namespace, policy.name, rules=[READ_SECRETS])
    return Team(cluster, policy, namespace, who)


def drift_of(body: Body) -> Body:
    """The drift that a status has."""
    found: Body = body["status"].get("drift", {})
    return found


def comes_to_rest(cluster: Cluster, seconds: float, within: float = DEADLINE) -> None:
    """Wait until for so long nothing is written, neither to Azure nor to Kubernetes."""
    eventually(lambda: cluster.quiet(seconds) == ([], False), "it has come to rest", within)


def in_the_rounds(cluster: Cluster, subject: str, *names: str) -> None:
    """Wait until the rounds over Entra ask for a group, and for its members, who are users.

    It is looked at once more when they begin to ask for it, and when they begin to ask for users. `names` are
    other names under which it is looked at.
    """

    def begun(query: str) -> list[int]:
        return [one["n"] for one in cluster.azure.journal(path_regex="delta") if query in one["query"]]

    asked = eventually(lambda: begun(subject), "the rounds have begun to ask for it")
    users = eventually(lambda: begun("latest"), "the rounds have begun to ask for users")
    looked, since = "|".join((subject, *names)), max(asked[0], users[-1])
    eventually(lambda: cluster.azure.journal(since=since, path_regex=looked), "it was looked at then")
    comes_to_rest(cluster, 1.0)


def users_in_the_rounds(cluster: Cluster) -> None:
    """Wait until the rounds over Entra follow what becomes of users, and all that they began with is over."""
    since = last_request(cluster)

    def followed() -> bool:
        asked = cluster.azure.journal(since=since, path_regex="users/delta")
        return any("latest" not in one["query"] for one in asked)

    eventually(followed, "users are followed")
    comes_to_rest(cluster, 1.0)


def is_still(cluster: Cluster, seconds: float, *, looked: str = "graph") -> None:
    """See that it comes to rest and nothing is written to anything then, while Entra is looked at."""
    comes_to_rest(cluster, 1.0)
    since, before, asked = last_request(cluster), versions(cluster), write_requests(cluster)
    written, _ = cluster.quiet(seconds)
    after = versions(cluster)
    assert written == []
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()
    assert write_requests(cluster) == asked
    if looked:
        assert cluster.azure.journal(since=since, kind=looked), "it looked, or this proves nothing"


def is_reported(body: Body, reason: str = "Observed") -> bool:
    """Whether it says that it has drifted and that nothing is done about it."""
    drifted = condition_of(body, "Drifted")
    return (drifted.get("status"), drifted.get("reason")) == ("True", reason)
