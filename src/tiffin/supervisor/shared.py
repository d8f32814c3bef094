"""What few containers have: namespaces of others or of the host, devices of the host, limits on block devices.

--ipc shareable    its /dev/shm is a tmpfs on the host, `containers/<id>/shm`, which `takedown` unmounts; who joins
                   binds the same
container:ID       the namespace is opened through /proc and then checked to be that container's: a pid may have
                   been given to another process meanwhile
"""

from __future__ import annotations

import os
import stat

from tiffin.containers.store import Containers
from tiffin.errors import Conflict, EngineError, InvalidArgument, NotFound
from tiffin.kernel.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, umount
from tiffin.kernel.process import boot_id, process_start_time
from tiffin.oci.mount import Mount
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.containers.record import ContainerRecord, Device, Resources
    from tiffin.containers.store import Container
    from tiffin.runtime.spec import ContainerOptions
    from tiffin.state import Store

_SHM = "/dev/shm"  # noqa: S108 - the containers'
_SHM_OPTIONS = ("bind", "rprivate", "nosuid", "noexec", "nodev")
_CONTAINER = "container:"
# What a container has of its own, or what is no device of the machine's.
_NOT_SHARED = frozenset(("pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"))
_MOST_DEVICES = 4096
_THROTTLES = (
    ("throttleReadBpsDevice", "device_read_bps"),
    ("throttleWriteBpsDevice", "device_write_bps"),
    ("throttleReadIOPSDevice", "device_read_iops"),
    ("throttleWriteIOPSDevice", "device_write_iops"),
)


def complete(
    store: Store, record: ContainerRecord, options: ContainerOptions
) -> tuple[ContainerOptions, tuple[int, ...]]:
    """`options` with all that, and the descriptors of namespaces to be joined, which the caller closes. Raises
    Conflict, NotFound, EngineError; a tmpfs that was mounted is `takedown`'s to unmount."""
    nodes = list(_devices(record.devices))
    if record.privileged:
        taken = {node[0] for node in nodes}
        nodes += [node for node in _below("/dev", "/dev", "rwm") if node[0] not in taken]
    options = options._replace(
        devices=nodes,
        device_rules=[_rule(text, kind) for text in record.device_rules for kind in _kinds(text)],
    )
    block = block_limits(record.resources)
    if block:
        options = options._replace(block=block)
    joined: list[int] = []
    try:
        return _namespaces(store, record, options, joined), tuple(joined)
    except BaseException:
        for fd in joined:
            os.close(fd)
        raise


def _namespaces(
    store: Store, record: ContainerRecord, options: ContainerOptions, joined: list[int]
) -> ContainerOptions:
    host, join = set(options.host), dict(options.join)
    modes = {
        "pid": record.pid_mode,
        "ipc": record.ipc_mode,
        "uts": record.uts_mode,
        "cgroup": record.cgroupns_mode,
    }
    for kind, mode in modes.items():
        if mode == "host":
            host.add(kind)
        elif mode.startswith(_CONTAINER):
            donor = _donor(store, mode.removeprefix(_CONTAINER), kind)
            joined.append(open_namespace(donor, kind))
            join[kind] = f"/proc/{os.getpid()}/fd/{joined[-1]}"  # for a runtime of another process, too
    options = options._replace(host=frozenset(host), join=join, shm=record.ipc_mode != "none")
    if any(mount.target == _SHM for mount in options.mounts):
        return options
    source = _shm_source(store, record)
    if not source:
        return options
    return options._replace(mounts=[Mount(_SHM, "bind", source, _SHM_OPTIONS), *options.mounts])


def _shm_source(store: Store, record: ContainerRecord) -> str:
    """The host's directory that is to be its /dev/shm; "" for one of its own."""
    mode = record.ipc_mode
    if mode == "host":
        return _SHM
    if mode == "shareable":
        return _make_shm(store.layout.container(record.id), record.shm_size)
    if not mode.startswith(_CONTAINER):
        return ""
    donor = Containers(store).get(mode.removeprefix(_CONTAINER))
    if donor is None:
        raise NotFound(f"No such container: {mode.removeprefix(_CONTAINER)}")
    if donor.record.ipc_mode == "shareable":
        return f"{store.layout.container(donor.id)}/shm"
    return _shm_source(store, donor.record)  # "" for what is private: `create` refused that


def _make_shm(directory: str, size: int) -> str:
    path = f"{directory}/shm"
    with step(f"mount a tmpfs at {path}"):
        os.makedirs(path, mode=0o700, exist_ok=True)
        remove_shm(directory)  # of an earlier run whose end nobody saw
        mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=1777,size={size}")
    return path


def remove_shm(directory: str) -> None:
    """Unmount what `complete` mounted. Idempotent."""
    path = f"{directory}/shm"
    try:
        if os.lstat(path).st_dev != os.lstat(directory).st_dev:
            umount(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineError(f"cannot unmount {path}: {error.strerror}") from error


def _donor(store: Store, container_id: str, kind: str) -> Container:
    donor = Containers(store).get(container_id)
    if donor is None:
        raise NotFound(f"No such container: {container_id}")
    if donor.pid <= 0 or donor.boot_id != boot_id():
        raise Conflict(f"cannot join {kind.upper()} of a non running container: {container_id}")
    return donor


def network_of(store: Store, container_id: str) -> int:
    """The network namespace of a running container. Raises NotFound, Conflict."""
    return open_namespace(_donor(store, container_id, "network"), "net")


def open_namespace(donor: Container, kind: str) -> int:
    """A namespace of a running container's. Raises Conflict when it has ended."""
    try:
        fd = os.open(f"/proc/{donor.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Conflict(f"cannot join {kind.upper()} of a non running container: {donor.id}") from error
    if process_start_time(donor.pid) != donor.pid_start:
        os.close(fd)
        raise Conflict(f"cannot join {kind.upper()} of a non running container: {donor.id}")
    return fd


# ---- devices


def _devices(wanted: tuple[Device, ...]) -> Iterator[tuple[str, str, int, int, int, int, int, str]]:
    for host, container, access in wanted:
        try:
            status = os.stat(host)
        except OSError as error:
            raise NotFound(
                f'error gathering device information while adding custom device "{host}": '
                f"{(error.strerror or '').lower()}"
            ) from error
        if stat.S_ISDIR(status.st_mode):
            yield from _below(host, container, access)
        elif (node := _node(container, status, access)) is not None:
            yield node
        else:
            raise InvalidArgument(
                f'error gathering device information while adding custom device "{host}": not a device node'
            )


def _below(host: str, container: str, access: str) -> Iterator[tuple[str, str, int, int, int, int, int, str]]:
    """Every device in a directory of the host, as Docker takes them."""
    found, waiting = 0, [(host, container)]
    while waiting:
        directory, at = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name in _NOT_SHARED or entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{at}/{entry.name}"))
                    continue
                node = _node(f"{at}/{entry.name}", entry.stat(follow_symlinks=False), access)
                found += node is not None
                if found > _MOST_DEVICES:
                    raise InvalidArgument(
                        f"{host} has more than {_MOST_DEVICES} devices; name those that are needed"
                    )
                if node is not None:
                    yield node


def _node(
    path: str, status: os.stat_result, access: str
) -> tuple[str, str, int, int, int, int, int, str] | None:
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
    return path, kind, *numbers, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, access


def _kinds(text: str) -> str:
    return "cb" if text[0] == "a" else text[0]


def _rule(text: str, kind: str) -> dict[str, Any]:
    """A rule as the kernel words it, for one kind of device: "a" is both, of those numbers."""
    _, numbers, access = text.split(" ")
    major, minor = (None if word == "*" else int(word) for word in numbers.split(":"))
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    return rule | {key: n for key, n in (("major", major), ("minor", minor)) if n is not None}


# ---- block devices


def block_limits(resources: Resources) -> dict[str, Any]:
    """`linux.resources.blockIO`. Raises NotFound, InvalidArgument for what is no block device of this machine."""
    made: dict[str, Any] = {}
    if resources.blkio_weight:
        made["weight"] = resources.blkio_weight
    if resources.blkio_weight_device:
        made["weightDevice"] = [
            _block_device(path) | {"weight": weight} for path, weight in resources.blkio_weight_device
        ]
    for key, field in _THROTTLES:
        entries = getattr(resources, field)
        if entries:
            made[key] = [_block_device(path) | {"rate": rate} for path, rate in entries]
    return made


def _block_device(path: str) -> dict[str, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise NotFound(f"no such device: {path}: {(error.strerror or '').lower()}") from error
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument(
            f"{path} is not a block device; name the disk whose reading and writing is meant"
        )
    return {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
