"""`info` and `version`: facts about this engine and the machine that it is on, under the names of Docker's API."""

from __future__ import annotations

import os
import sys

from tiffin._version import __version__
from tiffin.containers.states import State
from tiffin.engine import recovery
from tiffin.errors import Unsupported
from tiffin.oci.platform import host_platform
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def info(workspace: Workspace) -> dict[str, Any]:
    """See SystemService.info."""
    with workspace.store() as store:
        recovery.reconcile(store)
        counts = _counts(store)
    machine, release, platform = os.uname(), _os_release(), host_platform()
    proxies = [os.environ.get(name) or os.environ.get(name.upper()) or "" for name in _PROXIES]
    cgroup_version, limits, warnings = _cgroups()
    return {
        "ID": workspace.layout.engine,
        **counts,
        "Driver": "overlay",
        "DriverStatus": [["Backing Filesystem", _filesystem(workspace.layout.root)]],
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version,
        **limits,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "KernelVersion": machine.release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "OSType": platform.os,
        "Architecture": machine.machine,
        "Name": machine.nodename,
        "DockerRootDir": workspace.layout.root,
        "RunDir": workspace.layout.run,
        "ServerVersion": __version__,
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "HttpProxy": proxies[0],
        "HttpsProxy": proxies[1],
        "NoProxy": proxies[2],
        "Warnings": warnings,
    }


def version() -> dict[str, Any]:
    """See SystemService.version."""
    import sqlite3

    platform = host_platform()
    return {
        "Version": __version__,
        "PythonVersion": sys.version.partition(" ")[0],
        "SQLiteVersion": sqlite3.sqlite_version,
        "KernelVersion": os.uname().release,
        "Os": platform.os,
        "Arch": platform.architecture,
    }


def _counts(store: Store) -> dict[str, int]:
    found: dict[str, int] = dict(
        store.db.execute("SELECT status, count(*) FROM containers GROUP BY status").fetchall()
    )
    running, paused = found.get(State.RUNNING, 0), found.get(State.PAUSED, 0)
    (images,) = store.db.execute("SELECT count(*) FROM images WHERE NOT removed").fetchone()
    return {
        "Containers": sum(found.values()),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": sum(found.values()) - running - paused,
        "Images": images,
    }


def _cgroups() -> tuple[str, dict[str, bool], list[str]]:
    """The version in force, which limits this machine can set, and a warning for each that it cannot."""
    from tiffin.runtime.cgroups import detect

    try:
        found = detect()
    except Unsupported as error:
        return "", {}, [f"WARNING: {error}"]
    if found.version == 1:
        controllers = set(found.v1)
    else:
        with open(f"{found.unified}/cgroup.controllers", encoding="ascii") as file:
            controllers = set(file.read().split())
    limits = {
        "MemoryLimit": "memory" in controllers,
        "SwapLimit": "memory" in controllers,
        "CpuCfsPeriod": "cpu" in controllers,
        "CpuCfsQuota": "cpu" in controllers,
        "CPUShares": "cpu" in controllers,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
    }
    return (
        str(found.version),
        limits,
        [f"WARNING: No {name} support" for name, has in limits.items() if not has],
    )


def _os_release() -> dict[str, str]:
    """os-release(5)."""
    for path in _OS_RELEASE:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                pairs = (line.strip().partition("=") for line in file)
                return {key: value.strip("\"'") for key, equals, value in pairs if equals}
        except FileNotFoundError:
            continue
    return {}


def _filesystem(path: str) -> str:
    """The type of the filesystem that `path` is on, from the mount table."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted:
                return after.split()[0]
    return "unknown"
