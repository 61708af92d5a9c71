"""How the administration routes find what is named to them."""

from dataclasses import dataclass

from entra_sandbox.azure import RoleDefinition
from entra_sandbox.directory import Group, Principal, ServicePrincipal, User
from entra_sandbox.state import State


class NotThereError(Exception):
    """The thing that was named is not there."""


@dataclass(slots=True)
class Lookups:
    """The state, and the ways to name things in it."""

    state: State

    def user(self, name: str) -> User:
        """Look up a user by name or id."""
        if user := self.state.directory.user(name):
            return user
        raise NotThereError(f"there is no user '{name}'")

    def deleted_user(self, name: str) -> User:
        """Look up a deleted user by id, or by the name that it had."""
        for user in self.state.directory.deleted_users.values():
            if name.lower() in (user.id, user.upn.removeprefix(user.id.replace("-", "")).lower()):
                return user
        raise NotThereError(f"there is no deleted user '{name}'")

    def principal(self, name: str) -> Principal:
        """Look up anything by object id, user principal name or application id."""
        directory = self.state.directory
        found = directory.user(name) or directory.service_principal_of(name) or directory.find(name)
        if found is None:
            raise NotThereError(f"there is no object '{name}'")
        return found

    def application(self, name: str) -> ServicePrincipal:
        """Look up a service principal by application id, object id, or a display name that only one has."""
        directory = self.state.directory
        found = directory.service_principal_of(name) or directory.find(name)
        if isinstance(found, ServicePrincipal):
            return found
        named = [p for p in directory.service_principals.values() if p.display_name == name]
        if found is not None or len(named) > 1:
            raise NotThereError(f"'{name}' is no service principal, or the name of more than one")
        if not named:
            raise NotThereError(f"there is no service principal '{name}'")
        return named[0]

    def anybody(self, name: str) -> User | ServicePrincipal:
        """Look up who can sign in: a user, or else a service principal."""
        if "@" in name:
            return self.user(name)
        return self.state.directory.user(name) or self.application(name)

    def anything(self, name: str) -> Principal:
        """Look up anything by every name that it may have; a display name must be that of one thing only.

        Deleted groups are found by their display names where nothing that is there has them.
        """
        directory = self.state.directory
        for look_up in (self.principal, self.group, self.deleted_user):
            try:
                return look_up(name)
            except NotThereError:
                continue
        named: list[Principal] = [*directory.groups_with(name)]
        named += [p for p in directory.service_principals.values() if p.display_name == name]
        named = named or [group for group in directory.deleted.values() if group.display_name == name]
        if len(named) != 1:
            raise NotThereError(f"there is no object '{name}'" if not named else f"'{name}' is ambiguous")
        return named[0]

    def role(self, name: str) -> RoleDefinition:
        """Look up a role by its name or its GUID."""
        definitions = self.state.definitions
        found = definitions.by_id.get(name.lower()) or definitions.named(name)
        if found is None:
            raise NotThereError(f"there is no role '{name}'")
        return found

    def group(self, name: str) -> Group:
        """Look up a group, alive or deleted, by object id or unique name."""
        directory = self.state.directory
        found = directory.groups.get(name.lower()) or directory.deleted.get(name.lower())
        found = found or directory.group_named(name)
        if found is None:
            raise NotThereError(f"there is no group '{name}'")
        return found
