"""Names that a restarted operator finds again: made of what they stand for, never of chance."""

import hashlib
import re
import uuid
from typing import Final

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "entra-access.dev")
_ILLEGAL_IN_NICKNAME: Final = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_GUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_ROLE: Final = re.compile(
    rf"(?:(?:/subscriptions/[^/]+)?/providers/Microsoft\.Authorization/roleDefinitions/)?({_GUID.pattern})",
    re.IGNORECASE,
)
_AUTHORIZATION: Final = re.compile(
    r"/providers/Microsoft\.Authorization/role(?:Assignments|Definitions)/", re.IGNORECASE
)
MAX_NICKNAME: Final = 64
_ADOPTED: Final = "_adopted"
"""No policy's name has an underscore."""


def digest(text: str, length: int = 8) -> str:
    """A short hash of the text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def unique_name(owner_id: str, policy: str) -> str:
    """The `uniqueName` of a policy's group: the same for every start of the same owner.

    Source: https://learn.microsoft.com/graph/api/group-upsert - an alternate key, immutable once set.
    """
    # Neither an owner id nor a policy's name can have an underscore, so no two pairs mean the same.
    return f"entra-access-{owner_id}_{policy}"


def adopted_name(owner_id: str, policy: str) -> str:
    """The `uniqueName` that a group gets when a policy takes it over.

    It is another one than that of a group which the policy makes, so that Entra itself tells that the group
    was there before, whatever becomes of the policy and its status.
    """
    return f"{unique_name(owner_id, policy)}{_ADOPTED}"


def is_adopted(name: str) -> bool:
    """Whether a `uniqueName` is that of a group that was taken over."""
    return name.endswith(_ADOPTED)


def mail_nickname(display_name: str) -> str:
    """The display name made a legal mail nickname: ASCII, at most 64, without ``@()\\[]";:<>,`` and space.

    Source: https://learn.microsoft.com/graph/api/group-post-groups. A dot is left out too, because the
    page on updating forbids it.
    """
    nickname = _ILLEGAL_IN_NICKNAME.sub("-", display_name).strip("-")[:MAX_NICKNAME].strip("-")
    return nickname or f"group-{digest(display_name)}"


def role_name(owner: str) -> str:
    """The name of the Role made of a grant's own rules."""
    return f"{owner}-rules"


def binding_name(owner: str, role_kind: str, role: str) -> str:
    """The name of a binding. A roleRef cannot change, so another roleRef must be another name."""
    return f"{owner}-{digest(f'{role_kind}/{role}')}"


def policy_role_name(policy: str) -> str:
    """The name of the Role or ClusterRole made of a policy's own rules. No grant's Role has such a name."""
    return f"entra-access-{policy}-{digest(f'AccessPolicy/{policy}')}"


def policy_binding_name(policy: str, role_kind: str, role: str, *, namespaced: bool = False) -> str:
    """The name of a policy's binding. In a namespace no grant's binding has such a name."""
    role_kind = f"AccessPolicy/{role_kind}" if namespaced else role_kind
    return f"entra-access-{binding_name(policy, role_kind, role)}"


def token_name(account: str) -> str:
    """The name of the Secret with the token of a service account."""
    return f"{account}-token"


def definition_name(owner_id: str, policy: str, role: str) -> str:
    """The GUID of a custom role, the same for every start of the same owner."""
    return str(uuid.uuid5(_NAMESPACE, f"{owner_id}|{policy}|{role}".lower()))


def definition_id(scope: str, guid: str) -> str:
    """The ARM id of a role definition."""
    return f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{guid}"


def scope_of(arm_id: str) -> str:
    """The scope that a role assignment's or definition's id lies in."""
    return _AUTHORIZATION.split(arm_id, maxsplit=1)[0]


def assignment_name(scope: str, principal_id: str, role_id: str) -> str:
    """The GUID of a role assignment, the same whenever the three are the same.

    Source: https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    recommends ``guid(scope, principalId, roleDefinitionId)``: names are unique in the whole tenant.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{scope}|{principal_id}|{role_id}".lower()))


def assignment_id(scope: str, name: str) -> str:
    """The ARM id of a role assignment."""
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"


def is_guid(text: str) -> bool:
    """Whether the text is a GUID and nothing else."""
    return _GUID.fullmatch(text) is not None


def role_guid(role: str) -> str | None:
    """The GUID of a role that a spec gives by its GUID or its role definition id; None where it is a name.

    A name can have a slash in it, and a GUID after that; these two forms are those that the CRDs let in.
    """
    found = _ROLE.fullmatch(role)
    return found[1].lower() if found else None


def guid_in(text: str) -> str | None:
    """The GUID at the end of an ARM id that Azure gave, or that is made here; None where there is none."""
    last = text.rpartition("/")[2]
    return last.lower() if _GUID.fullmatch(last) else None
