"""A Role or binding that kubectl made before a policy or a grant asks for it."""

from dataclasses import dataclass

from entra_access.domain.naming import binding_name, policy_binding_name, policy_role_name, role_name
from support.cluster import Body, Cluster
from support.life import READ_PODS, Person, Policy, ceiling, new_policy, person

RBAC = "rbac.authorization.k8s.io"
KINDS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
READ_SECRETS: Body = {**READ_PODS, "resources": ["secrets"]}


@dataclass
class Site:
    """A policy and a namespace with room for a grant; neither asks for anything in the cluster yet."""

    cluster: Cluster
    policy: Policy
    who: Person
    namespace: str
    kind: str

    @property
    def of_grant(self) -> bool:
        """Whether it is the grant that makes objects of this kind here."""
        return self.kind in {"Role", "RoleBinding"}

    @property
    def name(self) -> str:
        """The name that the object must have."""
        policy = self.policy.name
        return {
            "ClusterRole": policy_role_name(policy),
            "ClusterRoleBinding": policy_binding_name(policy, "ClusterRole", "view"),
            "Role": role_name("work"),
            "RoleBinding": binding_name("work", "ClusterRole", "view"),
        }[self.kind]

    @property
    def place(self) -> tuple[str, ...]:
        """Where it is, for kubectl."""
        return ("-n", self.namespace) if self.of_grant else ()

    def object(self, **content: object) -> Body:
        """It as another hand would make it: with the content that is asked for, or with other content."""
        group: Body = {"apiGroup": RBAC, "kind": "Group", "name": self.policy.group_id}
        whole: Body = (
            {"rules": [READ_PODS]}
            if not self.kind.endswith("Binding")
            else {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}, "subjects": [group]}
        )
        where = {"namespace": self.namespace} if self.of_grant else {}
        metadata = {"name": self.name, "labels": {"team": "theirs"}, **where}
        return {"apiVersion": f"{RBAC}/v1", "kind": self.kind, "metadata": metadata, **whole, **content}

    def other(self) -> Body:
        """It with other content: other rules, or for somebody else."""
        if self.kind.endswith("Binding"):
            return self.object(subjects=[{"apiGroup": RBAC, "kind": "User", "name": "eve@example.com"}])
        return self.object(rules=[READ_SECRETS])

    def there(self) -> Body:
        """It as the API server has it."""
        namespace = self.namespace if self.of_grant else None
        return self.cluster.get(f"{self.kind.lower()}s", self.name, namespace)

    def content(self) -> Body:
        """What of it gives access."""
        return {key: value for key, value in self.there().items() if key in {"rules", "roleRef", "subjects"}}

    def wished(self) -> Body:
        """What of it is to give access."""
        return {k: v for k, v in self.object().items() if k in {"rules", "roleRef", "subjects"}}

    def ask(self) -> None:
        """Ask for the object, and no other."""
        rules = self.kind in {"Role", "ClusterRole"}
        spec: Body = {"rules": [READ_PODS]} if rules else {"clusterRoles": ["view"]}
        if self.of_grant:
            self.cluster.grant("work", self.namespace, self.policy.name, **spec)
        else:
            self.policy.apply(**spec)

    @property
    def resource(self) -> tuple[str, str, str | None]:
        """Kind, name and namespace of the resource that asks for it."""
        return ("ngrant", "work", self.namespace) if self.of_grant else ("apol", self.policy.name, None)

    def ready(self) -> Body:
        """Wait until the resource that asks for it is Ready."""
        return self.cluster.ready(*self.resource)

    def stalled(self) -> str:
        """Wait until the resource that asks for it says that the name is taken. Returns what it says."""
        kind, name, namespace = self.resource
        return str(self.cluster.waits_for(kind, name, "Stalled", "NameTaken", namespace)["message"])

    def origin(self) -> str | None:
        """Where the object comes from, as the inventory says; None where it is not there."""
        kind, name, namespace = self.resource
        lines = self.cluster.get(kind, name, namespace)["status"]["inventory"]
        found = [one for one in lines if one["kind"] == self.kind and one["name"].endswith(self.name)]
        return found[0].get("origin", "") if found else None

    def delete(self) -> None:
        """Delete the resource that asks for it."""
        kind, name, namespace = self.resource
        where = ("-n", namespace) if namespace else ()
        self.cluster.kubectl("delete", kind, name, *where, "--timeout=30s")


def new_site(cluster: Cluster, kind: str, adoption: str = "Always") -> Site:
    """One with a policy that is Ready."""
    who = person(cluster)
    grants = ceiling("view", rules=[READ_PODS])
    policy = new_policy(cluster, who, grants=grants, adoptionPolicy=adoption)
    policy.ready()
    return Site(cluster, policy, who, cluster.namespace(), kind)
