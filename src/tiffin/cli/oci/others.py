"""ps, list, pause, resume, update, events, features, spec."""

from __future__ import annotations

import json
import os
import sys

from tiffin.cli.output import UsageError
from tiffin.errors import NotFound
from tiffin.runtime.lifecycle.document import VERSION, read_document
from tiffin.runtime.lifecycle.operations import Runtime
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.oci.main import Session
    from tiffin.cli.oci.words import Words

_INPUT_LIMIT = 1 << 20


def run_ps(words: Words, session: Session) -> int:
    container_id, *options = words.operands
    pids = Runtime(session.root).pids(container_id)
    if words.format == "json":
        print(json.dumps(pids))
        return 0
    if words.format != "table":
        raise UsageError(f"invalid format option {words.format!r}: want table or json", 1)
    output = _host_ps(options or ["-ef"])
    heading, *lines = output.splitlines()
    column = next((i for i, word in enumerate(heading.split()) if word == "PID"), None)
    if column is None:
        raise UsageError("couldn't find PID field in ps output", 1)
    print(heading)
    for line in lines:
        fields = line.split()
        if len(fields) > column and fields[column].isdecimal() and int(fields[column]) in pids:
            print(line)
    return 0


def _host_ps(options: list[str]) -> str:
    import subprocess

    for path in ("/usr/bin/ps", "/bin/ps"):
        if os.path.exists(path):
            return subprocess.run([path, *options], capture_output=True, text=True, check=True).stdout
    raise NotFound("this machine has no ps (install procps); use --format json")


def run_list(words: Words, session: Session) -> int:
    runtime = Runtime(session.root)
    states = []
    for container_id in runtime.records.ids():
        try:
            states.append(runtime.state(container_id))
        except NotFound:
            continue  # deleted meanwhile, or not yet described
    if words.quiet:
        for state in states:
            print(state["id"])
    elif words.format == "json":
        print(json.dumps(states))
    elif words.format == "table":
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED")]
        rows += [(s["id"], str(s["pid"]), s["status"], s["bundle"], s["created"]) for s in states]
        widths = [max(len(row[at]) for row in rows) for at in range(5)]
        for row in rows:
            print("   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    else:
        raise UsageError(f"invalid format option {words.format!r}: want table or json", 1)
    return 0


def run_pause(words: Words, session: Session) -> int:
    Runtime(session.root).freeze(words.operands[0], True)
    return 0


def run_resume(words: Words, session: Session) -> int:
    Runtime(session.root).freeze(words.operands[0], False)
    return 0


# flag → where its value goes in a resources object; all numbers but the two lists
_LIMITS = {
    "memory": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
    "cpu_shares": ("cpu", "shares"),
    "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_burst": ("cpu", "burst"),
    "cpu_rt_period": ("cpu", "realtimePeriod"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_idle": ("cpu", "idle"),
    "cpuset_cpus": ("cpu", "cpus"),
    "cpuset_mems": ("cpu", "mems"),
    "pids_limit": ("pids", "limit"),
    "blkio_weight": ("blockIO", "weight"),
}


def run_update(words: Words, session: Session) -> int:
    runtime = Runtime(session.root)
    if words.resources:
        resources = _read_input() if words.resources == "-" else read_document(words.resources)
    else:
        resources = {}
        for key, (group, name) in _LIMITS.items():
            if words[key]:
                value = words[key] if name in ("cpus", "mems") else _whole(words[key], key)
                resources.setdefault(group, {})[name] = value
    if not resources:
        raise UsageError("nothing to update: give a limit, or --resources", 1)
    runtime.update(words.operands[0], resources)
    for text in runtime.warnings:
        session.log.warn(text)
    return 0


def _whole(text: str, key: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(
            f"invalid value {text!r} for --{key.replace('_', '-')}: want a whole number", 1
        ) from error


def _read_input() -> dict[str, Any]:
    text = sys.stdin.buffer.read(_INPUT_LIMIT + 1)
    try:
        document = json.loads(text) if len(text) <= _INPUT_LIMIT else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UsageError("standard input holds no resources object of at most 1 MiB", 1)
    return document


def run_events(words: Words, session: Session) -> int:
    import time

    runtime = Runtime(session.root)
    container_id = words.operands[0]
    pause = _seconds(words.interval)
    while True:
        if runtime.state(container_id)["status"] == "stopped":
            if words.stats:
                raise UsageError("container with id " + container_id + " is not running", 1)
            return 0
        print(
            json.dumps({"type": "stats", "id": container_id, "data": _stats(runtime, container_id)}),
            flush=True,
        )
        if words.stats:
            return 0
        time.sleep(pause)


def _seconds(text: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60)):
        number = text.removesuffix(unit)
        if number != text:
            try:
                value = float(number) * factor
            except ValueError:
                break
            if 0.01 <= value <= 86400:
                return value
            break
    raise UsageError(f"invalid interval {text!r}: want a time such as 500ms or 5s", 1)


def _stats(runtime: Runtime, container_id: str) -> dict[str, Any]:
    from tiffin.runtime.cgroups import open_cgroup

    found = open_cgroup(runtime.records.read(container_id).cgroup).stats()
    return {
        "cpu": {
            "usage": {"total": found.cpu, "user": found.cpu_user, "kernel": found.cpu_system},
            "throttling": {
                "throttledPeriods": found.throttled_periods,
                "throttledTime": found.throttled_time,
            },
        },
        "memory": {
            "usage": {"usage": found.memory, "limit": found.memory_limit, "max": found.memory_peak},
            "raw": {"inactive_file": found.memory_inactive_file},
        },
        "pids": {"current": found.pids, "limit": found.pids_limit},
        "blkio": {"read": found.read_bytes, "written": found.write_bytes},
    }


def run_features(words: Words, session: Session) -> int:  # noqa: ARG001 - one signature for all
    from tiffin.runtime.lifecycle.features import features

    print(json.dumps(features(), indent=2))
    return 0


def run_spec(words: Words, session: Session) -> int:  # noqa: ARG001 - one signature for all
    """Writes the document that a container of the engine's own would have, around a shell."""
    from tiffin.runtime.spec import ContainerOptions, default_spec

    path = os.path.join(words.bundle or ".", "config.json")
    environment = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm")
    made = default_spec(
        ContainerOptions(
            argv=("sh",),
            env=environment,
            terminal=True,
            hostname="tiffin",
            no_new_privileges=True,
            seccomp="unconfined",
        )
    )
    made["ociVersion"] = VERSION
    made["process"]["user"] = {"uid": 0, "gid": 0}
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise UsageError(f"File {path} exists. Remove it first", 1) from error
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(made, file, indent=2)
        file.write("\n")
    return 0
