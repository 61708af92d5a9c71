"""Whether what a plan finds is put right, or told only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entra_access.api.resources import Mode


@dataclass(frozen=True)
class Modes:
    """How the operator was started.

    Attributes
    ----------
    default
        The mode of policies that give none.
    read_only
        Nothing but the status is ever written, whatever a resource says.
    """

    default: Mode = Mode.ENFORCE
    read_only: bool = False

    def of(self, spec: Mapping[str, Any]) -> Mode:
        """The mode in effect for a policy of that spec, and for its grants: the operator's, else its own.

        Of a spec that cannot be read it counts too.
        """
        if self.read_only:
            return Mode.OBSERVE
        return next((mode for mode in Mode if mode.value == spec.get("mode")), self.default)
