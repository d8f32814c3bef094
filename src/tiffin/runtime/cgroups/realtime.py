"""Realtime CPU time of a v1 cgroup. The kernel gives a cgroup no more than its parent has, and parents start with
nothing: those above the container get what their children have together."""

from __future__ import annotations

import os

from tiffin.errors import EngineError, InvalidArgument
from tiffin.runtime.cgroups import files

_RUNTIME, _PERIOD = "cpu.rt_runtime_us", "cpu.rt_period_us"


def set_realtime(directory: str, period: int | None, runtime: int | None, warnings: list[str]) -> None:
    """Raises InvalidArgument when the machine has not so much realtime left to give."""
    if not os.path.exists(f"{directory}/{_RUNTIME}"):
        warnings.append("this kernel has no realtime group scheduling; the realtime limit is not set")
        return
    if period is not None:
        files.write(directory, _PERIOD, period)
    if runtime is None:
        return
    share = runtime / max(files.read_int(directory, _PERIOD), 1)
    try:
        _make_room(os.path.dirname(directory), directory, share)
        files.write(directory, _RUNTIME, runtime)
    except (EngineError, InvalidArgument) as error:
        raise InvalidArgument(
            f"cpu real-time runtime {runtime}: the cgroups above have not so much left to give; see {_RUNTIME} in "
            f"{os.path.dirname(directory)}"
        ) from error


def _make_room(parent: str, child: str, share: float) -> None:
    if not os.path.exists(f"{os.path.dirname(parent)}/{_RUNTIME}"):
        return  # the root's is the machine's own, /proc/sys/kernel/sched_rt_runtime_us
    with os.scandir(parent) as entries:
        siblings = [
            entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.path != child
        ]
    wanted = share + sum(_share(sibling) for sibling in siblings)
    if wanted <= _share(parent):
        return
    _make_room(os.path.dirname(parent), parent, wanted)
    files.write(parent, _RUNTIME, int(wanted * files.read_int(parent, _PERIOD)) + 1)


def _share(directory: str) -> float:
    runtime = files.read_int(directory, _RUNTIME)
    return max(runtime, 0) / max(files.read_int(directory, _PERIOD), 1)
