"""config.json: read within a bound, checked, made into what `runtime.create` takes.

The document is policy, not data: whoever calls a runtime may do all that it says. Checked strictly all the same, as
the specification has it: what is known must be of its type and among its values, or nothing is created; what is not
known is left alone (config, "Extensibility" and "Valid values").
"""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.runtime.lifecycle.shapes import DOCUMENT, PROCESS, RESOURCES, check
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = "1.3.0"
CGROUP_PARENT = "tiffin-runtime"  # of containers whose documents name no cgroup
_LIMIT = 16 << 20
_FOREIGN = ("solaris", "windows", "zos", "freebsd")
PROCESS_KEYS = tuple(key.rstrip("!") for key in PROCESS)
_CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def read_document(path: str) -> dict[str, Any]:
    """A JSON object from a file of at most 16 MiB. Raises NotFound, InvalidArgument."""
    import json

    try:
        with open(path, "rb") as file:
            text = file.read(_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"open {path}: no such file or directory") from error
    except OSError as error:
        raise InvalidArgument(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    if len(text) > _LIMIT:
        raise InvalidArgument(f"{path} is larger than {_LIMIT >> 20} MiB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{path} must hold a JSON object")
    return document


def check_document(document: dict[str, Any]) -> None:
    """Raises InvalidArgument for what the specification does not allow, Unsupported for what this runtime has not."""
    check(document, DOCUMENT, "config.json")
    _check_version(document["ociVersion"])
    if document.get("vm"):
        raise Unsupported("config.json: vm: this runtime makes containers, not virtual machines")
    for name in _FOREIGN:
        if document.get(name):
            raise InvalidArgument(f"config.json: {name}: this runtime is for Linux")
    linux = document.get("linux") or {}
    if linux.get("intelRdt"):
        raise Unsupported("config.json: linux.intelRdt: this runtime does not drive resctrl; leave it out")
    _check_namespaces(document, linux)
    _check_process(document["process"])
    _check_resources(linux.get("resources") or {})
    _check_seccomp(linux.get("seccomp") or {})


def check_process_document(process: dict[str, Any]) -> None:
    """A `process` object alone, as exec is given."""
    check(process, PROCESS, "process")
    _check_process(process)


def check_resources(resources: dict[str, Any]) -> None:
    """A `linux.resources` object alone, as update is given."""
    check(resources, RESOURCES, "resources")
    _check_resources(resources)


def _check_resources(resources: dict[str, Any]) -> None:
    for entry in resources.get("hugepageLimits") or ():
        size = entry["pageSize"]
        if not (
            size[-2:] in ("KB", "MB", "GB")
            and size[:-2].isascii()
            and size[:-2].isdecimal()
            and size[0] != "0"
        ):
            raise InvalidArgument(f"resources.hugepageLimits: {size!r} is no page size such as 2MB")
    names = [
        *(resources.get("rdma") or {}),
        *(e["name"] for e in (resources.get("network") or {}).get("priorities") or ()),
    ]
    for name in names:
        if not name or any(c.isspace() or c == "/" for c in name):
            raise InvalidArgument(f"resources: {name!r} is no device's name")
    for rule in resources.get("devices") or ():
        if not set(rule.get("access") or "") <= set("rwm"):
            raise InvalidArgument(f"resources.devices: access {rule['access']!r} is not made of r, w and m")


def _check_version(text: str) -> None:
    core = text.partition("-")[0].partition("+")[0].split(".")
    if len(core) != 3 or not all(part.isdecimal() for part in core):
        raise InvalidArgument(f"config.json: ociVersion {text!r} is no version such as {VERSION}")
    if int(core[0]) != 1:
        raise Unsupported(f"config.json: ociVersion {text}: this runtime knows versions 1.0.0 to {VERSION}")


def _check_namespaces(document: dict[str, Any], linux: dict[str, Any]) -> None:
    kinds = [entry["type"] for entry in linux.get("namespaces") or ()]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise InvalidArgument(f"config.json: linux.namespaces: {kind!r} is there twice")
    for entry in linux.get("namespaces") or ():
        path = entry.get("path") or ""
        if path and not path.startswith("/"):
            raise InvalidArgument(f"config.json: linux.namespaces: the path {path!r} is not absolute")
        if path:
            _check_namespace_file(path, entry["type"])
    for key in ("hostname", "domainname"):
        if document.get(key) and "uts" not in kinds:
            raise InvalidArgument(f"config.json: {key} needs a UTS namespace of the container's own")
    _check_user_namespace(linux, kinds)
    if linux.get("timeOffsets") and "time" not in kinds:
        raise InvalidArgument("config.json: linux.timeOffsets needs a time namespace")
    for clock in linux.get("timeOffsets") or {}:
        if clock not in ("monotonic", "boottime"):
            raise InvalidArgument(
                f"config.json: linux.timeOffsets: {clock!r} is neither monotonic nor boottime"
            )


def _check_user_namespace(linux: dict[str, Any], kinds: list[str]) -> None:
    given = bool(linux.get("uidMappings") or linux.get("gidMappings"))
    if "user" not in kinds:
        if given:
            raise InvalidArgument("config.json: linux.uidMappings and gidMappings need a user namespace")
        return
    joined = next(entry.get("path") for entry in linux["namespaces"] if entry["type"] == "user")
    if joined:
        return
    for key in ("uidMappings", "gidMappings"):
        if not any(entry["containerID"] == 0 for entry in linux.get(key) or ()):
            raise InvalidArgument(f"config.json: linux.{key} of a new user namespace must map 0")


def _check_namespace_file(path: str, kind: str) -> None:
    """The specification wants an error for a file of another kind of namespace."""
    name = {"mount": "mnt", "network": "net"}.get(kind, kind)
    try:
        own, given = os.stat(f"/proc/self/ns/{name}"), os.stat(path)
    except FileNotFoundError as error:
        raise InvalidArgument(f"config.json: linux.namespaces: {error.filename} does not exist") from error
    except OSError as error:
        raise InvalidArgument(
            f"config.json: linux.namespaces: {path}: {(error.strerror or '').lower()}"
        ) from error
    if given.st_dev != own.st_dev:
        raise InvalidArgument(f"config.json: linux.namespaces: {path} is no namespace")


def _check_process(process: dict[str, Any]) -> None:
    if not process.get("args"):
        raise InvalidArgument("process.args must not be empty")
    if not process["cwd"].startswith("/"):
        raise InvalidArgument("Cwd must be an absolute path")
    names = [limit["type"] for limit in process.get("rlimits") or ()]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgument(f"process.rlimits: {name} is there twice")
    adjustment = process.get("oomScoreAdj") or 0
    if not -1000 <= adjustment <= 1000:
        raise InvalidArgument(f"process.oomScoreAdj must be -1000 to 1000, not {adjustment}")
    from tiffin.runtime.extras.placement import io_priority_of, scheduler_of

    scheduler_of(process)
    io_priority_of(process)


def _check_seccomp(seccomp: dict[str, Any]) -> None:
    if not seccomp:
        return
    asks = [entry for entry in seccomp.get("syscalls") or () if entry["action"] == "SCMP_ACT_NOTIFY"]
    if seccomp["defaultAction"] == "SCMP_ACT_NOTIFY":
        raise InvalidArgument("linux.seccomp: SCMP_ACT_NOTIFY cannot be the default action")
    for entry in asks:
        if "write" in entry["names"]:
            raise InvalidArgument(
                "linux.seccomp: SCMP_ACT_NOTIFY cannot be used for write: nobody could be asked"
            )
    if asks and not seccomp.get("listenerPath"):
        raise InvalidArgument("linux.seccomp: SCMP_ACT_NOTIFY needs listenerPath")
    if seccomp.get("listenerPath") and not asks:
        raise InvalidArgument("linux.seccomp: listenerPath without a rule of SCMP_ACT_NOTIFY")
    for entry in seccomp.get("syscalls") or ():
        _check_errno(entry.get("errnoRet"), entry["action"], "errnoRet")
    _check_errno(seccomp.get("defaultErrnoRet"), seccomp["defaultAction"], "defaultErrnoRet")


def _check_errno(value: int | None, action: str, key: str) -> None:
    if value is not None and action not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        raise InvalidArgument(f"linux.seccomp: {key} has no meaning with {action}")


# ---- towards `runtime.create`


def specification(document: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The document as `runtime.create` takes it: defaults filled in, what belongs to `Extras` taken out."""
    from tiffin.runtime.extras.labels import with_mount_label

    linux = dict(document.get("linux") or {})
    label = linux.get("mountLabel") or ""
    linux["devices"] = [entry for entry in linux.get("devices") or () if _in_dev(entry["path"])]
    linux["resources"] = with_default_devices(linux.get("resources") or {})
    if linux.get("seccomp"):
        linux["seccomp"] = filter_of(linux["seccomp"])
    userns = any(entry["type"] == "user" for entry in linux.get("namespaces") or ())
    return {
        **document,
        "linux": linux,
        "mounts": [with_mount_label(_mount(entry), label) for entry in document.get("mounts") or ()],
        "process": grantable(document["process"], warnings, all_held=userns),
    }


def filter_of(seccomp: dict[str, Any] | None) -> dict[str, Any] | None:
    """What `runtime.seccomp` compiles of a document's `linux.seccomp`, which speaks no dialect but the
    specification's."""
    if not seccomp:
        return None
    known = ("defaultAction", "defaultErrnoRet", "architectures")
    made = {key: seccomp[key] for key in known if seccomp.get(key) is not None}
    # Of several rules that decide a call whatever its arguments the first counts, as in libseccomp, for which the
    # profiles out there are written.
    decided: set[str] = set()
    made["syscalls"] = []
    for rule in seccomp.get("syscalls") or ():
        names = rule["names"]
        if not rule.get("args"):
            names = [name for name in dict.fromkeys(names) if name not in decided]
            decided.update(names)
        if names:
            made["syscalls"].append({**rule, "names": names})
    return made


def _in_dev(path: str) -> bool:
    return os.path.normpath("/" + path).replace("//", "/").startswith("/dev/")


def _mount(entry: dict[str, Any]) -> dict[str, Any]:
    """`destination` may be relative, `type` left out (config, "Mounts")."""
    destination, kind = entry["destination"], entry.get("type") or ""
    words = entry.get("options") or []
    if kind in ("", "none") and any(word in ("bind", "rbind") for word in words):
        kind = "bind"
    elif kind == "bind" and not any(word in ("bind", "rbind") for word in words):
        words = ["bind", *words]
    if not kind:
        raise InvalidArgument(f"the mount at {destination} needs a type, or the option bind or rbind")
    if not destination.startswith("/"):
        destination = f"/{destination}"
    return {**entry, "destination": destination, "type": kind, "options": words}


def with_default_devices(resources: dict[str, Any]) -> dict[str, Any]:
    """Where a document restricts devices at all, those that every container has stay usable (config-linux, "Default
    Devices"), and any node may be made."""
    listed = resources.get("devices")
    if not listed:
        return resources
    from tiffin.runtime.defaults import device_rules

    return {**resources, "devices": [*listed, *device_rules()[1:]]}


def grantable(process: dict[str, Any], warnings: list[str], *, all_held: bool) -> dict[str, Any]:
    """The process with the capabilities that there are to be had here. What cannot be granted is a warning and no
    error (config, "Linux Process": capabilities). `all_held`: a new user namespace has every one."""
    from tiffin.kernel.process import CAPABILITIES, bounding_set

    process = {key: process[key] for key in PROCESS_KEYS if process.get(key) is not None}
    user = process.get("user") or {}
    process["user"] = {
        key: user[key] for key in ("uid", "gid", "umask", "additionalGids") if user.get(key) is not None
    }
    sets = process.get("capabilities")
    if not sets:
        return process
    held = (1 << 64) - 1 if all_held else bounding_set()
    missing: dict[str, None] = {}

    def have(names: Iterable[str]) -> list[str]:
        found = []
        for name in names:
            if name in CAPABILITIES and held >> CAPABILITIES[name] & 1:
                found.append(name)
            else:
                missing[name] = None
        return found

    wanted = {name: have(sets.get(name) or ()) for name in _CAPABILITY_SETS}
    _narrow(wanted, "inheritable", wanted["bounding"], missing)
    _narrow(wanted, "effective", wanted["permitted"], missing)
    both = [name for name in wanted["permitted"] if name in wanted["inheritable"]]
    _narrow(wanted, "ambient", both, missing)
    if missing:
        warnings.append(f"capabilities that cannot be granted here: {', '.join(missing)}")
    return {**process, "capabilities": wanted}


def _narrow(wanted: dict[str, list[str]], name: str, within: list[str], missing: dict[str, None]) -> None:
    for capability in wanted[name]:
        if capability not in within:
            missing[f"{capability} ({name})"] = None
    wanted[name] = [capability for capability in wanted[name] if capability in within]


def cgroup_path(document: dict[str, Any], container_id: str) -> str:
    """The cgroup's path below each hierarchy's mount (config-linux, "Cgroups Path"). Raises InvalidArgument."""
    given = (document.get("linux") or {}).get("cgroupsPath") or ""
    if not given:
        return f"{CGROUP_PARENT}/{container_id}"
    if given.count(":") == 2 and "/" not in given:
        raise InvalidArgument(
            f"linux.cgroupsPath {given!r} is a systemd unit's name; this runtime makes cgroups itself: give a path "
            "(podman: --cgroup-manager cgroupfs; containerd: SystemdCgroup = false)"
        )
    parts = [part for part in given.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\n" in given or "\0" in given:
        raise InvalidArgument(f"linux.cgroupsPath {given!r} is no path below the cgroup mount")
    return "/".join(parts)
