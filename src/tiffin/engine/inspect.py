"""inspect: one container as Docker's JSON document (Engine API, GET /containers/{id}/json)."""

from __future__ import annotations

from tiffin.containers.policy import restart_of
from tiffin.containers.states import LIVE, SUPERVISED, State, shown
from tiffin.containers.store import Containers
from tiffin.engine import recovery
from tiffin.engine.times import moment
from tiffin.network.links import links_of
from tiffin.network.manager import Networks
from tiffin.network.records import DEFAULT_NETWORK, UNADDRESSED, Join, joins_of
from tiffin.runtime.defaults import READONLY_PATHS, masked_paths
from tiffin.supervisor.logs.files import NAME
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.containers import Container, ContainerRecord
    from tiffin.engine.workspace import Workspace
    from tiffin.network.records import Endpoint
    from tiffin.state import Layout, Store


def inspect(workspace: Workspace, reference: str, *, size: bool = False) -> dict[str, Any]:
    """See ContainerService.inspect."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        found = document(store, container)
        if size:
            from tiffin.engine.sizes import measure

            found["SizeRw"], found["SizeRootFs"] = measure(store, container)
        return found


def document(store: Store, container: Container) -> dict[str, Any]:
    """The document of one row."""
    record, layout = container.record, store.layout
    directory = layout.container(container.id)
    places = _places(store, container.id) if record.mounts else {}
    return {
        "Id": container.id,
        "Created": moment(record.created),
        "Path": record.argv[0] if record.argv else "",
        "Args": list(record.argv[1:]),
        "State": _state(store, container),
        "Image": record.image,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": "" if record.log.driver == "none" else f"{directory}/{NAME}",
        "Name": f"/{container.name}",
        "RestartCount": container.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(record, container.policy) | {"Links": _links(store, container)},
        "GraphDriver": _graph(layout, record),
        "Mounts": [_mount(mount, places) for mount in record.mounts if mount.get("origin") != "--tmpfs"],
        "Config": _config(record),
        "NetworkSettings": _network(store, container),
    }


def _links(store: Store, container: Container) -> list[str] | None:
    """Those on the default network; others are of their network."""
    found = []
    for link in links_of(store.db, container.id):
        other = Containers(store).get(link.target) if link.network == DEFAULT_NETWORK else None
        if other is not None:
            found.append(f"/{other.name}:/{container.name}/{link.alias}")
    return found or None


def _health(store: Store, container: Container) -> dict[str, Any]:
    """The part of the state that only a container with a check has."""
    if not container.health:
        return {}
    streak, log = Containers(store).health_log(container.id)
    return {"Health": {"Status": container.health, "FailingStreak": streak, "Log": log}}


def _state(store: Store, container: Container) -> dict[str, Any]:
    status = container.status
    return {
        "Status": shown(status, container.restarts),
        "Running": status in LIVE or status == State.RESTARTING,
        "Paused": status == State.PAUSED,
        "Restarting": status == State.RESTARTING,
        "OOMKilled": container.oom_killed,
        "Dead": status == State.DEAD,
        "Pid": container.pid if status in SUPERVISED else 0,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": moment(container.started),
        "FinishedAt": moment(container.finished),
        **_health(store, container),
    }


def _config(record: ContainerRecord) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Hostname": record.hostname,
        "Domainname": record.domainname,
        "User": record.user,
        "AttachStdin": record.attach_stdin,
        "AttachStdout": record.attach_stdout,
        "AttachStderr": record.attach_stderr,
        "ExposedPorts": {key: {} for key in record.exposed},
        "Tty": record.tty,
        "OpenStdin": record.open_stdin,
        "StdinOnce": record.stdin_once,
        "Env": list(record.env),
        "Cmd": None if record.cmd is None else list(record.cmd),
        "Image": record.image_name,
        "Volumes": {path: {} for path in (*record.volumes, *_nameless(record))} or None,
        "WorkingDir": "" if record.cwd == "/" else record.cwd,
        "Entrypoint": None if record.entrypoint is None else list(record.entrypoint),
        "OnBuild": None,
        "Labels": dict(record.labels),
        "StopSignal": record.stop_signal,
        "StopTimeout": record.stop_timeout,
    }
    if record.shell:
        config["Shell"] = list(record.shell)
    if record.healthcheck is not None:
        config["Healthcheck"] = record.healthcheck
    return config


def _host_config(record: ContainerRecord, policy: str) -> dict[str, Any]:
    restart = restart_of(policy)
    return {
        "Binds": [_bind(mount) for mount in record.mounts if _is_bound(mount)] or None,
        **_asked_mounts(record),
        "LogConfig": {"Type": record.log.driver, "Config": record.log.options},
        "NetworkMode": record.network,
        "PortBindings": _asked_ports(record),
        "RestartPolicy": {"Name": restart.name, "MaximumRetryCount": restart.retries},
        "AutoRemove": record.auto_remove,
        "CapAdd": list(record.cap_add) or None,
        "CapDrop": list(record.cap_drop) or None,
        "Dns": list(record.dns),
        "DnsOptions": list(record.dns_options),
        "DnsSearch": list(record.dns_search),
        "ExtraHosts": list(record.extra_hosts) or None,
        "GroupAdd": list(record.group_add) or None,
        "IpcMode": record.ipc_mode or "private",
        "CgroupnsMode": record.cgroupns_mode or "private",
        "UTSMode": record.uts_mode,
        "UsernsMode": record.userns_mode,
        "CgroupParent": record.cgroup_parent,
        "OomScoreAdj": record.oom_score_adj,
        "Runtime": record.runtime or "tiffin",
        "PidMode": record.pid_mode,
        "Privileged": record.privileged,
        "PublishAllPorts": False,
        "ReadonlyRootfs": record.read_only,
        "SecurityOpt": list(record.security_opts) or None,
        "MaskedPaths": _hidden(record, masked_paths()),
        "ReadonlyPaths": _hidden(record, list(READONLY_PATHS)),
        "VolumesFrom": list(record.volumes_from) or None,
        "VolumeDriver": record.volume_driver,
        "Annotations": dict(record.annotations),
        "Tmpfs": {
            mount["destination"]: mount.get("given", ",".join(mount["options"]))
            for mount in record.mounts
            if mount["type"] == "tmpfs" and mount.get("origin", "--tmpfs") == "--tmpfs"
        },
        "ShmSize": record.shm_size,
        "Sysctls": dict(record.sysctls),
        "Init": record.init,
        **_limits(record),
    }


def _hidden(record: ContainerRecord, paths: list[str]) -> list[str]:
    shown = record.privileged or not {"systempaths=unconfined", "systempaths:unconfined"}.isdisjoint(
        record.security_opts
    )
    return [] if shown else paths


def _limits(record: ContainerRecord) -> dict[str, Any]:
    limits = record.resources
    return {
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory,
        "NanoCpus": limits.nano_cpus,
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": limits.cpu_rt_period,
        "CpuRealtimeRuntime": limits.cpu_rt_runtime,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "MemoryReservation": limits.memory_reservation,
        "MemorySwap": limits.memory_swap or 2 * limits.memory,
        "MemorySwappiness": None if limits.memory_swappiness < 0 else limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids_limit or None,
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": [
            {"Path": path, "Weight": weight} for path, weight in limits.blkio_weight_device
        ],
        "BlkioDeviceReadBps": _rates(limits.device_read_bps),
        "BlkioDeviceWriteBps": _rates(limits.device_write_bps),
        "BlkioDeviceReadIOps": _rates(limits.device_read_iops),
        "BlkioDeviceWriteIOps": _rates(limits.device_write_iops),
        "Bandwidth": {"In": limits.bandwidth_in, "Out": limits.bandwidth_out},
        "Devices": [
            {
                "PathOnHost": device.host,
                "PathInContainer": device.container,
                "CgroupPermissions": device.access,
            }
            for device in record.devices
        ],
        "DeviceCgroupRules": list(record.device_rules) or None,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in record.ulimits],
    }


def _rates(entries: Sequence[tuple[str, int]]) -> list[dict[str, Any]] | None:
    return [{"Path": path, "Rate": rate} for path, rate in entries] or None


def _asked_ports(record: ContainerRecord) -> dict[str, list[dict[str, str]]]:
    asked: dict[str, list[dict[str, str]]] = {}
    for port in record.ports:
        last = f"-{port.last_host_port}" if port.last_host_port else ""
        host = f"{port.host_port}{last}" if port.host_port else ""
        asked.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": host}
        )
    return asked


def _nameless(record: ContainerRecord) -> list[str]:
    """Where -v gives it a volume without a name."""
    return [
        mount["destination"] for mount in record.mounts if mount["anonymous"] and mount.get("origin") == "-v"
    ]


def _asked_mounts(record: ContainerRecord) -> dict[str, Any]:
    """What --mount was given."""
    asked = [mount["given"] for mount in record.mounts if mount.get("origin") == "--mount"]
    return {"Mounts": asked} if asked else {}


def _is_bound(mount: dict[str, Any]) -> bool:
    """Whether -v gave it, as far as its record, which may be of an older version, says so."""
    return mount["type"] != "tmpfs" and not mount["anonymous"] and mount.get("origin", "-v") == "-v"


def _bind(mount: dict[str, Any]) -> str:
    if mount.get("given"):
        return str(mount["given"])
    source = mount.get("name") or mount["source"]
    return f"{source}:{mount['destination']}" + ("" if mount.get("rw", True) else ":ro")


def _places(store: Store, container_id: str) -> dict[str, str]:
    """Where plugins have the container's volumes mounted now."""
    query = "SELECT volume, mountpoint FROM volume_mounts WHERE container = ? AND mountpoint <> ''"
    return dict(store.db.execute(query, (container_id,)).fetchall())


def _mount(mount: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    name = str(mount.get("name") or "")
    shown_mount = {
        "Type": mount["type"],
        "Source": mount["source"] or places.get(name, ""),
        "Destination": mount["destination"],
        "Mode": _mode(mount),
        "RW": bool(mount.get("rw", True)),
        "Propagation": "" if name or mount["type"] == "tmpfs" else _propagation(mount),
    }
    return (
        {"Type": "volume", "Name": name, **shown_mount, "Driver": mount.get("driver", "local")}
        if name
        else shown_mount
    )


def _mode(mount: dict[str, Any]) -> str:
    """The last part of -v; without it, that of a volume which the local driver has is Docker's "z"."""
    origin = mount.get("origin", "")
    words = str(mount["given"]).split(":")[2:] if origin == "-v" else []
    local = mount.get("name") and mount.get("driver", "local") == "local"
    named = origin == "--mount" or (origin == "-v" and not mount["anonymous"])
    return ":".join(words) or ("z" if local and named else "")


def _propagation(mount: dict[str, Any]) -> str:
    kinds = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
    return next((word for word in mount["options"] if word in kinds), "rprivate")


def _graph(layout: Layout, record: ContainerRecord) -> dict[str, Any]:
    directory = layout.container(record.id)
    lower = ":".join(layout.layer(diff_id) for diff_id in reversed(record.layers))
    data = {"LowerDir": lower, "UpperDir": f"{directory}/upper", "WorkDir": f"{directory}/work"}
    return {"Name": "overlay", "Data": data}


def _network(store: Store, container: Container) -> dict[str, Any]:
    record = container.record
    manager = Networks(store)
    endpoints = manager.endpoints(container.id) if container.status in LIVE else []
    ports: dict[str, list[dict[str, str]] | None] = {}
    if container.status in LIVE:
        ports = dict.fromkeys(record.exposed)
        for port in (port for endpoint in endpoints for port in endpoint.ports):
            key = f"{port.container_port}/{port.protocol}"
            ports[key] = [*(ports.get(key) or []), {"HostIp": port.host_ip, "HostPort": str(port.host_port)}]
    by_id = {network.id: network.name for network in manager.known()}
    by_name = {by_id.get(endpoint.network, ""): endpoint for endpoint in endpoints}
    joins = joins_of(store.db, container.id) or (Join(record.network, record.network),)
    default = by_name.get("bridge")
    shared = record.network.startswith("container:")
    return {
        "Bridge": "",
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.status in LIVE else "",
        "Ports": ports,
        "Gateway": default.gateway if default else "",
        "IPAddress": default.address if default else "",
        "IPPrefixLen": default.prefix if default else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": default.mac if default else "",
        "Networks": {}
        if shared
        else {join.name: _joined(store, container, join, by_name.get(join.name)) for join in joins},
    }


def _asked_addresses(join: Join) -> dict[str, str]:
    asked = {"IPv4Address": join.address, "IPv6Address": join.address6}
    return {key: address for key, address in asked.items() if address}


def _joined(store: Store, container: Container, join: Join, endpoint: Endpoint | None) -> dict[str, Any]:
    """What a container has in one network; of one that does not run, what it asked for."""
    own = join.network not in ("bridge", *UNADDRESSED)
    names = [container.name, *join.aliases, container.id[:12]] if own else None
    linked = [one for one in links_of(store.db, container.id) if own and one.network == join.network]
    found: dict[str, Any] = {
        "IPAMConfig": _asked_addresses(join) or None,
        "Links": [f"{one.target}:{one.alias}" for one in linked] or None,
        "Aliases": list(join.aliases) or None,
        "MacAddress": endpoint.mac if endpoint else join.mac,
        "DriverOpts": None,
        "GwPriority": join.gw_priority,
        "NetworkID": endpoint.network if endpoint else join.network if own else "",
        "EndpointID": "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "IPv6Gateway": endpoint.gateway6 if endpoint else "",
        "GlobalIPv6Address": endpoint.address6 if endpoint else "",
        "GlobalIPv6PrefixLen": endpoint.prefix6 if endpoint else 0,
        "DNSNames": list(dict.fromkeys(names)) if names else None,
    }
    if endpoint:
        from tiffin.engine.networks import endpoint_id

        found["EndpointID"] = endpoint_id(store, container.id, endpoint.network)
    return found
