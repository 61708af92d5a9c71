"""The routes below `/_sandbox`: the foreign hand, the weather and the view from above. Loopback only, no
token.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from entra_sandbox import admin_azure, admin_state, seed
from entra_sandbox.admin_lookups import Lookups, NotThereError
from entra_sandbox.azure import new_id
from entra_sandbox.directory import FederatedCredential, Group, ServicePrincipal, UniqueNameTakenError, User
from entra_sandbox.exchange import Call, Json, Reply
from entra_sandbox.faults import Faults
from entra_sandbox.journal import Journal
from entra_sandbox.throttle import Throttle
from entra_sandbox.tokens import Tokens


@dataclass(slots=True)
class Admin(Lookups):
    """All that the administration routes touch."""

    tokens: Tokens
    throttle: Throttle
    journal: Journal
    faults: Faults

    def handle(self, call: Call) -> Reply:
        """Answer one request; a mistake is answered with 400 or 404 and a sentence."""
        path = call.path.removeprefix("/_sandbox").rstrip("/")
        for method, pattern, handler in _ROUTES:
            found = pattern.fullmatch(path)
            if found and method == call.method:
                ref = {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
                try:
                    return handler(self, call, ref)
                except NotThereError as error:
                    return Reply(404, {"error": str(error)})
                except KeyError as error:
                    return Reply(400, {"error": f"missing: {error}"})
                except (ValueError, TypeError, re.error) as error:
                    return Reply(400, {"error": str(error)})
        return Reply(404, {"error": f"the sandbox has no {call.method} {call.path}"})


def _health(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    return Reply(200, {"status": "ok", "tenantId": admin.state.tenant_id, "journal": admin.journal.last})


def _state(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    return Reply(200, admin_state.dump(admin.state))


def _journal(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    return Reply(200, admin.journal.entries(call.query))


def _clear_journal(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    admin.journal.clear()
    return Reply(204)


def _faults(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    return Reply(200, admin.faults.as_json())


def _add_fault(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    return Reply(201, admin.faults.add(call.json()).as_json())


def _clear_faults(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    admin.faults.clear()
    return Reply(204)


def _settings(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    return Reply(200, admin.state.settings.as_json())


def _set(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    admin.state.change_settings(call.json())
    return Reply(200, admin.state.settings.as_json())


def _advance(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    admin.state.clock.advance(float(call.json()["advance"]))
    return Reply(200, {"now": admin.state.clock.now()})


def _reset(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    """Bring the start back: objects, settings, faults, buckets and journal. Only the clock stays."""
    admin.state.clear()
    seed.fill(admin.state)
    admin.faults.clear()
    admin.throttle.reset()
    admin.journal.clear()
    return Reply(204)


def _token(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    """Give a token for the cluster, or for the audience that is asked for, to a user or an application."""
    body = call.json()
    lifetime = float(body.get("lifetime", admin.state.settings.token_lifetime))
    audience = str(body.get("audience", seed.AKS_SERVER_APP_ID))
    match _signing_in(admin, body):
        case User() as user:
            token = admin.tokens.for_user(user, audience, lifetime)
        case principal:
            with_roles = audience != seed.AKS_SERVER_APP_ID
            token = admin.tokens.for_app(principal, audience, lifetime, with_roles=with_roles)
    return Reply(200, {"token": token, "expiresIn": lifetime})


def _signing_in(admin: Admin, body: Json) -> User | ServicePrincipal:
    """Find who wants a token: a user, a service principal, or whichever of the two has that name."""
    if "user" in body:
        found: User | ServicePrincipal = admin.user(str(body["user"]))
    elif "servicePrincipal" in body:
        found = admin.application(str(body["servicePrincipal"]))
    else:
        found = admin.anybody(str(body["who"]))
    if isinstance(found, User) and not found.enabled:
        raise ValueError(f"AADSTS50057: The user account '{found.upn}' is disabled.")
    if isinstance(found, ServicePrincipal) and not found.enabled:
        raise ValueError(f"AADSTS7000112: Application '{found.app_id}'({found.display_name}) is disabled.")
    return found


def _add_user(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    body = call.json()
    upn = str(body["userPrincipalName"])
    user = User(
        id=str(body.get("id", new_id())).lower(),
        upn=upn,
        display_name=str(body.get("displayName", upn.partition("@")[0])),
        created=admin.state.clock.now(),
        user_type=str(body.get("userType", "Guest" if "#EXT#" in upn else "Member")),
        mail=body.get("mail", upn),
        enabled=bool(body.get("accountEnabled", True)),
        permissions={str(p) for p in body.get("permissions", ())},
        is_owner=bool(body.get("isOwner", False)),
    )
    return Reply(201, admin_state.user(admin.state.directory.add_user(user)))


def _change_user(admin: Admin, call: Call, ref: dict[str, str]) -> Reply:
    user, body = admin.user(ref["name"]), call.json()
    if not body or not body.keys() <= _USER_FIELDS.keys():
        raise ValueError(f"a user's fields are {', '.join(_USER_FIELDS)}")
    fields: dict[str, Any] = {_USER_FIELDS[name]: value for name, value in body.items()}
    if "permissions" in fields:
        fields["permissions"] = {str(p) for p in fields["permissions"]}
    fields |= {name: bool(fields[name]) for name in ("enabled", "is_owner") if name in fields}
    admin.state.directory.change_user(user, fields)
    return Reply(200, admin_state.user(user))


def _delete_user(admin: Admin, call: Call, ref: dict[str, str]) -> Reply:
    if not _is_purge(call):
        admin.state.directory.delete_user(admin.user(ref["name"]))
        return Reply(204)
    user = admin.state.directory.user(ref["name"]) or admin.deleted_user(ref["name"])
    admin.state.directory.purge_user(user)
    return Reply(204)


def _restore_user(admin: Admin, _call: Call, ref: dict[str, str]) -> Reply:
    user = admin.deleted_user(ref["name"])
    admin.state.directory.restore_user(user)
    return Reply(200, admin_state.user(user))


def _add_application(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    body = call.json()
    principal = ServicePrincipal(
        id=str(body.get("id", new_id())).lower(),
        app_id=str(body.get("appId", new_id())).lower(),
        display_name=str(body["displayName"]),
        created=admin.state.clock.now(),
    )
    _shape_application(principal, body)
    return Reply(201, admin_state.application(admin.state.directory.add_service_principal(principal)))


def _change_application(admin: Admin, call: Call, ref: dict[str, str]) -> Reply:
    principal = admin.application(ref["name"])
    _shape_application(principal, call.json())
    return Reply(200, admin_state.application(principal))


def _shape_application(principal: ServicePrincipal, body: Json) -> None:
    if "appRoles" in body:
        principal.app_roles = {str(role) for role in body["appRoles"]}
    if "federatedCredentials" in body:
        principal.federated = [
            FederatedCredential(
                issuer=str(c["issuer"]),
                subject=str(c["subject"]),
                jwks=dict(c["jwks"]),
                audience=str(c.get("audience", "api://AzureADTokenExchange")),
            )
            for c in body["federatedCredentials"]
        ]
    principal.secret = str(body.get("secret", principal.secret))
    principal.enabled = bool(body.get("accountEnabled", principal.enabled))


def _delete_application(admin: Admin, _call: Call, ref: dict[str, str]) -> Reply:
    admin.state.directory.remove_service_principal(admin.application(ref["name"]))
    return Reply(204)


def _add_group(admin: Admin, call: Call, _ref: dict[str, str]) -> Reply:
    body = call.json()
    name, now = str(body["displayName"]), admin.state.clock.now()
    members, owners = _ids(admin, body.get("members", ())), _ids(admin, body.get("owners", ()))
    group = Group(
        id=str(body.get("id", new_id())).lower(),
        display_name=name,
        mail_nickname=str(body.get("mailNickname", re.sub(r"[^A-Za-z0-9-]", "", name) or "group")),
        created=now,
        visible_at=now + float(body.get("replicationDelay", 0)),
        description=body.get("description"),
        unique_name=body.get("uniqueName"),
        mail_enabled=bool(body.get("mailEnabled", False)),
        security_enabled=bool(body.get("securityEnabled", True)),
        group_types=list(body.get("groupTypes", ())),
        is_assignable_to_role=body.get("isAssignableToRole"),
        on_premises_sync=body.get("onPremisesSyncEnabled"),
    )
    try:
        admin.state.directory.add_group(group)
    except UniqueNameTakenError as error:
        raise ValueError(f"the unique name is taken: {error}") from error
    admin.state.directory.add_owners(group, owners)
    admin.state.directory.add_members(group, members)
    return Reply(201, admin_state.group(admin.state, group))


def _change_group(admin: Admin, call: Call, ref: dict[str, str]) -> Reply:
    """Change a group as somebody else would: its names, its description, its members and owners."""
    group, body = admin.group(ref["name"]), call.json()
    directory = admin.state.directory
    add, drop = _ids(admin, body.get("addMembers", ())), _ids(admin, body.get("removeMembers", ()))
    directory.rename(group, display_name=body.get("displayName"), nickname=body.get("mailNickname"))
    group.description = body.get("description", group.description)
    directory.touch(group)
    directory.add_members(group, add)
    for member in drop:
        if member in group.members:
            directory.remove_member(group, member)
    directory.add_owners(group, _ids(admin, body.get("addOwners", ())))
    for owner in _ids(admin, body.get("removeOwners", ())):
        if owner in group.owners:
            directory.remove_owner(group, owner)
    return Reply(200, admin_state.group(admin.state, group))


def _delete_group(admin: Admin, call: Call, ref: dict[str, str]) -> Reply:
    group, directory = admin.group(ref["name"]), admin.state.directory
    if _is_purge(call):
        directory.purge_group(group)
    elif group.deleted_at is None:
        directory.delete_group(group)
    return Reply(204)


def _restore_group(admin: Admin, _call: Call, ref: dict[str, str]) -> Reply:
    group = admin.group(ref["name"])
    if group.deleted_at is None:
        raise ValueError("the group is not deleted")
    admin.state.directory.restore_group(group)
    return Reply(200, admin_state.group(admin.state, group))


def _object(admin: Admin, _call: Call, ref: dict[str, str]) -> Reply:
    """Say what a name stands for."""
    found = admin.anything(ref["name"])
    return Reply(200, {"id": found.id, "type": type(found).__name__, "displayName": found.display_name})


def _expire_delta_tokens(admin: Admin, _call: Call, _ref: dict[str, str]) -> Reply:
    admin.state.directory.begin_epoch()
    return Reply(204)


def _is_purge(call: Call) -> bool:
    return call.query.get("purge", "").lower() == "true"


def _ids(admin: Admin, names: Iterable[Any]) -> list[str]:
    return [admin.principal(str(name)).id for name in names]


_USER_FIELDS = {
    "accountEnabled": "enabled",
    "displayName": "display_name",
    "isOwner": "is_owner",
    "mail": "mail",
    "permissions": "permissions",
    "userPrincipalName": "upn",
    "userType": "user_type",
}
_Handler = Callable[[Admin, Call, dict[str, str]], Reply]
_NAME = r"/(?P<name>[^/]+)"
_ROUTES: tuple[tuple[str, re.Pattern[str], _Handler], ...] = tuple(
    (method, re.compile(path), handler)
    for method, path, handler in (
        ("GET", "/health", _health),
        ("GET", "/state", _state),
        ("GET", "/journal", _journal),
        ("DELETE", "/journal", _clear_journal),
        ("GET", "/faults", _faults),
        ("POST", "/faults", _add_fault),
        ("DELETE", "/faults", _clear_faults),
        ("GET", "/settings", _settings),
        ("PUT", "/settings", _set),
        ("POST", "/clock", _advance),
        ("POST", "/reset", _reset),
        ("POST", "/token", _token),
        ("POST", "/users", _add_user),
        ("PATCH", "/users" + _NAME, _change_user),
        ("DELETE", "/users" + _NAME, _delete_user),
        ("POST", "/users" + _NAME + "/restore", _restore_user),
        ("POST", "/servicePrincipals", _add_application),
        ("PATCH", "/servicePrincipals" + _NAME, _change_application),
        ("DELETE", "/servicePrincipals" + _NAME, _delete_application),
        ("POST", "/groups", _add_group),
        ("PATCH", "/groups" + _NAME, _change_group),
        ("DELETE", "/groups" + _NAME, _delete_group),
        ("POST", "/groups" + _NAME + "/restore", _restore_group),
        ("GET", "/objects" + _NAME, _object),
        ("GET", "/roles" + _NAME, admin_azure.show_role),
        ("POST", "/deltaTokens/expire", _expire_delta_tokens),
        ("POST", "/assignments", admin_azure.add_assignment),
        ("DELETE", "/assignments" + _NAME, admin_azure.delete_assignment),
        ("POST", "/resources", admin_azure.add_resource),
        ("PATCH", "/resources", admin_azure.change_resource),
    )
)
