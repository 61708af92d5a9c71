"""What can go wrong outside, in our words, and what a pass found.

    Fault
    ├── Throttled       the service asked us to wait
    ├── Unavailable     no connection, a time-out, 5xx
    ├── SignInFailed    no token could be had
    ├── Replicating     it was made, but not every replica knows it yet
    │   └── RoleUnknown it is a role definition, or one that is no more
    ├── UniqueNameHeld  a deleted group still holds the uniqueName
    ├── Changed         it changed between reading and writing
    ├── Missing         it is not there, for certain
    ├── InUse           something else still refers to it
    ├── Denied          the operator's identity may not do this       (permanent)
    ├── Taken           something of that name is there and not ours  (permanent)
    └── Rejected        the service will never accept this            (permanent)

The adapters raise these and nothing else; each maps its vendor's errors in one place. Messages are
written here and there, never copied from a response's body: it could hold what must not be logged.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Link(Enum):
    """The links of the chain from YAML to access; each has its condition."""

    POLICY = "policy"
    CEILING = "ceiling"
    SUBJECT = "subject"
    MEMBERS = "members"
    AZURE_ROLES = "azureRoles"
    BINDINGS = "bindings"


class Severity(IntEnum):
    """How bad a finding is; the higher one speaks for the resource."""

    NOTE = 0  # worth saying, nothing is wrong
    WARNING = 1  # all is as asked for, and yet it may not do what people expect
    UNKNOWN = 2  # could not be seen; what was there is left as it was
    WAITING = 3  # will pass by itself
    STALLED = 4  # somebody must act

    @property
    def hinders(self) -> bool:
        """Whether something is not as asked for, or not known to be."""
        return self > Severity.WARNING


@dataclass(frozen=True)
class Finding:
    """One thing that a pass found.

    `path` names the field; `retry_after` is in seconds; `unseen`: something could not be looked at, so
    that what was known of it still is what is known.
    """

    link: Link
    severity: Severity
    reason: str
    message: str
    path: str = ""
    retry_after: float | None = None
    unseen: bool = False

    @property
    def text(self) -> str:
        """The message, with the field's path before it."""
        return f"{self.path}: {self.message}" if self.path else self.message


class Fault(Exception):  # noqa: N818 - the word for all of them; each subclass says what happened
    """Something outside did not answer as wished. `retry_after` is in seconds."""

    reason = "Failed"
    permanent = False
    expected = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    def finding(self, link: Link, *, observing: bool = False) -> Finding:
        """What a pass found that met this fault; `observing`: while it was only looking."""
        passing = Severity.UNKNOWN if observing and not self.expected else Severity.WAITING
        severity = Severity.STALLED if self.permanent else passing
        return Finding(
            link, severity, self.reason, self.message, retry_after=self.retry_after, unseen=observing
        )


class Throttled(Fault):
    """The service asked us to wait."""

    reason = "Throttled"


class Unavailable(Fault):
    """No connection, a time-out, or an error on the service's side."""

    reason = "Unavailable"


class SignInFailed(Fault):
    """No token could be had for the operator's identity."""

    reason = "SignInFailed"


class Replicating(Fault):
    """Made, but not known everywhere yet. Nothing failed: it always is so for a while."""

    reason = "Replicating"
    expected = True


class PrincipalUnknown(Replicating):
    """Azure does not know the principal: not yet, or not any more, and the answer is the same."""


class RoleUnknown(Replicating):
    """Azure does not know the role definition: not yet, or not any more, and the answer is the same."""


class UniqueNameHeld(Fault):
    """A deleted group holds the uniqueName, and the list of deleted groups does not show it yet."""

    reason = "UniqueNameHeld"


class Changed(Fault):
    """The object changed between reading and writing; look again."""

    reason = "Changed"


class Missing(Fault):
    """Not there, and that is certain."""

    reason = "NotFound"


class InUse(Fault):
    """Something else still refers to it; it can go when that is gone."""

    reason = "InUse"


class Denied(Fault):
    """The operator's identity may not do this."""

    reason = "Denied"
    permanent = True


class Taken(Fault):
    """Something of that name is there, and the operator did not make it."""

    reason = "NameTaken"
    permanent = True


class Rejected(Fault):
    """The service will not accept this, however often it is asked."""

    reason = "Rejected"
    permanent = True
