"""`tiffin fsck`."""

import sys
import time

from tiffin.cli.output import escape
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.images.finding import Finding

DESCRIPTION = """\
Verify everything that is stored: each blob against its digest, each unpacked layer against its blob, each row against
what it names. One line for each finding says what is wrong, where, and what --repair would do. Exits 1 when something
is damaged and not repaired. What commands that were killed left behind is listed too, but is no damage.
"""
EXAMPLES = """\
tiffin fsck
tiffin fsck --repair
tiffin fsck --format json
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch(
        "--repair",
        help="make damaged blobs and layers again, remove leftovers, drop images that cannot be made whole",
    )
    parser.switch("-q", "--quiet", help="print nothing; the exit code tells")
    parser.add_argument("--format", default="", choices=("json",), help="one JSON object for each finding")


def run(args: "Namespace", session: "Session") -> int:
    live = sys.stderr.isatty() and not args.quiet
    meter = _Meter() if live else None
    findings = session.engine.system.fsck(args.repair, meter)
    if meter is not None:
        meter.clear()
    damaged = [finding for finding in findings if finding.severity == "damage" and not finding.repaired]
    if args.format:
        import json

        for finding in findings:
            print(json.dumps(finding.document()))
    elif not args.quiet:
        for finding in findings:
            print(escape(_line(finding)))
        print(_summary(findings, damaged))
    return 1 if damaged else 0


def _line(finding: "Finding") -> str:
    then = (
        f": {finding.outcome}"
        if finding.outcome
        else f" (repair: {finding.repair})"
        if finding.repair
        else ""
    )
    where = finding.name if finding.name.startswith(f"{finding.kind}/") else f"{finding.kind} {finding.name}"
    return f"{finding.severity}: {where} {finding.what}{then}"


def _summary(findings: "Sequence[Finding]", damaged: "Sequence[Finding]") -> str:
    left = sum(1 for finding in findings if finding.severity == "leftover" and not finding.repaired)
    repaired = sum(1 for finding in findings if finding.repaired)
    parts = [f"{len(damaged)} damaged" if damaged else "nothing is damaged"]
    if repaired:
        parts.append(f"{repaired} repaired")
    if left:
        parts.append(f"{left} left over by commands that were killed; 'tiffin image prune' removes them")
    return ", ".join(parts)


class _Meter:
    """One line on the terminal's standard error, rewritten ten times a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last > 0.1:
            self._last = now
            share = 100 * done // total if total else 100
            sys.stderr.write(f"\rverifying: {share}% of {total / 1e6:.0f} MB\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away again."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
