"""ARM scopes: what they look like and which lies above which. Case never matters."""

import re

ROOT = "/"
_MANAGEMENT_GROUP = "/providers/microsoft.management/managementgroups/"
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)(?:/|$)", re.IGNORECASE)
_RESOURCE_GROUP = re.compile(r"(/subscriptions/[^/]+/resourcegroups/[^/]+)(?:/|$)", re.IGNORECASE)


def normal(scope: str) -> str:
    """Give a scope in the one form that compares: lower case, one leading slash, none at the end."""
    return "/" + "/".join(part for part in scope.lower().split("/") if part)


def subscription_of(scope: str) -> str | None:
    """Give the id of the subscription that the scope lies in."""
    found = _SUBSCRIPTION.match(scope)
    return found[1] if found else None


def resource_group_of(scope: str) -> str | None:
    """Give the resource group's id, in normal form, that the scope lies in."""
    found = _RESOURCE_GROUP.match(scope)
    return normal(found[1]) if found else None


def is_management_group(scope: str) -> bool:
    """Whether this is a management group."""
    return normal(scope).startswith(_MANAGEMENT_GROUP)


def chain(scope: str, root_group: str) -> list[str]:
    """Give the scope and everything above it, in normal form, nearest first.

    The tenant's root management group stands between every subscription and the root.
    """
    own = normal(scope)
    above = [own]
    while (cut := above[-1].rfind("/")) > 0:
        above.append(above[-1][:cut])
    if subscription_of(own):
        above.append(normal(root_group))
    if own != ROOT:
        above.append(ROOT)
    return above


def is_within(inner: str, outer: str, root_group: str) -> bool:
    """Whether a scope is the outer scope or lies below it."""
    return normal(outer) in chain(inner, root_group)
