"""Bytes a second over a network of tiffin's, beside a bare pair of interfaces: what bridge, names and rules cost.

                             tiffin, docker             bare                        bridge
    container to container   on a network of theirs     two namespaces, one pair    two pairs on a plain bridge
    machine to container     the machine, and one       the machine, and one        the bridge's namespace, and one
    ... IPv6                 the same by their IPv6 addresses

The machine is a namespace of its own, for each engine: rules of others that stand on this one would be measured with
ours. Neither there nor on the plain bridge, which has no rules, are bridged packets shown to a firewall (but Docker has
the kernel do so): what is lost beside it is the engine's, what is lost beside the bare pair is a bridge's as well, one
more pair on the way.

iperf3, one TCP stream, so many bytes a round that one takes a fraction of a second, and the sides in turn, forth and
back; the ratio is the median of the rounds' own ratios, so that what else the machine does falls on both. Work is the
processors' time for a byte, of both ends, as a ratio: beside load it says more than the speed. What must be equal is:
the same program (containers have the machine's /usr), in the same control groups, its ends on a processor each, one
MTU, and cubic whatever the machine's choice is: BBR paces by round trips, which here are microseconds, and one of its
runs has three times the speed of the next.
"""

import contextlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.sides import BUSYBOX, Docker, Side, Tiffin, run

NAME = "throughput"
_AIM = 0.95
_ROUNDS, _SECONDS, _PROBE = 20, 0.4, 64 << 20
_SUBNETS = ("--subnet", "198.18.80.0/24", "--subnet", "2001:2:0:80::/64")
# RFC 2544 and RFC 5180: for measurements. The ends of the pair, of the pair to this machine, and those on the bridge.
_PAIR = (("198.18.77.1", "2001:2:0:77::1"), ("198.18.77.2", "2001:2:0:77::2"))
_TO_MACHINE = (("198.18.79.1", "2001:2:0:79::1"), ("198.18.79.2", "2001:2:0:79::2"))
_BRIDGE = (
    ("198.18.78.1", "2001:2:0:78::1"),
    ("198.18.78.2", "2001:2:0:78::2"),
    ("198.18.78.3", "2001:2:0:78::3"),
)
_WIDTHS = ("29", "125")
_HOST_FILES = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro")


class Way(NamedTuple):
    """One way for bytes: what a command is prefixed with at its beginning, and the address at its end."""

    name: str
    enter: Sequence[str]
    address: str


class Round(NamedTuple):
    """Gigabits a second that arrived, and seconds of processors for a gigabyte."""

    speed: float
    work: float


class Members(NamedTuple):
    """Two containers: their ways, their MTU, the control groups that each is in (files to write a pid to), and a
    process that is where the machine is."""

    ways: list[Way]
    mtu: str
    groups: tuple[list[str], list[str]]
    machine: int


def measure(sides: Sequence[Side]) -> str:
    """The lines of the table."""
    if not shutil.which("iperf3"):
        subprocess.run(["bash", "-c", ". tools/provision.sh; packages iperf3"], check=True)
    with contextlib.ExitStack() as stack:
        (ours,) = (side for side in sides if isinstance(side, Tiffin))
        place = stack.enter_context(_namespace())
        _bridged_unseen(place)
        members = stack.enter_context(_containers(ours, place))
        columns = {"tiffin": members.ways}
        columns["bare"] = stack.enter_context(_pairs(members))
        columns["bridge"] = stack.enter_context(_bridge(members))
        for side in sides:
            if isinstance(side, Docker):
                columns["docker"] = stack.enter_context(_containers(side, int(side.entering()[2]))).ways
        return "\n".join(_line({name: ways[number] for name, ways in columns.items()}) for number in range(4))


def _line(ways: Mapping[str, Way]) -> str:
    probe = min((_send(way, _PROBE) for way in ways.values()), key=lambda one: one.speed)
    amount = int(probe.speed * 1e9 / 8 * _SECONDS)
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    for number in range(_ROUNDS):
        for name in reversed(list(ways)) if number % 2 else ways:
            rounds[name].append(_send(ways[name], amount))
    ours = rounds.pop("tiffin")
    title = f"{ways['tiffin'].name}, Gbit/s"
    cells = [f"{title:<36}  {statistics.median(one.speed for one in ours):9.2f}"]
    for name, theirs in rounds.items():
        speed = statistics.median(one.speed for one in theirs)
        ratio = statistics.median(a.speed / b.speed for a, b in zip(ours, theirs, strict=True))
        work = statistics.median(a.work / b.work for a, b in zip(ours, theirs, strict=True))
        aim = f" (aim {_AIM:g})" if name == "bare" else ""
        cells.append(f"{name} {speed:8.2f} ratio {ratio:5.2f}{aim} work {work:4.2f}")
    return "  ".join(cells)


def _send(way: Way, amount: int) -> Round:
    command = [*way.enter, "iperf3", "-J", "-n", str(amount), "-C", "cubic", *_pinned(), "-c", way.address]
    end: dict[str, Any] = json.loads(run(command))["end"]
    received, busy = end["sum_received"], end["cpu_utilization_percent"]
    spent = (busy["host_total"] + busy["remote_total"]) / 100 * received["seconds"]
    return Round(received["bits_per_second"] / 1e9, spent / received["bytes"] * 1e9)


def _pinned() -> list[str]:
    """Options that keep sender and receiver to a processor each."""
    processors = sorted(os.sched_getaffinity(0))
    return ["-A", f"{processors[0]},{processors[1]}"] if len(processors) > 1 else []


# -- the sides -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _containers(side: Side, machine: int) -> Iterator[Members]:
    """Two containers of an engine whose machine is the network namespace of that process."""
    network = f"bench-{os.getpid()}"
    there = ["nsenter", "-t", str(machine), "-n"]

    def command(*words: str) -> list[str]:
        return [*there, *side.command(*words)]

    run(command("network", "create", "--ipv6", *_SUBNETS, network))
    try:
        names = [f"{network}-{end}" for end in ("a", "b")]
        place = ("--network", network, "--cap-add", "NET_ADMIN")  # to choose cubic
        try:
            for name in names:
                end = (*_HOST_FILES, BUSYBOX, "/usr/bin/iperf3", "-s")
                run(command("run", "-d", "--name", name, *place, *end))
            near, far = (json.loads(run(command("inspect", name)))[0] for name in names)
            its = far["NetworkSettings"]["Networks"][network]
            inside = command("exec", names[0])
            ways = [
                Way(f"{what} to container{family}", enter, its[key])
                for family, key in (("", "IPAddress"), (", IPv6", "GlobalIPv6Address"))
                for what, enter in (("container", inside), ("machine", there))
            ]
            for way in ways:
                _await(way)
            mtu = run([*inside, "cat", "/sys/class/net/eth0/mtu"]).strip()
            groups = (_groups(near["State"]["Pid"]), _groups(far["State"]["Pid"]))
            yield Members(ways, mtu, groups, machine)
        finally:
            subprocess.run(command("rm", "-f", *names), capture_output=True)
    finally:
        run(command("network", "rm", network))


def _groups(pid: int) -> list[str]:
    """The files that a process writes its ID to, to be where process `pid` is."""
    with open("/proc/mounts", encoding="utf-8") as file:
        mounts = [line.split() for line in file if line.split()[2] in ("cgroup", "cgroup2")]
    found = []
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        for _, controllers, path in (line.strip().split(":", 2) for line in file):
            for _, where, kind, options, *_ in mounts:
                its = (
                    set(controllers.split(",")) <= set(options.split(","))
                    if controllers
                    else kind == "cgroup2"
                )
                if its and path != "/":
                    found.append(f"{where}{path}/cgroup.procs")
    return found


def _within(groups: Sequence[str], pid: int) -> list[str]:
    """What a command is prefixed with to run in these control groups and in the network of process `pid`."""
    joins = "".join(f"echo $$ >{shlex.quote(path)}; " for path in groups)
    return ["sh", "-c", f'{joins}exec nsenter -t {pid} -n "$@"', "sh"]


@contextlib.contextmanager
def _pairs(members: Members) -> Iterator[list[Way]]:
    """Two namespaces with a pair between them, and a pair from the machine to the second."""
    with contextlib.ExitStack() as stack:
        near, far = (stack.enter_context(_namespace()) for _ in range(2))
        _pair(members.mtu, (near, "eth0", _PAIR[0]), (far, "eth0", _PAIR[1]))
        _pair(members.mtu, (members.machine, "pair", _TO_MACHINE[0]), (far, "eth1", _TO_MACHINE[1]))
        stack.enter_context(_server(members, far))
        enter = _within(members.groups[0], near)
        yield _ways(enter, _PAIR[1], ["nsenter", "-t", str(members.machine), "-n"], _TO_MACHINE[1])


@contextlib.contextmanager
def _bridge(members: Members) -> Iterator[list[Way]]:
    """A namespace with a bridge and nothing else, and two with a pair to it each."""
    with contextlib.ExitStack() as stack:
        middle, near, far = (stack.enter_context(_namespace()) for _ in range(3))
        inside = ["nsenter", "-t", str(middle), "-n"]
        _bridged_unseen(middle)
        run([*inside, "ip", "link", "add", "bridge", "mtu", members.mtu, "type", "bridge"])
        _address(middle, "bridge", _BRIDGE[0])
        for number, (pid, addresses) in enumerate(((near, _BRIDGE[1]), (far, _BRIDGE[2]))):
            _pair(members.mtu, (middle, f"port{number}", ()), (pid, "eth0", addresses))
            run([*inside, "ip", "link", "set", f"port{number}", "master", "bridge"])
        stack.enter_context(_server(members, far))
        yield _ways(_within(members.groups[0], near), _BRIDGE[2], inside, _BRIDGE[2])


def _ways(
    enter: Sequence[str], address: Sequence[str], machine: Sequence[str], its_address: Sequence[str]
) -> list[Way]:
    """In the order of the table; each answers."""
    ways = []
    for family in range(2):
        ways += [Way("", enter, address[family]), Way("", machine, its_address[family])]
    for way in ways:
        _await(way)
    return ways


def _bridged_unseen(pid: int) -> None:
    """Have the kernel not show bridged packets to the firewall of a process's namespace, as where nobody loads
    br_netfilter."""
    for kind in ("iptables", "ip6tables"):
        script = f"f=/proc/sys/net/bridge/bridge-nf-call-{kind}; [ ! -e $f ] || echo 0 >$f"
        run(["nsenter", "-t", str(pid), "-n", "sh", "-c", script])


@contextlib.contextmanager
def _server(members: Members, pid: int) -> Iterator[None]:
    server = subprocess.Popen([*_within(members.groups[1], pid), "iperf3", "-s"], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.kill()
        server.wait()


def _pair(mtu: str, *ends: tuple[int, str, Sequence[str]]) -> None:
    """A veth pair between the namespaces of two processes, both ends up and addressed."""
    (first, name, _), (second, peer, _) = ends
    run(
        ["ip", "link", "add", name, "netns", str(first), "mtu", mtu,
         "type", "veth", "peer", "name", peer, "netns", str(second), "mtu", mtu]
    )  # fmt: skip
    for pid, link, addresses in ends:
        _address(pid, link, addresses)


def _address(pid: int, link: str, addresses: Sequence[str]) -> None:
    enter = ["nsenter", "-t", str(pid), "-n", "ip"]
    run([*enter, "link", "set", link, "up"])
    for address, width in zip(addresses, _WIDTHS, strict=False):
        late = ["nodad"] if ":" in address else []
        run([*enter, "address", "add", f"{address}/{width}", "dev", link, *late])


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


def _await(way: Way) -> None:
    """Until its server answers."""
    until = time.monotonic() + 30
    command = [*way.enter, "iperf3", "-n", "1K", "-c", way.address]
    while subprocess.run(command, capture_output=True).returncode:
        if time.monotonic() > until:
            raise RuntimeError(f"no iperf3 answers at {way.address}")
        time.sleep(0.1)
