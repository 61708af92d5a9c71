"""Look at the service account that is a policy's subject, and at its token."""

import asyncio

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import ANNOTATION_ACCOUNT_UID, LABEL_OWNER_UID, POLICY, SECRET, SERVICE_ACCOUNT
from entra_access.api.resources import AccessPolicy, ServiceAccountSubject
from entra_access.domain.children import SeenChild, not_made_here, seen_child
from entra_access.domain.faults import Fault
from entra_access.domain.naming import token_name
from entra_access.domain.observed import AccountWorld, Seen
from entra_access.reconcile.seeing import seen


async def look_at_account(
    kubernetes: Kubernetes, policy: AccessPolicy
) -> tuple[AccountWorld, list[SeenChild]]:
    """What there is of a policy's account, and of it and its token what was made here."""
    wish, made = policy.subject, list[SeenChild]()
    if not isinstance(wish, ServiceAccountSubject):
        return AccountWorld(), made
    account, token = await asyncio.gather(
        seen(kubernetes.get(SERVICE_ACCOUNT, wish.namespace, wish.name)),
        seen(kubernetes.get(SECRET, wish.namespace, token_name(wish.name))),
    )
    if isinstance(token, Fault) and not wish.token:
        token = None  # whoever wants no tokens need not give the right to read any
    taken, makers = "", list[str]()
    there: Seen[str | None] = None
    token_for: Seen[str | None] = None
    if isinstance(account, Fault):
        there = account
    elif account:
        child = seen_child(SERVICE_ACCOUNT, account)
        there, makers = child.uid, _makers(child)
        made += [child] if makers else []
    if isinstance(token, Fault):
        token_for = token
    elif token:
        token_for = (token["metadata"].get("annotations") or {}).get(ANNOTATION_ACCOUNT_UID)
        child = seen_child(SECRET, token)
        ours = policy.meta.uid in child.owner_uids
        made += [child] if ours else []
        taken = "" if ours else not_made_here(child.ref, token)
    leads = makers[:1] == [policy.meta.uid]
    return AccountWorld(there, leads, bool(makers) and not leads, token_for, taken), made


def _makers(account: SeenChild) -> list[str]:
    """The UIDs of the policies that it was made for; the one that looks after it comes first.

    By its owners, and by its label where another hand has taken them away. One that has neither was not made
    here, or it was let go by a policy that keeps what it made, and is nobody's since then.
    """
    owners = [uid for kind, _, uid in account.owners if kind == POLICY.kind]
    return owners or [uid for uid in [account.labels.get(LABEL_OWNER_UID)] if uid]
