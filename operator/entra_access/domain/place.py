"""Where the operator works: one cluster, known by its ARM id."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from entra_access.api.resources import CLUSTER_SCOPE, Meta
from entra_access.domain.naming import digest


class ClusterKind(Enum):
    """What an ARM id tells of a cluster.

    AKS hybrid and AKS on Azure Local are Arc-connected clusters.
    Source: https://learn.microsoft.com/azure/azure-arc/kubernetes/azure-rbac
    """

    AKS = "AKS"
    ARC = "Arc"


_CLUSTER: Final = re.compile(r".*/(managedClusters|connectedClusters)/[^/]+", re.IGNORECASE)
_MARK: Final = "entra-access-operator"
_SUBSCRIPTION: Final = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)


def in_cluster(arm_id: str) -> bool:
    """Whether the scope is a cluster or something in it."""
    return _CLUSTER.match(arm_id) is not None


def subscription_of(arm_id: str) -> str | None:
    """The id of the subscription that a scope lies in, or None."""
    found = _SUBSCRIPTION.match(arm_id)
    return found[1] if found else None


@dataclass(frozen=True)
class Place:
    """Where the operator works.

    Attributes
    ----------
    cluster_id
        The cluster's ARM id.
    owner_id
        Tells this cluster's groups and role assignments from those of others.
    replication_window
        How long a new group may stay invisible somewhere.
    """

    cluster_id: str
    owner_id: str
    replication_window: timedelta = timedelta(minutes=2)

    @property
    def kind(self) -> ClusterKind:
        """AKS or Arc."""
        arc = "/connectedclusters/" in self.cluster_id.lower()
        return ClusterKind.ARC if arc else ClusterKind.AKS

    @property
    def resource_group(self) -> str:
        """The ARM id of the cluster's resource group."""
        return "/".join(self.cluster_id.split("/")[:5])

    @property
    def subscription(self) -> str:
        """The ARM id of the cluster's subscription."""
        return "/".join(self.cluster_id.split("/")[:3])

    def scope(self, text: str) -> str:
        """The ARM id that a scope in a spec stands for."""
        return self.cluster_id if text == CLUSTER_SCOPE else text

    def namespace_scope(self, namespace: str) -> str:
        """Where Azure roles for one namespace are assigned.

        Source: https://learn.microsoft.com/azure/aks/manage-azure-rbac
        """
        return f"{self.cluster_id}/namespaces/{namespace}"

    def within(self, scope: str) -> bool:
        """Whether the scope is the cluster or something in it."""
        return f"{scope.lower()}/".startswith(f"{self.cluster_id.lower()}/")

    def above(self, scope: str) -> bool:
        """Whether the scope is the cluster, its resource group or its subscription."""
        return f"{self.cluster_id.lower()}/".startswith(f"{scope.lower()}/")

    def covers(self, scope: str) -> bool:
        """Whether a list at the cluster shows what is there: a list has what is above and below too."""
        return self.within(scope) or self.above(scope)

    def note(self, owner: Meta) -> str:
        """The description of what is made in Azure: for whom, by which cluster.

        What bears another note was made by another cluster or another hand, whatever its name.
        """
        return f"{owner}, kept by {self._mark}"

    def made_here(self, description: str) -> bool:
        """Whether the description is one that this cluster's operator gives, to whichever resource."""
        return description.endswith(self._mark)

    @staticmethod
    def made_by_an_operator(description: str) -> bool:
        """Whether the description is one that an operator gives, of this cluster or of another."""
        return _MARK in description

    @property
    def _mark(self) -> str:
        cluster = self.cluster_id.rpartition("/")[2].lower()
        return f"{_MARK} ({cluster}, {digest(self.owner_id)})"
