"""May this principal do that there? The one evaluation of role assignments, for ARM's callers and for the
cluster's.
"""

from dataclasses import dataclass

from entra_sandbox.azure import Assignments, Definitions, Permissions
from entra_sandbox.conditions import Attempt, action_matches, fulfilled
from entra_sandbox.directory import Directory


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and whether only a condition stood in the way."""

    allowed: bool
    condition_failed: bool = False
    assignment: str = ""
    """The name of the assignment that allows it."""
    role: str = ""
    """The role's id."""


class Access:
    """Evaluates assignments of the principal and of all its groups, at the scope and above."""

    def __init__(self, directory: Directory, assignments: Assignments, definitions: Definitions) -> None:
        self._directory = directory
        self._assignments = assignments
        self._definitions = definitions

    def check(self, oid: str, scope: str, attempt: Attempt, *, data: bool = False) -> Verdict:
        """Decide one attempt. Roles add up; a condition limits only the assignment that carries it."""
        user = self._directory.users.get(oid)
        if user is not None and user.is_owner and not data:
            return Verdict(allowed=True)
        principals = {oid, *self._directory.transitive_groups_of(oid)}
        condition_failed = False
        for assignment in self._assignments.held(principals, scope):
            role = self._definitions.by_id.get(assignment.role)
            if role is None or not any(
                _grants(block, attempt.action, data=data) for block in role.permissions
            ):
                continue
            if assignment.condition is None or fulfilled(assignment.condition, attempt):
                return Verdict(allowed=True, assignment=assignment.name, role=role.name)
            condition_failed = True
        return Verdict(allowed=False, condition_failed=condition_failed)


def _grants(block: Permissions, action: str, *, data: bool) -> bool:
    """Whether the block covers the action, or everything that an action with `*` stands for."""
    wanted = block.data_actions if data else block.actions
    refused = block.not_data_actions if data else block.not_actions
    return any(action_matches(p, action) for p in wanted) and not any(
        action_matches(p, action) or ("*" in action and action_matches(action, p)) for p in refused
    )
