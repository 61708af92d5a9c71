"""Removals that nobody's edit asked for wait until a person lets them happen."""

from collections.abc import Iterable

from entra_access.api.names import ANNOTATION_APPROVE
from entra_access.api.resources import Meta
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.naming import digest

NEEDS_APPROVAL = "RemovalsNeedApproval"


def approved(meta: Meta, what: Iterable[str]) -> bool:
    """Whether a person has let it happen: by the generation, or by the hash of what is to go."""
    return meta.annotation(ANNOTATION_APPROVE) in {str(meta.generation), _hash(what)}


def needs_approval(meta: Meta, link: Link, what: Iterable[str], message: str, path: str) -> Finding:
    """What to say while it waits; `what` is to go."""
    how = f"kubectl annotate {meta.kind.plural} {meta.name} --overwrite {ANNOTATION_APPROVE}={_hash(what)}"
    return Finding(link, Severity.STALLED, NEEDS_APPROVAL, f"{message}; if that is right: {how}", path)


def _hash(what: Iterable[str]) -> str:
    return digest("|".join(sorted(what)))
