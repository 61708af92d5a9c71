"""How the administration routes find what is named to them."""

from dataclasses import dataclass

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

    def group(self, name: str) -> Group:
        """Look up a group, alive or deleted, by object id or unique name."""
        directory = self.state.directory
        found = directory.groups.get(name.lower()) or directory.deleted.get(name.lower())
        found = found or directory.group_named(name)
        if found is None:
            raise NotThereError(f"there is no group '{name}'")
        return found
