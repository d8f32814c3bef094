"""Bytes a second over a network of tiffin's, beside a bare pair of interfaces: what bridge, names and rules cost.

    container to container   two containers on a network of their own      beside   two namespaces, one veth pair
    machine to container     this machine and a container                  beside   this machine and a namespace
    ... IPv6                 the same by their IPv6 addresses              beside   the same pair

iperf3, one TCP stream, seconds at a time and the sides in turn, the median of each. The containers have the machine's
/usr, so that the same program runs everywhere.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.sides import BUSYBOX, Tiffin, run

NAME = "throughput"
_AIM = 0.95
_SECONDS, _ROUNDS = 2, 5
_PAIR = ("198.18.77.1", "198.18.77.2")  # RFC 2544: for measurements
_PAIR6 = ("2001:2:0:77::1", "2001:2:0:77::2")  # RFC 5180
_HOST_FILES = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro")


class Path(NamedTuple):
    """One way for bytes: what a command is prefixed with at its beginning, and the address at its end."""

    name: str
    enter: Sequence[str]
    address: str


def measure(tiffin: Tiffin) -> str:
    """The lines of the table."""
    if not shutil.which("iperf3"):
        subprocess.run(["bash", "-c", ". tools/provision.sh; packages iperf3"], check=True)
    lines = []
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_containers(tiffin))
        bare = stack.enter_context(_pairs())
        for mine, plain in zip(ours, bare, strict=True):
            speeds: dict[str, list[float]] = {"tiffin": [], "bare": []}
            for _ in range(_ROUNDS):
                speeds["bare"].append(_speed(plain))
                speeds["tiffin"].append(_speed(mine))
            here, there = (statistics.median(speeds[side]) for side in ("tiffin", "bare"))
            beside = f"bare {there:8.2f} ratio {here / there:5.2f} (aim {_AIM:g})"
            lines.append(f"{mine.name + ', Gbit/s':<36}  {here:9.2f}  {beside}")
    return "\n".join(lines)


def _speed(path: Path) -> float:
    """Gigabits a second that arrived."""
    command = [*path.enter, "iperf3", "-J", "-t", str(_SECONDS), "-O", "1", "-c", path.address]
    return float(json.loads(run(command))["end"]["sum_received"]["bits_per_second"]) / 1e9


@contextlib.contextmanager
def _containers(tiffin: Tiffin) -> Iterator[list[Path]]:
    network = f"bench-{os.getpid()}"
    run(tiffin.command("network", "create", "--ipv6", network))
    try:
        names = [f"{network}-{end}" for end in ("a", "b")]
        for name in names:
            run(
                tiffin.command(
                    "run",
                    "-d",
                    "--name",
                    name,
                    "--network",
                    network,
                    *_HOST_FILES,
                    BUSYBOX,
                    "/usr/bin/iperf3",
                    "-s",
                )
            )
        try:
            place = json.loads(run(tiffin.command("inspect", names[1])))[0]["NetworkSettings"]["Networks"][
                network
            ]
            four, six = place["IPAddress"], place["GlobalIPv6Address"]
            inside = tiffin.command("exec", names[0])
            paths = [
                Path("container to container", inside, four),
                Path("machine to container", (), four),
                Path("container to container, IPv6", inside, six),
                Path("machine to container, IPv6", (), six),
            ]
            for path in paths:
                _await(path)
            yield paths
        finally:
            run(tiffin.command("rm", "-f", *names))
    finally:
        run(tiffin.command("network", "rm", network))


@contextlib.contextmanager
def _pairs() -> Iterator[list[Path]]:
    """Two namespaces with a pair between them, and a pair from this machine to the second."""
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(_namespace()) for _ in range(2))
        link = f"bench{os.getpid()}"
        _pair(link, ["nsenter", "-t", str(first), "-n"], first, second, "near", 0)
        stack.callback(subprocess.run, ["ip", "link", "delete", link], capture_output=True)
        _pair(link, [], 0, second, "far", 4)
        inside = ["nsenter", "-t", str(second), "-n"]
        server = subprocess.Popen([*inside, "iperf3", "-s"], stdout=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.kill)
        near = ["nsenter", "-t", str(first), "-n"]
        paths = [
            Path("", near, _end(_PAIR[1], 0)),
            Path("", (), _end(_PAIR[1], 4)),
            Path("", near, _end(_PAIR6[1], 0)),
            Path("", (), _end(_PAIR6[1], 4)),
        ]
        for path in paths:
            _await(path)
        yield paths


def _end(address: str, step: int) -> str:
    """The address so many further on."""
    front, mark, last = address.rpartition(":" if ":" in address else ".")
    return f"{front}{mark}{int(last) + step}"


def _pair(name: str, enter: list[str], near: int, far: int, peer: str, step: int) -> None:
    """A veth pair between namespaces (0: this one), both ends up and addressed."""
    run(["ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", str(far)])
    if near:
        run(["ip", "link", "set", name, "netns", str(near)])
    there = ["nsenter", "-t", str(far), "-n"]
    for prefix, link, side in ((enter, name, 0), (there, peer, 1)):
        run([*prefix, "ip", "link", "set", link, "up"])
        run([*prefix, "ip", "address", "add", f"{_end(_PAIR[side], step)}/30", "dev", link])
        run([*prefix, "ip", "address", "add", f"{_end(_PAIR6[side], step)}/126", "dev", link, "nodad"])


@contextlib.contextmanager
def _namespace() -> Iterator[int]:
    """A process that holds a network namespace."""
    holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; echo; exec sleep 3600"],
                              stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


def _await(path: Path) -> None:
    """Until its server answers."""
    until = time.monotonic() + 30
    command = [*path.enter, "iperf3", "-n", "1K", "-c", path.address]
    while subprocess.run(command, capture_output=True).returncode:
        if time.monotonic() > until:
            raise RuntimeError(f"no iperf3 answers at {path.address}")
        time.sleep(0.1)
