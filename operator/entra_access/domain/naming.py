"""Names that a restarted operator finds again: made of what they stand for, never of chance."""

import hashlib
import re
import uuid
from typing import Final

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "entra-access.dev")
_ILLEGAL_IN_NICKNAME: Final = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_GUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
MAX_NICKNAME: Final = 64


def digest(text: str, length: int = 8) -> str:
    """A short hash of the text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def unique_name(owner_id: str, policy: str) -> str:
    """The `uniqueName` of a policy's group: the same for every start of the same owner.

    Source: https://learn.microsoft.com/graph/api/group-upsert - an alternate key, immutable once set.
    """
    # Neither an owner id nor a policy's name can have an underscore, so no two pairs mean the same.
    return f"entra-access-{owner_id}_{policy}"


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


def assignment_name(scope: str, principal_id: str, role_id: str) -> str:
    """The GUID of a role assignment, the same whenever the three are the same.

    Source: https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    recommends ``guid(scope, principalId, roleDefinitionId)``: names are unique in the whole tenant.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{scope}|{principal_id}|{role_id}".lower()))


def assignment_id(scope: str, name: str) -> str:
    """The ARM id of a role assignment."""
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"


def guid_in(text: str) -> str | None:
    """The GUID at the end of a role's id, or of a role given by its GUID; None where it is a name."""
    last = text.rpartition("/")[2]
    return last.lower() if _GUID.fullmatch(last) else None
