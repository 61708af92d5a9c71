"""The main job: a team's access from two YAML files, seen as its people see it."""

from entra_sandbox import seed
from support.cluster import Cluster

AKS_USER = "Azure Kubernetes Service Cluster User Role"
RULE = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["*"]}


def test_a_team_works_in_its_namespace_and_nowhere_else(cluster: Cluster) -> None:
    """Group, member, Azure role, Role and binding are made; the member may, others may not."""
    namespace, other = cluster.namespace(team="a"), cluster.namespace(team="b")
    name = cluster.unique("appdev")
    # People of their own: other tests give the seeded ones access to the same cluster.
    dev, sre, lead = (
        cluster.azure.add_user(f"{cluster.unique(who)}@contoso.com") for who in ("dev", "sre", "lead")
    )
    user, other_user = dev["userPrincipalName"], sre["userPrincipalName"]
    group = {"displayName": name, "members": [{"user": user}], "owners": [{"user": lead["id"]}]}
    cluster.policy(
        name,
        {
            "subject": {"group": group},
            "azureRoles": [{"role": AKS_USER}],
            "grants": {"namespaces": {"matchLabels": {"team": "a"}}, "rules": [RULE]},
        },
    )
    cluster.grant("work", namespace, name, rules=[RULE])

    policy = cluster.ready("apol", name)
    grant = cluster.ready("ngrant", "work", namespace)

    made = cluster.group(name)
    assert made is not None
    assert made["id"] == policy["status"]["subject"]["objectId"] == grant["status"]["subject"]["objectId"]
    assert made["members"] == [dev["id"]]
    assert made["owners"] == [lead["id"]]
    assigned = cluster.azure.assignments(made["id"], seed.CLUSTER_ID)
    assert [a["roleName"] for a in assigned] == [AKS_USER]
    assert cluster.can(user, "create", "pods", namespace)
    assert not cluster.can(user, "list", "pods", other)
    assert not cluster.can(user, "list", "pods")
    assert not cluster.can(user, "get", "roles.rbac.authorization.k8s.io", namespace)
    assert not cluster.can(other_user, "list", "pods", namespace)
