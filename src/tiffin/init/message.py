"""The one message to the helper, and the status words that it answers with.

    engine (Python)                       tiffin-init                        the container's command
      │  fork, namespaces, mounts             │
      │  fd 3: Message, a sealed memfd        │
      ├─────────── execve(helper) ───────────▶│
      │                                       │ EXEC: into the cgroups, setns, clone(CLONE_PARENT)
      │◀── fd 4: child <host pid> ────────────┤ EXEC only; that child, the engine's to reap, goes on
      │◀── fd 4: warning rlimit <resource> ───┤ any number
      │◀── fd 4: listener <descriptor> ───────┤ a filter that asks: fetch that descriptor of the helper's
      │                                       │ session, pivot, limits, ids, capabilities, seccomp
      │◀── fd 4: ready ───────────────────────┤
      ├─── fd 5: one byte ───────────────────▶│ WAIT_START only; end of file instead: give up
      │                                       ├───────────────── execve ──────────────▶│
      │◀── fd 4: end of file ─────────────────┤ executed
      │                                       │
      │◀── fd 4: failed <stage> <errno> ──────┤ instead, at any point; then end of file. Exit
                                                status 127 command not found, 126 not executable, else 1

Everything is little endian. A text is its length (u32), its bytes and a NUL; a list is its length (u32) and
its items. Fields come in the order of `Message` below after magic, version and the length of the whole. A
status word is three u32: kind, stage, and the errno, pid or resource number as i32.

A container that may trace processes can write words in the name of the child that joins it. They are worth no more
than that: a pid of `child` is to be used only after waitid(P_PID, pid, WEXITED|WNOHANG|WNOWAIT) has shown that it is
the caller's own child.
"""

import os
import struct

from tiffin.errors import InvalidArgument
from tiffin.init import seal
from tiffin.typed import NamedTuple, Sequence

MESSAGE_FD = 3
STATUS_FD = 4
START_FD = 5

CREATE = 1
EXEC = 2

NEW_SESSION = 1 << 0  # setsid; always meant for a container's first process
CONTROLLING_TTY = 1 << 1  # make fd 0 the controlling terminal of that session
NO_NEW_PRIVS = 1 << 2
WAIT_START = 1 << 3  # wait for a byte on fd 5 before the command is executed
KEEP_INIT = 1 << 4  # CREATE only: stay as PID 1, forward signals, reap, end as the command does

WINDOW = 1 << 5  # set by `execute_helper`: the message has preserved descriptors, hooks or a label
CHECK_COMMAND = 1 << 6  # before "ready", fail as the exec would when the command is not there
KEEP_KEYRING = 1 << 7  # stay in the caller's session keyring

SHARED_ROOT = 1 << 8  # CREATE only: the root's mount propagates to its copies

SECCOMP_LOG = 2
SECCOMP_SPEC_ALLOW = 4
SECCOMP_NEW_LISTENER = 8
SECCOMP_WAIT_KILLABLE = 32

STATUS_SIZE = 12
READY, CHILD, FAILED, WARNING, LISTENER = "ready", "child", "failed", "warning", "listener"

_MAGIC = 0x494E4654  # "TFNI"
_VERSION = 3
_LIMIT = 8 << 20
_KINDS = ("", READY, CHILD, FAILED, WARNING, LISTENER)
# In the order of `enum stage` in tiffin-init.c.
STAGES = (
    "",
    "message",
    "signals",
    "join",
    "fork",
    "session",
    "terminal",
    "hostname",
    "pivot",
    "descriptors",
    "rlimit",
    "bounding",
    "ids",
    "capabilities",
    "ambient",
    "no_new_privs",
    "seccomp",
    "cwd",
    "cwd_outside",
    "start",
    "exec",
    "label",
    "hook",
    "cgroup",
)


class StartHook(NamedTuple):
    """A command that the helper runs inside before the container's own; `timeout` in seconds, 0 for none."""

    path: str
    args: Sequence[str]
    env: Sequence[str] = ()
    timeout: int = 0


class Message(NamedTuple):
    """What the helper is to do, in the order of the wire.

    mode                CREATE: pivot into `root_fd`, become the command. EXEC: join `join_pidfd` first
    root_fd             CREATE: descriptor of the new root, a mount point; any number above 5
    join_pidfd, join_flags   EXEC: pidfd of a process in the container, CLONE_NEW* of the namespaces to join
    uid, gid            0 to 2^31-1; `groups` is the whole supplementary list
    bounding ... ambient     capability masks, as they shall be at the command's start; at most what we hold
    pdeathsig           signal for the command when its parent ends, 0 for none
    cwd                 absolute, must exist and lie inside the root
    hostname, domainname     CREATE; empty: left as it is
    path                where a command without a slash is looked for; empty: PATH of `env`
    rlimits             (resource number, soft, hard); what we may not raise is kept and answered by a warning
    seccomp             an array of struct sock_filter (8 bytes each); empty: none
    args, env           the command with its arguments, and NAME=value words, as execve takes them
    hooks               run in order after the start byte; each reads `state_fd` from its start as standard input;
                        the first that fails ends it all
    preserve            descriptors that the command has as 3, 4, ... in that order
    label, label_path   what to write to the file below the host's /proc ("self/attr/exec") before the exec
    window              set by `execute_helper`
    enter               EXEC: descriptors of files that take whoever writes "0" to them into a cgroup
    """

    mode: int
    args: Sequence[str]
    env: Sequence[str] = ()
    flags: int = 0
    root_fd: int = -1
    join_pidfd: int = -1
    join_flags: int = 0
    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    umask: int = 0o022
    pdeathsig: int = 0
    bounding: int = 0
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0
    cwd: str = "/"
    hostname: str = ""
    domainname: str = ""
    path: str = ""
    rlimits: Sequence[tuple[int, int, int]] = ()
    seccomp: bytes = b""
    seccomp_flags: int = 0
    hooks: Sequence[StartHook] = ()
    state_fd: int = -1
    preserve: Sequence[int] = ()
    label: str = ""
    label_path: str = ""
    window: int = -1
    enter: Sequence[int] = ()

    def encode(self) -> bytes:
        """The message's bytes. InvalidArgument for what the helper would refuse: a NUL, a bad number."""
        if len(self.seccomp) % 8:
            raise InvalidArgument("the seccomp filter is not a whole number of 8-byte instructions")
        if not self.args or not self.args[0]:
            raise InvalidArgument("no command specified")
        if not self.cwd.startswith("/"):
            raise InvalidArgument(f"the working directory {self.cwd!r} is not absolute")
        if not (0 <= self.uid < 2**31 and 0 <= self.gid < 2**31):
            raise InvalidArgument(f"uid {self.uid} and gid {self.gid} must be within 0-{2**31 - 1}")
        try:
            body = self._encode_body()
        except struct.error as error:
            raise InvalidArgument(f"a number for the container's process is out of range: {error}") from error
        if len(body) + 12 > _LIMIT:
            raise InvalidArgument(f"arguments and environment take {len(body)} bytes, the limit is {_LIMIT}")
        return struct.pack("<III", _MAGIC, _VERSION, len(body) + 12) + body

    def _encode_body(self) -> bytes:
        path = self.path or next((word[5:] for word in self.env if word.startswith("PATH=")), "")
        parts = [
            struct.pack(
                "<IIiiIIIII",
                *(self.mode, self.flags, self.root_fd, self.join_pidfd, self.join_flags),
                *(self.uid, self.gid, self.umask, self.pdeathsig),
            ),
            struct.pack(
                "<QQQQQI",
                *(self.bounding, self.effective, self.permitted, self.inheritable, self.ambient),
                self.seccomp_flags,
            ),
            *(_text(text) for text in (self.cwd, self.hostname, self.domainname, path)),
            struct.pack(f"<I{len(self.groups)}I", len(self.groups), *self.groups),
            struct.pack("<I", len(self.rlimits)),
            *(struct.pack("<IQQ", resource, soft, hard) for resource, soft, hard in self.rlimits),
            struct.pack("<I", len(self.seccomp) // 8) + self.seccomp,
        ]
        parts += [_texts(self.args), _texts(self.env)]
        parts += [
            struct.pack("<iI", self.window, len(self.preserve)),
            _text(self.label_path),
            _text(self.label),
        ]
        parts.append(struct.pack("<I", len(self.hooks)))
        for hook in self.hooks:
            parts += [_text(hook.path), struct.pack("<I", hook.timeout), _texts(hook.args), _texts(hook.env)]
        parts.append(struct.pack(f"<I{len(self.enter)}I", len(self.enter), *self.enter))
        return b"".join(parts)

    def open(self) -> int:
        """The message in a sealed memfd, to become fd 3 of the helper; close-on-exec, yours to close."""
        fd = os.memfd_create("tiffin-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(self.encode())
            while view:
                view = view[os.write(fd, view) :]
            os.lseek(fd, 0, os.SEEK_SET)
            seal(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _text(text: str) -> bytes:
    raw = os.fsencode(text)
    if b"\0" in raw:
        raise InvalidArgument(f"null byte in {text[:80]!r}")
    return struct.pack("<I", len(raw)) + raw + b"\0"


def _texts(texts: Sequence[str]) -> bytes:
    return struct.pack("<I", len(texts)) + b"".join([_text(text) for text in texts])


class Status(NamedTuple):
    """READY, CHILD (value: the pid), FAILED (stage and errno; of a hook also minus its exit code), WARNING ("rlimit"
    and the resource) or LISTENER (the helper's descriptor)."""

    kind: str
    stage: str
    value: int


def decode_status(word: bytes) -> Status:
    """One status word of STATUS_SIZE bytes. ValueError when it is none: the helper never wrote it."""
    if len(word) != STATUS_SIZE:
        raise ValueError(f"a status word is {STATUS_SIZE} bytes, got {len(word)}")
    kind, stage, value = struct.unpack("<IIi", word)
    if not 0 < kind < len(_KINDS) or stage >= len(STAGES):
        raise ValueError(f"unknown status word {word.hex()}")
    return Status(_KINDS[kind], STAGES[stage], value)


def read_status(fd: int) -> Status | None:
    """The next status word from the read end of fd 4; None at its end. Blocks."""
    word = b""
    while len(word) < STATUS_SIZE:
        chunk = os.read(fd, STATUS_SIZE - len(word))
        if not chunk:
            return decode_status(word) if word else None
        word += chunk
    return decode_status(word)
