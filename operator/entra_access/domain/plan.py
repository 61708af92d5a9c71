"""The plan: what would make the world as it should be. One value, however it is used.

Here: the plan itself, the part that both kinds share (Roles and bindings), and the plan of a grant.
The plan of a policy is in `policy_plan`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from entra_access.api.names import SECRET, SERVICE_ACCOUNT
from entra_access.api.resources import AdoptionPolicy
from entra_access.api.status import ADOPTED, DriftItem, Item, Subject, System
from entra_access.domain.changes import ApplyChild, Change, DeleteChild, ReleaseChild, ReplaceChild
from entra_access.domain.children import (
    UNCHANGEABLE,
    Child,
    ChildRef,
    SeenChild,
    by_ref,
    differences,
    drift_of,
    gives_all,
    order_of_going,
)
from entra_access.domain.difference import ABSENT, DELETED, PRESENT, Difference
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.holding import plan_holding
from entra_access.domain.observed import Entry


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order, and what was found on the way.

    Attributes
    ----------
    changes
        The writes, those that add before those that take away.
    findings
        What keeps the whole wish from being fulfilled, or is worth saying.
    differences
        What is not as it should be, and which of the changes puts it right.
    subject
        Who gets the access; None while that is not known.
    counts
        How many of each there will be when the changes are done; None where that was not seen.
    inventory
        What was seen to be there and is ours; what the changes make is added to it.
    summary
        The access in words, for people.
    claims
        ARM ids, in lower case, of the role assignments that this resource wants.
    gone
        Ids, in lower case, of what was made once and is found to be no more.
    without
        Links of the chain that this resource does not have.
    expires_at
        When the access ends; empty where it lasts.
    entries
        The members and owners of the group that are wished for; None where they were not seen.
    stays
        Relation and object id of those that are in the group and are not wished for, and stay for now.
    """

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    differences: tuple[Difference, ...] = ()
    subject: Subject | None = None
    counts: Mapping[str, int | None] = field(default_factory=dict)
    inventory: tuple[Item, ...] = ()
    summary: str = ""
    claims: frozenset[str] = frozenset()
    unsure: bool = False
    gone: frozenset[str] = frozenset()
    without: frozenset[Link] = frozenset()
    expires_at: str = ""
    entries: tuple[Entry, ...] | None = None
    stays: frozenset[tuple[str, str]] = frozenset()

    @property
    def compared(self) -> bool:
        """Whether what is wished for was compared with what is there; else all of that stays as it is."""
        return bool(self.counts)


@dataclass(frozen=True)
class ChildPlan:
    """The part of a plan that is about Roles and bindings."""

    additions: tuple[Change, ...]
    removals: tuple[Change, ...]
    differences: tuple[Difference, ...]
    inventory: tuple[Item, ...]


def child_item(ref: ChildRef, uid: str, *, adopted: bool = False) -> Item:
    """The line of the inventory for a Role or binding."""
    return Item(System.KUBERNETES, ref.kind.kind, ref.path, uid, origin=ADOPTED if adopted else "")


def _is_adopted(seen: SeenChild, lines: Mapping[tuple[str, str], Item], adoption: AdoptionPolicy) -> bool:
    """Whether it was there before, as the inventory says of this very object.

    A service account that was there is used as it is, and not taken over. Only of one that the inventory does
    not have the annotation is believed, and only where things may be adopted: anybody may write one, and what
    is adopted stays when its resource goes.
    """
    if seen.ref.kind is SERVICE_ACCOUNT:
        return False
    line = lines.get((seen.ref.kind.kind, seen.ref.path))
    if line and line.id == seen.uid:
        return line.adopted
    return adoption is not AdoptionPolicy.NEVER and seen.adopted and not seen.owners


def plan_children(
    wanted: Iterable[Child],
    seen: Iterable[SeenChild],
    inventory: Iterable[Item],
    anew: frozenset[ChildRef] = frozenset(),
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
    *,
    keep: bool = False,
) -> ChildPlan:
    """Compare Roles and bindings as they should be with those that are there.

    `anew`: to be made again. `keep`: they are to stay when their resource goes, however it is deleted.
    """
    wanted, inventory = tuple(wanted), tuple(inventory)
    lines = {(i.kind, i.name): i for i in inventory if i.system is System.KUBERNETES}
    there = by_ref(seen)
    known = {(item.kind, item.name) for item in inventory if item.system is System.KUBERNETES and item.id}
    additions: list[Change] = []
    found: list[Difference] = []
    wanted_refs = set()
    coming = set()
    joining = set()
    for wish in wanted:
        child = replace(wish, kept=keep and wish.ref.kind not in {SERVICE_ACCOUNT, SECRET})
        wanted_refs.add(child.ref)
        one = there.get(child.ref)
        if one is None:
            made = ApplyChild(child, None, adoption=adoption)
            additions.append(made)
            coming.add(child_item(child.ref, "").key)
            # Kubernetes does not record who deleted it.
            foreign = (child.ref.kind.kind, child.ref.path) in known
            item = DriftItem(System.KUBERNETES, str(child.ref), "", PRESENT, DELETED if foreign else ABSENT)
            found.append(Difference(item, made, foreign))
            continue
        if _is_adopted(one, lines, adoption):
            child = replace(child, adopted=True, kept=False)
        different = {name for name, _, _ in differences(child, one)}
        if different & UNCHANGEABLE or child.ref in anew or (different and child.account):
            made = ApplyChild(child, None)
            additions += [ReplaceChild(child.ref, one.uid), made]
        elif different:
            made = ApplyChild(child, one.uid, complete=gives_all(child, one))
            additions.append(made)
        else:
            continue
        line = lines.get((child.ref.kind.kind, child.ref.path))
        joined = line is not None and line.id == one.uid
        found += [Difference(item, made, foreign) for item, foreign in drift_of(child, one, joined=joined)]
        joining |= {child.ref} if child.joins else set()
    replaced = {change.ref for change in additions if isinstance(change, ReplaceChild)}
    holding = plan_holding(wanted, there, replaced)
    leaving = sorted(
        (c for c in there.values() if c.ref not in wanted_refs), key=lambda c: order_of_going(c.ref)
    )
    removals: tuple[Change, ...] = tuple(DeleteChild(c.ref, c.uid) for c in leaving)
    # An account that another policy has made is only this one's when this one is among its owners.
    own = [c for c in there.values() if c.ref not in joining]
    kept = tuple(child_item(c.ref, c.uid, adopted=_is_adopted(c, lines, adoption)) for c in own)
    kept += tuple(one for one in still_to_come(inventory, there) if one.key in coming)
    additions += [one.change for one in holding if one.change]
    return ChildPlan(tuple(additions), removals, (*found, *holding), kept)


def plan_children_removal(
    seen: Iterable[SeenChild],
    inventory: Iterable[Item],
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
    *,
    keep: bool,
) -> ChildPlan:
    """Take away Roles and bindings, but let go of what was adopted, and with `keep` of all of them."""
    plan = plan_children((), seen, inventory, adoption=adoption)
    adopted = {item.id for item in plan.inventory if item.adopted}
    removals = tuple(
        ReleaseChild(change.ref, change.uid)
        if isinstance(change, DeleteChild) and (keep or change.uid in adopted)
        else change
        for change in plan.removals
    )
    return replace(plan, removals=removals)


def still_to_come(inventory: Iterable[Item], there: Iterable[ChildRef]) -> list[Item]:
    """The lines of what was about to be made and is not seen to be there."""
    seen = {child_item(ref, "").key for ref in there}
    lines = (item for item in inventory if item.system is System.KUBERNETES and not item.id)
    return [item for item in lines if item.key not in seen]


def missing_cluster_roles(names: Iterable[str], existing: frozenset[str], path: str) -> list[Finding]:
    """A finding for each ClusterRole that is asked for and is not there."""
    return [
        Finding(
            Link.BINDINGS,
            Severity.STALLED,
            "ClusterRoleNotFound",
            f"there is no ClusterRole {name}; create it or correct the name",
            f"{path}.clusterRoles[{index}]",
        )
        for index, name in enumerate(names)
        if name not in existing
    ]


def count(number: int, noun: str) -> str:
    """The number with its noun, in the plural where it must be."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
