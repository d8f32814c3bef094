"""Time tiffin beside the engines that are installed, in one run, sides in turn.

    python -m bench                       every row, every peer
    python -m bench --rows run,exec       rows whose name contains a word
    python -m bench --peers docker        these peers only
    python -m bench --repeat 5            repetitions per side

Prints the median of each side in milliseconds, the ratio to each peer, and the ratio aimed at. It never passes or
fails: a figure is a figure. Needs root; run it with the Python of the environment where tiffin is installed.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time

from bench import memory, throughput
from bench.registry import close_all
from bench.rows import ROWS, Row
from bench.sides import Side, available


def measure(row: Row, sides: list[Side], work: str, repeat: int) -> dict[str, list[float]]:
    """Milliseconds of each repetition, by side; one warm-up that is not counted where a row repeats often."""
    able = [side for side in sides if side.name in row.sides]
    times: dict[str, list[float]] = {side.name: [] for side in able}
    for side in able:
        row.prepare(side, work)
    for turn in range(repeat + (1 if repeat > 3 else 0)):
        for side in able:
            row.before(side, work)
            began = time.perf_counter()
            row.work(side, work)
            took = (time.perf_counter() - began) * 1000
            if turn or repeat <= 3:
                times[side.name].append(took)
    for side in able:
        row.finish(side, work)
    return times


def show(row: Row, times: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = medians["tiffin"]
    cells = [f"{row.name:<36}", f"{ours:9.1f}"]
    for peer in ("docker", "podman", "runc"):
        if peer in medians:
            aim = f" (aim {row.target[peer]:g})" if peer in row.target else ""
            cells.append(f"{peer} {medians[peer]:8.1f} ratio {ours / medians[peer]:5.2f}{aim}")
    return "  ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", default="", help="only rows whose name contains one of these words, comma-separated"
    )
    parser.add_argument("--peers", default="docker,podman,runc")
    parser.add_argument("--repeat", type=int, default=0)
    args = parser.parse_args()
    if os.geteuid():
        print("bench: root is needed to run containers", file=sys.stderr)
        return 2
    words = [word for word in args.rows.split(",") if word]
    work = tempfile.mkdtemp(prefix="tiffin-bench-")
    sides = available(work, args.peers.split(","))
    print(f"{'median, milliseconds':<36}  {'tiffin':>9}")
    try:
        for row in ROWS:
            if words and not any(word in row.name for word in words):
                continue
            print(show(row, measure(row, sides, work, args.repeat or row.repeat)), flush=True)
        if not words or any(word in memory.NAME for word in words):
            print(memory.measure(sides), flush=True)
        if not words or any(word in throughput.NAME for word in words):
            print(throughput.measure(sides), flush=True)
    finally:
        close_all()
        for side in sides:
            side.close()
        shutil.rmtree(work, ignore_errors=True)  # noqa: TID251 - the benchmark's own directory, containers gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
