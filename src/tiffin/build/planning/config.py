"""What each instruction does to the image's config: pure functions over the `config` member of the image
config (image-spec, config.md), with Docker's rules where that is silent.
"""

from __future__ import annotations

import posixpath

from tiffin.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from tiffin.typed import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")

Config = dict[str, Any]


def scratch_config() -> Config:
    """The config that a stage FROM scratch begins with."""
    return {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"}


def shell_of(config: Config) -> tuple[str, ...]:
    return tuple(config.get("Shell") or DEFAULT_SHELL)


def environment(config: Config) -> dict[str, str]:
    """`Env` as a mapping; of a name given twice the last counts."""
    found = {}
    for pair in config.get("Env") or ():
        name, _, value = pair.partition("=")
        found[name] = value
    return found


def working_directory(config: Config) -> str:
    return config.get("WorkingDir") or "/"


def absolute(config: Config, path: str) -> str:
    """`path` below the working directory, cleaned; a trailing slash is lost."""
    joined = posixpath.normpath(posixpath.join("/", working_directory(config), path))
    return "/" + joined.lstrip("/")


def apply(config: Config, instruction: Instruction, *, own_command: bool) -> Config:
    """The config after an (expanded) instruction that changes nothing else; `config` is left as it is.

    own_command: whether this stage has had a CMD of its own: else ENTRYPOINT drops the one of the base, which
    was meant for another program.
    """
    changed = dict(config)
    match instruction:
        case Env(pairs=pairs):
            changed["Env"] = _with_pairs(config.get("Env") or [], pairs)
        case Label(pairs=pairs):
            changed["Labels"] = {**(config.get("Labels") or {}), **dict(pairs)}
        case Expose(ports=ports):
            changed["ExposedPorts"] = _sorted_set(config.get("ExposedPorts"), ports)
        case Volume(paths=paths):
            changed["Volumes"] = _sorted_set(config.get("Volumes"), paths)
        case User(user=user):
            changed["User"] = user
        case Workdir(path=path):
            changed["WorkingDir"] = absolute(config, path)
        case Shell(argv=argv):
            changed["Shell"] = list(argv)
        case Cmd(command=command):
            changed["Cmd"] = list(command.argv(shell_of(config)))
        case Entrypoint(command=command):
            changed["Entrypoint"] = list(command.argv(shell_of(config)))
            if not own_command:
                changed.pop("Cmd", None)
        case Stopsignal(signal=signal):
            changed["StopSignal"] = signal
        case Healthcheck():
            changed["Healthcheck"] = _healthcheck(instruction)
        case Onbuild(trigger=trigger):
            changed["OnBuild"] = [*(config.get("OnBuild") or []), trigger]
        case _:
            raise TypeError(f"{instruction.keyword} does not change the config")
    return changed


def _with_pairs(env: list[str], pairs: tuple[tuple[str, str], ...]) -> list[str]:
    """`env` with names set: in the place where they stood, else at the end, as Docker keeps their order."""
    found = list(env)
    for name, value in pairs:
        pair = f"{name}={value}"
        for at, old in enumerate(found):
            if old.partition("=")[0] == name:
                found[at] = pair
                break
        else:
            found.append(pair)
    return found


def _sorted_set(old: dict[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: {} for name in sorted({*(old or {}), *names})}


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    numbers = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {"Test": list(check.test), **{key: value for key, value in numbers.items() if value}}
