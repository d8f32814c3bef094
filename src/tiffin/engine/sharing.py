"""Namespaces shared with the host or with another container, the cgroup's parent, and what contradicts them."""

from __future__ import annotations

from tiffin.containers.store import Containers
from tiffin.errors import Conflict, InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import CreateOptions
    from tiffin.state import Store

_CONTAINER = "container:"
_IPC_MODES = ("", "none", "private", "shareable", "host")


def settle(store: Store, options: CreateOptions) -> CreateOptions:
    """The options with containers named by their IDs and "private" as the default that it is. Raises InvalidArgument
    in Docker's words, NotFound, Conflict (a container whose IPC is its own)."""
    pid, ipc = options.pid, options.ipc
    if pid.startswith(_CONTAINER):
        pid = _CONTAINER + _named(store, pid, "PID")
    elif pid not in ("", "host", "private"):
        raise InvalidArgument("--pid: invalid PID mode")
    if ipc.startswith(_CONTAINER):
        ipc = _CONTAINER + _named(store, ipc, "IPC")
        _check_shareable(store, ipc.removeprefix(_CONTAINER))
    elif ipc not in _IPC_MODES:
        raise InvalidArgument(f"invalid IPC mode: {ipc}")
    if options.uts not in ("", "host"):
        raise InvalidArgument("--uts: invalid UTS mode")
    if options.userns not in ("", "host"):
        raise InvalidArgument("--userns: invalid USER mode")
    if options.cgroupns not in ("", "host", "private"):
        raise InvalidArgument("--cgroupns: invalid CGROUP mode")
    if options.uts == "host" and (options.hostname or options.domainname):
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    limited = options.resources.bandwidth_in or options.resources.bandwidth_out
    if limited and options.network in ("host", "none"):
        raise InvalidArgument(
            f"--bandwidth needs a network of the container's own, not --network {options.network}"
        )
    return options._replace(
        pid="" if pid == "private" else pid, ipc=ipc, cgroup_parent=_parent(options.cgroup_parent)
    )


def _named(store: Store, mode: str, kind: str) -> str:
    name = mode.removeprefix(_CONTAINER)
    if not name:
        raise InvalidArgument(f"--{kind.lower()}: invalid {kind} mode")
    return Containers(store).find(name).id


def _check_shareable(store: Store, container_id: str) -> None:
    donor = Containers(store).find(container_id)
    mode = donor.record.ipc_mode
    if mode in ("", "private", "none"):
        raise Conflict(
            f"cannot join IPC of container {container_id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )
    if mode.startswith(_CONTAINER):
        _check_shareable(store, mode.removeprefix(_CONTAINER))


def _parent(text: str) -> str:
    parts = text.strip("/").split("/")
    if text and any(part in ("", ".", "..") or not part.isprintable() for part in parts):
        raise InvalidArgument(f"invalid cgroup-parent {text!r}: a path such as /teams/red")
    return text
