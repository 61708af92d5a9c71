"""The part of a policy's plan that is about who gets the access, where the policy makes no group for it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from entra_access.api.names import SECRET, SERVICE_ACCOUNT
from entra_access.api.resources import (
    AccessPolicy,
    DeletePolicy,
    DirectorySubject,
    GroupSubject,
    Meta,
    PrincipalKind,
    ServiceAccountSubject,
    SubjectSpec,
)
from entra_access.api.status import Item, Subject
from entra_access.domain.approval import approved, needs_approval
from entra_access.domain.changes import ApplyChild, Change, LeaveAccount
from entra_access.domain.children import Child, ChildRef, SeenChild, is_shared
from entra_access.domain.faults import Fault, Finding, Link, Severity, Taken
from entra_access.domain.marks import Marks
from entra_access.domain.naming import token_name
from entra_access.domain.observed import Entry, PolicyWorld, Principal
from entra_access.domain.part import Part
from entra_access.domain.plan import child_item

PRINCIPAL_TYPES: Final = {
    PrincipalKind.USER.value: "User",
    PrincipalKind.GROUP.value: "Group",
    PrincipalKind.SERVICE_PRINCIPAL.value: "ServicePrincipal",
}
"""Azure's word for each kind of directory object."""
SUBJECT: Final = "subject"
_WORDS: Final = {"user": "user", "group": "group", "servicePrincipal": "service principal"}


@dataclass
class Who(Part):
    """Who gets the access.

    Attributes
    ----------
    subject
        None while nobody is known to give anything to.
    alone
        Nothing else is to be done in this pass.
    withdrawn
        The bindings give somebody else access by now, who has the name of the one that they were for.
    children
        What must be in the cluster for the subject's own sake.
    replaced
        Children that must be made anew, because what they were made for is another one now.
    """

    subject: Subject | None = None
    alone: bool = False
    withdrawn: bool = False
    children: list[Child] = field(default_factory=list)
    replaced: frozenset[ChildRef] = frozenset()


def is_for(wish: SubjectSpec, subject: Subject) -> bool:
    """Whether a subject that was found once is the one that the spec asks for now."""
    match wish:
        case GroupSubject():
            made = subject.origin in {"Created", "Adopted"} and not subject.reference
            return subject.kind == "Group" and made
        case DirectorySubject():
            return subject.reference == str(wish.reference)
        case ServiceAccountSubject():
            account = (SERVICE_ACCOUNT.kind, wish.namespace, wish.name)
            return (subject.kind, subject.namespace, subject.name) == account


def _stalled(reason: str, message: str, path: str) -> Finding:
    return Finding(Link.SUBJECT, Severity.STALLED, reason, message, path)


def plan_directory_subject(
    policy: AccessPolicy, wish: DirectorySubject, world: PolicyWorld, known: Subject | None, put_in: Marks
) -> Who:
    """A group, user or service principal that is there already.

    `known` is who it was when it was found last: while the directory cannot be asked, that still holds.
    `put_in` tells who it was before it could not be found.
    """
    who, reference = Who(unseen=True), wish.reference
    # What was given to them stays theirs, and is looked after, until somebody says who it is now.
    as_known = known if known and is_for(wish, known) else None
    match world.principals.get(reference):
        case Fault() as fault:
            who.findings.append(fault.finding(Link.SUBJECT, observing=True))
            who.subject = as_known
        case Principal() as principal:
            refusal = _refused(wish, principal)
            other = _another(policy, wish, principal, known, put_in)
            if other:
                who.findings.append(other)
                who.withdrawn = bool(principal.name) and principal.name.lower() in _names(wish, known)
                who.subject = known
            elif refusal:
                who.findings.append(refusal)
                who.subject = as_known
            else:
                who.subject = _subject(wish, principal)
                who.entries = [Entry(SUBJECT, str(reference), principal.id, there=True)]
                who.unseen = False
                who.findings += _oddities(policy, wish, principal)
        case _:
            word = _WORDS[reference.kind]
            hint = " with that object id" if reference.form == "objectId" else ""
            hint = " with that app id" if reference.form == "appId" else hint
            message = (
                f"there is no {word} {reference.value} in the directory{hint}; correct it, or create it there"
            )
            who.findings.append(_stalled("SubjectNotFound", message, wish.path))
            who.subject = as_known
    return who


def _another(
    policy: AccessPolicy,
    wish: DirectorySubject,
    principal: Principal,
    known: Subject | None,
    put_in: Marks,
) -> Finding | None:
    """The same name stands for somebody else now, to whom all the access would move."""
    former = known.object_id if known and known.reference == str(wish.reference) else ""
    if former == principal.id or not (
        former or put_in.had_another(SUBJECT, str(wish.reference), principal.id)
    ):
        return None
    ids = (former, principal.id)
    if approved(policy.meta, ids):
        return None
    was = f", and was {former}" if former else ""
    message = f"{wish.reference} is another object now ({principal.id}{was}), and all access would move to it"
    if principal.name and principal.name.lower() in _names(wish, known):
        message += "; bindings in the cluster are by name, so they are taken away until then"
    return needs_approval(policy.meta, Link.SUBJECT, ids, message, wish.path)


def _names(wish: DirectorySubject, known: Subject | None) -> set[str]:
    """The names by which Kubernetes knows the subject, in lower case: none where it goes by object id."""
    user = wish.reference.kind == PrincipalKind.USER.value and not wish.reference.form
    return {wish.reference.value.lower(), (known.name if known else "").lower()} if user else set()


def _refused(wish: DirectorySubject, principal: Principal) -> Finding | None:
    if principal.guest and not wish.reference.form:
        message = (
            f"{principal.name or wish.reference.value} is a guest of this tenant, whom Kubernetes knows by "
            f"object id; use user: {{objectId: {principal.id}}}"
        )
        return _stalled("GuestUser", message, wish.path)
    if not principal.security:
        message = (
            "the group is not security-enabled, and Azure and Kubernetes take no other; use a security group"
        )
        return _stalled("NotASecurityGroup", message, wish.path)
    return None


def _subject(wish: DirectorySubject, principal: Principal) -> Subject:
    """The subject as Kubernetes and Azure name it.

    Kubernetes knows a user of the same tenant by user principal name, exactly as the directory writes it,
    and everybody else by object id.
    Source: https://learn.microsoft.com/azure/aks/kubernetes-rbac-entra-id
    """
    group = wish.reference.kind == PrincipalKind.GROUP.value
    by_name = wish.reference.kind == PrincipalKind.USER.value and not wish.reference.form
    return Subject(
        kind="Group" if group else "User",
        object_id=principal.id,
        display_name=(principal.name if by_name else "") or principal.display_name or principal.id,
        origin="Existing",
        name=principal.name if by_name else "",
        principal_type=PRINCIPAL_TYPES[wish.reference.kind],
        reference=str(wish.reference),
    )


def _oddities(policy: AccessPolicy, wish: DirectorySubject, principal: Principal) -> list[Finding]:
    """A user of this tenant by object id: right for Azure, and unknown to Kubernetes RBAC."""
    bound = policy.cluster_roles or policy.rules or policy.ceiling or policy.namespaces
    user = wish.reference.kind == PrincipalKind.USER.value
    if not principal.enabled:
        return [disabled(principal, Link.SUBJECT, wish.path)]
    if not (user and wish.reference.form and bound and principal.name and not principal.guest):
        return []
    message = (
        f"{principal.name} is a user of this tenant, whom Kubernetes knows by user principal name: "
        f"bindings to the object id give nothing; use user: {{userPrincipalName: {principal.name}}}"
    )
    return [Finding(Link.SUBJECT, Severity.WARNING, "KnownByName", message, wish.path)]


def disabled(principal: Principal, link: Link, path: str) -> Finding:
    """A warning of a user who is disabled."""
    message = f"{principal.name or principal.id} is disabled in Entra and cannot sign in"
    return Finding(link, Severity.WARNING, "UserDisabled", message, path)


def plan_service_account(policy: AccessPolicy, wish: ServiceAccountSubject, world: PolicyWorld) -> Who:
    """A service account, made where there is none, and a token for it if that is asked for.

    Its Namespace is among its owners while any of its policies keeps it: whichever of them goes, and however,
    what that one keeps is not collected. A token is of one policy.
    """
    who, account = Who(), world.account
    keeps = policy.delete_policy is DeletePolicy.KEEP
    path = "spec.subject.serviceAccount"
    namespace = world.namespaces.get(wish.namespace)
    if namespace is None:
        message = f"there is no namespace {wish.namespace}; create it, or correct the name"
        who.findings.append(_stalled("NamespaceNotFound", message, f"{path}.namespace"))
        return who
    if namespace.ending:
        message = f"namespace {wish.namespace} is being deleted"
        who.findings.append(Finding(Link.SUBJECT, Severity.WAITING, "NamespaceEnding", message, path))
        return who
    who.subject = Subject(
        kind=SERVICE_ACCOUNT.kind,
        object_id="",
        display_name=f"{wish.namespace}/{wish.name}",
        origin="Created" if account.ours or account.shared or account.there is None else "Existing",
        name=wish.name,
        namespace=wish.namespace,
        principal_type="",
    )
    faults = [seen for seen in (account.there, account.token_for) if isinstance(seen, Fault)]
    if faults:
        who.findings += [fault.finding(Link.SUBJECT, observing=True) for fault in faults]
        who.alone = True
        return who
    if account.ours or account.shared or account.there is None:
        ref = ChildRef(SERVICE_ACCOUNT, wish.namespace, wish.name)
        holder = namespace.uid if keeps or ref in world.kept else ""
        who.children.append(Child(ref, policy.meta, joins=account.shared, holder=holder))
    if wish.token and account.taken:
        taken = Finding(Link.BINDINGS, Severity.STALLED, Taken.reason, account.taken, f"{path}.token")
        who.findings.append(taken)
    elif wish.token:
        token = ChildRef(SECRET, wish.namespace, token_name(wish.name))
        holder = namespace.uid if keeps else ""
        who.children.append(Child(token, policy.meta, account=wish.name, holder=holder))
        if account.token_for and account.there and account.token_for != account.there:
            who.replaced = frozenset({token})
    return who


@dataclass
class Handover:
    """Service accounts that are not for a policy to delete.

    Attributes
    ----------
    refs
        Which they are.
    additions
        What makes other policies owners of them that are not yet.
    removals
        What takes this policy out of their owners.
    inventory
        Their lines, until this policy is none of the owners any more.
    """

    refs: set[ChildRef] = field(default_factory=set)
    additions: list[Change] = field(default_factory=list)
    removals: list[Change] = field(default_factory=list)
    inventory: list[Item] = field(default_factory=list)


def plan_handover(owner: Meta, children: Iterable[SeenChild], who: Who, world: PolicyWorld) -> Handover:
    """What becomes of the accounts that a policy has no use for, and others have; or that are nobody's now.

    An account has each of its policies among its owners, so Kubernetes keeps it until the last one is gone.
    Where several go in the foreground, Kubernetes takes all of them out of the owners of one that any of them
    keeps; it is for that one to let it go.
    """
    handover, wanted = Handover(), {child.ref for child in who.children}
    for child in children:
        heirs = world.heirs.get(child.ref, ())
        if child.ref in wanted:
            continue
        if _is_used(child.ref, who.subject):
            # It is the subject still, and was let go meanwhile: the watch has not shown that yet.
            handover.refs.add(child.ref)
            continue
        if not heirs and child.ref not in world.kept and not is_shared(child, owner.name):
            continue
        handover.refs.add(child.ref)
        handover.additions += [
            ApplyChild(Child(child.ref, heir, joins=True), child.uid, complete=True)
            for heir in heirs
            if heir.uid not in child.owner_uids
        ]
        if owner.uid in child.owner_uids:
            handover.removals.append(LeaveAccount(child.ref, child.uid, owner))
            handover.inventory.append(child_item(child.ref, child.uid))
    return handover


def _is_used(ref: ChildRef, subject: Subject | None) -> bool:
    """Whether it is the account that a policy is for."""
    account = (ref.kind.kind, ref.namespace, ref.name)
    return subject is not None and (subject.kind, subject.namespace, subject.name) == account
