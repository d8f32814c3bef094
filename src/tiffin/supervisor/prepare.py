"""Everything that a container needs before its first process: layers, files, volumes, network, and the document
that says what the runtime is to make of them."""

from __future__ import annotations

import os

from tiffin.containers.environment import process_env
from tiffin.containers.security import parse_security_options
from tiffin.network import files
from tiffin.network.records import (
    UNADDRESSED,
    Attachment,
    PortMapping,
    joins_of,
    unaddressed,
)
from tiffin.oci.mount import Mount
from tiffin.runtime import defaults
from tiffin.runtime.spec import ContainerOptions, default_spec
from tiffin.snapshot.overlay import Snapshots
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

    from tiffin.containers.record import ContainerRecord, Resources
    from tiffin.state import Store

_PERIOD = 100_000
_CONTAINER = "container:"


class Prepared(NamedTuple):
    """What `runtime.create` is told, and what must be held while the container runs. `joined` are descriptors of
    namespaces and mounts that the document names: to be closed once it is created."""

    spec: dict[str, Any]
    root: Mount
    mount_point: str
    attachment: Attachment
    notices: tuple[str, ...]
    joined: tuple[int, ...] = ()

    def close_joined(self) -> Attachment:
        """Close `joined`; returns the attachment, which is still to be held."""
        for fd in self.joined:
            os.close(fd)
        return self.attachment


def prepare(store: Store, record: ContainerRecord) -> Prepared:
    """Make it all ready. What was made is found again by the container's rows; a failure leaves it to
    `takedown.take_down`."""
    directory = store.layout.container(record.id)
    os.makedirs(f"{directory}/rootfs", mode=0o700, exist_ok=True)
    snapshots = Snapshots(store)
    upper, work = snapshots.prepare_writable(directory, record.layers)
    # Writable even for a read-only container: the runtime makes mount points in it, then seals it.
    root = snapshots.root_mount(record.layers, upper, work, mount_points=True)
    mounts = _mounts(store, snapshots, record)
    made = tuple(mount.fd for mount in mounts if mount.fd >= 0)
    try:
        attachment = _attach(store, record)
    except BaseException:
        _close(made)
        raise
    try:
        if not record.network.startswith(_CONTAINER):
            _write_files(store, directory, record, attachment, _linked(store, record))
        capabilities = defaults.choose_capabilities(
            record.cap_add, record.cap_drop, privileged=record.privileged
        )
        options = _options(record, directory, mounts, capabilities.granted)
        joined: tuple[int, ...] = ()
        if needs_more(record):
            from tiffin.supervisor import shared  # few containers do

            options, joined = shared.complete(store, record, options)
        inward, outward = record.resources.bandwidth_in, record.resources.bandwidth_out
        if inward or outward:
            from tiffin.network.shaping import shape

            shape(store, record.id, attachment.netns_fd, inward, outward)
        spec = default_spec(options)
    except BaseException:
        attachment.close()
        _close(made)
        raise
    notices = list(attachment.notices)
    if capabilities.missing:
        notices.append(
            f"not granted, since this machine does not have them: {', '.join(capabilities.missing)}"
        )
    return Prepared(spec, root, f"{directory}/rootfs", attachment, tuple(notices), (*joined, *made))


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)


def _attach(store: Store, record: ContainerRecord) -> Attachment:
    ports = tuple(PortMapping(*port) for port in record.ports)
    if record.network in UNADDRESSED:
        return unaddressed(record.network, ports)
    if record.network.startswith(_CONTAINER):
        from tiffin.supervisor.shared import network_of

        return Attachment(network_of(store, record.network.removeprefix(_CONTAINER)))
    from tiffin.network.manager import Networks

    joins = joins_of(store.db, record.id)
    if joins and joins[0].network in UNADDRESSED:  # it left them all
        return unaddressed(joins[0].network, ports)
    return Networks(store).attach(record.id, record.network, ports, joins)


def _mounts(store: Store, snapshots: Snapshots, record: ContainerRecord) -> list[Mount]:
    if not record.mounts:
        return []
    from tiffin.supervisor import volumes  # most containers have none, and do not pay for the room

    return volumes.mounts(store, snapshots, record)


def _options(
    record: ContainerRecord, directory: str, mounts: list[Mount], capabilities: tuple[str, ...]
) -> ContainerOptions:
    security = parse_security_options(record.security_opts)
    return ContainerOptions(
        argv=record.argv,
        env=process_env(record),
        cwd=record.cwd,
        user=record.user,
        groups=record.group_add,
        terminal=record.tty,
        hostname=record.hostname,
        domainname=record.domainname,
        capabilities=capabilities,
        privileged=record.privileged,
        no_new_privileges=security.no_new_privileges,
        readonly=record.read_only,
        host=frozenset({"network"} if record.network == "host" else ()),
        # In order of depth, so that none hides another.
        mounts=sorted([*file_mounts(record, directory), *mounts], key=lambda mount: mount.target.count("/")),
        shm_size=record.shm_size,
        seccomp=security.seccomp,
        apparmor=security.apparmor,
        open_paths=security.open_paths,
        writable_cgroups=security.writable_cgroups,
        annotations=record.annotations,
        sysctls=record.sysctls,
        rlimits=defaults.rlimits(record.ulimits),
        oom_score_adj=record.oom_score_adj,
        init=record.init,
        **limits(record.resources),
    )


def needs_more(record: ContainerRecord) -> bool:
    """Whether the document depends on more than the record: other containers, devices of this machine."""
    return bool(
        record.pid_mode
        or record.ipc_mode
        or record.uts_mode
        or record.cgroupns_mode
        or record.devices
        or record.device_rules
        or record.privileged
        or has_block_limits(record.resources)
    )


def has_block_limits(resources: Resources) -> bool:
    """Whether any limit on block devices is set."""
    return bool(
        resources.blkio_weight
        or resources.blkio_weight_device
        or resources.device_read_bps
        or resources.device_write_bps
        or resources.device_read_iops
        or resources.device_write_iops
    )


def limits(resources: Resources) -> dict[str, Any]:
    """The limits as `ContainerOptions` has them, but those on block devices."""
    quota, period = resources.cpu_quota, resources.cpu_period
    if resources.nano_cpus:
        quota, period = resources.nano_cpus * _PERIOD // 1_000_000_000, _PERIOD
    # Docker's default: as much swap again as memory.
    swap = resources.memory_swap or 2 * resources.memory
    found: dict[str, Any] = {
        "memory": resources.memory,
        "memory_swap": swap,
        "memory_reservation": resources.memory_reservation,
        "cpu_shares": resources.cpu_shares,
        "cpu_quota": quota,
        "cpu_period": period,
        "cpuset_cpus": resources.cpuset_cpus,
        "cpuset_mems": resources.cpuset_mems,
        "cpu_rt_period": resources.cpu_rt_period,
        "cpu_rt_runtime": resources.cpu_rt_runtime,
        "memory_swappiness": resources.memory_swappiness,
        "oom_kill_disable": resources.oom_kill_disable,
    }
    if resources.pids_limit:
        found["pids_limit"] = resources.pids_limit
    return found


def file_mounts(record: ContainerRecord, directory: str) -> list[Mount]:
    """The files that a container gets of its own, as far as no mount of its takes their place."""
    if record.network.startswith(_CONTAINER):  # its names are the other's too
        directory = f"{os.path.dirname(directory)}/{record.network.removeprefix(_CONTAINER)}"
    taken = {str(mount["destination"]) for mount in record.mounts}
    options = ("bind", "rprivate", "ro") if record.read_only else ("bind", "rprivate")
    return [
        Mount(f"/etc/{name}", "bind", f"{directory}/{name}", options)
        for name in ("resolv.conf", "hostname", "hosts")
        if f"/etc/{name}" not in taken
    ]


def _linked(store: Store, record: ContainerRecord) -> list[tuple[str, str]]:
    """The lines of /etc/hosts for the containers that it is linked to; those linked to it learn where it is."""
    query = "SELECT 1 FROM links WHERE (container = ?1 OR target = ?1) AND network = 'bridge' LIMIT 1"
    if store.db.execute(query, (record.id,)).fetchone() is None:
        return []
    from tiffin.supervisor import links  # few containers have any

    links.tell(store, record)
    return links.lines(store, record)


def _machine(store: Store, record: ContainerRecord, attachment: Attachment) -> tuple[str, ...]:
    """Where a container reaches this machine; where it does not, the address that Docker gives every container, which
    is never the container itself."""
    if record.network == "host":
        return ("127.0.0.1",)
    from tiffin.network.manager import Networks

    if attachment.machine:
        return attachment.machine
    default = Networks(store).settle_default()
    return tuple(address for address in (default.gateway, default.gateway6) if address)


def _write_files(
    store: Store,
    directory: str,
    record: ContainerRecord,
    attachment: Attachment,
    linked: list[tuple[str, str]],
) -> None:
    names = [f"{record.hostname}.{record.domainname}" if record.domainname else "", record.hostname]
    extra = list(linked)
    for entry in record.extra_hosts:
        name, _, address = entry.partition(":")
        found = _machine(store, record, attachment) if address == "host-gateway" else (address,)
        extra += [(name, one) for one in found]
    if record.network == "host":
        hosts = _host_file("/etc/hosts") + "".join(f"{address}\t{name}\n" for name, address in extra)
    else:
        hosts = files.hosts(attachment.address, names, extra, attachment.address6)
    if attachment.named:
        resolv = files.named_resolv_conf(record.dns_search, record.dns_options)
    else:
        resolv = files.resolv_conf(servers=record.dns, search=record.dns_search, options=record.dns_options)
    if record.network == "host" and not (record.dns or record.dns_search or record.dns_options):
        resolv = files.host_resolv_conf()
    _write(f"{directory}/hosts", hosts)
    _write(f"{directory}/resolv.conf", resolv)
    _write(f"{directory}/hostname", f"{record.hostname}\n")


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    # Made anew at each start: a container may have swapped what the name led to inside, never the name itself.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
