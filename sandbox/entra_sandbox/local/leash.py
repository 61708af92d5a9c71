"""Become another program that cannot outlive the one that started it.

Run as ``python -I -S leash.py <pid of the starter> <program> [argument ...]``. The kernel kills the program
when the thread that started it ends; `entra_sandbox.local.processes` starts it from a thread that lives as
long as the process. Where the kernel has no such service (it is Linux' own) the program is started all the
same, without the leash.

Imports only what is cheap: this runs before each process of each control plane.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Put the leash on and turn into the program; does not return."""
    starter, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        # SIGKILL, because a kube-apiserver that is asked politely waits for an etcd that is gone as well.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:  # it ended before the leash was on
            sys.exit("the starter is gone")
    os.execv(program[0], program)  # noqa: S606 - the whole point: no shell, and the same process id


if __name__ == "__main__":
    main(sys.argv[1:])
