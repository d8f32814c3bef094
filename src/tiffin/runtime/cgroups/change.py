"""Changing the limits of a cgroup in use: all of them or none."""

from __future__ import annotations

import errno

from tiffin.errors import Conflict, TiffinError
from tiffin.runtime.cgroups import files
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.runtime.cgroups import Cgroup


def change(cgroup: Cgroup, resources: Mapping[str, Any]) -> list[str]:
    """As `cgroup.update`; on a refusal everything is as it was. Raises Conflict when more memory is in use than is to
    be allowed, FileNotFoundError when the cgroup has gone."""
    _check_memory(cgroup, resources)
    before = [(directory, name, files.read(directory, name)) for directory, name in cgroup.limit_files()]
    try:
        return cgroup.update(resources)
    except BaseException as error:
        # Twice: memory and memory plus swap bound each other, so that one may have to wait for the other.
        for directory, name, value in [*before, *before]:
            _put_back(directory, name, value)
        cause = error.__cause__
        limit = (resources.get("memory") or {}).get("limit")
        if limit and isinstance(cause, OSError) and cause.errno == errno.EBUSY:
            raise _too_small(cgroup, limit) from error
        raise


def _check_memory(cgroup: Cgroup, resources: Mapping[str, Any]) -> None:
    """A v2 kernel would kill for a limit below what is in use; v1 refuses it itself."""
    limit = (resources.get("memory") or {}).get("limit") or 0
    used = cgroup.stats()
    if limit > 0 and used.memory - max(used.memory_inactive_file, 0) > limit:
        raise _too_small(cgroup, limit)


def _too_small(cgroup: Cgroup, limit: int) -> Conflict:
    used = cgroup.stats()
    return Conflict(
        f"unable to set memory limit to {limit} (current usage: {used.memory}, peak usage: {used.memory_peak})"
    )


def _put_back(directory: str, name: str, value: str) -> None:
    line = value.partition("\n")[0]
    if not line or files.read(directory, name).partition("\n")[0] == line:
        return
    try:
        files.write(directory, name, line)
    except (TiffinError, FileNotFoundError):
        return  # the second try, or the error that brought us here, says more
