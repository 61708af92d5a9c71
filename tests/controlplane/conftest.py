"""The control plane that these tests share, unless they break one of their own."""

from support.controlplane import plane

__all__ = ["plane"]
