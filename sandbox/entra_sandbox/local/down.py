"""``make sandbox-down``: end what ``make sandbox`` started, and remove what it left."""

import shutil
import sys

from entra_sandbox.local.stack import Stack
from entra_sandbox.local.up import FOLDER


def main() -> int:
    """End it. Returns the exit code."""
    if not FOLDER.exists():
        print("nothing runs")
        return 0
    Stack(FOLDER, detached=True).stop()
    shutil.rmtree(FOLDER)
    print("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
