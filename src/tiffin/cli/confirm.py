"""The question before something goes for good."""

import sys


def confirmed() -> bool:
    """Ask on standard output; whether the next line of standard input says yes. Its end says no."""
    sys.stdout.write("Are you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline(100)
    if not answer.endswith("\n"):
        print()
    return answer.strip().lower() in ("y", "yes")
