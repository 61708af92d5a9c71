"""The main job: a team's access from two YAML files, seen as its people see it."""

from entra_sandbox import seed
from support.cluster import Cluster

AKS_USER = "Azure Kubernetes Service Cluster User Role"
RULE = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["*"]}


def test_a_team_works_in_its_namespace_and_nowhere_else(cluster: Cluster) -> None:
    """Group, member, Azure role, Role and binding are made; the member may, others may not."""
    namespace, other = cluster.namespace(team="a"), cluster.namespace(team="b")
    name = cluster.unique("appdev")
    group = {"displayName": name, "members": [{"user": seed.AKSDEV}], "owners": [{"user": seed.LEAD}]}
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
    assert made["members"] == [seed.USER_IDS[seed.AKSDEV]]
    assert made["owners"] == [seed.USER_IDS[seed.LEAD]]
    assigned = cluster.azure.assignments(made["id"], seed.CLUSTER_ID)
    assert [a["roleName"] for a in assigned] == [AKS_USER]
    assert cluster.can(seed.AKSDEV, "create", "pods", namespace)
    assert not cluster.can(seed.AKSDEV, "list", "pods", other)
    assert not cluster.can(seed.AKSDEV, "list", "pods")
    assert not cluster.can(seed.AKSDEV, "get", "roles.rbac.authorization.k8s.io", namespace)
    assert not cluster.can(seed.AKSSRE, "list", "pods", namespace)
