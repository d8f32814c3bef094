"""What happens to containers with the machine: those whose policy says so start with it, all stop with it, and a
systemd unit calls for both.

The unit's processes are the containers' supervisors, so that a stop of the unit must kill none of them: it has
`stop-containers` do that, each by its own stop signal.
"""

from __future__ import annotations

import os
import sys

from tiffin.containers.policy import restart_of, starts_at_boot
from tiffin.containers.states import State
from tiffin.containers.store import Containers
from tiffin.engine import lifecycle, recovery
from tiffin.errors import TiffinError
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.state import Layout

UNIT = "tiffin.service"
_SYSTEM_UNITS = "/etc/systemd/system"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@+")


class Booted(NamedTuple):
    """Names in the order of their creation; of those that did not start, why."""

    started: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


class Unit(NamedTuple):
    """A systemd unit: where it belongs, what is in it, and the commands that put it to use."""

    path: str
    text: str
    enable: tuple[str, ...]
    disable: tuple[str, ...]


def start_containers(workspace: Workspace) -> Booted:
    """See SystemService.start_containers."""
    with workspace.store() as store:
        recovery.reconcile(store)
        found = [
            container
            for container in reversed(Containers(store).in_states((State.EXITED,)))
            if container.started
            and starts_at_boot(
                restart_of(container.policy),
                container.exit_code,
                container.restarts,
                stopped=container.stopped,
            )
        ]
    started, failed = [], []
    for container in found:
        try:
            lifecycle.start(workspace, container.id)
            started.append(container.name)
        except (TiffinError, OSError) as error:
            with workspace.store() as store:
                if Containers(store).get(container.id) is not None:  # else it was removed meanwhile
                    failed.append((container.name, str(error)))
    return Booted(tuple(started), tuple(failed))


def unit(layout: Layout, command: Sequence[str], *, user: bool = False, directory: str = "") -> Unit:
    """The unit of this engine; `command` runs this very tiffin. Makes nothing."""
    where = directory or (_user_units() if user else _SYSTEM_UNITS)
    words = " ".join(quote(word) for word in (*command, "--root", layout.root, "--run", layout.run))
    library = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = ""
    if not any(part in ("site-packages", "dist-packages") for part in library.split("/")):
        environment = f"Environment={quote(f'PYTHONPATH={library}')}\n"
    network = "" if user else "After=network-online.target\nWants=network-online.target\n"
    text = f"""\
# Written by `tiffin system install-units`; `tiffin system install-units --remove` takes it away.
[Unit]
Description=Containers of tiffin
{network}RequiresMountsFor={quote(layout.root)}

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={words} system start-containers
ExecStop={words} system stop-containers
# A container that did not start is in the journal; the unit is up all the same, or nobody would stop the others.
SuccessExitStatus=1
# What stays of it are the containers, which stop-containers ends as each of them wants.
KillMode=process
TimeoutStartSec=infinity
TimeoutStopSec=infinity
TasksMax=infinity

[Install]
WantedBy={"default.target" if user else "multi-user.target"}
"""
    control = "systemctl --user" if user else "systemctl"
    return Unit(
        f"{where}/{UNIT}",
        text,
        (f"{control} daemon-reload", f"{control} enable --now {UNIT}"),
        (f"{control} disable {UNIT}", f"{control} daemon-reload"),
    )


def this_program() -> tuple[str, ...]:
    """The words that run this very tiffin: its script where there is one, else the module by this interpreter."""
    script = os.path.abspath(sys.argv[0]) if sys.argv and "/" in sys.argv[0] else ""
    if os.path.basename(script) == "tiffin" and os.access(script, os.X_OK) and os.path.isfile(script):
        return (script,)
    return (os.path.abspath(sys.executable), "-m", "tiffin")


def install(made: Unit) -> None:
    """Write the unit, whole or not at all. Idempotent. Raises OSError with the path."""
    os.makedirs(os.path.dirname(made.path), exist_ok=True)
    aside = f"{made.path}.{os.getpid()}"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(made.text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, made.path)
    except BaseException:
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass
        raise


def remove(made: Unit) -> bool:
    """Take the unit away; whether it was there."""
    try:
        os.unlink(made.path)
    except FileNotFoundError:
        return False
    return True


def quote(word: str) -> str:
    """One word as systemd's unit files read it (systemd.syntax, systemd.service: specifiers and variables too)."""
    text = word.replace("%", "%%").replace("$", "$$")
    if text and all(character in _PLAIN for character in word):
        return text
    escaped = "".join(
        f"\\{character}" if character in '\\"' else "\\n" if character == "\n" else character
        for character in text
    )
    return f'"{escaped}"'


def _user_units() -> str:
    configuration = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{configuration}/systemd/user"
