"""create: the image's configuration and the caller's options become one record.

The rules of merging are Docker's: the caller's environment first, then what the image adds; a given entrypoint
drops the image's command; a given command replaces it.
"""

from __future__ import annotations

import os
import time

from tiffin.containers.environment import merge_env
from tiffin.containers.names import check_name, random_name
from tiffin.containers.ports import PortSpec, parse_expose
from tiffin.containers.record import ContainerRecord, LogConfig, RestartPolicy, new_id
from tiffin.containers.security import parse_security_options
from tiffin.containers.store import Container, Containers
from tiffin.engine import limits, recovery
from tiffin.engine.options import Created, CreateOptions
from tiffin.engine.signals import parse_signal
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.images.records import find_image
from tiffin.state import sqlite as sqlite3
from tiffin.supervisor import control
from tiffin.typed import TYPE_CHECKING, Any, Sequence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tiffin.engine.workspace import Workspace
    from tiffin.images.records import Image
    from tiffin.network.links import Link
    from tiffin.oci.platform import Platform
    from tiffin.state import Store

_MILLISECOND = 1_000_000  # ns
_RESERVED_LABELS = "io.tiffin."
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_NETWORKS = ("bridge", "default", "host", "none")


def create(workspace: Workspace, options: CreateOptions) -> Created:
    """See ContainerService.create."""
    if options.name:
        check_name(options.name)
    with workspace.store() as store:
        image = find_image(store.db, options.image, _platform(options))
        options, warnings = _settled(store, options)
        warnings += _warnings(options)
        if options.platform or image.config.get("architecture") != _MACHINES.get(os.uname().machine):
            warnings += _foreign(store, image, options)
        container = _create(store, options, image)
        return Created(container.id, container.name, tuple(warnings))


def _settled(store: Store, options: CreateOptions) -> tuple[CreateOptions, list[str]]:
    """What few containers ask for checked, names in it resolved, what this kernel lacks left out with a warning."""
    warnings: list[str] = []
    if limits.depend_on_kernel(options.resources):
        from tiffin.engine import kernel_support

        resources, warnings = kernel_support.adapt(limits.check(options.resources))
        options = options._replace(resources=resources)
    modes = (options.pid, options.ipc, options.uts, options.userns, options.cgroupns, options.cgroup_parent)
    bandwidth = options.resources.bandwidth_in or options.resources.bandwidth_out
    if any(modes) or bandwidth:
        from tiffin.engine import sharing

        options = sharing.settle(store, options)
    if options.runtime:
        options = options._replace(runtime=_runtime(options))
    if options.joins or options.network not in _NETWORKS:
        from tiffin.engine import joining

        options = joining.settle(store, options)
    return options, warnings


def _runtime(options: CreateOptions) -> str:
    """The runtime's name or path as asked for, "" for the engine's own. Raises InvalidArgument."""
    from tiffin.runtime.external import find_program

    if options.runtime == "tiffin":
        return ""
    find_program(options.runtime)
    if options.init:
        raise InvalidArgument("--init is the engine's own helper: it does not go with --runtime")
    return options.runtime


def _create(store: Store, options: CreateOptions, image: Image) -> Container:
    record, policy = plan(options, image), _policy(options)
    if options.log != LogConfig():
        record = _with_log(record, options.log)
    declared = image.settings.get("Volumes") or ()
    if not (options.volumes or options.mounts or options.tmpfs or options.volumes_from or declared):
        return _insert(store, record, policy, options)
    return _insert_with_mounts(store, record, options, declared)


def _with_log(record: ContainerRecord, log: LogConfig) -> ContainerRecord:
    from tiffin.engine.log_options import Subject, settle

    if "tag" in log.options and not record.name:
        record = record._replace(name=random_name(0))  # the tag may show it
    subject = Subject(record.id, record.name, record.image, record.image_name, record.env, record.labels)
    return record._replace(log=settle(log, subject))


def _platform(options: CreateOptions) -> Platform | None:
    if not options.platform:
        return None
    from tiffin.oci.platform import parse_platform

    return parse_platform(options.platform)


def _foreign(store: Store, image: Image, options: CreateOptions) -> tuple[str, ...]:
    """Warnings about an image that is not for this machine. Raises Unsupported when it cannot run here."""
    from tiffin.kernel.paths import open_in_root
    from tiffin.runtime import emulation

    def in_root(path: str) -> bool:
        for diff_id in image.diff_ids:
            root = os.open(store.layout.layer(diff_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.close(open_in_root(root, path.lstrip("/"), os.O_PATH))
            except OSError:
                continue
            finally:
                os.close(root)
            return True
        return False

    return emulation.check(image.platform, in_root, asked=bool(options.platform))


def _insert_with_mounts(
    store: Store, record: ContainerRecord, options: CreateOptions, declared: Iterable[str]
) -> Container:
    from tiffin.engine import mounts
    from tiffin.volumes import Volumes

    inherited = mounts.inherited(store, options.volumes_from) if options.volumes_from else []
    wanted = mounts.requests(options, declared, inherited)
    # The rows of its uses come before its own: the lock says that somebody is at work between them.
    volumes = Volumes(store)
    lock = control.acquire(store.layout, record.id)
    try:
        found = mounts.images(store, wanted)
        prepared = volumes.prepare(record.id, wanted)
        mounted = record._replace(
            mounts=tuple(mounts.document(*both, found) for both in zip(prepared, wanted, strict=True))
        )
        return _insert(store, mounted, _policy(options), options, {image.id for image in found.values()})
    except BaseException:
        volumes.release(record.id, anonymous=True)
        control.discard(store.layout, record.id)
        raise
    finally:
        os.close(lock)


def _insert(
    store: Store,
    record: ContainerRecord,
    policy: str,
    options: CreateOptions,
    mounted: Collection[str] = (),
) -> Container:
    """`mounted` are images that it mounts beside its own."""
    joins = options.joins
    links: Sequence[Link] = ()
    if options.links:
        from tiffin.engine import linking

        links = linking.settle(store, options)

    def image_is_here(db: sqlite3.Connection) -> None:
        """It was when its name was looked up; a removal since then must be seen, or the container had no files."""
        for image in (record.image, *mounted):
            if db.execute("SELECT 1 FROM images WHERE id = ?", (image,)).fetchone() is None:
                raise NotFound(f"No such image: {record.image_name if image == record.image else image}")
        for image in mounted:
            db.execute("INSERT INTO mounted_images (container, image) VALUES (?, ?)", (record.id, image))
        if joins:
            from tiffin.network.records import write_joins

            write_joins(db, record.id, joins)
        if links:
            from tiffin.network.links import write_links

            write_links(db, record.id, links)

    try:
        return Containers(store).insert(record, policy=policy, check=image_is_here)
    except Conflict:
        # The name may belong to a container with auto_remove whose supervisor died: that one is no more.
        recovery.reconcile(store)
        return Containers(store).insert(record, policy=policy, check=image_is_here)


def plan(options: CreateOptions, image: Image) -> ContainerRecord:
    """The record, without its mounts. Pure but for the ID, the clock and the caller's environment."""
    settings = image.settings
    entrypoint, cmd = merge_command(options, settings)
    if not entrypoint and not cmd:
        raise InvalidArgument("No command specified")
    stop_signal = options.stop_signal or str(settings.get("StopSignal") or "SIGTERM")
    parse_signal(stop_signal)
    check_rights(options)
    record = ContainerRecord(
        id=new_id(),
        name=options.name,
        image=image.id,
        image_name=options.image,
        created=time.time_ns(),
        argv=(*(entrypoint or ()), *(cmd or ())),
        layers=tuple(image.diff_ids),
        entrypoint=entrypoint,
        cmd=cmd,
        env=merge_env(options.env, settings.get("Env") or ()),
        user=options.user or str(settings.get("User") or ""),
        cwd=_workdir(options.workdir or str(settings.get("WorkingDir") or "") or "/"),
        shell=tuple(settings.get("Shell") or ()),
        labels=_labels(options.labels, settings.get("Labels") or {}),
        annotations=_pairs(options.annotations, "--annotation") if options.annotations else {},
        volumes=tuple(settings.get("Volumes") or ()),
        volumes_from=options.volumes_from,
        volume_driver=options.volume_driver,
        runtime=options.runtime,
        stop_signal=stop_signal,
    )
    record = _with_life(record, options, settings)
    record = _with_network(record, options, settings)
    return _with_isolation(_with_rights(record, options), options)


def _with_life(record: ContainerRecord, options: CreateOptions, settings: dict[str, Any]) -> ContainerRecord:
    """Its streams, what is watched while it runs, and how it ends."""
    return record._replace(
        tty=options.tty,
        open_stdin=options.open_stdin,
        stdin_once=options.stdin_once,
        attach_stdin=options.attach_stdin,
        attach_stdout=options.attach_stdout,
        attach_stderr=options.attach_stderr,
        log=options.log,
        healthcheck=healthcheck(options.healthcheck, settings.get("Healthcheck")),
        init=options.init,
        stop_timeout=10 if options.stop_timeout is None else options.stop_timeout,
        auto_remove=options.auto_remove,
    )


def _with_network(
    record: ContainerRecord, options: CreateOptions, settings: dict[str, Any]
) -> ContainerRecord:
    """What it is called, whom it reaches and how it is reached."""
    extra_hosts = options.extra_hosts
    if extra_hosts or options.dns or options.dns_search or options.dns_options:
        from tiffin.engine import lookups  # few containers have any

        extra_hosts = tuple(lookups.checked_host(entry) for entry in extra_hosts)
        lookups.check_dns(options)
    return record._replace(
        hostname=_hostname(options, record.id),
        domainname=options.domainname,
        ports=_ports(options, settings),
        exposed=_exposed(options, settings),
        network="bridge" if options.network == "default" else options.network,
        extra_hosts=extra_hosts,
        dns=options.dns,
        dns_search=options.dns_search,
        dns_options=options.dns_options,
    )


def _with_rights(record: ContainerRecord, options: CreateOptions) -> ContainerRecord:
    """What its processes may do, and how much of the machine they get."""
    return record._replace(
        resources=limits.check(options.resources),
        ulimits=options.ulimits,
        shm_size=options.shm_size,
        oom_score_adj=options.oom_score_adj,
        cap_add=options.cap_add,
        cap_drop=options.cap_drop,
        privileged=options.privileged,
        security_opts=options.security_opts,
        group_add=options.group_add,
        devices=options.devices,
        device_rules=options.device_rules,
        read_only=options.read_only,
    )


def _with_isolation(record: ContainerRecord, options: CreateOptions) -> ContainerRecord:
    """Whose namespaces and cgroup it lives in, and what is set in them."""
    return record._replace(
        pid_mode=options.pid,
        ipc_mode=options.ipc,
        uts_mode=options.uts,
        userns_mode=options.userns,
        cgroupns_mode=options.cgroupns,
        cgroup_parent=options.cgroup_parent,
        sysctls=_pairs(options.sysctls, "--sysctl"),
    )


def healthcheck(given: dict[str, Any] | None, image: dict[str, Any] | None) -> dict[str, Any] | None:
    """The caller's check, completed by the image's. Raises InvalidArgument, with Docker's words."""
    if given is None:
        return image
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        if 0 != given.get(name, 0) < _MILLISECOND:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if given.get("Retries", 0) < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    return {**(image or {}), **{name: value for name, value in given.items() if value}}


def _policy(options: CreateOptions) -> str:
    """The row's policy. Raises InvalidArgument."""
    if options.restart == RestartPolicy():
        return "{}"
    from tiffin.containers.policy import NO, check_restart, with_restart

    restart = check_restart(options.restart)
    if options.auto_remove and restart.name != NO:
        raise InvalidArgument("conflicting options: cannot specify both --restart and --rm")
    return with_restart("{}", restart)


def merge_command(
    options: CreateOptions, settings: dict[str, Any]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """(entrypoint, cmd) of the container."""
    if options.entrypoint is not None:
        given = tuple(options.entrypoint)
        return (None if given in ((), ("",)) else given), tuple(options.command) or None
    image_entrypoint = settings.get("Entrypoint")
    entrypoint = tuple(image_entrypoint) if image_entrypoint else None
    return entrypoint, tuple(options.command) or tuple(settings.get("Cmd") or ()) or None


def check_rights(options: CreateOptions) -> None:
    """Refuse now what the runtime would refuse at the start. Raises InvalidArgument, Unsupported."""
    parse_security_options(options.security_opts)
    if not -1000 <= options.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"Invalid value {options.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if options.cap_add or options.cap_drop:
        from tiffin.runtime.defaults import choose_capabilities

        choose_capabilities(options.cap_add, options.cap_drop, available=0)
    if options.sysctls:
        from tiffin.runtime.sysctls import sysctl_path

        shared = {"ipc": options.ipc, "uts": options.uts, "network": options.network}
        kinds = frozenset(kind for kind, mode in shared.items() if mode != "host")
        for name, value in _pairs(options.sysctls, "--sysctl").items():
            sysctl_path(name, value, kinds)
    if options.ulimits:
        from tiffin.runtime.process import rlimits

        rlimits(
            {
                "rlimits": [
                    {"type": name.upper(), "soft": soft, "hard": hard} for name, soft, hard in options.ulimits
                ]
            }
        )


def _workdir(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return path


def _hostname(options: CreateOptions, container_id: str) -> str:
    name = options.hostname
    if not name:
        return os.uname().nodename if "host" in (options.network, options.uts) else container_id[:12]
    if len(name) > 64 or not all(part and part.strip("-") == part for part in name.split(".")):
        raise InvalidArgument(f"invalid hostname: {name}")
    if not all(character.isascii() and (character.isalnum() or character in "-._") for character in name):
        raise InvalidArgument(f"invalid hostname: {name}")
    return name


def _ports(options: CreateOptions, settings: dict[str, Any]) -> tuple[PortSpec, ...]:
    ports = _published(options)
    if options.publish_all:
        from tiffin.network.ports import parse_publish

        taken = {(port.container_port, port.protocol) for port in ports}
        for key in _exposed(options, settings):
            number, _, protocol = key.partition("/")
            if (int(number), protocol) not in taken:
                ports.extend(PortSpec(*mapping) for mapping in parse_publish(key))
    return _at_default_address(ports) if ports else ()


def _published(options: CreateOptions) -> list[PortSpec]:
    if not options.publish:
        return []
    from tiffin.network.ports import parse_publish  # few containers publish ports: the others do not pay

    return [PortSpec(*mapping) for text in options.publish for mapping in parse_publish(text)]


def _at_default_address(ports: list[PortSpec]) -> tuple[PortSpec, ...]:
    """The ports, those that name no address at the one of the settings file."""
    from tiffin.config import load_settings
    from tiffin.network.addresses import canonical

    address = load_settings().network.default_address
    if not address:
        return tuple(ports)
    try:
        address = canonical(address)
    except InvalidArgument as error:
        raise InvalidArgument(f"network.default-address of the settings file: {error}") from error
    return tuple(port if port.host_ip else port._replace(host_ip=address) for port in ports)


def _exposed(options: CreateOptions, settings: dict[str, Any]) -> tuple[str, ...]:
    keys = [
        key for text in (*(settings.get("ExposedPorts") or ()), *options.expose) for key in parse_expose(text)
    ]
    published = [f"{port.container_port}/{port.protocol}" for port in _published(options)]
    return tuple(dict.fromkeys([*keys, *published]))


def _pairs(entries: Sequence[str], option: str) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not key or not equals:
            raise InvalidArgument(f"invalid argument {entry!r} for {option}: write KEY=VALUE")
        pairs[key] = value
    return pairs


def _labels(given: Sequence[str], image: dict[str, str]) -> dict[str, str]:
    # An image's labels are data: none of ours, which may mean something to the engine, is taken from it.
    labels = {key: value for key, value in image.items() if not key.startswith(_RESERVED_LABELS)}
    for entry in given:
        key, _, value = entry.partition("=")
        if not key:
            raise InvalidArgument(f"invalid argument {entry!r} for --label: write KEY=VALUE")
        labels[key] = value
    return labels


def _warnings(options: CreateOptions) -> list[str]:
    warnings = []
    if options.network == "host" and options.publish:
        warnings.append("Published ports are discarded when using host network mode")
    if options.network == "none" and options.publish:
        warnings.append("Published ports are discarded without a network")
    return warnings
