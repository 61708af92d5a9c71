"""What the tests of adoption share: groups that others made, and policies that may take them over."""

from typing import Any

from support.cluster import API, Body, Cluster, eventually
from support.life import AKS_USER, Person, Policy, events, made_for, person

ADOPT = "entra-access.dev/adopt-group"
MANAGED = "entra-access.dev"


def foreign_group(cluster: Cluster, name: str, *members: Person, **fields: Any) -> Body:
    """A group that somebody else made, as Entra has it."""
    return cluster.azure.add_group(name, members=[one.id for one in members], **fields)


def adopting(cluster: Cluster, adoption: str, *members: Person, group: Body | None = None) -> Policy:
    """A policy that is not applied yet: its group with these members, an Azure role and a binding."""
    name = cluster.unique("adopt")
    wish = {"displayName": name, "members": [one.ref for one in members], **(group or {})}
    spec: Body = {"adoptionPolicy": adoption, "clusterRoles": ["view"], "azureRoles": [{"role": AKS_USER}]}
    return Policy(cluster, name, wish, spec)


def adopted(cluster: Cluster, *members: Person, group: Body | None = None) -> tuple[Policy, str]:
    """A policy that has taken a group over. Returns it with the group's object id."""
    policy = adopting(cluster, "Always", *members, group=group)
    theirs = foreign_group(cluster, policy.name, person(cluster, "before"))["id"]
    policy.update()
    assert (policy.group_id, origin(policy)) == (theirs, "Adopted")
    return policy, theirs


def origin(policy: Policy) -> str:
    """Where the policy's group comes from, as its status says."""
    subject: Body = policy.cluster.get("apol", policy.name)["status"].get("subject", {})
    return str(subject.get("origin", ""))


def group_lines(policy: Policy) -> list[Body]:
    """The lines of the inventory for the policy's group."""
    lines = policy.cluster.get("apol", policy.name)["status"].get("inventory", ())
    return [one for one in lines if (one["system"], one["kind"]) == ("Entra", "Group")]


def stalled(policy: Policy, reason: str) -> str:
    """Wait until the policy is Stalled for that reason. Returns the message."""
    return str(policy.cluster.waits_for("apol", policy.name, "Stalled", reason)["message"])


def annotate(policy: Policy, key: str, value: str) -> None:
    """Annotate the policy."""
    policy.cluster.kubectl("annotate", "apol", policy.name, "--overwrite", f"{key}={value}")


def apply_annotated(policy: Policy, key: str, value: str) -> None:
    """Apply the policy with an annotation from the beginning."""
    policy.cluster.apply(
        {
            "apiVersion": API,
            "kind": "AccessPolicy",
            "metadata": {"name": policy.name, "annotations": {key: value}},
            "spec": {"subject": {"group": policy.group}, **policy.spec},
        }
    )


def kept(cluster: Cluster, kind: str, name: str, namespace: str = "default") -> str:
    """Wait until an event tells what stays behind. Returns its message."""

    def told() -> list[str]:
        return [text for _, reason, text in events(cluster, kind, name, namespace) if reason == "Kept"]

    return eventually(told, f"an event tells what stays of {name}")[-1]


def marks_of(body: Body) -> list[str]:
    """What there is of ours on an object: labels, annotations and owners."""
    meta = body["metadata"]
    keys = [*(meta.get("labels") or {}), *(meta.get("annotations") or {})]
    owners = [one["kind"] for one in meta.get("ownerReferences", ())]
    managed = [key for key in keys if MANAGED in key or key == "app.kubernetes.io/managed-by"]
    return managed + owners


def group_writes(cluster: Cluster, since: int) -> list[tuple[str, str, Any]]:
    """The writes to Entra since then: method, path and body."""
    found = cluster.azure.journal(since=since, kind="graph", write=True)
    return [(one["method"], one["path"], one["body"]) for one in found]


def gives_nothing(policy: Policy, group: str) -> bool:
    """Whether neither the policy nor Azure gives a group anything, and no subject is told of."""
    nothing_given = not made_for(policy.cluster, policy.name) and not policy.cluster.azure.assignments(group)
    return nothing_given and not origin(policy)
