"""What the API server would say to files: which fields it does not know, and what its rules refuse."""

from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.manifests import Manifest, Manifests, unknown_fields
from entra_access.api.names import POLICY
from entra_access.domain.faults import Denied, Fault, Finding, Link, Missing, Severity
from entra_access.reconcile.cache import Body
from entra_access.reconcile.overlay import applied, as_patch

REFUSED: Final = "Refused"


async def unknown_to(kubernetes: Kubernetes, manifests: Manifests) -> list[str]:
    """What is in the resources and the API server does not know, each with its file.

    Raises
    ------
    Fault
        The API server does not tell what it knows.
    """
    schemas = {kind: await kubernetes.schema(kind) for kind in {one.kind for one in manifests.resources}}
    return [
        f"{one.file}: {one}: {path}: is no field of {one.kind.kind} here; correct it, or take it out"
        for one in manifests.resources
        for path in unknown_fields(one.body, schemas[one.kind])
    ]


class Rehearsal:
    """Asks the API server whether it would take what is in files. It keeps nothing of that.

    Its rules are those of the CRDs, and those of admission. Whoever may not write may not ask.
    """

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes
        self._rights: set[str] = set()
        self._namespaces: set[str] = set()

    async def ask(self, manifest: Manifest, old: Body | None, now: datetime) -> tuple[Finding, ...]:
        """Why it would not take a resource; `old` is what it has of it. None: it would, or was not asked."""
        kind, link = manifest.kind, link_of(manifest)
        name, body = (manifest.name, as_patch(applied(manifest, old, now))) if old else (None, manifest.body)
        try:
            found = await self._kubernetes.objections(kind, manifest.namespace, name, body)
        except Denied:
            self._rights.add(f"{'patch' if old else 'create'} {kind.plural}.{kind.group}")
        except Missing:
            # It is in the files, and comes first; or what was there is gone by now, and is new then.
            self._namespaces |= {manifest.namespace} if manifest.namespace and not old else set()
        except Fault as fault:
            return (fault.finding(link, observing=True),)
        else:
            words = "the API server refuses this: "
            return tuple(
                Finding(link, Severity.STALLED, REFUSED, words + one.message, one.path) for one in found
            )
        return ()

    @property
    def not_asked(self) -> list[str]:
        """Of what it was not asked, and why."""
        found = []
        if self._rights:
            rights = " and to ".join(sorted(self._rights))
            found.append(f"takes what is in the files: that needs the right to {rights}")
        found += [
            f"takes what is to be in namespace {one}: it is not there yet" for one in sorted(self._namespaces)
        ]
        return [f"it is not asked whether the API server {one}" for one in found]


def link_of(manifest: Manifest) -> Link:
    """What the first finding of a resource is about."""
    return Link.SUBJECT if manifest.kind is POLICY else Link.POLICY
