"""What a runtime-spec document may ask for beyond what the engine's own containers have.

An `Extras` goes with a `CreateRequest`. Nothing here is imported for a container that needs none of it. Parent and
child talk over a pair of sockets beside the pipes of `create`, one byte a request, one byte an answer:

    parent                                   child
      │◀── m: map my ids ──────────────────────┤ it has just made a user namespace
      ├─── done ──────────────────────────────▶│ becomes its root, makes the other namespaces and the tree
      │◀── p: the tree is made ────────────────┤
      │ prestart, createRuntime hooks,         │
      │ scheduler, I/O priority, limits        │
      ├─── done ──────────────────────────────▶│ createContainer hooks, then the helper

With a user namespace there is one process more: it joins what is to be joined while it is still the machine's root,
then makes the container's first process in the new user and pid namespaces, as its parent's child, and ends.
"""

from __future__ import annotations

import os
import socket

from tiffin.errors import EngineError, InvalidArgument, NotFound
from tiffin.init.message import (
    CHECK_COMMAND,
    KEEP_KEYRING,
    SECCOMP_LOG,
    SECCOMP_NEW_LISTENER,
    SECCOMP_SPEC_ALLOW,
    SECCOMP_WAIT_KILLABLE,
    SHARED_ROOT,
    StartHook,
)
from tiffin.kernel.mounts import (
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NODEV,
    MS_PRIVATE,
    MS_SLAVE,
    MS_UNBINDABLE,
    OPEN_TREE_CLONE,
    make_filesystem,
    mount_setattr,
    move_mount,
    open_tree,
)
from tiffin.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_PARENT,
    setns,
    unshare,
)
from tiffin.kernel.process import fork_into, set_dumpable
from tiffin.runtime import child as first_process
from tiffin.runtime import rootfs
from tiffin.runtime.extras import hooks, placement
from tiffin.runtime.extras.idmap import Mappings, host_id, mappings_of, user_namespace, write_maps
from tiffin.runtime.extras.labels import exec_label
from tiffin.runtime.extras.options import TreeOptions, parse_tree_options
from tiffin.runtime.forked import raise_reported, read_all, report
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tiffin.init.message import Message
    from tiffin.runtime.forked import Descriptors
    from tiffin.runtime.options import RootMount

JOINABLE = {
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "time": CLONE_NEWTIME,
    "pid": CLONE_NEWPID,
    "user": CLONE_NEWUSER,
    "cgroup": CLONE_NEWCGROUP,
}
_PROPAGATION = {"private": MS_PRIVATE, "slave": MS_SLAVE, "unbindable": MS_UNBINDABLE}
_SECCOMP_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # there is one thread when the filter is set
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": SECCOMP_WAIT_KILLABLE,
}
_TTY_GROUP = 5

State = dict[str, Any]


class Extras:
    """See the module. Made anew for each container; used by `create` and by its child.

    document   the whole of config.json, checked
    state      (status, pid) → the container's state, for hooks and listeners
    rendezvous a private directory: the container outlives whoever creates it, and is started through it by
               `rendezvous.start`; "" for one that ends with its creator
    preserve   descriptors for the command's 3 and up
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        state: Callable[[str, int], State],
        *,
        rendezvous: str = "",
        preserve: Sequence[int] = (),
        keep_keyring: bool = False,
    ) -> None:
        self._document = document
        self._process: dict[str, Any] = document["process"]
        self._linux: dict[str, Any] = document.get("linux") or {}
        self._state = state
        self._rendezvous = rendezvous
        self._preserve = tuple(preserve)
        self._keep_keyring = keep_keyring
        self._namespaces = {n["type"]: n.get("path") or "" for n in self._linux.get("namespaces") or ()}
        self._mappings = mappings_of(self._linux, "linux") if "user" in self._namespaces else None
        self._label = exec_label(self._process)
        self._hooks = {kind: hooks.hooks_of(document, kind) for kind in hooks.KINDS}
        self._ours = self._theirs = self._root = -1
        self.binds: list[int] = []
        self.tty_group = _TTY_GROUP
        if self._mappings:
            mapped = host_id(self._mappings.gid, _TTY_GROUP)
            self.tty_group = mapped if mapped >= 0 else host_id(self._mappings.gid, 0)

    # ---- before the fork

    def open(self, fds: Descriptors, mounts: Sequence[tuple[str, dict[str, Any]]], root: RootMount) -> None:
        """Everything that takes the machine's root: copies of what is bound, and the channels to the child."""
        ours, theirs = socket.socketpair()
        self._ours, self._theirs = fds.own(ours.detach()), fds.child_end(theirs.detach())
        if self._rendezvous:
            from tiffin.runtime.extras.rendezvous import open_for_child

            open_for_child(self._rendezvous, fds)
        self.binds = []
        for _, entry in mounts:
            options = parse_tree_options(entry.get("options") or (), entry.get("type") or "")
            fd = self._clone(entry, options) if options.bind else -1
            self.binds.append(fds.child_end(fd) if fd >= 0 else -1)
        self._root = fds.child_end(self._clone_root(root))

    def own_terminal(self, slave: int) -> None:
        """Give the terminal to the process's user while it can be given to an id of the machine's."""
        if self._mappings:
            owner = host_id(self._mappings.uid, (self._process.get("user") or {}).get("uid") or 0)
            os.fchown(slave, owner, self.tty_group)

    def _clone_root(self, root: RootMount) -> int:
        if root.type == "overlay":
            return rootfs.open_overlay(root)
        with step(f"open the container's root {root.source}"):
            fd = open_tree(AT_FDCWD, root.source, OPEN_TREE_CLONE | AT_RECURSIVE)
            # A slave until the tree is made: what is mounted meanwhile reaches nobody.
            follows = self._linux.get("rootfsPropagation") in ("shared", "slave")
            mount_setattr(fd, "", AT_RECURSIVE, propagation=MS_SLAVE if follows else MS_PRIVATE)
            mount_setattr(fd, "", 0, set=MOUNT_ATTR_NODEV)
        return fd

    def _clone(self, entry: Mapping[str, Any], options: TreeOptions) -> int:
        source, one = str(entry.get("source", "")), options.one
        if one.data:
            raise InvalidArgument(f"unknown option {one.data[0][0]!r} of the bind mount of {source}")
        recursive = AT_RECURSIVE if one.recursive_bind else 0
        try:
            fd = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | recursive)
        except FileNotFoundError as error:
            raise NotFound(f"bind source path does not exist: {source}") from error
        except OSError as error:
            raise EngineError(f"cannot bind {source}: {error.strerror}") from error
        try:
            with step(f"set the mount options of {source}"):
                mount_setattr(fd, "", recursive, propagation=one.propagation or MS_PRIVATE)
                if options.set or options.clear:
                    mount_setattr(fd, "", AT_RECURSIVE, set=options.set, clear=options.clear)
                if one.set or one.clear:
                    mount_setattr(fd, "", 0, set=one.set, clear=one.clear)
            self._map_mount(fd, entry, options.idmap)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _map_mount(self, fd: int, entry: Mapping[str, Any], word: str) -> None:
        given = mappings_of(entry, f"the mount at {entry['destination']}")
        if not (given or word):
            return
        mappings: Mappings | None = given or self._mappings
        if mappings is None:
            raise InvalidArgument(
                f"the mount at {entry['destination']} asks for an id mapping: give it uidMappings and gidMappings, "
                "or the container a user namespace"
            )
        userns = user_namespace(mappings)
        try:
            with step(f"map the ids of the mount at {entry['destination']}"):
                recursive = AT_RECURSIVE if word == "ridmap" else 0
                mount_setattr(fd, "", recursive, set=MOUNT_ATTR_IDMAP, userns_fd=userns)
        finally:
            os.close(userns)

    # ---- the parent, once it has forked

    def fork(self, plan: first_process.Plan) -> int:
        """The pid of the container's first process in its user namespace: a child of ours."""
        told, tell = os.pipe2(os.O_CLOEXEC)
        middle = os.fork()
        if middle == 0:
            self._go_between(plan, tell)
        os.close(tell)
        try:
            word = read_all(told)
        finally:
            os.close(told)
            os.waitpid(middle, 0)
        if word.isdigit():
            return int(word)
        if word:
            raise_reported(word)
        raise EngineError("the process that makes the container's user namespace was killed")

    def attend(self, pid: int) -> None:
        """Answer the child until it executes the helper or fails."""
        while request := os.read(self._ours, 1):
            if request == b"m" and self._mappings:
                write_maps(pid, self._mappings)
            elif request == b"p":
                self._prepared(pid)
            os.write(self._ours, b"\1")
            if request == b"p":
                return

    def _prepared(self, pid: int) -> None:
        import json

        state = json.dumps(self._state("creating", pid)).encode()
        for kind in ("prestart", "createRuntime"):
            hooks.run_hooks(kind, self._hooks[kind], state)
        if self._linux.get("netDevices"):
            from tiffin.runtime.extras.netdevices import move_all

            move_all(self._linux["netDevices"], pid)
        if self._mappings:
            self._raise_limits(pid)
        placement.apply_from_outside(pid, self._process)

    def _raise_limits(self, pid: int) -> None:
        """As the machine's root: inside the user namespace no limit can be raised. The helper warns of what fails."""
        import resource

        from tiffin.runtime.process import rlimits

        for number, soft, hard in rlimits(self._process):
            pair = [-1 if value == (1 << 64) - 1 else value for value in (soft, hard)]
            try:
                resource.prlimit(pid, number, (pair[0], pair[1]))
            except (OSError, ValueError):
                continue

    def listener(self, pid: int) -> Callable[[int], None] | None:
        """What takes a seccomp filter's listener to whoever waits for it."""
        seccomp = self._linux.get("seccomp") or {}
        if not seccomp.get("listenerPath"):
            return None
        from tiffin.runtime.extras.listener import hand_over

        state = self._state("creating", pid)
        return lambda number: hand_over(seccomp, pid, number, state, state["ociVersion"])

    # ---- in between: joins, then makes the child

    def _go_between(self, plan: first_process.Plan, tell: int) -> None:
        try:
            # Whoever is in the namespaces already must not trace the process that comes to them with our memory.
            set_dumpable(False)
            if self._process.get("oomScoreAdj"):
                first_process.set_oom_score(self._process["oomScoreAdj"])
            for kind, path in self._namespaces.items():
                if path and kind not in ("user", "mount", "cgroup"):
                    first_process.join_namespace(path, JOINABLE[kind])
            flags = CLONE_PARENT
            if self._namespaces["user"]:
                first_process.join_namespace(self._namespaces["user"], CLONE_NEWUSER)
            else:
                flags |= CLONE_NEWUSER
            if self._namespaces.get("pid") == "":
                flags |= CLONE_NEWPID
            with step("make a user namespace"):
                pid = fork_into(flags)
            if pid == 0:
                os.close(tell)  # whose end the parent waits for
                first_process.run(plan)
            os.write(tell, str(pid).encode())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
            report(tell, error)
        finally:
            os._exit(0)

    # ---- the child

    def begin(self) -> None:
        """The first thing it does."""
        if "user" not in self._namespaces:
            if self._process.get("oomScoreAdj"):
                first_process.set_oom_score(self._process["oomScoreAdj"])
            if self._namespaces.get("time"):
                first_process.join_namespace(self._namespaces["time"], CLONE_NEWTIME)
            return
        if not self._namespaces["user"]:
            self._ask(b"m")
        with step("become the root of the container's user namespace"):
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            if not self._namespaces["user"]:
                set_dumpable(True)  # nobody else is in there yet; ours is /proc/self again

    def _ask(self, request: bytes) -> None:
        os.write(self._theirs, request)
        if os.read(self._theirs, 1) != b"\1":
            raise EngineError("the runtime ended while it created a container")

    def enter_time(self) -> None:
        """A new time namespace, its clocks set before anybody is in it; entered at once."""
        if self._namespaces.get("time") != "":
            return
        with step("make a time namespace"):
            unshare(CLONE_NEWTIME)
            offsets = self._linux.get("timeOffsets") or {}
            text = "".join(
                f"{clock} {value.get('secs') or 0} {value.get('nanosecs') or 0}\n"
                for clock, value in offsets.items()
            )
            if text:
                fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(fd, text.encode())
                finally:
                    os.close(fd)
            fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
            try:
                setns(fd, CLONE_NEWTIME)
            finally:
                os.close(fd)

    def mount_root(self, mount_point: str) -> int:
        """Mount the root where it lies, or, where a user namespace has no way there, over the old root."""
        with step(f"mount the container's root on {mount_point}"):
            try:
                target = os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except PermissionError:
                target = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            move_mount(self._root, target)
            os.close(target)
        return self._root

    def mount(self, root_fd: int, path: str, entry: Mapping[str, Any]) -> None:
        """A filesystem of any type that is neither a bind nor one of the container's own few."""
        kind = str(entry.get("type") or "")
        options = parse_tree_options(entry.get("options") or (), kind)
        if options.copy_up and kind != "tmpfs":
            raise InvalidArgument(f"tmpcopyup is for a tmpfs, not the {kind} at {path}")
        one = options.one._replace(set=(options.one.set & ~options.clear) | options.set)
        source = str(entry.get("source") or kind)
        if not options.copy_up:
            rootfs.mount_filesystem(root_fd, kind, path, one, source)
            return
        from tiffin.runtime.extras.copyup import copy_up

        with step(f"mount a {kind} at {path}"):
            made = make_filesystem(kind, one.data, one.set & ~1, source)
        copy_up(root_fd, path, made)
        mount_setattr(made, "", 0, set=one.set)
        rootfs.attach(root_fd, made, path)

    def assembled(self, root_fd: int, dev_fd: int) -> None:
        """The tree is there, and the root still the machine's: what the document wants at this point."""
        self._make_devices(root_fd, dev_fd)
        wanted = self._linux.get("rootfsPropagation")
        if wanted and wanted != "shared":  # which a root is only once it is one
            with step(f"set the root's propagation to {wanted}"):
                mount_setattr(root_fd, "", 0, propagation=_PROPAGATION[wanted])
        self._ask(b"p")
        if self._hooks["createContainer"]:
            hooks.run_hooks("createContainer", self._hooks["createContainer"], self._state_here("creating"))
        placement.apply_to_itself(self._linux)

    def _make_devices(self, root_fd: int, dev_fd: int) -> None:
        """Those outside /dev, whose filesystems have no devices: each a bind of a node that is made in /dev and loses
        its name there again. (Linux before 6.15 binds nothing out of a mount that is not attached.)"""
        from tiffin.runtime.devices import node_at

        for device in self._linux.get("devices") or ():
            path = os.path.normpath("/" + device["path"].lstrip("/"))
            if path.startswith("/dev/"):
                continue
            name = ".tiffin-device"
            node = node_at(device, name)
            with step(f"make the device {path}"):
                os.mknod(name, node.mode, node.rdev, dir_fd=dev_fd)
                try:
                    os.chown(name, node.uid, node.gid, dir_fd=dev_fd, follow_symlinks=False)
                    copy = open_tree(dev_fd, name, OPEN_TREE_CLONE)
                    rootfs.attach(root_fd, copy, path)
                    os.close(copy)
                finally:
                    os.unlink(name, dir_fd=dev_fd)

    def _state_here(self, status: str) -> bytes:
        import json

        return json.dumps(self._state(status, os.getpid())).encode()

    def message(self, message: Message) -> Message:
        """The helper's message, completed."""
        flags = message.flags | (KEEP_KEYRING if self._keep_keyring else 0)
        flags |= SHARED_ROOT if self._linux.get("rootfsPropagation") == "shared" else 0
        state_fd, start = -1, self._hooks["startContainer"]
        if start:
            state_fd = os.memfd_create("tiffin-state", os.MFD_CLOEXEC)
            os.write(state_fd, self._state_here("created"))
        return message._replace(
            flags=flags | CHECK_COMMAND,
            pdeathsig=0 if self._rendezvous else message.pdeathsig,
            hooks=[StartHook(*hook) for hook in start],
            state_fd=state_fd,
            preserve=self._preserve,
            label=self._label[0],
            label_path=self._label[1],
            seccomp_flags=seccomp_flags(self._linux.get("seccomp") or {}),
        )


def seccomp_flags(seccomp: Mapping[str, Any]) -> int:
    """The helper's flags for a document's filter."""
    flags = SECCOMP_NEW_LISTENER if seccomp.get("listenerPath") else 0
    for name in seccomp.get("flags") or ():
        flags |= _SECCOMP_FLAGS[name]
    return flags if flags & SECCOMP_NEW_LISTENER else flags & ~SECCOMP_WAIT_KILLABLE
